"""Who may ask for a field or have an object of a type, declared beside it and printed in the schema.

    orders: Connection[Order] = connection("orders", ..., access=own("orders:read"))
    async def create_product(...): ...        # @mutation(access=requires("products:write"))
    class Order(Node):
        access = own("orders:read")

A field without an access of its own is open to whoever has the object; `node(id)` asks for the access of the type. Which rows are whose is
for the row scopes of repositories, and what an API key must be good for follows from all this (`api.scopes`).
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import strawberry
from strawberry import UNSET
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField

from app.api.errors import FORBIDDEN, UNAUTHENTICATED, AccessDenied
from app.core.security import ANY, Viewer, ViewerKind
from app.execution.declarations import NO_KEY, Access

__all__ = [
    "Access",
    "Guard",
    "Inherited",
    "OwnOrGuests",
    "as_parent",
    "by_type",
    "check",
    "check_key",
    "guarded",
    "mine",
    "of_others",
    "own",
    "own_or_guests",
    "personal",
    "protected",
    "public",
    "published",
    "requires",
    "signed_in",
    "with_parent",
]

PLACES = [Location.FIELD_DEFINITION, Location.OBJECT]


@strawberry.schema_directive(locations=PLACES, description="Open to everybody. An API key needs the scope of the type that is shown.")
class Public:
    scope: str | None = strawberry.directive_field(name="scope", default=UNSET)


@strawberry.schema_directive(
    locations=PLACES, description="Needs a signed-in account: a person, or an API key that has the scope, where there is one."
)
class Authenticated:
    scope: str | None = strawberry.directive_field(name="scope", default=UNSET)


@strawberry.schema_directive(
    locations=PLACES, description="Needs this permission, in the form `resource:action`; an API key needs it as a scope."
)
class Requires:
    permission: str


@strawberry.schema_directive(
    locations=PLACES,
    description="Needs a signed-in account and, for what is not its own, this permission; an API key always needs it as a scope.",
)
class RequiresForOthers:
    permission: str


@strawberry.schema_directive(
    locations=PLACES,
    description="Open to everybody for what is its own, to guests by the token of their carts; what is not its own needs this permission.",
)
class GuestsOwn:
    permission: str


@strawberry.schema_directive(
    locations=[Location.FIELD_DEFINITION], description="Open to whoever sees the object that it belongs to, whatever that takes."
)
class AsParent:
    pass


def directive_of(access: Access) -> object:
    """The access as the printed schema shows it."""
    if isinstance(access, Inherited):
        return AsParent()
    if isinstance(access, OwnOrGuests):
        return GuestsOwn(permission=access.permission or "")
    if isinstance(access, Personal | Own):
        return RequiresForOthers(permission=access.permission or "")
    if access.permission:
        return Requires(permission=access.permission)
    scope = UNSET if access.scope in (None, ANY) else access.scope
    return Authenticated(scope=scope) if access.authenticated else Public(scope=scope)


def check(access: Access, viewer: Viewer) -> None:
    """Raises `AccessDenied` where the viewer may not ask."""
    if access.allows(viewer):
        return
    if not viewer.is_authenticated:
        raise AccessDenied(UNAUTHENTICATED, "sign in first: send `Authorization: Bearer <token>`")
    raise AccessDenied(FORBIDDEN, f"this needs the permission {access.permission}")


def check_key(scope: str, viewer: Viewer) -> None:
    """Raises `AccessDenied` for a request with an API key that is not good for this."""
    if viewer.key is None or scope in viewer.key.scopes:
        return
    if scope in (NO_KEY, f"{ANY}:{ANY}"):
        raise AccessDenied(FORBIDDEN, "this is not for API keys; sign in")
    raise AccessDenied(FORBIDDEN, f"the API key has no scope {scope}")


@dataclass(frozen=True)
class Own(Access):
    """Open to whoever is signed in, for what is its own. The permission is for the rows of others, which only row scopes can tell apart."""

    def allows(self, viewer: Viewer) -> bool:
        return viewer.is_authenticated


@dataclass(frozen=True)
class OwnOrGuests(Own):
    """Open to everybody, for what is its own: of a guest, what its token opens. Row scopes show those without an account nothing else."""

    def allows(self, viewer: Viewer) -> bool:
        return True


@dataclass(frozen=True)
class Inherited(Access):
    """Open to whoever sees the object that the field belongs to: a door that is meant to be open."""


public = Access()
by_type = Access(scope=ANY)
"""Open to everybody, as far as the type of what is asked for lets them."""

signed_in = Access(authenticated=True)
as_parent = Inherited()


def published(scope: str) -> Access:
    """Open to everybody; an API key needs a scope, as for everything."""
    return Access(scope=scope)


def mine(scope: str) -> Access:
    """Open to whoever is signed in, for what nobody else may ever have; an API key needs the scope."""
    return Access(authenticated=True, scope=scope)


def requires(permission: str) -> Access:
    return Access(authenticated=True, permission=permission)


def own(permission: str) -> Access:
    """One's own without, those of the store that one works for with the permission."""
    return Own(authenticated=True, permission=permission)


