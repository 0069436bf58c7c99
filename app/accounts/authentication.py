"""From a bearer token, a session's or an API key, to a viewer, and from credentials to a token.

What a token stands for is remembered for a few seconds, so that a busy session costs no statement per request. The repositories make every
process forget it at once when a session ends or a key is revoked, or an account, a role or a permission changes.
"""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self, cast
from uuid import UUID

from app.accounts.api_keys import ApiKeys, is_api_key
from app.accounts.mail import MailKind, enqueue_mail
from app.accounts.models import PasswordChange, SessionEndReason, User, UserSession, UserSessionCreate, is_active_user, known_of
from app.accounts.passwords import PasswordHasher
from app.accounts.repository import VIEWERS
from app.accounts.viewers import Known, known
from app.api.context import RequestInfo
from app.api.errors import UNAUTHENTICATED, AccessDenied
from app.core.errors import Conflict, ErrorCode, UserError
from app.core.metrics import Metrics
from app.core.security import ANONYMOUS, Viewer, new_token, token_hash
from app.settings import Settings

MAX_REMEMBERED = 20_000


@dataclass(frozen=True)
class Opened:
    """A new session: the only time that its token is seen."""

    token: str = field(repr=False)
    expires_at: datetime
    user: User


@dataclass(frozen=True)
class SignedIn:
    """A new session, and whom it stands for."""

    session: Opened
    viewer: Viewer


class Authenticator:
    """Finds the viewer behind a token, and opens and ends sessions. `lifetime` and `idle` in seconds."""

    def __init__(self, passwords: PasswordHasher, api_keys: ApiKeys, *, lifetime: int, idle: int) -> None:
        self._passwords = passwords
        self._api_keys = api_keys
        self._lifetime = timedelta(seconds=lifetime)
        self._idle = timedelta(seconds=idle)
        self._known: dict[str, Known] = {}

    @classmethod
    def from_settings(cls, settings: Settings, passwords: PasswordHasher, api_keys: ApiKeys) -> Self:
        return cls(passwords, api_keys, lifetime=settings.session_lifetime, idle=settings.session_idle_timeout)

    async def authenticate(self, repositories: Any, token: str | None) -> Viewer:
        """The viewer of a request. Raises `AccessDenied` for a token that is not, or no longer, good."""
        if token is None:
            return ANONYMOUS
        hashed = token_hash(token)
        generation = repositories.cache.generation(VIEWERS)
        found = self._known.get(hashed)
        if found is None or found.generation != generation or found.good_until <= repositories.now():
            self._known.pop(hashed, None)
            found = await self._find(repositories, token, generation)
            self._remember(hashed, found)
        return found.viewer

    def _remember(self, hashed: str, known: Known) -> None:
        """Those looked up longest ago are forgotten first."""
        if len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[hashed] = known

    async def sign_in(self, repositories: Any, email: str, password: str, request: RequestInfo) -> SignedIn:
        """Open a session. Raises one and the same `UserError` whatever is wrong, after the same time."""
        metrics: Metrics = repositories.metrics
        with metrics.authentication_seconds.time():
            user = await self._proved(repositories, email, password)
        metrics.logins.labels("failure" if user is None else "success").inc()
        if user is None:
            raise UserError(ErrorCode.INVALID_CREDENTIALS, "the email or the password is wrong")
        async with repositories.transaction() as tx:
            opened = await self.begin(tx, user.id, request)
        return await self.admit(repositories, opened)

    async def _proved(self, repositories: Any, email: str, password: str) -> User | None:
        """The user whose password it is. Takes as long when there is no such user."""
        user: User | None = await repositories.users.find_by_email(email)
        hashed = user.password_hash if user else None
        good = await self._passwords.verify(password, hashed)
        if user is None or hashed is None or not good or not is_active_user(user):
            return None
        if self._passwords.needs_rehash(hashed):
            await repositories.users.replace_password_hash(user.id, hashed, await self._passwords.hash(password))
        return user

    async def begin(self, repositories: Any, user_id: UUID, request: RequestInfo) -> Opened:
        """Write down a session of a user who has proved to be it; its token is good once the transaction has committed."""
        token, expires_at = new_token(), repositories.now() + self._lifetime
        session = UserSessionCreate(
            user_id=user_id,
            token_hash=token_hash(token),
            expires_at=expires_at,
            ip_address=request.ip_address,
            user_agent=request.user_agent,
        )
        await repositories.user_sessions.create(session)
        return Opened(token, expires_at, await repositories.users.update_last_login(user_id))

    async def admit(self, repositories: Any, opened: Opened) -> SignedIn:
        """Whom a session that has just begun stands for."""
        return SignedIn(opened, await self.authenticate(repositories, opened.token))

    async def end_session(self, repositories: Any, session_id: UUID, *, signed_out: bool = False) -> UserSession:
        """End one of the viewer's sessions, at once and everywhere. Raises `NotFound`, for another's session as well."""
        reason = SessionEndReason.SIGNED_OUT if signed_out else SessionEndReason.REVOKED
        session: UserSession = await repositories.user_sessions.invalidate_session(session_id, reason)
        return session

    async def change_password(self, repositories: Any, user_id: UUID, change: PasswordChange) -> User:
        """Replace a password and end every session of the account. Raises `UserError`, `Conflict`."""
        user = await repositories.users.get_by_id(user_id)
        if not await self._passwords.verify(change.current_password.get_secret_value(), user.password_hash):
            raise UserError(ErrorCode.INVALID_CREDENTIALS, "this is not the present password", "current_password")
        new = await self._passwords.hash_new(change.password.get_secret_value(), *known_of(user))
        async with repositories.transaction() as tx:
            if not await tx.users.replace_password_hash(user_id, user.password_hash, new):
                raise Conflict("the password was changed meanwhile; sign in again")
            await tx.user_sessions.invalidate_all_user_sessions(user_id, SessionEndReason.CREDENTIALS_CHANGED)
            await enqueue_mail(tx, MailKind.PASSWORD_CHANGED, user.email)
        return cast(User, user)

    async def _find(self, repositories: Any, token: str, generation: int) -> Known:
        if is_api_key(token):
            return await self._api_keys.find(repositories, token, generation)
        holder = await repositories.user_sessions.find_holder(token_hash(token), self._idle)
        if holder is None:
            raise AccessDenied(UNAUTHENTICATED, "the session has ended or never was; sign in again")
        if holder.untouched:
            await repositories.user_sessions.update_last_activity(holder.id)
        return known(holder, repositories.now(), generation, session_id=holder.id)
