"""Checks that run by themselves: every statement on them."""

from typing import Any

from sqlalchemy import ColumnElement, DateTime, bindparam, func, select, update

from app.core.repository import Repository
from app.core.security import ViewerKind
from app.quality.models.schedules import QualitySchedule
from app.quality.repository.scope import platform_rows, platform_rows_to_change


class QualityScheduleRepository(Repository[QualitySchedule]):
    """Schedules are read by staff, and changed by staff who work for no store."""

    model = QualitySchedule

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows(viewer)

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows_to_change(viewer)

    async def claim_due(self, limit: int) -> list[QualitySchedule]:
        """The schedules whose time has come, up to `limit`, each given to one caller only: this statement sets their next time."""
        return await self.rows(self.statement("claim_due", self._claiming), now=self.repositories.now(), row_limit=limit)

    def _claiming(self) -> Any:
        columns, now = self.table.c, bindparam("now", type_=DateTime(timezone=True))
        due = select(columns.id).where(columns.enabled, columns.next_run_at <= now).order_by(columns.next_run_at)
        claimed = due.limit(bindparam("row_limit")).with_for_update(skip_locked=True).scalar_subquery()
        later = now + func.make_interval(0, 0, 0, 0, 0, columns.interval_minutes)
        changed = update(self.table).where(columns.id.in_(claimed)).values(last_run_at=now, next_run_at=later)
        return changed.returning(*columns)
