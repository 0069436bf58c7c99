"""Quality checks and what they found, as GraphQL shows them."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import strawberry
from strawberry.scalars import JSON

from app.accounts.types import CreatedOrder, User
from app.api.computed import computed
from app.api.connection import Connection, OrderDirection
from app.api.filters import BooleanFilter, Comparison, DateTimeFilter, StringFilter, filter_input
from app.api.limits import LARGEST_INT
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import requires
from app.api.relations import to_connection, to_one
from app.quality import models

READ = requires("quality:read")

for enum, description in (
    (models.ValidationStatus, "PASSED found nothing, WARNING little, FAILED enough to act upon; ERROR could not be run."),
    (models.ValidationSeverity, "How much it matters, by the share of rows and by their number."),
    (models.QualityCheckType, "What a check looks for."),
    (models.AnomalyType, "What is wrong with a row."),
):
    strawberry.enum(enum, description=description)


def _shown(count: int) -> int:
    return min(count, LARGEST_INT)


@strawberry.type(description="Something wrong in the data, open until somebody resolves it.")
class QualityAnomaly(Node):
    model = models.QualityAnomaly
    access = READ

    type: models.AnomalyType
    table_name: str
    column_name: str | None
    record_id: str | None = strawberry.field(description="The key of the row in its table.")
    severity: models.ValidationSeverity
    details: JSON | None
    sample_data: JSON | None
    affected_rows: int = computed(_shown, needs=("affected_rows",))
    resolved: bool
    resolved_at: datetime | None
    created_at: datetime
    resolved_by: User | None = to_one("users", "find_known_by_ids", key="resolved_by", access=requires("users:read"))
    validation: "QualityValidation | None" = to_one("quality_validations", key="validation_id", description="The run that found it first.")


@filter_input
class QualityAnomalyFilter:
    type: Comparison[models.AnomalyType] | None
    table_name: StringFilter | None
    column_name: StringFilter | None
    record_id: StringFilter | None
    severity: Comparison[models.ValidationSeverity] | None
    resolved: BooleanFilter | None
    created_at: DateTimeFilter | None


@strawberry.type(description="One run of a check of a table, or of one of its columns.")
class QualityValidation(Node):
    model = models.QualityValidation
    access = READ

    table_name: str
    column_name: str | None
    check_type: models.QualityCheckType
    check_name: str
    status: models.ValidationStatus
    severity: models.ValidationSeverity
    details: JSON | None = strawberry.field(description="How many rows there are, the keys of some that are wrong, and what was asked.")
    affected_rows: int = computed(_shown, needs=("affected_rows",), description="How many rows are wrong.")
    executed_at: datetime
    execution_time: Decimal | None = strawberry.field(description="Milliseconds that the check took.")
    created_at: datetime
    anomalies: Connection[QualityAnomaly] = to_connection(
        "quality_anomalies", by="validation_id", filter=QualityAnomalyFilter, order=CreatedOrder, description="What this run found first."
    )


@filter_input
class QualityValidationFilter:
    table_name: StringFilter | None
    column_name: StringFilter | None
    check_type: Comparison[models.QualityCheckType] | None
    check_name: StringFilter | None
    status: Comparison[models.ValidationStatus] | None
    severity: Comparison[models.ValidationSeverity] | None
    executed_at: DateTimeFilter | None


@strawberry.enum(description="What runs of checks can be sorted by.")
class QualityValidationOrderField(StrEnum):
    EXECUTED_AT = "executed_at"
    CREATED_AT = "created_at"
    TABLE_NAME = "table_name"
    AFFECTED_ROWS = "affected_rows"


@strawberry.input
class QualityValidationOrder:
    field: QualityValidationOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type(description="A check that runs by itself.")
class QualitySchedule(Node):
    model = models.QualitySchedule
    access = READ

    table_name: str
    column_name: str | None
    check_type: models.QualityCheckType
    parameters: JSON
    interval_minutes: int = strawberry.field(description="Minutes between two runs.")
    enabled: bool
    last_run_at: datetime | None
    next_run_at: datetime
    created_at: datetime
    updated_at: datetime


@strawberry.type
class QualitySchedulePayload(Payload):
    schedule: QualitySchedule | None = None


@strawberry.type
class DeletedQualitySchedulePayload(Payload):
    deleted: bool = False


@strawberry.type
class QualityAnomalyPayload(Payload):
    anomaly: QualityAnomaly | None = None


@strawberry.type
class QualityValidationPayload(Payload):
    validation: QualityValidation | None = None
