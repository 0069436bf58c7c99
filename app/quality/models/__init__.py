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
from app.quality.models.values import ValidationStatus

__all__ = [
    "AnomalyType",
    "QualityAnomaly",
    "QualityAnomalyCreate",
    "QualityCheckType",
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
