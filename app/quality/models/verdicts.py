"""What a check's figures mean: the thresholds of status and severity.

| Rows that are wrong | of all rows | or in number from | Status | Severity |
| --- | --- | --- | --- | --- |
| none | 0 | | PASSED | LOW |
| some | below 1 % | | WARNING | LOW |
| many | below 5 % | 1,000 | FAILED | MEDIUM |
| more | below 20 % | 10,000 | FAILED | HIGH |
| most | 20 % and more | 100,000 | FAILED | CRITICAL |

The worse of share and number counts. A table whose newest row is older than it may be is a WARNING up to three times that age, FAILED
and HIGH up to ten times, then CRITICAL, as is one that has no row at all.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from app.quality.models.checks import AnomalyType, QualityCheckType, ValidationSeverity
from app.quality.models.values import ValidationStatus

ANOMALIES: Final[Mapping[QualityCheckType, AnomalyType]] = {
    QualityCheckType.NULL_CHECK: AnomalyType.MISSING_DATA,
    QualityCheckType.DUPLICATE_CHECK: AnomalyType.DUPLICATE,
    QualityCheckType.RANGE_CHECK: AnomalyType.OUTLIER,
    QualityCheckType.FORMAT_CHECK: AnomalyType.INVALID_FORMAT,
    QualityCheckType.REFERENCE_CHECK: AnomalyType.REFERENCE_ERROR,
    QualityCheckType.CONSISTENCY_CHECK: AnomalyType.INCONSISTENT,
    QualityCheckType.FRESHNESS_CHECK: AnomalyType.MISSING_DATA,
}
"""What a row is that a check finds."""

LOW, MEDIUM, HIGH, CRITICAL = ValidationSeverity
STEPS: Final = ((0.20, 100_000, CRITICAL), (0.05, 10_000, HIGH), (0.01, 1_000, MEDIUM))
LATE, TOO_LATE = 3, 10


@dataclass(frozen=True)
class Verdict:
    status: ValidationStatus
    severity: ValidationSeverity


def verdict_of_rows(affected: int, total: int) -> Verdict:
    """What it means that so many rows are wrong; an empty table has none."""
    if affected == 0:
        return Verdict(ValidationStatus.PASSED, LOW)
    for share, count, severity in STEPS:
        if affected >= share * total or affected >= count:
            return Verdict(ValidationStatus.FAILED, severity)
    return Verdict(ValidationStatus.WARNING, LOW)


def verdict_of_age(age: timedelta | None, most_seconds: int) -> Verdict:
    """What it means that the newest row is so old; None where there is no row."""
    times = None if age is None else age.total_seconds() / most_seconds
    if times is None or times > TOO_LATE:
        return Verdict(ValidationStatus.FAILED, CRITICAL)
    if times > LATE:
        return Verdict(ValidationStatus.FAILED, HIGH)
    return Verdict(ValidationStatus.WARNING, LOW) if times > 1 else Verdict(ValidationStatus.PASSED, LOW)
