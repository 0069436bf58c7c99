"""Quality: checks of the stored data, what they found, rules that compare two tables, their runs and the repairs."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, Index, Numeric, text

from app.core import model
from app.core.inputs import AnyCase, Input, JsonValue, Line, Passage, Update
from app.core.model import BIG_INTEGER, JSON, TEXT, TEXT_LIST, Created, Timestamped

MILLISECONDS = Numeric(12, 3)
"""How long something took, in milliseconds."""


class ValidationStatus(StrEnum):
    """How a check or a comparison ended; ERROR is one that could not be run."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    WARNING = "WARNING"
    ERROR = "ERROR"


class ValidationSeverity(StrEnum):
    LOW = "LOW"
    MEDIUM = "MEDIUM"
    HIGH = "HIGH"
    CRITICAL = "CRITICAL"


class QualityCheckType(StrEnum):
    NULL_CHECK = "NULL_CHECK"
    DUPLICATE_CHECK = "DUPLICATE_CHECK"
    RANGE_CHECK = "RANGE_CHECK"
    FORMAT_CHECK = "FORMAT_CHECK"
    REFERENCE_CHECK = "REFERENCE_CHECK"
    CONSISTENCY_CHECK = "CONSISTENCY_CHECK"


class AnomalyType(StrEnum):
    OUTLIER = "OUTLIER"
    MISSING_DATA = "MISSING_DATA"
    DUPLICATE = "DUPLICATE"
    INCONSISTENT = "INCONSISTENT"
    INVALID_FORMAT = "INVALID_FORMAT"
    REFERENCE_ERROR = "REFERENCE_ERROR"


class ReconciliationSchedule(StrEnum):
    HOURLY = "HOURLY"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"


class RepairStatus(StrEnum):
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


class QualityValidation(Created, table=True):
    """One run of a check of a table, or of one of its columns."""

    __tablename__ = "quality_validations"
    __table_args__ = (
        model.one_of("check_type", QualityCheckType),
        model.one_of("status", ValidationStatus),
        model.one_of("severity", ValidationSeverity),
        *model.not_negative("affected_rows", "execution_time"),
        model.newest_first("quality_validations"),
        Index("ix_quality_validations_status_executed_at", "status", "executed_at"),
        Index("ix_quality_validations_table_name_executed_at", "table_name", "executed_at"),
    )

    table_name: str = model.column(max_length=128)
    column_name: str | None = model.column(None, max_length=128)
    check_type: QualityCheckType = model.choice()
    check_name: str = model.column(max_length=255)
    status: ValidationStatus = model.choice(ValidationStatus.PASSED)
    severity: ValidationSeverity = model.choice(ValidationSeverity.MEDIUM)
    details: Any | None = model.column(None, sa_type=JSON)
    affected_rows: int = model.column(0, sa_type=BIG_INTEGER)
    executed_at: datetime = model.moment("now")
    execution_time: Decimal | None = model.column(None, sa_type=MILLISECONDS)


class QualityAnomaly(Created, table=True):
    """Something wrong in the data, until it is resolved."""

    __tablename__ = "quality_anomalies"
    __table_args__ = (
        model.one_of("type", AnomalyType),
        model.one_of("severity", ValidationSeverity),
        model.stamped("resolved_at", "resolved"),
        CheckConstraint("resolved_by is null or resolved", name="resolved_by"),
        *model.not_negative("affected_rows"),
        model.newest_first("quality_anomalies"),
        model.newest_first("quality_anomalies", "table_name"),
        model.newest_first("quality_anomalies", "type"),
        model.newest_first("quality_anomalies", where="not resolved", name="ix_quality_anomalies_open"),
        model.sparse_index("quality_anomalies", "validation_id"),
        model.sparse_index("quality_anomalies", "resolved_by"),
    )

    validation_id: UUID | None = model.reference("quality_validations.id", "SET NULL", None)
    type: AnomalyType = model.choice()
    table_name: str = model.column(max_length=128)
    column_name: str | None = model.column(None, max_length=128)
    record_id: str | None = model.column(None, sa_type=TEXT)
    severity: ValidationSeverity = model.choice(ValidationSeverity.MEDIUM)
    details: Any | None = model.column(None, sa_type=JSON)
    sample_data: Any | None = model.column(None, sa_type=JSON)
    affected_rows: int = model.column(1, sa_type=BIG_INTEGER)
    resolved: bool = model.column(False)
    resolved_at: datetime | None = model.moment()
    resolved_by: UUID | None = model.reference("users.id", "SET NULL", None)


class ReconciliationRule(Timestamped, table=True):
    """Which columns of two tables must agree, row by row joined on a key. `tolerance` is a fraction: 0.01 is 1 %."""

    __tablename__ = "reconciliation_rules"
    __table_args__ = (
        model.one_of("schedule", ReconciliationSchedule),
        CheckConstraint("tolerance between 0 and 1", name="tolerance"),
        CheckConstraint("cardinality(source_columns) = cardinality(target_columns)", name="columns_pair"),
        model.newest_first("reconciliation_rules"),
        Index("ix_reconciliation_rules_due", "next_run_at", postgresql_where=text("enabled")),
    )

    name: str = model.column(max_length=255, unique=True)
    source_table: str = model.column(max_length=128)
    target_table: str = model.column(max_length=128)
    join_key: str = model.column(max_length=128)
    source_columns: list[str] = model.column([], sa_type=TEXT_LIST)
    target_columns: list[str] = model.column([], sa_type=TEXT_LIST)
    tolerance: Decimal = model.column(Decimal("0.01"), sa_type=Numeric(9, 6))
    enabled: bool = model.column(True)
    schedule: ReconciliationSchedule = model.choice(ReconciliationSchedule.DAILY)
    last_run_at: datetime | None = model.moment()
    next_run_at: datetime | None = model.moment()


