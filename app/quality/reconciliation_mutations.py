"""Keeping reconciliation rules, running them, and repairing what they find."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import strawberry
from strawberry import UNSET

from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import given, mutation, validated
from app.api.permissions import requires
from app.api.rate_limit import Rate
from app.api.scalars import decode_id
from app.core.errors import ErrorCode, UserError
from app.quality.models import ReconciliationRuleCreate, ReconciliationRuleUpdate, ReconciliationSchedule
from app.quality.reconciliation import Reconciliation
from app.quality.reconciliation_repairs import Repairs
from app.quality.reconciliation_tables import checked_pairs
from app.quality.types.reconciliation import (
    ReconciliationExecutionPayload,
    ReconciliationRulePayload,
    RepairDiscrepanciesPayload,
)

WRITE = requires("reconciliation:write")
TOMORROW = timedelta(days=1)


@strawberry.input
class CreateReconciliationRuleInput:
    source_table: str = strawberry.field(description="The table that is right.")
    target_table: str
    join_key: str
    name: str | None = strawberry.field(default=UNSET, description="Left out: `source_vs_target`.")
    source_columns: list[str] | None = strawberry.field(default=UNSET, description="Left out: all that both tables have.")
    target_columns: list[str] | None = strawberry.field(
        default=UNSET, description="In the order of `sourceColumns`; left out: the same names."
    )
    tolerance: Decimal = strawberry.field(default=Decimal("0.01"), description="By which fraction numbers may differ: 0.01 is 1 %.")
    schedule: ReconciliationSchedule = ReconciliationSchedule.DAILY
    enabled: bool = True
    next_run_at: datetime | None = strawberry.field(default=UNSET, description="Left out: tomorrow at this time. Null: when asked.")


@strawberry.input(description="What is left out stays as it is.")
class UpdateReconciliationRuleInput:
    id: strawberry.ID
    name: str | None = UNSET
    join_key: str | None = UNSET
    source_columns: list[str] | None = UNSET
    target_columns: list[str] | None = UNSET
    tolerance: Decimal | None = UNSET
    schedule: ReconciliationSchedule | None = UNSET
    enabled: bool | None = UNSET
    next_run_at: datetime | None = strawberry.field(default=UNSET, description="Null: it runs when asked.")


@strawberry.input
class RepairDiscrepanciesInput:
    execution_id: strawberry.ID = strawberry.field(description="A run that has ended.")
    keys: list[str] | None = strawberry.field(
        default=UNSET,
        description="Keys of rows from its `details.discrepancies`, at most 500. Left out: the first 500 that are not repaired.",
    )


@strawberry.type
class ReconciliationMutation:
    @mutation(access=WRITE, description="A new rule. Tables, key and columns are those that may be compared; a refusal lists them.")
    async def create_reconciliation_rule(self, info: Info, input: CreateReconciliationRuleInput) -> ReconciliationRulePayload | None:
        repositories = info.context.repositories
        rule = ReconciliationRuleCreate.model_validate(_with_defaults(given(input), repositories.now()))
        checked_pairs(rule)
        _for_the_platform(info)
        return ReconciliationRulePayload(rule=await repositories.reconciliation_rules.create(rule))

    @mutation(access=WRITE)
    async def update_reconciliation_rule(self, info: Info, input: UpdateReconciliationRuleInput) -> ReconciliationRulePayload | None:
        change, id = validated(ReconciliationRuleUpdate, input, without=("id",)), decode_id(input.id, "ReconciliationRule", "id")
        async with info.context.repositories.transaction() as tx:
            rule = await tx.reconciliation_rules.update_by_id(id, change)
            checked_pairs(rule)
        return ReconciliationRulePayload(rule=rule)

    @mutation(
        access=WRITE,
        rate=Rate("60/hour"),
        description="Start a rule's run, and show it; one that has not ended is shown again. Its `progress` can be watched.",
    )
    async def run_reconciliation(self, info: Info, input: IdInput) -> ReconciliationExecutionPayload | None:
        repositories = info.context.repositories
        rule = await repositories.reconciliation_rules.get_changeable(decode_id(input.id, "ReconciliationRule", "id"))
        run: Any = await Reconciliation(repositories.unscoped).start(rule)
        return ReconciliationExecutionPayload(execution=run)

    @mutation(
        access=WRITE,
        rate=Rate("60/hour"),
        description="Make the target hold what the source holds now, of rows that a run found to differ. Each is repaired once per run.",
    )
    async def repair_discrepancies(self, info: Info, input: RepairDiscrepanciesInput) -> RepairDiscrepanciesPayload | None:
        executions = info.context.repositories.reconciliation_executions
        execution = await executions.get_changeable(decode_id(input.execution_id, "ReconciliationExecution", "executionId"))
        repairs: Any = await Repairs(info.context.repositories.unscoped).repair(execution, input.keys or None)
        return RepairDiscrepanciesPayload(execution=execution, repairs=repairs)


def _with_defaults(values: dict[str, Any], now: datetime) -> dict[str, Any]:
    """What the specification has where the caller says nothing."""
    name = f"{values['source_table']}_vs_{values['target_table']}"
    columns = {"target_columns": values.get("source_columns") or []}
    chosen = {key: value for key, value in values.items() if value is not None or key == "next_run_at"}
    return {"name": name, "next_run_at": now + TOMORROW, **columns, **chosen}


def _for_the_platform(info: Info) -> None:
    if info.context.viewer.is_of_one_store:
        raise UserError(ErrorCode.FORBIDDEN, "rules are about the rows of all stores; they are made by staff who work for none")
