"""What the database and the inputs refuse of quality checks, reconciliation and repairs."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from app.quality.models import (
    QualityAnomalyCreate,
    QualityCheckType,
    QualityValidationCreate,
    ReconciliationExecutionCreate,
    ReconciliationRuleCreate,
    ReconciliationRuleUpdate,
    ReconciliationSchedule,
    RepairOperationCreate,
    ValidationSeverity,
)

Insert = Callable[..., Awaitable[UUID]]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("quality_validations", {"check_type": "null_check"}, "ck_quality_validations_check_type"),
        ("quality_validations", {"status": "passed"}, "ck_quality_validations_status"),
        ("quality_validations", {"severity": "medium"}, "ck_quality_validations_severity"),
        ("quality_validations", {"affected_rows": -1}, "ck_quality_validations_affected_rows_not_negative"),
        ("quality_validations", {"execution_time": Decimal(-1)}, "ck_quality_validations_execution_time_not_negative"),
        ("quality_anomalies", {"type": "ODD"}, "ck_quality_anomalies_type"),
        ("quality_anomalies", {"severity": "BAD"}, "ck_quality_anomalies_severity"),
        ("quality_anomalies", {"affected_rows": -1}, "ck_quality_anomalies_affected_rows_not_negative"),
        ("quality_anomalies", {"resolved": True}, "ck_quality_anomalies_resolved_at_set"),
        ("quality_anomalies", {"resolved_at": NOW}, "ck_quality_anomalies_resolved_at_set"),
        ("reconciliation_rules", {"schedule": "daily"}, "ck_reconciliation_rules_schedule"),
        ("reconciliation_rules", {"tolerance": Decimal("-0.1")}, "ck_reconciliation_rules_tolerance"),
        ("reconciliation_rules", {"tolerance": Decimal("1.1")}, "ck_reconciliation_rules_tolerance"),
        ("reconciliation_rules", {"source_columns": ["total"]}, "ck_reconciliation_rules_columns_pair"),
        ("reconciliation_executions", {"status": "success"}, "ck_reconciliation_executions_status"),
        ("reconciliation_executions", {"records_checked": -1}, "ck_reconciliation_executions_records_checked_not_negative"),
        ("reconciliation_executions", {"discrepancies": -1}, "ck_reconciliation_executions_discrepancies_not_negative"),
        ("reconciliation_executions", {"execution_time": Decimal(-1)}, "ck_reconciliation_executions_execution_time_not_negative"),
        ("repair_operations", {"status": "DONE"}, "ck_repair_operations_status"),
        ("repair_operations", {"error": "no such row"}, "ck_repair_operations_error_of_failed"),
    ],
)
async def test_a_bad_row_is_refused(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


async def test_nobody_resolves_an_open_anomaly(insert: Insert) -> None:
    somebody = await insert("users")
    with pytest.raises(asyncpg.CheckViolationError, match="ck_quality_anomalies_resolved_by"):
        await insert("quality_anomalies", resolved_by=somebody)


async def test_a_rule_is_there_once(insert: Insert) -> None:
    await insert("reconciliation_rules", name="orders_vs_payments")
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_reconciliation_rules_name"):
        await insert("reconciliation_rules", name="orders_vs_payments")


async def test_a_rule_tolerates_one_per_cent_and_runs_daily(insert: Insert, connection: asyncpg.Connection) -> None:
    rule = await insert("reconciliation_rules")
    row = await connection.fetchrow("select tolerance, schedule, enabled from reconciliation_rules where id = $1", rule)
    assert tuple(row or ()) == (Decimal("0.01"), "DAILY", True)


async def test_repairs_outlive_the_run_that_asked_for_them(insert: Insert, connection: asyncpg.Connection) -> None:
    execution = await insert("reconciliation_executions")
    repair = await insert("repair_operations", execution_id=execution)
    await connection.execute("delete from reconciliation_rules")
    assert await connection.fetchval("select count(*) from reconciliation_executions where id = $1", execution) == 0
    assert await connection.fetchval("select execution_id from repair_operations where id = $1", repair) is None


def refused_field(model: type[Any], **values: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        model(**values)
    return str(refused.value.errors()[0]["loc"][0])


CHECK: dict[str, Any] = {"table_name": "users", "check_type": "null_check", "check_name": "users_null_check"}


def test_a_validation_in_the_case_of_the_specification() -> None:
    validation = QualityValidationCreate(**CHECK | {"severity": "medium", "status": "passed"})
    assert (validation.check_type, validation.severity) == (QualityCheckType.NULL_CHECK, ValidationSeverity.MEDIUM)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("table_name", "users; drop table users"),
        ("table_name", "Users"),
        ("column_name", 'e"mail'),
        ("check_type", "GUESS"),
        ("status", "FINE"),
        ("affected_rows", -1),
        ("affected_rows", 2**63),
        ("execution_time", Decimal("0.0001")),
        ("executed_at", datetime(2027, 1, 1)),  # noqa: DTZ001 - the naive time is the point
        ("details", float("inf")),
    ],
)
def test_a_bad_validation_is_refused(field: str, value: Any) -> None:
    assert refused_field(QualityValidationCreate, **CHECK | {field: value}) == field


RULE: dict[str, Any] = {"name": "orders_vs_payments", "source_table": "orders", "target_table": "payments", "join_key": "id"}


def test_a_rule_in_the_case_of_the_specification() -> None:
    rule = ReconciliationRuleCreate(**RULE | {"schedule": "daily", "tolerance": Decimal("0.01")})
    assert rule.schedule is ReconciliationSchedule.DAILY


@pytest.mark.parametrize(
    ("field", "value"), [("join_key", "id = id or true"), ("tolerance", Decimal(2)), ("schedule", "never"), ("name", "")]
)
def test_a_bad_rule_is_refused(field: str, value: Any) -> None:
    assert refused_field(ReconciliationRuleCreate, **RULE | {field: value}) == field


def test_columns_are_compared_in_pairs() -> None:
    with pytest.raises(ValidationError, match="must have the same length"):
        ReconciliationRuleCreate(**RULE, source_columns=["total"])
    assert ReconciliationRuleCreate(**RULE, source_columns=["total"], target_columns=["amount"]).target_columns == ["amount"]


def test_a_rule_may_wait_until_asked() -> None:
    assert ReconciliationRuleUpdate(next_run_at=None).model_dump(exclude_unset=True) == {"next_run_at": None}
    assert refused_field(ReconciliationRuleUpdate, enabled=None) == "enabled"


def test_findings_runs_and_repairs_are_checked() -> None:
    assert refused_field(QualityAnomalyCreate, type="odd", table_name="users") == "type"
    assert refused_field(ReconciliationExecutionCreate, rule_id=UUID(int=1), status="success") == "status"
    assert refused_field(RepairOperationCreate, operation_id="", type="update", status="success") == "operation_id"
