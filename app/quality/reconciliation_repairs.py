"""Repairs: the target made to hold what its source holds now, row by row, each written down with what was there before and after.

A row is repaired once per run: its repair is claimed before anything is done, and who comes meanwhile finds it taken. A claim whose process
died is given up after `PATIENCE`, and one that failed can be tried again; to do it twice does no harm, since the latest version counts.
No transaction is open while the other engine is spoken to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from app.core.comparison import Comparison, Key, parse_key, shown
from app.core.errors import ErrorCode, RepositoryError, UserError
from app.orders.mirror import OrderMirror
from app.quality.models import ReconciliationExecution, ReconciliationRule, RepairOperation, RepairStatus
from app.quality.reconciliation_tables import comparison_of, is_repairable

RESHIP: Final = "RESHIP"
PATIENCE: Final = timedelta(minutes=2)
MOST: Final = 500
STILL_DIFFERS: Final = "the row still differs; it may be changing, or hold a later version than any repair writes"


@dataclass(frozen=True)
class Repairs:
    """Repositories are the system's."""

    repositories: Any

    async def repair(self, execution: ReconciliationExecution, keys: Sequence[str] | None) -> list[RepairOperation]:
        """Repair rows that a run has listed, by default the first that are not repaired; gives their repairs, whoever made them.

        Raises `UserError` where the run has not ended, its rule's target cannot be repaired, or a key is none that it listed.
        """
        rule = await self.repositories.reconciliation_rules.get_by_id(execution.rule_id)
        self._check(execution, rule)
        chosen = await self._chosen(execution, keys)
        before = self.repositories.now() - PATIENCE
        claimed = await self.repositories.repair_operations.claim(execution.id, RESHIP, chosen, before)
        if claimed:
            await _Work(self.repositories, comparison_of(self.repositories, rule), claimed).run()
        found: list[RepairOperation] = await self.repositories.repair_operations.find_of(execution.id, chosen)
        return found

    def _check(self, execution: ReconciliationExecution, rule: ReconciliationRule) -> None:
        if execution.finished_at is None:
            raise UserError(ErrorCode.INVALID_TRANSITION, f"the run is {execution.status}; wait until it has ended", "execution_id")
        if not is_repairable(rule):
            message = f"{rule.target_table} is not made of {rule.source_table}, so it cannot be repaired from it"
            raise UserError(ErrorCode.INVALID, message, "execution_id")

    async def _chosen(self, execution: ReconciliationExecution, keys: Sequence[str] | None) -> list[str]:
        listed = [found["key"] for found in (execution.details or {}).get("discrepancies", ())]
        if keys is None:
            done = await self.repositories.repair_operations.find_repaired(execution.id)
            return [key for key in listed if key not in done][:MOST]
        unknown = sorted(set(keys) - set(listed))
        if unknown or len(keys) > MOST:
            message = f"{unknown[0][:80]} is no key that the run listed" if unknown else f"at most {MOST} rows at a time"
            raise UserError(ErrorCode.INVALID if unknown else ErrorCode.LIMIT_EXCEEDED, message, "keys")
        return sorted(set(keys))


@dataclass(frozen=True)
class _Work:
    """The repairs that are ours to make."""

    repositories: Any
    comparison: Comparison
    claimed: Sequence[RepairOperation]

    async def run(self) -> None:
        kind = self.comparison.target.projection.key.kind
        keys: dict[str, Key] = {repair.operation_id: parse_key(repair.operation_id, kind) for repair in self.claimed}
        try:
            before = await self._held(keys)
            await OrderMirror(self.repositories).ship(list(keys.values()), f"repair-{self.claimed[0].id}-{self.claimed[0].executed_at}")  # type: ignore[arg-type]
            after = await self._held(keys)
            wrong = {str(difference.key) for difference in await self.comparison.differences(list(keys.values()))}
        except RepositoryError as error:
            for repair in self.claimed:
                await self._end(repair, None, f"the row could not be shipped: {error.message}")
            raise
        for repair in self.claimed:
            key = repair.operation_id
            details = {"table": self.comparison.target.projection.table.name, "before": before[key], "after": after[key]}
            await self._end(repair, details, STILL_DIFFERS if key in wrong else None)

    async def _held(self, keys: Mapping[str, Key]) -> dict[str, dict[str, str | None] | None]:
        """What the target holds of each row."""
        target = self.comparison.target
        found = await target.values(list(keys.values()))
        columns = target.projection.columns
        rows = {key: {c.name: shown(c, value) for c, value in zip(columns, row, strict=True)} for key, row in found.items()}
        return {text: rows.get(key) for text, key in keys.items()}

    async def _end(self, repair: RepairOperation, details: dict[str, Any] | None, error: str | None) -> None:
        status = RepairStatus.SUCCESS if error is None else RepairStatus.FAILED
        await self.repositories.repair_operations.end(repair, {"status": status.value, "error": error, "details": details})
