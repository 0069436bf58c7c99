"""What can be asked of reconciliation."""

import strawberry

from app.api.connection import Connection, connection
from app.quality.types.reconciliation import (
    READ,
    ReconciliationExecution,
    ReconciliationExecutionFilter,
    ReconciliationExecutionOrder,
    ReconciliationRule,
    ReconciliationRuleFilter,
    ReconciliationRuleOrder,
)


@strawberry.type
class ReconciliationQuery:
    reconciliation_rules: Connection[ReconciliationRule] = connection(
        "reconciliation_rules",
        access=READ,
        filter=ReconciliationRuleFilter,
        order=ReconciliationRuleOrder,
        description="The rules, newest first; active ones by their next run with "
        "`filter: { enabled: { eq: true } }, orderBy: { field: NEXT_RUN_AT }`.",
    )
    reconciliation_executions: Connection[ReconciliationExecution] = connection(
        "reconciliation_executions",
        access=READ,
        filter=ReconciliationExecutionFilter,
        order=ReconciliationExecutionOrder,
        description="Runs of rules, newest first.",
    )
