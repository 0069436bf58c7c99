"""What can be done about the quality of the data."""

from typing import Any

import strawberry
from strawberry.scalars import JSON

from app.api.context import Context, Info
from app.api.errors import FORBIDDEN, AccessDenied
from app.api.inputs import IdInput
from app.api.mutations import mutation
from app.api.permissions import requires
from app.api.rate_limit import Rate
from app.api.scalars import decode_id
from app.quality.checks import CheckRequest, Checks
from app.quality.models import QualityCheckType
from app.quality.types.checks import QualityAnomalyPayload, QualityValidationPayload

WRITE = requires("quality:write")


@strawberry.input
class RunQualityCheckInput:
    table_name: str
    check_type: QualityCheckType
    column_name: str | None = strawberry.field(default=None, description="Which column; not for the rules of CONSISTENCY_CHECK.")
    parameters: JSON | None = strawberry.field(
        default=None,
        description="An object: `min`, `max` of RANGE_CHECK; `pattern` or `format` (EMAIL, URL, UUID, CURRENCY, SLUG) of FORMAT_CHECK; "
        "`table`, `column` of REFERENCE_CHECK; `columns`, more that make up the key, of DUPLICATE_CHECK; `operator` (EQ, LT, LTE, GT, GTE) "
        "and `column`, or `rule` (LINES_TOTAL, PAID) of CONSISTENCY_CHECK; `maxAgeSeconds` of FRESHNESS_CHECK.",
    )


def for_the_platform(context: Context) -> None:
    """Raises `AccessDenied` for staff of one store: a check looks at the rows of all stores."""
    viewer = context.viewer
    if not viewer.sees_everything and viewer.store_id is not None:
        raise AccessDenied(FORBIDDEN, "checks look at the rows of all stores; this is for staff who work for no store in particular")


@strawberry.type
class QualityMutation:
    @mutation(
        access=WRITE,
        rate=Rate("120/hour"),
        description="Check a table, or one of its columns, now. A check that takes too long ends with the status ERROR.",
    )
    async def run_quality_check(self, info: Info, input: RunQualityCheckInput) -> QualityValidationPayload | None:
        for_the_platform(info.context)
        checks = Checks(info.context.repositories.unscoped)
        request = CheckRequest(input.check_type, input.table_name, input.column_name, input.parameters)
        validation: Any = await checks.run(await checks.prepare(request))
        return QualityValidationPayload(validation=validation)

    @mutation(access=WRITE, description="Say that an anomaly was dealt with; the first time counts.")
    async def resolve_quality_anomaly(self, info: Info, input: IdInput) -> QualityAnomalyPayload | None:
        context = info.context
        id = decode_id(input.id, "QualityAnomaly", "id")
        return QualityAnomalyPayload(anomaly=await context.repositories.quality_anomalies.resolve(id, context.viewer.user_id))
