"""Who is asking, and what they may do: the viewer that scopes repositories, and the tokens that prove one."""

import hashlib
import secrets
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any
from uuid import UUID


class ViewerKind(StrEnum):
    """How far a viewer sees. Each kind gives one shape of every statement; the values are bound."""

    ANONYMOUS = "anonymous"
    SHOPPER = "shopper"
    STAFF = "staff"
    ADMINISTRATOR = "administrator"
    SYSTEM = "system"


ANY = "*"
STORE_RESOURCES = (
    "carts",
    "features",
    "inventory",
    "orders",
    "payments",
    "products",
    "recovery",
    "reports",
    "security",
    "users",
    "vouchers",
    "webhooks",
)
"""What a store has that its staff see by permission."""


@dataclass(frozen=True)
class KeyUse:
    """The API key that a request came with: what it may be used for, and how often in an hour."""

    id: UUID
    scopes: frozenset[str]
    rate_limit: int


@dataclass(frozen=True)
class Viewer:
    """The authenticated caller of a request; `permissions` are `resource:action` strings, `*` standing for all.

    With a `key`, a program acts for its owner: `permissions` are then those of the owner's that the key's scopes name.
    """

    kind: ViewerKind = ViewerKind.ANONYMOUS
    user_id: UUID | None = None
    store_id: UUID | None = None
    session_id: UUID | None = None
    permissions: frozenset[str] = field(default_factory=frozenset)
    key: KeyUse | None = None
    cart_token_hash: str | None = None
    """Of somebody who has not signed in: what the token of its carts hashes to."""

    def __hash__(self) -> int:
        return self._hash

    @cached_property
    def _hash(self) -> int:
        """Kept, because hashing an enum and three UUIDs takes Python as long as looking up what is cached by viewer."""
        return hash((self.kind, self.user_id, self.store_id, self.session_id, self.permissions, self.key, self.cart_token_hash))

    def can(self, permission: str) -> bool:
        """Whether the viewer holds a permission such as `products:write`."""
        resource, _, action = permission.partition(":")
        return not self.permissions.isdisjoint((permission, f"{resource}:{ANY}", f"{ANY}:{action}", f"{ANY}:{ANY}"))

    def may(self, permission: str, store_id: UUID) -> bool:
        """Whether the viewer may do what a permission is for in a store."""
        return self.sees_everything or (self.store_id == store_id and self.can(permission))

    @property
    def is_of_one_store(self) -> bool:
        """Whether the viewer works for one store, and has no say in what is about all of them."""
        return self.store_id is not None and not self.sees_everything

    @property
    def is_authenticated(self) -> bool:
        return self.user_id is not None

    @property
    def is_staff(self) -> bool:
        return self.kind in (ViewerKind.STAFF, ViewerKind.ADMINISTRATOR)

    @property
    def sees_everything(self) -> bool:
        return self.kind in (ViewerKind.ADMINISTRATOR, ViewerKind.SYSTEM)

    @cached_property
    def scope_values(self) -> dict[str, Any]:
        """The values behind the bound parameters of row scopes (`core.scope`)."""
        if self.kind is ViewerKind.ANONYMOUS:
            return {"viewer_id": None, "viewer_cart_token_hash": self.cart_token_hash}
        values: dict[str, Any] = {"viewer_id": self.user_id}
        if self.kind is ViewerKind.STAFF:
            values["viewer_store_id"] = self.store_id
            for name in STORE_RESOURCES:
                writes = self.can(f"{name}:write")
                values[store_parameter(name, "write")] = self.store_id if writes else None
                values[store_parameter(name, "read")] = self.store_id if writes or self.can(f"{name}:read") else None
        return values


def store_parameter(resource: str, action: str) -> str:
    """The name of the parameter that is the store of a viewer who may read, or write, a resource there; null for other staff."""
    return f"viewer_store_id_{resource}_{action}"


ANONYMOUS = Viewer()
SYSTEM = Viewer(kind=ViewerKind.SYSTEM, permissions=frozenset({f"{ANY}:{ANY}"}))


def guest(cart_token: str) -> Viewer:
    """Somebody who has not signed in and holds the token of its carts."""
    return Viewer(cart_token_hash=token_hash(cart_token))


def new_token() -> str:
    """An opaque 256-bit bearer token, URL-safe."""
    return secrets.token_urlsafe(32)


def token_hash(token: str) -> str:
    """What is stored of a token: SHA-256 in hex. A fast hash is right for 256 random bits, which nobody can guess from it."""
    return hashlib.sha256(token.encode()).hexdigest()
