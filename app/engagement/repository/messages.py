"""Notifications of users."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.changes import Announced, Kind
from app.core.paging import NEWEST_FIRST
from app.core.repository import Repository, as_values
from app.core.scope import own_rows
from app.core.security import ViewerKind
from app.engagement.models import Notification, NotificationCreate

NOTIFICATIONS_SHOWN = 50


class NotificationRepository(Repository[Notification]):
    """Notifications are their reader's alone."""

    model = Notification
    announces = Announced("notifications", kinds=frozenset({Kind.INSERT}))

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_rows(table, viewer)

    async def create_once(self, id: UUID, notification: NotificationCreate) -> bool:
        """A notification under an id of the caller's; whether it was not there yet."""
        values = {"id": id, **as_values(notification)}
        statement = self.statement(("create_once", tuple(values)), lambda: self._creating_once(tuple(values)))
        return await self.row(statement, **{f"v_{name}": value for name, value in values.items()}) is not None

    async def find_by_user_id(self, user_id: UUID, *, unread_only: bool = False) -> list[Notification]:
        """A user's newest notifications, at most 50."""
        where = {"user_id": user_id, **({"read": False} if unread_only else {})}
        return await self.find_many(where, NEWEST_FIRST, limit=NOTIFICATIONS_SHOWN)

    async def mark_as_read(self, id: UUID) -> Notification:
        """Say that a notification was read; the first time counts. Raises `NotFound`."""
        await self.update_many({"id": id, "read": False}, self._reading())
        return await self.get_by_id(id)

    async def mark_multiple_as_read(self, ids: Sequence[UUID]) -> int:
        return await self.update_many({"id": list(ids), "read": False}, self._reading())

    async def mark_all_as_read(self, user_id: UUID) -> int:
        """Read everything that a user has not read; returns how many."""
        return await self.update_many({"user_id": user_id, "read": False}, self._reading())

    async def get_unread_count(self, user_id: UUID) -> int:
        return await self.count({"user_id": user_id, "read": False})

    async def cleanup_old_read_notifications(self, before: datetime) -> int:
        """Remove what was read before a time; returns how many."""
        return await self.delete_many({"read_at": {"lt": before}})

    def _creating_once(self, names: tuple[str, ...]) -> Any:
        row = upsert(self.table).values({name: self._parameter(name) for name in names})
        return row.on_conflict_do_nothing(index_elements=["id"]).returning(*self.table.c)

    def _reading(self) -> dict[str, Any]:
        return {"read": True, "read_at": self.repositories.now()}
