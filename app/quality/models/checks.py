"""Checks of the stored data, and what they found."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime
from sqlalchemy import CheckConstraint, Index, text

from app.core import model
from app.core.inputs import AnyCase, Input, JsonValue, Line, Passage
from app.core.model import BIG_INTEGER, JSON, TEXT, Created
from app.quality.models.values import MILLISECONDS, Count, Identifier, Milliseconds, Status, ValidationStatus


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
    FRESHNESS_CHECK = "FRESHNESS_CHECK"


class AnomalyType(StrEnum):
    OUTLIER = "OUTLIER"
    MISSING_DATA = "MISSING_DATA"
    DUPLICATE = "DUPLICATE"
    INCONSISTENT = "INCONSISTENT"
    INVALID_FORMAT = "INVALID_FORMAT"
    REFERENCE_ERROR = "REFERENCE_ERROR"


OPEN_BY_CHECK = "not resolved and validation_id is not null"
"""Anomalies that checks have noted and nobody has resolved, in SQL."""


class QualityValidation(Created, table=True):
    """One run of a check of a table, or of one of its columns."""

    __tablename__ = "quality_validations"
    __table_args__ = (
        model.one_of("check_type", QualityCheckType),
        model.one_of("status", ValidationStatus),
        model.one_of("severity", ValidationSeverity),
        *model.not_negative("affected_rows", "execution_time"),
        model.newest_first("quality_validations"),
        Index("ix_quality_validations_executed_at_id", "executed_at", "id"),
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
        Index(
            "uq_quality_anomalies_open_by_check",
            "type",
            "table_name",
            "column_name",
            "record_id",
            text("(details ->> 'rule')"),
            unique=True,
            postgresql_where=text(OPEN_BY_CHECK),
            postgresql_nulls_not_distinct=True,
        ),
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


Severity = Annotated[ValidationSeverity, AnyCase]


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