class ReconciliationExecution(Created, table=True):
    """One run of a rule."""

    __tablename__ = "reconciliation_executions"
    __table_args__ = (
        model.one_of("status", ValidationStatus),
        *model.not_negative("records_checked", "discrepancies", "execution_time"),
        model.newest_first("reconciliation_executions"),
        model.newest_first("reconciliation_executions", "rule_id"),
        Index("ix_reconciliation_executions_status_executed_at", "status", "executed_at"),
    )

    rule_id: UUID = model.reference("reconciliation_rules.id", "CASCADE")
    status: ValidationStatus = model.choice()
    records_checked: int = model.column(0, sa_type=BIG_INTEGER)
    discrepancies: int = model.column(0, sa_type=BIG_INTEGER)
    executed_at: datetime = model.moment("now")
    execution_time: Decimal | None = model.column(None, sa_type=MILLISECONDS)
    details: Any | None = model.column(None, sa_type=JSON)
    error_message: str | None = model.column(None, max_length=1000)


class RepairOperation(Created, table=True):
    """One repair of one discrepancy; `details` tells the table, the row and the values before and after."""

    __tablename__ = "repair_operations"
    __table_args__ = (
        model.one_of("status", RepairStatus),
        CheckConstraint("error is null or status = 'FAILED'", name="error_of_failed"),
        model.newest_first("repair_operations"),
        model.newest_first("repair_operations", "operation_id"),
        model.sparse_index("repair_operations", "execution_id"),
    )

    operation_id: str = model.column(max_length=128)
    execution_id: UUID | None = model.reference("reconciliation_executions.id", "SET NULL", None)
    type: str = model.column(max_length=64)
    status: RepairStatus = model.choice()
    error: str | None = model.column(None, max_length=1000)
    executed_at: datetime = model.moment("now")
    details: Any | None = model.column(None, sa_type=JSON)


Identifier = Annotated[str, StringConstraints(pattern=r"^[a-z_][a-z0-9_]*$", max_length=63)]
"""The name of a table or a column; whether it exists and may be looked at is the repository's to say."""

Severity = Annotated[ValidationSeverity, AnyCase]
Status = Annotated[ValidationStatus, AnyCase]
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
Milliseconds = Annotated[Decimal, Field(ge=0, max_digits=12, decimal_places=3)]
Tolerance = Annotated[Decimal, Field(ge=0, le=1, max_digits=7, decimal_places=6)]
Columns = Annotated[list[Identifier], Field(max_length=50)]
RuleName = Annotated[str, Line(255)]
Schedule = Annotated[ReconciliationSchedule, AnyCase]


class QualityValidationCreate(Input):
    """The outcome of a check. Types, statuses and severities may be in lower case."""

    table_name: Identifier
    column_name: Identifier | None = None
    check_type: Annotated[QualityCheckType, AnyCase]
    check_name: Annotated[str, Line(255)]
    status: Status = ValidationStatus.PASSED
    severity: Severity = ValidationSeverity.MEDIUM
    details: JsonValue | None = None
    affected_rows: Count = 0
    executed_at: AwareDatetime | None = None
    execution_time: Milliseconds | None = None


class QualityAnomalyCreate(Input):
    """Something that a check found."""

    validation_id: UUID | None = None
    type: Annotated[AnomalyType, AnyCase]
    table_name: Identifier
    column_name: Identifier | None = None
    record_id: Annotated[str, Passage(255)] | None = None
    severity: Severity = ValidationSeverity.MEDIUM
    details: JsonValue | None = None
    sample_data: JsonValue | None = None
    affected_rows: Count = 1


class ReconciliationRuleCreate(Input):
    """A new rule; columns are compared in pairs."""

    name: RuleName
    source_table: Identifier
    target_table: Identifier
    join_key: Identifier
    source_columns: Columns = Field(default_factory=list)
    target_columns: Columns = Field(default_factory=list)
    tolerance: Tolerance = Decimal("0.01")
    enabled: bool = True
    schedule: Schedule = ReconciliationSchedule.DAILY
    next_run_at: AwareDatetime | None = None

    @model_validator(mode="after")
    def _columns_pair(self) -> Self:
        if len(self.source_columns) != len(self.target_columns):
            raise PydanticCustomError("columns_pair", "source_columns and target_columns must have the same length")
        return self


class ReconciliationRuleUpdate(Update):
    """What may change about a rule; `next_run_at` null means that it waits until asked."""

    nullable: ClassVar[frozenset[str]] = frozenset({"next_run_at"})

    name: RuleName | None = None
    join_key: Identifier | None = None
    source_columns: Columns | None = None
    target_columns: Columns | None = None
    tolerance: Tolerance | None = None
    enabled: bool | None = None
    schedule: Schedule | None = None
    next_run_at: AwareDatetime | None = None


class ReconciliationExecutionCreate(Input):
    """The outcome of a run."""

    rule_id: UUID
    status: Status
    records_checked: Count = 0
    discrepancies: Count = 0
    execution_time: Milliseconds | None = None
    details: JsonValue | None = None
    error_message: Annotated[str, Passage(1000)] | None = None


class RepairOperationCreate(Input):
    """The outcome of a repair."""

    operation_id: Annotated[str, Line(128)]
    execution_id: UUID | None = None
    type: Annotated[str, Line(64)]
    status: Annotated[RepairStatus, AnyCase]
    error: Annotated[str, Passage(1000)] | None = None
    details: JsonValue | None = None
