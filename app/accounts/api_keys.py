"""API keys: how one is written, what is stored of it, how it is made, and whom it stands for.

A key is written `identifier.secret`. The identifier is public and finds the row; the secret is shown once, when the key is made.
"""

import hmac
import re
import secrets
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Self
from uuid import UUID

from app.accounts.models import ApiKey, ApiKeyCreate, ApiKeyRequest, ApiKeyStatus, SecurityEventType
from app.accounts.scopes import SCOPES
from app.accounts.security_log import record
from app.accounts.viewers import Known, known
from app.api.context import RequestInfo
from app.api.errors import UNAUTHENTICATED, AccessDenied
from app.core.errors import ErrorCode, UserError
from app.core.metrics import Metrics
from app.core.security import KeyUse
from app.settings import Settings

IDENTIFIER_BYTES, SECRET_BYTES = 16, 32
SEPARATOR = "."
API_KEY = re.compile(r"([A-Za-z0-9_-]{8,60})\.([A-Za-z0-9_-]{20,100})", re.ASCII)
NO_HASH = "0" * 64
"""What a secret is compared with where no key is live, so that this takes as long."""

DEFAULT_LIFETIME = timedelta(days=365)
"""Of a key whose maker does not say when it is to end (specification, API key management)."""


@dataclass(frozen=True)
class IssuedKey:
    """A new key: the only time that its whole text is there."""

    row: ApiKey
    text: str = field(repr=False)


class ApiKeys:
    """Makes API keys, and finds whom one stands for. `max_lifetime` in seconds; `per_user` is how many live keys an account may have."""

    def __init__(self, *, max_lifetime: int, per_user: int) -> None:
        self._max_lifetime = timedelta(seconds=max_lifetime)
        self._per_user = per_user

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(max_lifetime=settings.api_key_max_lifetime, per_user=settings.api_keys_per_user)

    async def issue(self, repositories: Any, user_id: UUID, asked: ApiKeyRequest, request: RequestInfo) -> IssuedKey:
        """A new key of a user. Raises `UserError` for one that is to live too long, or one too many."""
        latest = repositories.now() + self._max_lifetime
        if asked.expires_at is not None and asked.expires_at > latest:
            raise UserError(ErrorCode.INVALID, f"must not be later than {latest:%Y-%m-%dT%H:%M:%SZ}", "expires_at")
        identifier, secret = secrets.token_urlsafe(IDENTIFIER_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        key = ApiKeyCreate(
            name=asked.name,
            scopes=asked.scopes,
            user_id=user_id,
            key_identifier=identifier,
            key_preview=f"{identifier}...",
            key_hash=secret_hash(identifier, secret),
            expires_at=asked.expires_at or min(repositories.now() + DEFAULT_LIFETIME, latest),
        )
        async with repositories.transaction() as tx:
            row = await tx.api_keys.create_within(key, self._per_user)
            details = {"name": row.name, "keyIdentifier": identifier, "scopes": row.scopes}
            await record(tx, SecurityEventType.API_KEY_CREATED, user_id, request, details=details)
        return IssuedKey(row, f"{identifier}{SEPARATOR}{secret}")

    async def revoke(self, repositories: Any, user_id: UUID, key_id: UUID, request: RequestInfo) -> ApiKey:
        """End a key of a user, at once and for good. Raises `NotFound`, for another's key as well."""
        async with repositories.transaction() as tx:
            row: ApiKey = await tx.api_keys.update_status(key_id, ApiKeyStatus.REVOKED, user_id)
            details = {"name": row.name, "keyIdentifier": row.key_identifier}
            await record(tx, SecurityEventType.API_KEY_REVOKED, user_id, request, details=details)
        return row

    async def find(self, repositories: Any, text: str, generation: int) -> Known:
        """Whom a key stands for. Raises one and the same `AccessDenied`, after the same work, for one that is unknown, revoked, expired
        or another's secret, or whose owner may not act."""
        parts = API_KEY.fullmatch(text)
        identifier, secret = parts.groups() if parts else ("", "")
        holder = await repositories.api_keys.find_holder(identifier)
        good = hmac.compare_digest(NO_HASH if holder is None else holder.key_hash, secret_hash(identifier, secret))
        metrics: Metrics = repositories.metrics
        metrics.api_keys.labels("success" if good else "failure").inc()
        if holder is None or not good:
            raise AccessDenied(UNAUTHENTICATED, "the API key is unknown, or is no longer good; make a new one")
        key = KeyUse(holder.id, SCOPES.intersection(holder.scopes), holder.rate_limit)
        return known(holder, repositories.now(), generation, key=key)


def is_api_key(token: str) -> bool:
    """Whether a bearer token is written as a key; the tokens of sessions have no dot."""
    return SEPARATOR in token


def secret_hash(identifier: str, secret: str) -> str:
    """What is stored of a secret: its HMAC-SHA-256 (hex) under the key's identifier.

    A fast hash is right here. Slow ones such as argon2 make guessing dear, which passwords need since people choose from few; among
    2^256 random secrets there is nothing to guess, and each request would pay for it. With the identifier as its key, a hash copied
    into another row opens nothing.
    """
    return hmac.digest(identifier.encode(), secret.encode(), "sha256").hex()
