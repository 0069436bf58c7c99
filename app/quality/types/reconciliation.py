"""Reconciliation rules, their runs and repairs, as GraphQL shows them."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from app.accounts.types import CreatedOrder
from app.api.computed import batched, computed
from app.api.connection import Connection, OrderDirection
from app.api.filters import BooleanFilter, Comparison, DateTimeFilter, StringFilter, filter_input
from app.api.limits import LARGEST_INT
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import requires
from app.api.relations import to_connection, to_one
from app.quality import models

READ = requires("reconciliation:read")

for enum, description in (
    (models.ReconciliationSchedule, "How often a rule runs by itself."),
    (models.ExecutionStatus, "PASSED found nothing, WARNING 1 to 100 discrepancies, FAILED more; ERROR could not be run to its end."),
    (models.RepairStatus, "How a repair stands: PENDING ones are at work."),
):
    strawberry.enum(enum, description=description)


def _shown(count: int) -> int:
    return min(count, LARGEST_INT)


def _count(column: str, description: str | None = None) -> Any:
    return computed(_shown, needs=(column,), description=description)


async def _details(repositories: Any, ids: Sequence[UUID]) -> Sequence[Any]:
    found: Sequence[Any] = await repositories.reconciliation_executions.find_details(ids)
    return found


@strawberry.type(description="A repair of one row, with what the target held before and after.")
class RepairOperation(Node):
    model = models.RepairOperation
    access = READ

    operation_id: str = strawberry.field(description="The key of the row.")
    type: str = strawberry.field(description="RESHIP writes the row of the source into the target, or hides what the source does not have.")
    status: models.RepairStatus
    error: str | None
    executed_at: datetime
    details: JSON | None = strawberry.field(description="The table, and the row's values `before` and `after`; null for no row.")
    created_at: datetime


@filter_input
class RepairOperationFilter:
    status: Comparison[models.RepairStatus] | None
    operation_id: StringFilter | None


@strawberry.type(description="One run of a rule.")
class ReconciliationExecution(Node):
    model = models.ReconciliationExecution
    access = READ

    status: models.ExecutionStatus
    progress: int = strawberry.field(description="In percent, while it runs.")
    records_checked: int = _count("records_checked", "Rows of either side.")
    discrepancies: int = _count("discrepancies", "Of all kinds.")
    missing_in_target: int = _count("missing_in_target")
    missing_in_source: int = _count("missing_in_source")
    differing: int = _count("differing", "Rows with values that differ by more than the tolerance.")
    executed_at: datetime = strawberry.field(description="When it began.")
    finished_at: datetime | None
    execution_time: Decimal | None = strawberry.field(description="Milliseconds that it took.")
    error_message: str | None = strawberry.field(description="Why it could not be run to its end.")
    details: JSON | None = batched(
        _details,
        needs=("id",),
        description="Rows and sums of both sides, and the first 1000 discrepancies with their values; for staff who work for no store.",
    )
    created_at: datetime
    rule: Annotated["ReconciliationRule", strawberry.lazy("app.quality.types.reconciliation")] = to_one(
        "reconciliation_rules", key="rule_id"
    )
    repairs: Connection[RepairOperation] = to_connection(
        "repair_operations", by="execution_id", filter=RepairOperationFilter, order=CreatedOrder, description="Newest first."
    )


@filter_input
class ReconciliationExecutionFilter:
    status: Comparison[models.ExecutionStatus] | None
    executed_at: DateTimeFilter | None


@strawberry.enum(description="What runs of rules can be sorted by.")
class ReconciliationExecutionOrderField(StrEnum):
    EXECUTED_AT = "executed_at"
    CREATED_AT = "created_at"


@strawberry.input
class ReconciliationExecutionOrder:
    field: ReconciliationExecutionOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type(description="Which columns of two tables must agree, row by row joined on a key.")
class ReconciliationRule(Node):
    model = models.ReconciliationRule
    access = READ

    name: str
    source_table: str = strawberry.field(description="The table that is right.")
    target_table: str
    join_key: str
    source_columns: list[str] = strawberry.field(description="Compared with the `targetColumns` in pairs; none: all that both tables have.")
    target_columns: list[str]
    tolerance: Decimal = strawberry.field(description="By which fraction of the larger one numbers may differ: 0.01 is 1 %.")
    enabled: bool
    schedule: models.ReconciliationSchedule
    last_run_at: datetime | None
    next_run_at: datetime | None = strawberry.field(description="Null: it runs when asked.")
    created_at: datetime
    updated_at: datetime
    executions: Connection[ReconciliationExecution] = to_connection(
        "reconciliation_executions",
        by="rule_id",
        filter=ReconciliationExecutionFilter,
        order=ReconciliationExecutionOrder,
        description="Newest first.",
    )


@filter_input
class ReconciliationRuleFilter:
    name: StringFilter | None
    source_table: StringFilter | None
    target_table: StringFilter | None
    enabled: BooleanFilter | None
    next_run_at: DateTimeFilter | None


@strawberry.enum(description="What rules can be sorted by.")
class ReconciliationRuleOrderField(StrEnum):
    CREATED_AT = "created_at"
    NAME = "name"
    NEXT_RUN_AT = "next_run_at"


@strawberry.input
class ReconciliationRuleOrder:
    field: ReconciliationRuleOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type
class ReconciliationRulePayload(Payload):
    rule: ReconciliationRule | None = None


@strawberry.type
class ReconciliationExecutionPayload(Payload):
    execution: ReconciliationExecution | None = None


@strawberry.type
class RepairDiscrepanciesPayload(Payload):
    execution: ReconciliationExecution | None = None
    repairs: list[RepairOperation] = strawberry.field(default_factory=list, description="One for each row that was asked for.")
