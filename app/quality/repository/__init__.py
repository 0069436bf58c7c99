"""Quality checks, anomalies, reconciliation rules, their runs and repairs: every statement on them."""

from app.quality.repository.checks import NEWEST_RUN_FIRST, QualityAnomalyRepository, QualityValidationRepository
from app.quality.repository.reconciliation import ReconciliationExecutionRepository, ReconciliationRuleRepository, RepairOperationRepository
from app.quality.repository.schedules import QualityScheduleRepository

__all__ = [
    "NEWEST_RUN_FIRST",
    "QualityAnomalyRepository",
    "QualityScheduleRepository",
    "QualityValidationRepository",
    "ReconciliationExecutionRepository",
    "ReconciliationRuleRepository",
    "RepairOperationRepository",
]
