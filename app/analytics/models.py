"""Analytics: the events of users. They are kept in ClickHouse, whose tables its own migrations make."""

from dataclasses import dataclass, fields
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final
from uuid import UUID

from pydantic import AwareDatetime, Field
from sqlalchemy import CheckConstraint, Index, LargeBinary, text

from app.core import model
from app.core.inputs import Input, JsonObject, Line, Passage
from app.core.model import Created


class EventType(StrEnum):
    """The events that the platform itself makes; clients may name their own."""

    LOGIN = "LOGIN"
    LOGOUT = "LOGOUT"
    CART_CREATED = "CART_CREATED"
    CART_UPDATED = "CART_UPDATED"
    CART_ABANDONED = "CART_ABANDONED"
    ORDER_PLACED = "ORDER_PLACED"
    ORDER_COMPLETED = "ORDER_COMPLETED"
    FEATURE_COMPUTED = "FEATURE_COMPUTED"
    EXPORT_REQUESTED = "EXPORT_REQUESTED"
    QUALITY_ALERT = "QUALITY_ALERT"
    RECONCILIATION_RUN = "RECONCILIATION_RUN"
    OTHER = "OTHER"


class VisitStep(StrEnum):
    """The events of a visit that storefronts send, from the first page to the order."""

    PAGE_VIEW = "PAGE_VIEW"
    PRODUCT_VIEW = "PRODUCT_VIEW"
    SEARCH = "SEARCH"
    ADD_TO_CART = "ADD_TO_CART"
    CHECKOUT_STARTED = "CHECKOUT_STARTED"


class EventSource(StrEnum):
    """Who tells of an event: only what the platform tells of carts, orders and revenue is counted, since anybody can send the others."""

    CLIENT = "client"
    PLATFORM = "platform"


@dataclass(frozen=True, slots=True)
class UserEvent:
    """One event as ClickHouse keeps it; the fields are the table's columns, in its order.

    `session_id` is the visit, `timestamp` when it happened by the client's clock, `received_at` when it arrived by ours.
    """

    __tablename__: ClassVar[str] = "user_events"
    model: ClassVar[type["UserEvent"]]

    id: UUID
    store_id: UUID | None
    user_id: UUID | None
    session_id: str | None
    client_event_id: str | None
    event_type: str
    timestamp: datetime
    received_at: datetime
    metadata: Any
    page_url: str | None
    user_agent: str | None
    ip_address: str | None
    is_error: bool
    error_msg: str | None
    source: EventSource = EventSource.CLIENT


UserEvent.model = UserEvent
COLUMNS: Final = tuple(field.name for field in fields(UserEvent))
PERSONAL: Final = ("user_id", "session_id", "client_event_id", "page_url", "user_agent", "ip_address", "error_msg")
"""The columns that tell, or may tell, of a person; `metadata` does as well, unless the platform itself has written it."""

TABLES: Final = {UserEvent.__tablename__: COLUMNS}


class EventSpool(Created, table=True):
    """A batch of events that waits for ClickHouse: lines of JSON, sent under the token that is the row's id. Not tried before `due_at`.

    One that `is_loose` was never sent, and is packed with others into a batch that is: what may have arrived goes again as it was.
    """

    __tablename__ = "event_spool"
    __table_args__ = (
        CheckConstraint("events > 0", name="events_positive"),
        *model.not_negative("attempts"),
        Index("ix_event_spool_due_at_id", "due_at", "id"),
        Index("ix_event_spool_loose", "id", postgresql_where=text("is_loose")),
    )

    events: int = model.column()
    lines: bytes = model.column(sa_type=LargeBinary)
    attempts: int = model.column(0)
    due_at: datetime = model.moment("now")
    is_loose: bool = model.column(False)


class UserEventCreate(Input):
    """One event of a user (specification, analytics integration). A naive time is refused."""

    user_id: UUID | None = None
    session_id: Annotated[str, Line(128)] | None = None
    store_id: UUID | None = None
    client_event_id: Annotated[str, Line(128)] | None = None
    event_type: Annotated[str, Line(128)]
    timestamp: AwareDatetime
    metadata: JsonObject = Field(default_factory=dict)
    page_url: Annotated[str, Passage(2048)] | None = None
    user_agent: Annotated[str, Passage(500)] | None = None
    ip_address: Annotated[str, Passage(45)] | None = None
    is_error: bool = False
    error_msg: Annotated[str, Passage(1000)] | None = None