def own_or_guests(permission: str) -> Access:
    """As `own`, and for guests, who hold a token for what is theirs."""
    return OwnOrGuests(permission=permission)


def show_directive(field: StrawberryField, directive: object) -> None:
    """Print a directive with a field, once: fields outlive a schema, and each schema built of them applies their extensions again."""
    if directive not in field.directives:
        field.directives = [*field.directives, directive]


class Guard(FieldExtension):
    """Checks the declared access before a field resolves."""

    def __init__(self, access: Access) -> None:
        self.access = access

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        check(self.access, info.context.viewer)
        return next_(source, info, **kwargs)

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        check(self.access, info.context.viewer)
        return await next_(source, info, **kwargs)


@dataclass(frozen=True)
class Personal(Access):
    """Open to whom a row is about, whose id is in its column `owner`; to others with the permission. A shopper may ask, and each row is
    looked at.
    """

    def allows(self, viewer: Viewer) -> bool:
        return super().allows(viewer) or viewer.kind is ViewerKind.SHOPPER


class PersonalGuard(Guard):
    """Checks for each row whether it is about the viewer."""

    def __init__(self, access: Personal) -> None:
        super().__init__(access)
        assert access.owner is not None
        self.owner = access.owner

    def resolve(self, next_: Callable[..., Any], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        self._check_row(source, info.context.viewer)
        return next_(source, info, **kwargs)

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        self._check_row(source, info.context.viewer)
        return await next_(source, info, **kwargs)

    def _check_row(self, row: Any, viewer: Viewer) -> None:
        if not viewer.is_authenticated or getattr(row, self.owner) != viewer.user_id:
            check(requires(self.access.permission or ""), viewer)


def protected(access: Access | None, *hints: object, **metadata: Any) -> dict[str, Any]:
    """What Strawberry is to know of a field with this access: its guard, its directives, and what else the field declares."""
    if access is None:
        return {"directives": hints, "metadata": metadata}
    return {"extensions": _guards(access), "directives": [directive_of(access), *hints], "metadata": {**metadata, "access": access}}


def _guards(access: Access) -> list[FieldExtension]:
    if isinstance(access, Inherited):
        return []
    return [PersonalGuard(access) if isinstance(access, Personal) else Guard(access)]


def of_others(permission: str, *, owner: str = "user_id") -> Access:
    """The access of a field that others than the one whom its row is about need a permission for; the column `owner` says who that is."""
    return Personal(authenticated=True, permission=permission, owner=owner)


def personal(permission: str, *, owner: str, description: str | None = None) -> Any:
    """A column that others than the person it is about need a permission for; refused as `guarded` ones are."""
    return guarded(of_others(permission, owner=owner), description)


def guarded(access: Access, description: str | None = None) -> Any:
    """A column that only some may read; for the others the field is null, with an error that says what it needs."""
    return strawberry.field(description=description, **protected(access))


def with_parent(description: str | None = None) -> Any:
    """A column for whoever sees its row. In types that others lead to (`as_parent`), every column must say so, or whom it is for."""
    return guarded(as_parent, description)
