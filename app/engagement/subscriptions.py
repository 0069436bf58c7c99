"""What users are told of notifications as they come."""

import strawberry

from app.api.permissions import mine
from app.api.updates import updates
from app.core.security import Viewer
from app.engagement.types import Notification


def _all(_viewer: Viewer) -> None:
    return None


@strawberry.type
class NotificationSubscription:
    notification_received: Notification = updates(
        "notifications", _all, access=mine("notifications:read"), only_own=True, description="Each new notification of the caller."
    )
