"""Analytics: the events of users. They are kept in ClickHouse, so there is no table here."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, Field

from app.core.inputs import Input, JsonObject, Line, Passage


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


class UserEventCreate(Input):
    """One event of a user (specification, analytics integration). A naive time is refused."""

    user_id: UUID | None = None
    session_id: UUID | None = None
    store_id: UUID | None = None
    event_type: Annotated[str, Line(128)]
    timestamp: AwareDatetime
    metadata: JsonObject = Field(default_factory=dict)
    page_url: Annotated[str, Passage(2048)] | None = None
    user_agent: Annotated[str, Passage(500)] | None = None
    ip_address: Annotated[str, Passage(45)] | None = None
    is_error: bool = False
    error_msg: Annotated[str, Passage(1000)] | None = None
