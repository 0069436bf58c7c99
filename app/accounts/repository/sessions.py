"""Sessions: who holds a token, and until when."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Interval, bindparam, func, select, update

from app.accounts.models import SessionEndReason, UserSession
from app.accounts.repository.holders import USERS, is_active_owner, role_in_force, with_rights
from app.accounts.repository.standing import Standing
from app.core.paging import NEWEST_FIRST
from app.core.scope import own_rows
from app.core.security import ViewerKind

TOUCH_SECONDS = 60


class UserSessionRepository(Standing[UserSession]):
    """Sessions are their user's alone."""

    model = UserSession

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_rows(table, viewer)

    async def find_holder(self, token_hash: str, idle: timedelta) -> Any | None:
        """Who holds a live session: `id`, `user_id`, `store_id`, what `with_rights` says, and whether it is time to write down that the
        session is in use (`untouched`).

        None where the session has ended, or its user may not act. `idle` is how long a session lives without a request.
        """
        return await self.row(self.statement("find_holder", self._holder), token_hash=token_hash, idle=idle)

    async def update_last_activity(self, id: UUID) -> None:
        """Stamp a request of a session, at most once a minute."""
        statement = self.statement(
            "update_last_activity",
            lambda: (
                update(self.table)
                .where(self.table.c.id == bindparam("id"), self.table.c.is_active, self._untouched())
                .values(last_accessed_at=func.now(), updated_at=func.now())
                .returning(self.table.c.id)
            ),
        )
        await self.rows(statement, id=id)

    async def find_active_by_user_id(self, user_id: UUID) -> list[UserSession]:
        """A user's sessions that have neither ended nor expired, newest first."""
        where = {"user_id": user_id, "is_active": True, "expires_at": {"gt": self.repositories.now()}}
        return await self.find_many(where, NEWEST_FIRST)

    async def find_expired(self) -> list[UserSession]:
        """Sessions past their absolute life that nobody has ended."""
        return await self.find_many(self._expired())

    async def invalidate_session(self, id: UUID, reason: SessionEndReason = SessionEndReason.REVOKED) -> UserSession:
        """End a session; the first end counts. Raises `NotFound`."""
        await self.update_many({"id": id, "is_active": True}, self._ending(reason))
        return await self.get_by_id(id)

    async def invalidate_all_user_sessions(
        self, user_id: UUID, reason: SessionEndReason = SessionEndReason.REVOKED, *, keep: UUID | None = None
    ) -> int:
        """End every session of a user, but for the one to keep; returns how many were live."""
        kept = {"not": {"id": keep}} if keep else {}
        return await self.update_many({"user_id": user_id, "is_active": True, **kept}, self._ending(reason))

    async def invalidate_sessions_of(self, user_ids: Sequence[UUID], reason: SessionEndReason) -> int:
        """End every session of several users; returns how many were live."""
        return await self.update_many({"user_id": {"in": list(user_ids)}, "is_active": True}, self._ending(reason))

    async def end_surplus(self, user_id: UUID, most: int) -> int:
        """End those live sessions of a user beyond `most` that were not used for longest; returns how many."""
        statement = self.statement("end_surplus", self._surplus)
        ended = await self.rows(statement, user_id=user_id, most=most)
        await self._changed(*(session.id for session in ended))
        return len(ended)

    async def cleanup_expired_sessions(self) -> int:
        """End the sessions past their absolute life; returns how many."""
        return await self.update_many(self._expired(), self._ending(SessionEndReason.EXPIRED))

    def _expired(self) -> dict[str, Any]:
        return {"is_active": True, "expires_at": {"lte": self.repositories.now()}}

    def _ending(self, reason: SessionEndReason) -> dict[str, Any]:
        return {"is_active": False, "ended_at": self.repositories.now(), "end_reason": reason.value}

    def _surplus(self) -> Any:
        columns = self.table.c
        live = select(columns.id).where(columns.user_id == bindparam("user_id"), columns.is_active, columns.expires_at > func.now())
        surplus = live.order_by(columns.last_accessed_at.desc(), columns.id.desc()).offset(bindparam("most"))
        ending = {"is_active": False, "ended_at": func.now(), "end_reason": SessionEndReason.CONCURRENT_LIMIT.value}
        return update(self.table).where(columns.id.in_(surplus)).values(**ending, updated_at=func.now()).returning(columns.id)

    def _untouched(self) -> ColumnElement[bool]:
        return self.table.c.last_accessed_at < func.now() - timedelta(seconds=TOUCH_SECONDS)

    def _holder(self) -> Any:
        """The live session behind a token with its active user."""
        session = self.table.c
        live = (
            select(
                session.id, session.user_id, session.expires_at, USERS.c.store_id, self._untouched().label("untouched"), *role_in_force()
            )
            .join_from(self.table, USERS, is_active_owner(session.user_id))
            .where(session.token_hash == bindparam("token_hash"), session.is_active, session.expires_at > func.now())
            .where(session.last_accessed_at > func.now() - bindparam("idle", type_=Interval))
            .cte("live")
        )
        return with_rights(live)
