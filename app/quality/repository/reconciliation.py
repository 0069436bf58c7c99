"""Reconciliation rules, their runs and repairs: every statement on them. For staff; no shopper sees any."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Uuid, and_, any_, bindparam, func, literal, null, or_, select, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.batch import KEY, many_by
from app.core.errors import ErrorCode
from app.core.leases import LeasedRepository
from app.core.model import TEXT, TEXT_LIST, TIMESTAMP
from app.core.repository import Repository
from app.core.security import ViewerKind
from app.quality.models import (
    UNFINISHED,
    ExecutionStatus,
    ReconciliationExecution,
    ReconciliationRule,
    RepairOperation,
    RepairStatus,
)
from app.quality.repository.checks import NEWEST_RUN_FIRST
from app.quality.repository.scope import platform_rows, platform_rows_to_change

OPEN = (ExecutionStatus.PENDING.value, ExecutionStatus.RUNNING.value)


class ReconciliationRuleRepository(Repository[ReconciliationRule]):
    """Which tables must agree."""

    model = ReconciliationRule
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_reconciliation_rules_name": (ErrorCode.TAKEN, "name", "another rule has this name; give it another one"),
        "ck_reconciliation_rules_columns_pair": (
            ErrorCode.INVALID,
            "target_columns",
            "must be as many as sourceColumns, with which they are compared in pairs",
        ),
    }

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows(viewer)

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows_to_change(viewer)

    async def find_enabled(self) -> list[ReconciliationRule]:
        """The rules that run by themselves, the next one first; those without a time come last."""
        statement = self.statement(
            "find_enabled",
            lambda: (
                self.base().where(self.table.c.enabled).order_by(self.table.c.next_run_at.asc().nulls_last(), self.table.c.id).limit(1000)
            ),
        )
        return await self.rows(statement)

    async def lock_due(self, now: datetime, limit: int) -> list[ReconciliationRule]:
        """Enabled rules whose time has come, for the open transaction alone: others at once find others."""
        statement = self.statement("lock_due", self._due)
        return await self.rows(statement, now=now, row_limit=limit)

    async def enable_rule(self, id: UUID) -> ReconciliationRule:
        return await self.update_by_id(id, {"enabled": True})

    async def disable_rule(self, id: UUID) -> ReconciliationRule:
        return await self.update_by_id(id, {"enabled": False})

    def _due(self) -> Any:
        due = self.base().where(self.table.c.enabled, self.table.c.next_run_at <= bindparam("now", type_=TIMESTAMP))
        return due.order_by(self.table.c.next_run_at).limit(bindparam("row_limit")).with_for_update(skip_locked=True)


class ReconciliationExecutionRepository(LeasedRepository[ReconciliationExecution]):
    """Runs of rules, each one process's at a time.

    What differs, by row and value, is of all stores: `details` are for those who may change what these rows are about.
    """

    model = ReconciliationExecution
    unfinished = OPEN
    at_work = ExecutionStatus.RUNNING.value
    asked_at = "executed_at"

    find_by_rule_ids = many_by("rule_id", sorts=NEWEST_RUN_FIRST, limit=50)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows(viewer)

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows_to_change(viewer)

    async def get_latest_for_rule(self, rule_id: UUID) -> ReconciliationExecution | None:
        return await self.find_first({"rule_id": rule_id}, NEWEST_RUN_FIRST)

    async def find_details(self, ids: Sequence[UUID]) -> list[Any]:
        """The details of runs in the order of their ids, None where the viewer may not see them."""
        statement = self.statement("find_details", self._details)
        found = {row.id: row.details for row in await self.rows(statement, ids=list(ids))}
        return [found.get(id) for id in ids]

    async def open(self, rule_id: UUID) -> tuple[ReconciliationExecution, bool]:
        """The run of a rule that has not ended, and whether it is a new one."""
        made = await self.row(self.statement("open", self._opening), rule_id=rule_id)
        if made is not None:
            return made, True
        found = await self.find_first({"rule_id": rule_id, "status": list(OPEN)})
        # The one that was in the way has ended meanwhile.
        return (found, False) if found is not None else await self.open(rule_id)

    def _details(self) -> Any:
        columns = self.table.c
        asked = columns.id == any_(bindparam("ids", type_=ARRAY(KEY)))
        return select(columns.id, columns.details).where(asked, self.visible(self.table, writing=True))

    def _opening(self) -> Any:
        new = upsert(self.table).values(rule_id=bindparam("rule_id", type_=Uuid))
        return new.on_conflict_do_nothing(index_elements=["rule_id"], index_where=text(UNFINISHED)).returning(*self.table.c)


class RepairOperationRepository(Repository[RepairOperation]):
    """Repairs of discrepancies, with what the rows of whatever store held: for staff who work for none."""

    model = RepairOperation

    find_by_execution_ids = many_by("execution_id", sorts=NEWEST_RUN_FIRST, limit=50)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return platform_rows_to_change(viewer)

    async def find_by_operation_id(self, operation_id: str) -> list[RepairOperation]:
        return await self.find_many({"operation_id": operation_id}, NEWEST_RUN_FIRST)

    async def claim(self, execution_id: UUID, type: str, keys: Sequence[str], before: datetime) -> list[RepairOperation]:
        """Repairs of rows that are the caller's to make: of those that were not made, failed, or were begun before a time."""
        statement = self.statement("claim", self._claiming)
        return await self.rows(statement, execution_id=execution_id, type=type, keys=list(keys), before=before, now=self.repositories.now())

    async def end(self, repair: RepairOperation, values: Mapping[str, Any]) -> bool:
        """Say how a repair ended, unless somebody else has claimed it since."""
        own = {"id": repair.id, "status": RepairStatus.PENDING.value, "executed_at": repair.executed_at}
        return await self.update_many(own, values) == 1

    async def find_repaired(self, execution_id: UUID) -> set[str]:
        """The keys of the rows of a run that are repaired."""
        statement = self.statement("find_repaired", self._repaired)
        return {row.operation_id for row in await self.rows(statement, execution_id=execution_id)}

    async def find_of(self, execution_id: UUID, keys: Sequence[str]) -> list[RepairOperation]:
        """The repairs of some rows of a run, at most 500."""
        statement = self.statement("find_of", self._of)
        return await self.rows(statement, execution_id=execution_id, keys=list(keys))

    def _repaired(self) -> Any:
        done = self.table.c.status == RepairStatus.SUCCESS.value
        return self.base().where(self.table.c.execution_id == bindparam("execution_id"), done)

    def _of(self) -> Any:
        asked = self.table.c.operation_id == any_(bindparam("keys", type_=TEXT_LIST))
        return (
            self.base().where(self.table.c.execution_id == bindparam("execution_id"), asked).order_by(self.table.c.operation_id).limit(500)
        )

    def _claiming(self) -> Any:
        columns, now = self.table.c, bindparam("now", type_=TIMESTAMP)
        key = func.unnest(bindparam("keys", type_=TEXT_LIST)).column_valued("key")
        values = select(
            key,
            bindparam("execution_id", type_=Uuid),
            bindparam("type", type_=TEXT),
            literal(RepairStatus.PENDING.value, TEXT),
            now,
        )
        new = upsert(self.table).from_select(["operation_id", "execution_id", "type", "status", "executed_at"], values)
        late = and_(columns.status == RepairStatus.PENDING.value, columns.executed_at < bindparam("before", type_=TIMESTAMP))
        return new.on_conflict_do_update(
            index_elements=["execution_id", "operation_id"],
            index_where=text("execution_id is not null"),
            set_={"status": RepairStatus.PENDING.value, "executed_at": now, "error": null()},
            where=or_(columns.status == RepairStatus.FAILED.value, late),
        ).returning(*columns)
