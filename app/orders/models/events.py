"""What happened to orders: a log that is only ever added to."""

from decimal import Decimal
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import DDL, CheckConstraint, event

from app.core import model
from app.core.model import JSON, MONEY, Created


class OrderEventKind(StrEnum):
    """CHARGED, AUTHORIZED and VOIDED are money taken, set aside and let go of again; HELD is an answer of the provider that does not fit
    its order, RESOLVED what staff have made of it."""

    CREATED = "CREATED"
    RESERVED = "RESERVED"
    AUTHORIZED = "AUTHORIZED"
    CHARGED = "CHARGED"
    DECLINED = "DECLINED"
    VOIDED = "VOIDED"
    HELD = "HELD"
    RESOLVED = "RESOLVED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    EXPIRED = "EXPIRED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    REFUND_FAILED = "REFUND_FAILED"
    RESTOCKED = "RESTOCKED"


class Actor(StrEnum):
    """Who made it happen: its buyer, somebody else's hand, or nobody's."""

    BUYER = "BUYER"
    STAFF = "STAFF"
    SYSTEM = "SYSTEM"


class OrderEvent(Created, table=True):
    """Something that happened to an order. The database refuses to change one, or to remove one whose order is there.

    It outlives whom and what it names, so that only the order is a reference. `data` holds no secrets: codes and names of the provider.
    """

    __tablename__ = "order_events"
    __table_args__ = (
        model.one_of("kind", OrderEventKind),
        model.one_of("actor", Actor),
        *model.not_negative("amount"),
        model.is_currency(),
        CheckConstraint("(amount is null) = (currency is null)", name="amount_has_currency"),
        *model.is_object("data"),
    )

    order_id: UUID = model.reference("orders.id", "CASCADE", index=True)
    kind: OrderEventKind = model.choice()
    actor: Actor = model.choice(Actor.SYSTEM)
    actor_id: UUID | None = model.column(None)
    payment_id: UUID | None = model.column(None)
    amount: Decimal | None = model.column(None, sa_type=MONEY)
    currency: str | None = model.column(None, max_length=3)
    data: dict[str, Any] = model.column({}, sa_type=JSON)


REFUSE = DDL(  # type: ignore[no-untyped-call]
    """
create function refuse_order_event_change() returns trigger language plpgsql as $$
begin
  if tg_op = 'DELETE' and not exists (select from orders where id = old.order_id) then
    return old;
  end if;
  raise exception 'order_events is only ever added to' using errcode = 'restrict_violation';
end $$
"""
)
ON_CHANGE = DDL(  # type: ignore[no-untyped-call]
    """
create trigger order_events_append_only before update or delete on order_events
  for each row execute function refuse_order_event_change()
"""
)
for statement in (REFUSE, ON_CHANGE):
    event.listen(OrderEvent.__table__, "after_create", statement)  # type: ignore[attr-defined]
