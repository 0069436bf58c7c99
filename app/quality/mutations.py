"""What can be done about the quality of the data."""

from datetime import datetime
from typing import Any

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from app.api.context import Context, Info
from app.api.errors import FORBIDDEN, AccessDenied
from app.api.inputs import IdInput
from app.api.mutations import mutation, validated
from app.api.permissions import requires
from app.api.rate_limit import Rate
from app.api.scalars import decode_id
from app.core.errors import ErrorCode, UserError
from app.quality.checks import CheckRequest, Checks
from app.quality.models import QualityCheckType
from app.quality.models.schedules import MAX_SCHEDULES, QualityScheduleTerms, QualityScheduleUpdate
from app.quality.types.checks import (
    DeletedQualitySchedulePayload,
    QualityAnomalyPayload,
    QualitySchedulePayload,
    QualityValidationPayload,
)

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


@strawberry.input
class CreateQualityScheduleInput(RunQualityCheckInput):
    interval_minutes: int = strawberry.field(default=1440, description="Minutes between two runs, from 5 to 44640.")
    enabled: bool = True


@strawberry.input(description="What is left out stays as it is.")
class UpdateQualityScheduleInput:
    id: strawberry.ID
    interval_minutes: int | None = UNSET
    enabled: bool | None = UNSET
    next_run_at: datetime | None = strawberry.field(default=UNSET, description="When it runs next; the present time: now.")


def for_the_platform(context: Context) -> None:
    """Raises `AccessDenied` for staff of one store: a check looks at the rows of all stores."""
    if context.viewer.is_of_one_store:
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

    @mutation(access=WRITE, description="Have a check run by itself, the first time within a minute.")
    async def create_quality_schedule(self, info: Info, input: CreateQualityScheduleInput) -> QualitySchedulePayload | None:
        for_the_platform(info.context)
        repositories = info.context.repositories
        terms = QualityScheduleTerms(interval_minutes=input.interval_minutes, enabled=input.enabled)
        request = CheckRequest(input.check_type, input.table_name, input.column_name, input.parameters)
        check = await Checks(repositories.unscoped).prepare(request)
        if await repositories.quality_schedules.count() >= MAX_SCHEDULES:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"there are {MAX_SCHEDULES} schedules, which is the most there may be; delete one")
        values = {"table_name": check.table.name, "column_name": check.column, "check_type": check.type.value}
        row = await repositories.quality_schedules.create({**values, "parameters": check.given, **terms.model_dump()})
        return QualitySchedulePayload(schedule=row)

    @mutation(access=WRITE, description="Change how often a check runs by itself, or when next.")
    async def update_quality_schedule(self, info: Info, input: UpdateQualityScheduleInput) -> QualitySchedulePayload | None:
        change, id = validated(QualityScheduleUpdate, input, without=("id",)), decode_id(input.id, "QualitySchedule", "id")
        return QualitySchedulePayload(schedule=await info.context.repositories.quality_schedules.update_by_id(id, change))

    @mutation(access=WRITE, description="Have a check run by itself no more. Its runs stay.")
    async def delete_quality_schedule(self, info: Info, input: IdInput) -> DeletedQualitySchedulePayload | None:
        if not await info.context.repositories.quality_schedules.delete_by_id(decode_id(input.id, "QualitySchedule", "id")):
            raise UserError(ErrorCode.NOT_FOUND, "there is no schedule with this id that you may delete", "id")
        return DeletedQualitySchedulePayload(deleted=True)
