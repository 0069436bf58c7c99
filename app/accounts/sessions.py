"""How sessions begin and end, each with an event in the account's security log."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Self
from uuid import UUID

from app.accounts.models import SecurityEventType, SessionEndReason, User, UserSession, UserSessionCreate
from app.accounts.security_log import record
from app.api.context import RequestInfo
from app.core.errors import NotFound
from app.core.security import Viewer, new_token, token_hash
from app.settings import Settings


@dataclass(frozen=True)
class Opened:
    """A new session: the only time that its token is seen."""

    token: str = field(repr=False)
    expires_at: datetime
    user: User


class Sessions:
    """Begins and ends sessions. `lifetime` in seconds; `per_user` is how many may be live at once."""

    def __init__(self, *, lifetime: int, per_user: int) -> None:
        self._lifetime = timedelta(seconds=lifetime)
        self._per_user = per_user

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(lifetime=settings.session_lifetime, per_user=settings.sessions_per_user)

    async def begin(self, tx: Any, user: User, type: SecurityEventType, request: RequestInfo) -> Opened:
        """Begin a session of a user who has proved to be it, within the open transaction; the token is good once that has committed.

        Of more live sessions than a user may have, those end that were not used for longest. Raises `NotFound` where the user may no longer
        act, or has another password by now.
        """
        stamped = await tx.users.update_last_login(user.id, user.password_hash)
        token, expires_at = new_token(), tx.now() + self._lifetime
        session = await tx.user_sessions.create(
            UserSessionCreate(
                user_id=user.id,
                token_hash=token_hash(token),
                expires_at=expires_at,
                ip_address=request.ip_address,
                user_agent=request.user_agent,
            )
        )
        await tx.user_sessions.end_surplus(user.id, self._per_user)
        await record(tx, type, user.id, request, session_id=session.id)
        return Opened(token, expires_at, stamped)

    async def sign_out(self, repositories: Any, viewer: Viewer, request: RequestInfo) -> None:
        """End the session that a request came with."""
        await self._end(repositories, viewer, viewer.session_id, SessionEndReason.SIGNED_OUT, SecurityEventType.SIGNED_OUT, request)

    async def revoke(self, repositories: Any, viewer: Viewer, session_id: UUID, request: RequestInfo) -> UserSession:
        """End one of the viewer's sessions, at once and everywhere. Raises `NotFound`, for another's session as well."""
        return await self._end(repositories, viewer, session_id, SessionEndReason.REVOKED, SecurityEventType.SESSION_REVOKED, request)

    async def revoke_others(self, repositories: Any, viewer: Viewer, request: RequestInfo) -> int:
        """End every session of the viewer but the one that asks; returns how many were live."""
        async with repositories.transaction() as tx:
            ended: int = await tx.user_sessions.invalidate_all_user_sessions(viewer.user_id, keep=viewer.session_id)
            await record(tx, SecurityEventType.SESSIONS_REVOKED, viewer.user_id, request, details={"sessions": ended})
        return ended

    async def _end(
        self,
        repositories: Any,
        viewer: Viewer,
        session_id: UUID | None,
        reason: SessionEndReason,
        type: SecurityEventType,
        request: RequestInfo,
    ) -> UserSession:
        if session_id is None:
            raise NotFound("this request came without a session")
        async with repositories.transaction() as tx:
            session: UserSession = await tx.user_sessions.invalidate_session(session_id, reason)
            await record(tx, type, viewer.user_id, request, session_id=session_id)
        return session
