"""What can be done about the quality of the data."""

import strawberry

from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import mutation
from app.api.permissions import requires
from app.api.scalars import decode_id
from app.quality.types.checks import QualityAnomalyPayload

WRITE = requires("quality:write")


@strawberry.type
class QualityMutation:
    @mutation(access=WRITE, description="Say that an anomaly was dealt with; the first time counts.")
    async def resolve_quality_anomaly(self, info: Info, input: IdInput) -> QualityAnomalyPayload | None:
        context = info.context
        id = decode_id(input.id, "QualityAnomaly", "id")
        return QualityAnomalyPayload(anomaly=await context.repositories.quality_anomalies.resolve(id, context.viewer.user_id))
