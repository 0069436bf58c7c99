"""What can be asked of the quality of the data."""

from dataclasses import replace
from datetime import datetime

import strawberry

from app.accounts.types import CreatedOrder
from app.api.connection import Connection, connection, page_request
from app.api.context import Info
from app.api.permissions import protected
from app.execution.declarations import Listing
from app.quality.models import ValidationStatus
from app.quality.repository import NEWEST_RUN_FIRST
from app.quality.types.checks import (
    READ,
    QualityAnomaly,
    QualityAnomalyFilter,
    QualitySchedule,
    QualityValidation,
    QualityValidationFilter,
    QualityValidationOrder,
)

FAILED = Listing("quality_validations", QualityValidationFilter, QualityValidationOrder, NEWEST_RUN_FIRST)


@strawberry.type
class QualityQuery:
    quality_validations: Connection[QualityValidation] = connection(
        "quality_validations",
        access=READ,
        filter=QualityValidationFilter,
        order=QualityValidationOrder,
        sorts=NEWEST_RUN_FIRST,
        description="Runs of checks, the newest first.",
    )

    @strawberry.field(  # type: ignore[untyped-decorator]
        description="The checks that failed since a time (specification, getFailedQualityChecks), the newest first.", **protected(READ)
    )
    async def failed_quality_checks(
        self,
        info: Info,
        since: datetime,
        first: int | None = None,
        after: str | None = None,
        last: int | None = None,
        before: str | None = None,
        filter: QualityValidationFilter | None = None,
        order_by: list[QualityValidationOrder] | None = None,
    ) -> Connection[QualityValidation]:
        request = page_request(FAILED, info.context.viewer, first, after, last, before, filter, order_by)
        failed = {"status": ValidationStatus.FAILED.value, "executed_at": {"gte": since}}
        request = replace(request, where={"and": [request.where or {}, failed]})
        page: Connection[QualityValidation] = await info.context.repositories.quality_validations.find_page(request)
        return page

    quality_anomalies: Connection[QualityAnomaly] = connection(
        "quality_anomalies",
        access=READ,
        filter=QualityAnomalyFilter,
        order=CreatedOrder,
        description="What checks found, the newest first; `filter: { resolved: { eq: false } }` gives what is still open.",
    )

    quality_schedules: Connection[QualitySchedule] = connection(
        "quality_schedules", access=READ, order=CreatedOrder, description="The checks that run by themselves, the newest first."
    )
