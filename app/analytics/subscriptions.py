"""What staff are told of their store as it happens."""

from collections.abc import AsyncIterator
from datetime import datetime

import strawberry

from app.analytics.insight_types import RevenueType, store_of
from app.analytics.live import Ticker
from app.api.context import Info
from app.api.permissions import protected, requires


@strawberry.type(description="What happened in the last five minutes.")
class LiveMetrics:
    since: datetime
    at: datetime
    events: int | None = strawberry.field(description="Events of visitors; null while they cannot be counted.")
    carts: int = strawberry.field(description="Carts created.")
    orders: int = strawberry.field(description="Orders placed.")
    revenue: list[RevenueType] = strawberry.field(description="Of orders completed, by currency.")


@strawberry.type
class AnalyticsSubscription:
    @strawberry.subscription(  # type: ignore[untyped-decorator]
        description="The figures of the last five minutes, at once and then every five seconds: of one store, or of all that the "
        "caller may see.",
        **protected(requires("events:read")),
    )
    async def live_metrics(self, info: Info, store_id: strawberry.ID | None = None) -> AsyncIterator[LiveMetrics]:
        return Ticker(info.context.repositories, await store_of(info.context, store_id))  # type: ignore[return-value]
