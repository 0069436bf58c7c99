"""Reconciliation rules, their runs and repairs: every statement on them. For administrators; no shopper sees any."""

from uuid import UUID

from app.core.batch import many_by
from app.core.paging import Sort
from app.core.repository import Repository
from app.quality.models import ReconciliationExecution, ReconciliationRule, RepairOperation

NEWEST_RUN_FIRST = (Sort("executed_at", descending=True),)


class ReconciliationRuleRepository(Repository[ReconciliationRule]):
    """Which tables must agree."""

    model = ReconciliationRule

    async def find_enabled(self) -> list[ReconciliationRule]:
        """The rules that run by themselves, the next one first; those without a time come last."""
        statement = self.statement(
            "find_enabled",
            lambda: (
                self.base().where(self.table.c.enabled).order_by(self.table.c.next_run_at.asc().nulls_last(), self.table.c.id).limit(1000)
            ),
        )
        return await self.rows(statement)

    async def enable_rule(self, id: UUID) -> ReconciliationRule:
        return await self.update_by_id(id, {"enabled": True})

    async def disable_rule(self, id: UUID) -> ReconciliationRule:
        return await self.update_by_id(id, {"enabled": False})


class ReconciliationExecutionRepository(Repository[ReconciliationExecution]):
    """Runs of rules."""

    model = ReconciliationExecution

    find_by_rule_ids = many_by("rule_id", sorts=NEWEST_RUN_FIRST, limit=50)

    async def get_latest_for_rule(self, rule_id: UUID) -> ReconciliationExecution | None:
        return await self.find_first({"rule_id": rule_id}, NEWEST_RUN_FIRST)


class RepairOperationRepository(Repository[RepairOperation]):
    """Repairs of discrepancies."""

    model = RepairOperation

    find_by_execution_ids = many_by("execution_id", sorts=NEWEST_RUN_FIRST, limit=50)

    async def find_by_operation_id(self, operation_id: str) -> list[RepairOperation]:
        return await self.find_many({"operation_id": operation_id}, NEWEST_RUN_FIRST)
