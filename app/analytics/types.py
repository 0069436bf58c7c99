"""Events as GraphQL shows them."""

from datetime import datetime
from enum import StrEnum

import strawberry
from strawberry.scalars import JSON

from app.accounts.types import User
from app.analytics import models
from app.api.connection import OrderDirection
from app.api.filters import BooleanFilter, DateTimeFilter, IdFilter, StringFilter, filter_input, id_filter
from app.api.inputs import of_scalars
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import requires
from app.api.relations import to_one
from app.stores.types import Store

strawberry.enum(models.EventSource, description="Who tells of an event: a client, or the platform itself.")


def _received_at(root: models.UserEvent) -> datetime:
    return root.received_at


@strawberry.type(description="Something that a shopper did or that happened to one.")
class UserEvent(Node):
    model = models.UserEvent
    access = requires("events:read")

    event_type: str
    session_id: str | None = strawberry.field(description="The visit that it belongs to.")
    client_event_id: str | None = strawberry.field(description="What the client calls it; one that arrives twice counts once.")
    timestamp: datetime = strawberry.field(description="When it happened, by the client's clock.")
    received_at: datetime = strawberry.field(description="When it arrived.")
    created_at: datetime = strawberry.field(resolver=_received_at, description="The same as receivedAt.")
    metadata: JSON
    page_url: str | None
    user_agent: str | None
    ip_address: str | None
    is_error: bool
    error_msg: str | None
    source: models.EventSource
    user: User | None = to_one("users", "find_known_by_ids", key="user_id", access=requires("users:read"))
    store: Store | None = to_one("stores", "find_known_by_ids", key="store_id")


@of_scalars
@strawberry.input(description="Something that a shopper did. Who it was is the account that sends it, and from where its connection.")
class UserEventInput:
    event_type: str = strawberry.field(description="Such as PAGE_VIEW or ADD_TO_CART; at most 128 characters.")
    timestamp: datetime | None = strawberry.field(
        default=None, description="When it happened; without it, when it arrives. At most 30 days ago and 5 minutes ahead of our clock."
    )
    client_event_id: str | None = strawberry.field(
        default=None, description="The client's own id of it, for sending it again: within the visit, one id counts once."
    )
    session_id: str | None = strawberry.field(default=None, description="The visit; by default that of the whole input.")
    store_id: strawberry.ID | None = strawberry.field(default=None, description="The store; by default that of the whole input.")
    page_url: str | None = None
    user_agent: str | None = strawberry.field(default=None, description="By default that of the connection.")
    metadata: JSON | None = strawberry.field(default=None, description="An object; `cartId` names the cart that it is about.")
    is_error: bool = False
    error_msg: str | None = None


@strawberry.input
class TrackEventsInput:
    events: list[UserEventInput] = strawberry.field(description="At most 500.")
    session_id: str | None = strawberry.field(default=None, description="The visit: a random text of the client's own.")
    store_id: strawberry.ID | None = None


@strawberry.type(description="An event that was not taken, and why.")
class RejectedEvent:
    index: int = strawberry.field(description="Its place in the input, from 0.")
    message: str


@strawberry.type
class TrackEventsPayload(Payload):
    accepted: int = strawberry.field(default=0, description="How many events are stored, those included that already were.")
    rejected: list[RejectedEvent] = strawberry.field(default_factory=list)


@filter_input
class UserEventFilter:
    id: IdFilter | None = id_filter("UserEvent")
    user_id: IdFilter | None = id_filter("User")
    store_id: IdFilter | None = id_filter("Store")
    session_id: StringFilter | None
    event_type: StringFilter | None
    timestamp: DateTimeFilter | None
    received_at: DateTimeFilter | None
    page_url: StringFilter | None
    is_error: BooleanFilter | None


@strawberry.enum(description="What events can be sorted by.")
class UserEventOrderField(StrEnum):
    TIMESTAMP = "timestamp"
    RECEIVED_AT = "received_at"
    EVENT_TYPE = "event_type"


@strawberry.input
class UserEventOrder:
    field: UserEventOrderField
    direction: OrderDirection = OrderDirection.ASC
