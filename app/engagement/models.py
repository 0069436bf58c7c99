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


class NotificationPriority(StrEnum):
    LOW = "LOW"
    NORMAL = "NORMAL"
    HIGH = "HIGH"


class Feature(Timestamped, table=True):
    """A named value computed of a cart, one per version; it expires `ttl` seconds after `updated_at`."""

    __tablename__ = "features"
    __table_args__ = (
        UniqueConstraint("cart_id", "name", "version"),
        CheckConstraint("ttl > 0", name="ttl_positive"),
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
    """An address of a store that is told of events of one type, signed with `secret`.

    `failure_count` is the number of deliveries that failed in a row; enough of them make it inactive.
    """

    __tablename__ = "webhooks"
    __table_args__ = (
        *model.not_negative("failure_count"),
        *model.is_object("metadata"),
        model.newest_first("webhooks"),
        model.newest_first("webhooks", "store_id"),
        Index("ix_webhooks_active", "store_id", "event_type", postgresql_where=text("is_active")),
    )

    store_id: UUID = model.reference("stores.id", "CASCADE")
    url: str = model.column(max_length=2048)
    event_type: str = model.column(max_length=128)
    secret: str = model.column(max_length=255)
    is_active: bool = model.column(True)
    failure_count: int = model.column(0)
    last_triggered_at: datetime | None = model.moment()
    metadata_: dict[str, Any] | None = model.metadata_column()


EventName = Annotated[str, Line(128)]
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


class WebhookCreate(Input):
    """A new webhook."""

    store_id: UUID
    url: Url
    event_type: EventName
    secret: Secret
    is_active: bool = True
    metadata: JsonObject | None = None


class WebhookUpdate(Update):
    """What may change about a webhook."""

    nullable: ClassVar[frozenset[str]] = frozenset({"metadata"})

    url: Url | None = None
    event_type: EventName | None = None
    secret: Secret | None = None
    is_active: bool | None = None
    metadata: JsonObject | None = None
