"""What can be asked of events."""

from datetime import datetime
from typing import Annotated

import strawberry

from app.analytics.insight_types import Analytics, store_of
from app.analytics.periods import Period
from app.analytics.types import UserEvent, UserEventFilter, UserEventOrder
from app.api.connection import Connection, connection
from app.api.context import Info
from app.api.permissions import protected, requires


@strawberry.type
class AnalyticsQuery:
    @strawberry.field(  # type: ignore[untyped-decorator]
        description="Figures about the events from one time until before another, at most 400 days later; staff see their store's.",
        **protected(requires("events:read")),
    )
    async def analytics(
        self,
        info: Info,
        start: Annotated[datetime, strawberry.argument(name="from")],
        to: datetime,
        store_id: strawberry.ID | None = None,
    ) -> Analytics:
        return Analytics(period=Period(start, to, await store_of(info.context, store_id)))

    user_events: Connection[UserEvent] = connection(
        "user_events",
        access=requires("events:read"),
        filter=UserEventFilter,
        order=UserEventOrder,
        elsewhere=True,
        description="What shoppers did, newest first; staff see their store's events.",
    )
