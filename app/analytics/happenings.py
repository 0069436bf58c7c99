"""The platform's own events: what happens to orders and carts, as analytics count it. Worked off from the outbox (`stores.events`).

The outbox's job is part of the transaction that makes it so, and each event's id and time follow from the job: one that runs again makes
the same event, which counts once. That a cart has changed is told once it has settled, by whoever computes its features then. Events go to
the spool, from where every gateway brings them to ClickHouse (`app.analytics.replay`), so that a worker need not reach it and no order
waits for it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from app.analytics.arrival import NAMESPACE
from app.analytics.models import EventSource, EventType
from app.analytics.repository import EventSpoolRepository, encoded
from app.api.scalars import encode_id
from app.carts.models import CartStatus, FeatureRequest
from app.core.money import format_amount
from app.stores.events import CART_CREATED, StoreEvent

TOLD: Final[Mapping[str, EventType]] = {
    CART_CREATED: EventType.CART_CREATED,
    StoreEvent.ORDER_CREATED: EventType.ORDER_PLACED,
    StoreEvent.ORDER_COMPLETED: EventType.ORDER_COMPLETED,
    StoreEvent.CART_ABANDONED: EventType.CART_ABANDONED,
}

OVERLAP: Final = timedelta(minutes=10)
"""Longer than a transaction may last: a change has the time at which its own began, maybe before the cart's features were asked for."""


@dataclass(frozen=True)
class Told:
    """An event of the platform's: its id, which is the same each time that it is told, and what happened in which store and when."""

    id: UUID
    kind: EventType
    store_id: UUID
    at: datetime


class PlatformEvents:
    """Has what happens in stores kept as events. Repositories are the system's."""

    def __init__(self, repositories: Any) -> None:
        self._repositories = repositories

    async def tell(self, arguments: Mapping[str, Any]) -> None:
        """The work of a job: what it keeps counts once, however often it runs."""
        kind = TOLD.get(arguments["event"])
        found = None if kind is None else await self._subject(arguments["subjects"])
        if kind is None or found is None:
            return
        told = Told(uuid5(NAMESPACE, arguments["id"]), kind, UUID(arguments["store_ids"][0]), datetime.fromisoformat(arguments["at"]))
        await self._keep(told, *found)

    async def tell_changed(self, request: FeatureRequest) -> None:
        """Keep that a cart has changed and settled (`engagement.features`): once for each version of it, however often it is asked.

        Not for the change that made the cart, nor for the one that ordered it, which are told of by themselves. A cart that changes
        meanwhile is told of when it has settled again.
        """
        carts, id = self._repositories.carts, request.cart_id
        cart = await carts.find_by_id(id)
        if cart is None or cart.store_id is None or not _has_changed(cart, request):
            return
        lines = await self._repositories.cart_items.find_by_cart_id(id)
        now = await carts.find_by_id(id)
        if now is not None and now.version == cart.version:
            name = f"{EventType.CART_UPDATED} {id} {cart.version}"
            await self._keep(Told(uuid5(NAMESPACE, name), EventType.CART_UPDATED, cart.store_id, cart.updated_at), cart, lines)

    async def _keep(self, told: Told, subject: Any, lines: Sequence[Any]) -> None:
        event = {
            "id": told.id,
            "store_id": told.store_id,
            "user_id": subject.user_id,
            "session_id": None,
            "client_event_id": None,
            "event_type": told.kind,
            "timestamp": told.at,
            "received_at": told.at,
            "metadata": _about(subject, lines),
            "page_url": None,
            "user_agent": None,
            "ip_address": None,
            "is_error": False,
            "error_msg": None,
            "source": EventSource.PLATFORM,
        }
        await self._repositories.of(EventSpoolRepository).keep(told.id, encoded([event]))

    async def _subject(self, subjects: Mapping[str, str]) -> tuple[Any, Sequence[Any]] | None:
        """The order or the cart that it happened to, with its lines; None for one that is gone."""
        if "Order" in subjects:
            order = await self._repositories.orders.find_by_id(UUID(subjects["Order"]))
            return None if order is None else (order, await self._repositories.order_items.find_by_order(order.id))
        cart = await self._repositories.carts.find_by_id(UUID(subjects["Cart"]))
        return None if cart is None else (cart, await self._repositories.cart_items.find_by_cart_id(cart.id))


def _has_changed(cart: Any, request: FeatureRequest) -> bool:
    """Whether a request is about a change of the cart that is to be told: not one for another reason, such as a new version of features."""
    is_made, is_ordered = cart.updated_at == cart.created_at, cart.status == CartStatus.CONVERTED
    return not is_made and not is_ordered and bool(cart.updated_at > request.created_at - OVERLAP)


def _about(subject: Any, lines: Sequence[Any]) -> dict[str, Any]:
    """What an event of an order or a cart says in its metadata: ids as GraphQL shows them, amounts with their currency's digits."""
    is_order = subject.model.__name__ == "Order"
    cart_id = subject.cart_id if is_order else subject.id
    return {
        **({"cartId": encode_id("Cart", cart_id)} if cart_id else {}),
        **({"orderId": encode_id("Order", subject.id)} if is_order else {}),
        "total": format_amount(subject.total, subject.currency),
        "currency": subject.currency,
        "items": [line_told(line, subject.currency) for line in lines],
    }


def line_told(line: Any, currency: str) -> dict[str, Any]:
    """A line of a cart or an order as events tell of it."""
    return {"productId": encode_id("Product", line.product_id), "quantity": line.quantity, "price": format_amount(line.price, currency)}
