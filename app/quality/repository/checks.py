"""Quality checks and what they found: every statement on them."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, text
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.errors import NotFound
from app.core.paging import Sort
from app.core.repository import Repository
from app.core.security import ViewerKind
from app.quality.models import QualityAnomaly, QualityValidation, ValidationStatus
from app.quality.models.checks import OPEN_BY_CHECK
from app.quality.repository.scope import platform_rows, platform_rows_to_change

NEWEST_RUN_FIRST = (Sort("executed_at", descending=True),)


class QualityValidationRepository(Repository[QualityValidation]):
    """Runs of quality checks."""

    model = QualityValidation

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows(viewer)

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows_to_change(viewer)

    async def find_failed(self, since: datetime) -> list[QualityValidation]:
        """The checks that failed since a time, newest first."""
        return await self.find_many({"status": ValidationStatus.FAILED.value, "executed_at": {"gte": since}}, NEWEST_RUN_FIRST)

    async def get_latest_for_table(self, table_name: str) -> QualityValidation | None:
        return await self.find_first({"table_name": table_name}, NEWEST_RUN_FIRST)

    async def get_validation_stats(self) -> dict[str, int]:
        """How many runs there are, and how many of each status."""
        found = await self.count_by_status(ValidationStatus)
        return {"total": sum(found.values()), **found}

    async def cleanup_old_validations(self, before: datetime) -> int:
        """Remove runs before a time; returns how many."""
        return await self.delete_many({"executed_at": {"lt": before}})


class QualityAnomalyRepository(Repository[QualityAnomaly]):
    """What the checks found."""

    model = QualityAnomaly

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows(viewer)

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows_to_change(viewer)

    async def resolve(self, id: UUID, resolved_by: UUID | None = None) -> QualityAnomaly:
        """Say that an anomaly was dealt with; the first time counts. Raises `NotFound`, also where the viewer may not change it."""
        change = {"resolved": True, "resolved_at": self.repositories.now(), "resolved_by": resolved_by}
        if not await self.update_many({"id": id, "resolved": False}, change) and not await self.changeable_ids([id]):
            raise NotFound("no QualityAnomaly has this id")
        return await self.get_by_id(id)

    async def note(self, anomalies: Sequence[Mapping[str, Any]]) -> None:
        """Write down what a run found; a row that is open already for the same column and reason is not noted again."""
        if anomalies:
            await self.rows(self.statement("note", self._noting), records=[dict(anomaly) for anomaly in anomalies])

    async def cleanup_resolved(self, before: datetime) -> int:
        """Remove what was resolved before a time; returns how many."""
        return await self.delete_many({"resolved_at": {"lt": before}})

    def _noting(self) -> Any:
        names = ("validation_id", "type", "table_name", "column_name", "record_id", "severity", "details")
        rows = upsert(self.table).from_select(list(names), self._records(names))
        once = rows.on_conflict_do_nothing(
            index_elements=[text("type, table_name, column_name, record_id, (details ->> 'rule')")], index_where=text(OPEN_BY_CHECK)
        )
        return once.returning(self.table.c.id)
