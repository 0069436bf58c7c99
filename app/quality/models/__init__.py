"""Quality: checks of the stored data, what they found, rules that compare two tables, their runs and the repairs."""

from app.quality.models.checks import (
    AnomalyType,
    QualityAnomaly,
    QualityAnomalyCreate,
    QualityCheckType,
    QualityValidation,
    QualityValidationCreate,
    ValidationSeverity,
)
from app.quality.models.reconciliation import (
    MOST_PAIRS,
    UNFINISHED,
    ExecutionStatus,
    ReconciliationExecution,
    ReconciliationExecutionCreate,
    ReconciliationRule,
    ReconciliationRuleCreate,
    ReconciliationRuleUpdate,
    ReconciliationSchedule,
    RepairOperation,
    RepairOperationCreate,
    RepairStatus,
)
from app.quality.models.schedules import QualitySchedule
from app.quality.models.values import ValidationStatus

__all__ = [
    "MOST_PAIRS",
    "UNFINISHED",
    "AnomalyType",
    "ExecutionStatus",
    "QualityAnomaly",
    "QualityAnomalyCreate",
    "QualityCheckType",
    "QualitySchedule",
    "QualityValidation",
    "QualityValidationCreate",
    "ReconciliationExecution",
    "ReconciliationExecutionCreate",
    "ReconciliationRule",
    "ReconciliationRuleCreate",
    "ReconciliationRuleUpdate",
    "ReconciliationSchedule",
    "RepairOperation",
    "RepairOperationCreate",
    "RepairStatus",
    "ValidationSeverity",
    "ValidationStatus",
]
