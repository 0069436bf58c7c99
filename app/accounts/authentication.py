"""From a bearer token to a viewer, and from credentials to a token.

What a token stands for is remembered for a few seconds, so that a busy session costs no statement per request; ending a session, and a
change of role or account, forget it at once, here and on every other process.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Self
from uuid import UUID

from cachetools import TTLCache

from app.accounts.models import SessionEndReason, User, UserSession, UserSessionCreate
from app.accounts.passwords import PasswordHasher
from app.api.context import RequestInfo
from app.api.errors import UNAUTHENTICATED, AccessDenied
from app.core.errors import ErrorCode, UserError
from app.core.security import ANONYMOUS, ANY, Viewer, ViewerKind, new_token, token_hash
from app.settings import Settings

REMEMBERED_SECONDS = 15
MAX_REMEMBERED = 20_000
REMEMBERED = "viewers"
"""The kind of cache key whose invalidation makes every process look its tokens up again."""


@dataclass(frozen=True)
class SignedIn:
    """A new session: the only time that its token is seen."""

    token: str
    expires_at: datetime
    user: User
    viewer: Viewer


class Authenticator:
    """Finds the viewer behind a token, and opens and ends sessions. `lifetime` and `idle` in seconds."""

    def __init__(self, passwords: PasswordHasher, *, lifetime: int, idle: int) -> None:
        self._passwords = passwords
        self._lifetime = timedelta(seconds=lifetime)
        self._idle = timedelta(seconds=idle)
        self._viewers: TTLCache[str, tuple[Viewer, int]] = TTLCache(MAX_REMEMBERED, REMEMBERED_SECONDS)

    @classmethod
    def from_settings(cls, settings: Settings, passwords: PasswordHasher) -> Self:
        return cls(passwords, lifetime=settings.session_lifetime, idle=settings.session_idle_timeout)

    async def authenticate(self, repositories: Any, token: str | None) -> Viewer:
        """The viewer of a request. Raises `AccessDenied` for a token that is not, or no longer, good."""
        if token is None:
            return ANONYMOUS
        hashed = token_hash(token)
        generation = repositories.cache.generation(REMEMBERED)
        known = self._viewers.get(hashed)
        if known is not None and known[1] == generation:
            return known[0]
        viewer = await self._find(repositories, hashed)
        self._viewers[hashed] = viewer, generation
        return viewer

    async def sign_in(self, repositories: Any, email: str, password: str, request: RequestInfo) -> SignedIn:
        """Open a session. Raises one and the same `UserError` whatever is wrong, after the same time."""
        user = await repositories.users.find_by_email(email)
        good = await self._passwords.verify(password, user.password_hash if user else None)
        if user is None or not good or user.status != "ACTIVE":
            raise UserError(ErrorCode.INVALID_CREDENTIALS, "the email or the password is wrong")
        if self._passwords.needs_rehash(user.password_hash):
            await repositories.users.update_by_id(user.id, {"password_hash": await self._passwords.hash(password)})
        return await self.open_session(repositories, user.id, request)

    async def open_session(self, repositories: Any, user_id: UUID, request: RequestInfo) -> SignedIn:
        """A new session of a user who has proved to be it."""
        token = new_token()
        expires_at = datetime.now(UTC) + self._lifetime
        session = UserSessionCreate(
            user_id=user_id,
            token_hash=token_hash(token),
            expires_at=expires_at,
            ip_address=request.ip_address,
            user_agent=request.user_agent,
        )
        async with repositories.transaction() as tx:
            await tx.user_sessions.create(session)
            user = await tx.users.update_last_login(user_id)
        return SignedIn(token, expires_at, user, await self._find(repositories, token_hash(token)))

    async def end_session(self, repositories: Any, session_id: UUID, *, signed_out: bool = False) -> UserSession:
        """End one of the viewer's sessions, at once and everywhere. Raises `NotFound`, for another's session as well."""
        reason = SessionEndReason.SIGNED_OUT if signed_out else SessionEndReason.REVOKED
        session: UserSession = await repositories.user_sessions.invalidate_session(session_id, reason)
        await self.forget(repositories)
        return session

    async def forget(self, repositories: Any) -> None:
        """Look every token up again, on every process: a session, an account or a role has changed."""
        await repositories.cache.invalidate([REMEMBERED])

    async def _find(self, repositories: Any, hashed: str) -> Viewer:
        holder = await repositories.user_sessions.find_holder(hashed, self._idle)
        if holder is None:
            raise AccessDenied(UNAUTHENTICATED, "the session has ended or never was; sign in again")
        await repositories.user_sessions.update_last_activity(holder.id)
        permissions = await repositories.roles.get_all_permissions(holder.role_id) if holder.role_id else frozenset()
        return Viewer(
            kind=_kind(permissions), user_id=holder.user_id, store_id=holder.store_id, session_id=holder.id, permissions=permissions
        )


def _kind(permissions: frozenset[str]) -> ViewerKind:
    if f"{ANY}:{ANY}" in permissions:
        return ViewerKind.ADMINISTRATOR
    return ViewerKind.STAFF if permissions else ViewerKind.SHOPPER
