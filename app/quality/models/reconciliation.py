"""Rules that compare two tables, their runs and the repairs."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, Index, Numeric, text

from app.core import model
from app.core.inputs import AnyCase, Input, JsonValue, Line, Passage, Update
from app.core.model import BIG_INTEGER, JSON, TEXT_LIST, Created, Timestamped
from app.quality.models.values import MILLISECONDS, Count, Identifier, Milliseconds

MOST_OF_WARNING: Final = 100
MOST_PAIRS: Final = 50
"""Columns that a rule compares at most."""


class ReconciliationSchedule(StrEnum):
    HOURLY = "HOURLY"
    DAILY = "DAILY"
    WEEKLY = "WEEKLY"


class ExecutionStatus(StrEnum):
    """How a run stands. PASSED found nothing, WARNING at most `MOST_OF_WARNING` discrepancies, FAILED more; ERROR could not end."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    PASSED = "PASSED"
    WARNING = "WARNING"
    FAILED = "FAILED"
    ERROR = "ERROR"

    @classmethod
    def of(cls, discrepancies: int) -> "ExecutionStatus":
        """The end of a run that found so many."""
        if discrepancies == 0:
            return cls.PASSED
        return cls.WARNING if discrepancies <= MOST_OF_WARNING else cls.FAILED


UNFINISHED: Final = f"status in ('{ExecutionStatus.PENDING}', '{ExecutionStatus.RUNNING}')"


class RepairStatus(StrEnum):
    """PENDING is a repair that somebody is at, or died of."""

    PENDING = "PENDING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


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
    """One run of a rule; a rule has at most one that has not ended.

    A run goes over the keys in order: `cursor` is the last one that was compared, so that another process can go on from there once
    `leased_until` is over. `expected` are the rows that it reckons with, `progress` is in percent. `details` holds the first
    discrepancies, the counts and the sums of both sides.
    """

    __tablename__ = "reconciliation_executions"
    __table_args__ = (
        model.one_of("status", ExecutionStatus),
        *model.not_negative(
            "records_checked",
            "discrepancies",
            "execution_time",
            "expected",
            "missing_in_target",
            "missing_in_source",
            "differing",
            "attempts",
        ),
        CheckConstraint("progress between 0 and 100", name="progress"),
        model.newest_first("reconciliation_executions"),
        model.newest_first("reconciliation_executions", "rule_id"),
        Index("ix_reconciliation_executions_status_executed_at", "status", "executed_at"),
        Index("uq_reconciliation_executions_unfinished", "rule_id", unique=True, postgresql_where=text(UNFINISHED)),
    )

    rule_id: UUID = model.reference("reconciliation_rules.id", "CASCADE")
    status: ExecutionStatus = model.choice(ExecutionStatus.PENDING)
    records_checked: int = model.column(0, sa_type=BIG_INTEGER)
    discrepancies: int = model.column(0, sa_type=BIG_INTEGER)
    executed_at: datetime = model.moment("now")
    execution_time: Decimal | None = model.column(None, sa_type=MILLISECONDS)
    details: Any | None = model.column(None, sa_type=JSON)
    error_message: str | None = model.column(None, max_length=1000)
    expected: int = model.column(0, sa_type=BIG_INTEGER)
    missing_in_target: int = model.column(0, sa_type=BIG_INTEGER)
    missing_in_source: int = model.column(0, sa_type=BIG_INTEGER)
    differing: int = model.column(0, sa_type=BIG_INTEGER)
    progress: int = model.column(0)
    attempts: int = model.column(0)
    cursor: str | None = model.column(None, max_length=64)
    leased_until: datetime | None = model.moment()
    finished_at: datetime | None = model.moment()


class RepairOperation(Created, table=True):
    """The repair of one row, once per run: `operation_id` is its key, `details` tell the table and the values before and after."""

    __tablename__ = "repair_operations"
    __table_args__ = (
        model.one_of("status", RepairStatus),
        CheckConstraint("error is null or status = 'FAILED'", name="error_of_failed"),
        model.newest_first("repair_operations"),
        model.newest_first("repair_operations", "operation_id"),
        Index(
            "uq_repair_operations_execution_id_operation_id",
            "execution_id",
            "operation_id",
            unique=True,
            postgresql_where=text("execution_id is not null"),
        ),
    )

    operation_id: str = model.column(max_length=128)
    execution_id: UUID | None = model.reference("reconciliation_executions.id", "SET NULL", None)
    type: str = model.column(max_length=64)
    status: RepairStatus = model.choice()
    error: str | None = model.column(None, max_length=1000)
    executed_at: datetime = model.moment("now")
    details: Any | None = model.column(None, sa_type=JSON)


Tolerance = Annotated[Decimal, Field(ge=0, le=1, max_digits=7, decimal_places=6)]
Columns = Annotated[list[Identifier], Field(max_length=MOST_PAIRS)]
RuleName = Annotated[str, Line(255)]
Schedule = Annotated[ReconciliationSchedule, AnyCase]


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
    """A run that ended elsewhere."""

    rule_id: UUID
    status: Annotated[ExecutionStatus, AnyCase]
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
