"""What can be asked of events."""

import strawberry

from app.analytics.types import UserEvent, UserEventFilter, UserEventOrder
from app.api.connection import Connection, connection
from app.api.permissions import requires


@strawberry.type
class AnalyticsQuery:
    user_events: Connection[UserEvent] = connection(
        "user_events",
        access=requires("events:read"),
        filter=UserEventFilter,
        order=UserEventOrder,
        elsewhere=True,
        description="What shoppers did, newest first; staff see their store's events.",
    )
