"""Notifications as GraphQL shows them."""

from datetime import datetime

import strawberry
from strawberry.scalars import JSON

from app.api.node import Node
from app.api.permissions import mine
from app.engagement import models

strawberry.enum(models.NotificationPriority, description="How much a notification matters.")


@strawberry.type(description="A message to a user.")
class Notification(Node):
    model = models.Notification
    access = mine("notifications:read")

    type: str = strawberry.field(description="What it is about, such as `order`.")
    message: str
    priority: models.NotificationPriority
    read: bool
    read_at: datetime | None = strawberry.field(description="When it was first read.")
    expires_at: datetime | None
    metadata: JSON | None
    created_at: datetime
