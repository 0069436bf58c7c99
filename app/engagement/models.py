"""Engagement: features computed of carts, notifications to users, webhooks to stores' own systems."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import AwareDatetime, Field, SecretStr
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from app.core import model
from app.core.inputs import AnyCase, Input, JsonObject, JsonValue, Line, Passage, Update, Url
from app.core.model import JSON, TEXT, Created, Timestamped
from app.stores.events import StoreEvent

ITEM_COUNT = "item_count"
"""The feature that every computation of a cart's features gives."""

HAPPENED_AT = "happenedAt"
"""In the metadata of a feature: when what it tells of happened."""


class NotificationPriority(StrEnum):
    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"


class Feature(Timestamped, table=True):
    """A named value computed of a cart, one per version; it expires `ttl` seconds after `updated_at`. `revision` counts its values."""

    __tablename__ = "features"
    __table_args__ = (
        UniqueConstraint("cart_id", "name", "version"),
        CheckConstraint("ttl > 0", name="ttl_positive"),
        CheckConstraint("revision > 0", name="revision_positive"),
        *model.is_object("metadata"),
        model.newest_first("features"),
        model.newest_first("features", "version"),
    )

    cart_id: UUID = model.reference("carts.id", "CASCADE")
    name: str = model.column(max_length=128)
    value: Any = model.column(sa_type=JSON, nullable=False)
    version: str = model.column("1.0", max_length=32)
    description: str | None = model.column(None, sa_type=TEXT)
    ttl: int | None = model.column(None)
    metadata_: dict[str, Any] | None = model.metadata_column()
    revision: int = model.column(1)


class FeatureHistory(Created, table=True):
    """A value that a feature has had since `created_at`, until its next revision."""

    __tablename__ = "feature_history"
    __table_args__ = (UniqueConstraint("feature_id", "revision"),)

    feature_id: UUID = model.reference("features.id", "CASCADE")
    revision: int = model.column()
    value: Any = model.column(sa_type=JSON, nullable=False)
    ttl: int | None = model.column(None)


class UserFeature(Created, table=True):
    """A value that a feature of a store's shopper has had since `created_at`, until its next one; it expires `ttl` seconds later."""

    __tablename__ = "user_features"
    __table_args__ = (
        CheckConstraint("ttl > 0", name="ttl_positive"),
        Index("ix_user_features_latest", "user_id", "store_id", "name", "version", "created_at"),
    )

    user_id: UUID = model.reference("users.id", "CASCADE")
    store_id: UUID = model.reference("stores.id", "CASCADE", index=True)
    name: str = model.column(max_length=128)
    value: Any = model.column(sa_type=JSON, nullable=False)
    version: str = model.column("1.0", max_length=32)
    ttl: int | None = model.column(None)


class ProductFeature(Created, table=True):
    """A value that a feature of a product in a store has had since `created_at`, until its next one; it expires `ttl` seconds later."""

    __tablename__ = "product_features"
    __table_args__ = (
        CheckConstraint("ttl > 0", name="ttl_positive"),
        Index("ix_product_features_latest", "product_id", "store_id", "name", "version", "created_at"),
    )

    product_id: UUID = model.reference("products.id", "CASCADE")
    store_id: UUID = model.reference("stores.id", "CASCADE", index=True)
    name: str = model.column(max_length=128)
    value: Any = model.column(sa_type=JSON, nullable=False)
    version: str = model.column("1.0", max_length=32)
    ttl: int | None = model.column(None)


class Notification(Created, table=True):
    """A message to a user; `read_at` is when it was first read."""

    __tablename__ = "notifications"
    __table_args__ = (
        model.one_of("priority", NotificationPriority),
        model.stamped("read_at", "read"),
        *model.is_object("metadata"),
        model.newest_first("notifications"),
        model.newest_first("notifications", "user_id"),
        model.newest_first("notifications", "user_id", where="not read", name="ix_notifications_unread"),
        Index("ix_notifications_expiring", "expires_at", postgresql_where=text("expires_at is not null")),
    )

    user_id: UUID = model.reference("users.id", "CASCADE")
    type: str = model.column(max_length=64)
    message: str = model.column(max_length=1000)
    read: bool = model.column(False)
    read_at: datetime | None = model.moment()
    priority: NotificationPriority = model.choice(NotificationPriority.NORMAL)
    expires_at: datetime | None = model.moment()
    metadata_: dict[str, Any] | None = model.metadata_column()


