"""Runs checks of the data and writes down what they came to.

A check is prepared first: its table, columns and parameters are held against the databases' catalogs, and what does not exist is refused
with the field and what there is instead. Then its one statement runs, which may take so long and not longer, and the run, what it found
and the news of it to staff are written in one transaction, so that each run is told once.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from pydantic import ValidationError
from uuid_utils.compat import uuid7

from app.api.scalars import encode_id
from app.core.errors import ErrorCode, InvalidValue, RepositoryError, UserError
from app.engagement.models import NotificationCreate, NotificationPriority
from app.quality.models import QualityCheckType, QualityValidation, ValidationSeverity, ValidationStatus
from app.quality.models.parameters import (
    CLICKHOUSE_TABLES,
    PARAMETERS,
    RULES,
    TABLES,
    Check,
    CheckedTable,
    ColumnKind,
    Finding,
    bound_of,
    is_secret,
)
from app.quality.models.verdicts import ANOMALIES, Verdict, verdict_of_age, verdict_of_rows
from app.quality.repository.catalog import find_table
from app.quality.repository.examining import examine

CHECK_SECONDS: Final = 8.0
"""What a check's statement may take while somebody waits for it: less than a request may."""

READERS: Final = "quality:read"
ALERTING: Final = frozenset({ValidationSeverity.HIGH, ValidationSeverity.CRITICAL})
SUITABLE: Final[Mapping[QualityCheckType, frozenset[ColumnKind]]] = {
    QualityCheckType.RANGE_CHECK: frozenset({ColumnKind.NUMBER, ColumnKind.MOMENT}),
    QualityCheckType.FORMAT_CHECK: frozenset({ColumnKind.TEXT}),
    QualityCheckType.FRESHNESS_CHECK: frozenset({ColumnKind.MOMENT}),
}


@dataclass(frozen=True)
class CheckRequest:
    """A check as somebody asks for it."""

    type: QualityCheckType
    table_name: str
    column_name: str | None = None
    parameters: Any = None


@dataclass(frozen=True)
class Checks:
    """Checks on behalf of whoever may make them. Repositories are the system's; `seconds` is what a statement may take."""

    repositories: Any
    seconds: float = CHECK_SECONDS

    async def prepare(self, request: CheckRequest) -> Check:
        """The check, if all that it names is there and fits. Raises `UserError` naming the field."""
        table = await self._table(request.table_name, "table_name")
        parameters = _parameters(request)
        check = Check(request.type, table, parameters, request.column_name, await self._parent(request.type, table, parameters))
        _check_columns(check)
        return check

    async def run(self, check: Check, id: UUID | None = None) -> QualityValidation:
        """Run a check and write it down, under an id of the caller's or a new one.

        Raises `UserError` for a pattern that is none. What takes too long, or a database that does not answer, gives a run with the
        status ERROR.
        """
        started = time.perf_counter()
        try:
            finding = await examine(check, self.repositories.database, self.repositories.clickhouse, self.seconds)
            found = self._judged(check, finding)
        except InvalidValue as error:
            raise UserError(
                ErrorCode.INVALID, "is no regular expression that the database understands", ("parameters", "pattern")
            ) from error
        except RepositoryError as error:
            late = time.perf_counter() - started >= self.seconds
            reason = f"the check took longer than {self.seconds:g} s and was stopped" if late else error.message
            found = Verdict(ValidationStatus.ERROR, ValidationSeverity.MEDIUM), Finding(0), {"error": reason}
        seconds = time.perf_counter() - started
        self.repositories.metrics.work.labels("quality_check", check.type.value, found[0].status.lower()).observe(seconds)
        return await self._record(id or uuid7(), check, (Decimal(seconds) * 1000).quantize(Decimal("0.001")), *found)

    def _judged(self, check: Check, finding: Finding) -> tuple[Verdict, Finding, dict[str, Any]]:
        if check.type is QualityCheckType.FRESHNESS_CHECK:
            age = None if finding.newest is None else self.repositories.now() - finding.newest
            newest = None if finding.newest is None else finding.newest.isoformat()
            return verdict_of_age(age, check.parameters.max_age_seconds), finding, {"total": finding.total, "newest": newest}
        share = finding.affected / finding.total if finding.total else 0.0
        return verdict_of_rows(finding.affected, finding.total), finding, {"total": finding.total, "share": share, "sample": finding.sample}

    async def _record(
        self, id: UUID, check: Check, milliseconds: Decimal, verdict: Verdict, finding: Finding, details: Mapping[str, Any]
    ) -> QualityValidation:
        values = {
            "id": id,
            "table_name": check.table.name,
            "column_name": check.column,
            "check_type": check.type.value,
            "check_name": check.name,
            "status": verdict.status.value,
            "severity": verdict.severity.value,
            "details": {**details, "parameters": check.given},
            "affected_rows": finding.affected,
            "execution_time": milliseconds,
        }
        async with self.repositories.transaction() as tx:
            validation: QualityValidation = await tx.quality_validations.create(values)
            await tx.quality_anomalies.note(_anomalies(validation, check, finding))
            if validation.status == ValidationStatus.FAILED and validation.severity in ALERTING:
                await _tell_staff(tx, validation)
        return validation

    async def _table(self, name: str, *field: str) -> CheckedTable:
        found = await find_table(self.repositories, name)
        if found is None:
            known = ", ".join(sorted(TABLES | CLICKHOUSE_TABLES))
            raise UserError(ErrorCode.NOT_FOUND, f"there is no such table to check; there are {known}", field)
        return found

    async def _parent(self, type: QualityCheckType, table: CheckedTable, parameters: Any) -> CheckedTable | None:
        if type is not QualityCheckType.REFERENCE_CHECK:
            return None
        parent = await self._table(parameters.table, "parameters", "table")
        if parent.in_clickhouse != table.in_clickhouse:
            raise UserError(
                ErrorCode.INVALID, "is in another database than the table; a reconciliation rule compares those", ("parameters", "table")
            )
        return parent


