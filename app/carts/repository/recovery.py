"""Attempts to win back the carts that were left."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement

from app.carts.models import RecoveryEvent, RecoveryStatus
from app.core.paging import NEWEST_FIRST
from app.core.repository import Repository
from app.core.scope import store_rows
from app.core.security import ViewerKind


class RecoveryEventRepository(Repository[RecoveryEvent]):
    """Attempts to win back carts are for the staff of the cart's store."""

    model = RecoveryEvent

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "recovery")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "recovery", "write")

    async def find_by_cart_id(self, cart_id: UUID) -> list[RecoveryEvent]:
        return await self.find_many({"cart_id": cart_id}, NEWEST_FIRST)

    async def find_by_status(self, status: RecoveryStatus) -> list[RecoveryEvent]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def update_status(self, id: UUID, status: RecoveryStatus, outcome: str | None = None) -> RecoveryEvent:
        """Say how an attempt ended. Raises `NotFound`."""
        change: Mapping[str, Any] = {"status": status.value, **({"outcome": outcome} if outcome else {})}
        return await self.update_by_id(id, change)
