"""The log of what happened to orders."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement

from app.accounts.notices import Notice, notify
from app.core.batch import many_by
from app.core.repository import Repository
from app.core.security import Viewer, ViewerKind
from app.orders.models import Actor, Order, OrderEvent, OrderEventKind, Payment
from app.orders.repository.scope import of_order
from app.stores.events import StoreEvent, happened

MAX_EVENTS_SHOWN = 100
NOTICES = {
    OrderEventKind.AUTHORIZED: Notice.ORDER_CONFIRMED,
    OrderEventKind.COMPLETED: Notice.ORDER_CONFIRMED,
    OrderEventKind.DECLINED: Notice.PAYMENT_FAILED,
}
"""What its buyer is told of."""

TOLD = {
    OrderEventKind.CREATED: StoreEvent.ORDER_CREATED,
    OrderEventKind.COMPLETED: StoreEvent.ORDER_COMPLETED,
    OrderEventKind.CANCELLED: StoreEvent.ORDER_CANCELLED,
    OrderEventKind.REFUNDED: StoreEvent.ORDER_REFUNDED,
}
"""What the store's own systems are told of."""


@dataclass(frozen=True)
class Note:
    """What there is to say of an event."""

    kind: OrderEventKind
    payment_id: UUID | None = None
    amount: Decimal | None = None
    data: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, kind: OrderEventKind, payment: Payment, amount: Decimal | None = None, **data: Any) -> "Note":
        """An event of a payment, over its whole amount unless another is given."""
        return cls(kind, payment.id, payment.amount if amount is None else amount, data)


class OrderEventRepository(Repository[OrderEvent]):
    """Events are seen with their order; the viewer is who made them happen."""

    model = OrderEvent

    find_by_order_ids = many_by("order_id", limit=MAX_EVENTS_SHOWN, scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return of_order(table, viewer, "orders")

    async def record(self, order: Order, *notes: Note) -> None:
        """Add to the log of an order, in the transaction that makes it so."""
        actor = {"order_id": order.id, "actor": actor_of(self.viewer, order), "actor_id": self.viewer.user_id}
        await self.create_many(
            [
                {
                    **actor,
                    "kind": note.kind,
                    "payment_id": note.payment_id,
                    "amount": note.amount,
                    "currency": None if note.amount is None else order.currency,
                    "data": note.data,
                }
                for note in notes
            ]
        )
        for note in notes:
            if note.kind in TOLD:
                await happened(self.repositories, TOLD[note.kind], [order.store_id], Order=order.id)
            if note.kind in NOTICES:
                await notify(self.repositories, NOTICES[note.kind], order.user_id, Order=order.id, Payment=note.payment_id)


def actor_of(viewer: Viewer, order: Order) -> Actor:
    """What somebody is to an order."""
    if viewer.user_id is None:
        return Actor.SYSTEM
    return Actor.BUYER if viewer.user_id == order.user_id else Actor.STAFF