def _parameters(request: CheckRequest) -> Any:
    """The parameters of the check's type. Raises `UserError` naming the one that is wrong."""
    kind, given = PARAMETERS[request.type], {} if request.parameters is None else request.parameters
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        message = first["msg"]
        if first["type"] == "extra_forbidden":
            names = ", ".join(field.alias or name for name, field in kind.model_fields.items())
            message = f"is no parameter of {request.type.value}; it takes {names or 'none'}"
        path = ("parameters", *(str(part) for part in first["loc"]))
        raise UserError(ErrorCode.REQUIRED if first["type"] == "missing" else ErrorCode.INVALID, message, path) from error


def _check_columns(check: Check) -> None:
    """Raises `UserError` for a column that is missing, unknown, secret or of a kind that does not suit the check."""
    ruled = check.type is QualityCheckType.CONSISTENCY_CHECK and check.parameters.rule is not None
    if ruled:
        if check.table.name not in RULES[check.parameters.rule]:
            tables = " and ".join(sorted(RULES[check.parameters.rule]))
            raise UserError(ErrorCode.INVALID, f"is a rule of {tables} only", ("parameters", "rule"))
        return
    if check.column is None:
        raise UserError(ErrorCode.REQUIRED, f"{check.type.value} needs a column; {_listed(check.table)}", "column_name")
    kind = _kind(check.table, check.column, "column_name")
    suitable = SUITABLE.get(check.type)
    if suitable is not None and kind not in suitable:
        needed = " or a ".join(sorted(suitable))
        raise UserError(ErrorCode.INVALID, f"is a column of kind {kind}; {check.type.value} needs a {needed}", "column_name")
    if check.type is QualityCheckType.RANGE_CHECK:
        _check_bounds(check)
    elif check.type is QualityCheckType.DUPLICATE_CHECK:
        for name in check.parameters.columns:
            _kind(check.table, name, "parameters", "columns")
    elif check.type is QualityCheckType.REFERENCE_CHECK and check.parent is not None:
        _same_kind(kind, _kind(check.parent, check.parameters.column, "parameters", "column"))
    elif check.type is QualityCheckType.CONSISTENCY_CHECK:
        _same_kind(kind, _kind(check.table, check.parameters.column, "parameters", "column"))


def _kind(table: CheckedTable, column: str, *field: str) -> ColumnKind:
    if column in table.columns:
        return table.columns[column]
    problem = "may not be looked at" if is_secret(column) else f"is no column of {table.name}"
    raise UserError(ErrorCode.NOT_FOUND, f"{problem}; {_listed(table)}", field)


def _listed(table: CheckedTable) -> str:
    return f"there are {', '.join(table.columns)}"


def _same_kind(kind: ColumnKind, other: ColumnKind) -> None:
    if ColumnKind.OTHER in (kind, other) or kind != other:
        raise UserError(ErrorCode.INVALID, f"is a column of kind {other}, which cannot be compared with a {kind}", ("parameters", "column"))


def _check_bounds(check: Check) -> None:
    expected = "a time such as 2026-01-31T12:00:00Z" if check.kind is ColumnKind.MOMENT else "a number"
    for name, bound in (("min", check.parameters.min), ("max", check.parameters.max)):
        if bound is not None and not _is_bound(check.kind, bound):
            raise UserError(ErrorCode.INVALID, f"must be {expected}", ("parameters", name))


def _is_bound(kind: ColumnKind, value: Any) -> bool:
    try:
        bound_of(kind, value)
    except ValueError:
        return False
    return True


def _anomalies(validation: QualityValidation, check: Check, finding: Finding) -> list[dict[str, Any]]:
    """A row for each of the first rows that are wrong; one for a table that is stale."""
    rule = getattr(check.parameters, "rule", None)
    about = {
        "details": None if rule is None else {"rule": rule.value},
        "validation_id": validation.id,
        "type": ANOMALIES[check.type].value,
        "table_name": check.table.name,
        "column_name": check.column,
        "severity": validation.severity,
    }
    if check.type is QualityCheckType.FRESHNESS_CHECK:
        stale = validation.status in (ValidationStatus.FAILED, ValidationStatus.WARNING)
        return [{**about, "record_id": None}] if stale else []
    return [{**about, "record_id": key} for key in finding.sample if key]


async def _tell_staff(tx: Any, validation: QualityValidation) -> None:
    """A notification to everybody who may read of it."""
    details: Any = validation.details
    wrong = f"{validation.affected_rows} of {details['total']} rows" if validation.affected_rows else "the newest row is too old"
    message = f"The check {validation.check_name} failed ({validation.severity.lower()}): {wrong}."
    metadata = {"validationId": encode_id("QualityValidation", validation.id)}
    news = [
        NotificationCreate(user_id=id, type="quality_alert", message=message, priority=NotificationPriority.HIGH, metadata=metadata)
        for id in await tx.users.find_ids_holding(READERS)
    ]
    await tx.notifications.create_many(news)