class Webhook(Timestamped, table=True):
    """An address of a store that is told of events of one type, each message signed with `secret`.

    After a rotation, messages are signed with `previous_secret` as well until `previous_secret_expires_at`. Both are kept as they are,
    since whoever signs needs them, and shown to nobody. `failure_count` is the number of deliveries that failed in a row; enough of them
    make it inactive.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        model.one_of("event_type", StoreEvent),
        *model.not_negative("failure_count"),
        model.stamped("previous_secret_expires_at", "previous_secret is not null"),
        *model.is_object("metadata"),
        model.newest_first("webhooks"),
        model.newest_first("webhooks", "store_id"),
        Index("ix_webhooks_active", "store_id", "event_type", postgresql_where=text("is_active")),
    )

    store_id: UUID = model.reference("stores.id", "CASCADE")
    url: str = model.column(max_length=2048)
    event_type: StoreEvent = model.choice()
    secret: str = model.column(max_length=255)
    is_active: bool = model.column(True)
    failure_count: int = model.column(0)
    last_triggered_at: datetime | None = model.moment()
    metadata_: dict[str, Any] | None = model.metadata_column()
    previous_secret: str | None = model.column(None, max_length=255)
    previous_secret_expires_at: datetime | None = model.moment()


class DeliveryStatus(StrEnum):
    """PENDING deliveries are still tried; DELIVERED ones were taken with a 2xx status."""

    PENDING = "PENDING"
    DELIVERED = "DELIVERED"
    FAILED = "FAILED"


class WebhookDelivery(Timestamped, table=True):
    """A message to a webhook and how its delivery goes. `event_id` names the message, over all attempts and redeliveries.

    `attempts` counts since the delivery was last asked for; what follows it is about the latest attempt.
    """

    __tablename__ = "webhook_deliveries"
    __table_args__ = (
        UniqueConstraint("webhook_id", "event_id"),
        model.one_of("event_type", StoreEvent),
        model.one_of("status", DeliveryStatus),
        model.stamped("next_attempt_at", "status = 'PENDING'"),
        model.stamped("delivered_at", "status = 'DELIVERED'"),
        *model.not_negative("attempts", "duration_ms"),
        *model.is_object("payload"),
        model.newest_first("webhook_deliveries"),
        model.newest_first("webhook_deliveries", "webhook_id"),
        Index("ix_webhook_deliveries_due", "next_attempt_at", postgresql_where=text("status = 'PENDING'")),
    )

    webhook_id: UUID = model.reference("webhooks.id", "CASCADE")
    event_id: UUID
    event_type: StoreEvent = model.choice()
    payload: dict[str, Any] = model.column(sa_type=JSON, nullable=False)
    status: DeliveryStatus = model.choice(DeliveryStatus.PENDING)
    attempts: int = model.column(0)
    next_attempt_at: datetime | None = model.moment()
    response_status: int | None = model.column(None)
    duration_ms: int | None = model.column(None)
    error: str | None = model.column(None, max_length=255)
    delivered_at: datetime | None = model.moment()


Secret = Annotated[SecretStr, Field(min_length=16, max_length=255)]


class FeatureCreate(Input):
    """A feature to write; the same cart, name and version again replaces the value."""

    cart_id: UUID
    name: Annotated[str, Line(128)]
    value: JsonValue
    version: Annotated[str, Line(32)] = "1.0"
    description: Annotated[str, Passage(1000)] | None = None
    ttl: Annotated[int, Field(gt=0, le=31_536_000)] | None = None
    metadata: JsonObject | None = None


class NotificationCreate(Input):
    """A message to send. Priority may be in lower case."""

    user_id: UUID
    type: Annotated[str, Line(64)]
    message: Annotated[str, Line(1000)]
    priority: Annotated[NotificationPriority, AnyCase] = NotificationPriority.NORMAL
    expires_at: AwareDatetime | None = None
    metadata: JsonObject | None = None


class WebhookRequest(Input):
    """A webhook that somebody asks for; the secret is made for it."""

    store_id: UUID
    url: Url
    event_type: StoreEvent
    is_active: bool = True
    metadata: JsonObject | None = None


class WebhookCreate(WebhookRequest):
    """A new webhook."""

    secret: Secret


class WebhookUpdate(Update):
    """What may change about a webhook."""

    nullable: ClassVar[frozenset[str]] = frozenset({"metadata"})

    url: Url | None = None
    event_type: StoreEvent | None = None
    is_active: bool | None = None
    metadata: JsonObject | None = None
