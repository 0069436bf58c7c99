"""From an email and a password to a session, unless too many have failed just now."""

from typing import Any

from app.accounts.authentication import Authenticator, SignedIn
from app.accounts.delays import Attempt
from app.accounts.models import SecurityEventType, User, is_active_user
from app.accounts.passwords import PasswordHasher
from app.accounts.sessions import Opened, Sessions
from app.api.context import RequestInfo
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.metrics import Metrics


class SignIn:
    """Opens sessions. Repositories are the system's."""

    def __init__(self, passwords: PasswordHasher, sessions: Sessions, authenticator: Authenticator) -> None:
        self._passwords = passwords
        self._sessions = sessions
        self._authenticator = authenticator

    async def sign_in(self, repositories: Any, email: str, password: str, request: RequestInfo) -> SignedIn:
        """Open a session. Raises one and the same `UserError` whatever is wrong, after the same time; `RateLimited` after too many."""
        attempt = await Attempt.of(repositories, email, request)
        await attempt.check(repositories)
        metrics: Metrics = repositories.metrics
        with metrics.authentication_seconds.time():
            user = await self._proved(repositories, email, password)
        opened = None if user is None else await self._open(repositories, user, attempt, request)
        metrics.logins.labels("failure" if opened is None else "success").inc()
        if opened is None:
            await attempt.fail(repositories, email, request)
            raise UserError(ErrorCode.INVALID_CREDENTIALS, "the email or the password is wrong")
        await self._renew_hash(repositories, opened.user, password)
        return await self._authenticator.admit(repositories, opened)

    async def _proved(self, repositories: Any, email: str, password: str) -> User | None:
        """The user whose password it is. Takes as long when there is no such user."""
        user: User | None = await repositories.users.find_by_email(email)
        good = await self._passwords.verify(password, user.password_hash if user else None)
        return user if good and user is not None and is_active_user(user) else None

    async def _open(self, repositories: Any, user: User, attempt: Attempt, request: RequestInfo) -> Opened | None:
        """None where the account or its password has changed meanwhile. Failures beside this attempt may have begun a delay."""
        try:
            async with repositories.transaction() as tx:
                await attempt.check(tx)
                await attempt.succeed(tx)
                return await self._sessions.begin(tx, user, SecurityEventType.SIGNED_IN, request)
        except NotFound:
            return None

    async def _renew_hash(self, repositories: Any, user: User, password: str) -> None:
        """A password is at hand only here: where hashes are made otherwise by now, its hash is made anew."""
        stored = user.password_hash
        if stored is not None and self._passwords.needs_rehash(stored):
            await repositories.users.replace_password_hash(user.id, stored, await self._passwords.hash(password))
