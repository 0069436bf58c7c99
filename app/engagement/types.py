"""Notifications and webhooks as GraphQL shows them."""

from datetime import datetime, timedelta
from typing import Any

import strawberry
from strawberry.scalars import JSON

from app.accounts.types import CreatedOrder
from app.api.computed import computed
from app.api.connection import Connection
from app.api.filters import BooleanFilter, Comparison, DateTimeFilter, IdFilter, StringFilter, filter_input, id_filter
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import mine, own, requires
from app.api.relations import to_connection, to_one
from app.carts.types import Cart
from app.engagement import models
from app.engagement.subject_features import DESCRIPTIONS
from app.stores.events import StoreEvent
from app.stores.types import Store

strawberry.enum(models.NotificationPriority, description="How much a notification matters.")
strawberry.enum(models.DeliveryStatus, description="PENDING deliveries are still tried; DELIVERED ones were taken with a 2xx status.")
strawberry.enum(StoreEvent, description="What webhooks can be told of; messages write ORDER_CREATED as `order.created`.")


def _expires_at(updated_at: datetime, ttl: int | None) -> datetime | None:
    return None if ttl is None else updated_at + timedelta(seconds=ttl)


@strawberry.type(description="A named value computed of a cart.")
class Feature(Node):
    model = models.Feature
    access = own("features:read")

    name: str
    value: JSON
    version: str = strawberry.field(description="Of the way in which it is computed.")
    description: str | None
    ttl: int | None = strawberry.field(description="Seconds that it is good for; null: until it is computed again.")
    expires_at: datetime | None = computed(_expires_at, needs=("updated_at", "ttl"))
    revision: int = strawberry.field(description="Counts its values.")
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    cart: Cart | None = to_one("carts", key="cart_id")


@strawberry.type(description="A named value computed of a shopper or a product of one store.")
class SubjectFeature:
    name: str
    value: JSON
    version: str = strawberry.field(description="Of the way in which it is computed.")
    ttl: int | None = strawberry.field(description="Seconds that it is good for; null: until it is computed again.")
    created_at: datetime = strawberry.field(description="Since when it has this value.")
    store: Store | None = to_one("stores", key="store_id")

    @strawberry.field
    @staticmethod
    def description(root: strawberry.Parent[Any]) -> str | None:
        return DESCRIPTIONS.get(root.name)

    @strawberry.field
    @staticmethod
    def expires_at(root: strawberry.Parent[Any]) -> datetime | None:
        return _expires_at(root.created_at, root.ttl)


@strawberry.type
class SubjectFeaturesPayload(Payload):
    features: list[SubjectFeature] = strawberry.field(default_factory=list)
    unavailable: list[str] = strawberry.field(
        default_factory=list, description="Names of features that could not be computed now, since the events cannot be reached."
    )


@strawberry.type
class FeaturesPayload(Payload):
    features: list[Feature] = strawberry.field(default_factory=list)
    unavailable: list[str] = strawberry.field(
        default_factory=list, description="Names of features that could not be computed now, since the events cannot be reached."
    )


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


@filter_input
class NotificationFilter:
    type: StringFilter | None
    priority: Comparison[models.NotificationPriority] | None
    created_at: DateTimeFilter | None


@strawberry.type
class NotificationPayload(Payload):
    notification: Notification | None = None


@strawberry.type
class SentNotificationPayload(Payload):
    sent: bool = strawberry.field(default=False, description="Whether it is there for its reader, who alone may see it.")


@strawberry.type
class ReadNotificationsPayload(Payload):
    read: int = strawberry.field(default=0, description="How many were still unread.")


@strawberry.type(description="A message to a webhook, and how its delivery goes. The log is kept for 30 days.")
class WebhookDelivery(Node):
    model = models.WebhookDelivery
    access = requires("webhooks:read")

    event_id: strawberry.ID = strawberry.field(description="Its `webhook-id`, over all attempts and redeliveries.")
    event_type: StoreEvent
    payload: JSON
    status: models.DeliveryStatus
    attempts: int = strawberry.field(description="Since it was last asked for.")
    next_attempt_at: datetime | None
    response_status: int | None = strawberry.field(description="HTTP status of the latest attempt.")
    duration_ms: int | None = strawberry.field(description="Milliseconds that the latest attempt took.")
    error: str | None = strawberry.field(description="Why the latest attempt failed.")
    delivered_at: datetime | None
    created_at: datetime
    updated_at: datetime


@filter_input
class WebhookDeliveryFilter:
    status: Comparison[models.DeliveryStatus] | None
    event_type: Comparison[StoreEvent] | None
    created_at: DateTimeFilter | None


@strawberry.type(description="An address of a store that is told of events of one type. Its secret is shown when it is made or replaced.")
class Webhook(Node):
    model = models.Webhook
    access = requires("webhooks:read")

    url: str
    event_type: StoreEvent
    is_active: bool = strawberry.field(description="Too many deliveries that fail in a row, or an answer 410, make it inactive.")
    failure_count: int = strawberry.field(description="Deliveries that failed in a row.")
    last_triggered_at: datetime | None = strawberry.field(description="When it was last sent something.")
    previous_secret_expires_at: datetime | None = strawberry.field(
        description="Until when messages are signed with the former secret as well."
    )
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    store: Store | None = to_one("stores", "find_known_by_ids", key="store_id")
    deliveries: Connection[WebhookDelivery] = to_connection(
        "webhook_deliveries", by="webhook_id", filter=WebhookDeliveryFilter, order=CreatedOrder, description="Newest first."
    )


@filter_input
class WebhookFilter:
    store_id: IdFilter | None = id_filter("Store")
    event_type: Comparison[StoreEvent] | None
    is_active: BooleanFilter | None
    created_at: DateTimeFilter | None


@strawberry.type
class WebhookPayload(Payload):
    webhook: Webhook | None = None


@strawberry.type
class WebhookSecretPayload(Payload):
    webhook: Webhook | None = None
    secret: str | None = strawberry.field(default=None, description="What messages are signed with, only here: `whsec_` and base64.")


@strawberry.type
class DeletedWebhookPayload(Payload):
    deleted: bool = False


@strawberry.type
class WebhookDeliveryPayload(Payload):
    delivery: WebhookDelivery | None = None
