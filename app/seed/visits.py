"""The demo shop's events: visits that look at products, fill carts, order or leave, as a storefront would have told them.

They are drawn from what is in the database, with a fixed seed and ids that follow from the shop: drawn again, they are the same.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from app.analytics.happenings import line_told
from app.analytics.models import EventSource, EventType, VisitStep
from app.api.scalars import encode_id
from app.carts.models import Cart, CartItem, CartStatus
from app.catalog.models import Product, ProductStatus
from app.core.money import format_amount
from app.core.paging import Sort
from app.orders.models import Order, OrderStatus
from app.repositories import Repositories
from app.seed.draw import Draw, Values
from app.stores.models import Store

EVENTS: Final = 5_000
SEARCHES: Final = ("tent", "rain jacket", "kettle", "sleeping bag", "gift", "boots", "mug", "head torch", "knife", "blanket")
PROGRAMS: Final = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/604.1",
    "Mozilla/5.0 (Linux; Android 15; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/139.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:142.0) Gecko/20100101 Firefox/142.0",
)
NETWORKS: Final = ("192.0.2", "198.51.100", "203.0.113")
"""Addresses that belong to nobody (RFC 5737)."""


@dataclass(frozen=True)
class Floor:
    """What there is to visit."""

    stores: Sequence[Store]
    on_sale: dict[UUID, list[Product]]
    products: dict[UUID, Product]
    carts: Sequence[Cart]
    items: dict[UUID, list[CartItem]]
    orders: dict[UUID, Order]
    shoppers: Sequence[UUID]


async def read_floor(repositories: Repositories) -> Floor:
    """The shop as it is in the database, each list in the order in which it was made."""
    oldest = (Sort("created_at"),)
    stores = await repositories.stores.find_many(order_by=oldest)
    products = await repositories.products.find_many({"status": ProductStatus.ACTIVE}, oldest)
    on_sale: dict[UUID, list[Product]] = defaultdict(list)
    for product, sellers in zip(products, await repositories.stores.find_by_product_ids([row.id for row in products]), strict=True):
        for seller in sellers:
            on_sale[seller.id].append(product)
    carts = await repositories.carts.find_many(order_by=oldest)
    orders = await repositories.orders.find_many(order_by=oldest)
    items: dict[UUID, list[CartItem]] = defaultdict(list)
    for item in await repositories.cart_items.find_many(order_by=oldest):
        items[item.cart_id].append(item)
    shoppers = await repositories.users.find_many({"store_id": None}, oldest)
    by_id = {product.id: product for product in await repositories.products.find_many(order_by=oldest)}
    by_cart = {order.cart_id: order for order in orders if order.cart_id is not None}
    return Floor(stores, on_sale, by_id, carts, items, by_cart, [user.id for user in shoppers])


@dataclass
class Visit:
    """One visit, whose clock goes on with each event."""

    store: Store
    session_id: str
    user_id: UUID | None
    now: datetime
    user_agent: str
    ip_address: str
    events: list[Values] = field(default_factory=list)

    def add(self, event_type: str, path: str, metadata: dict[str, Any] | None = None, **more: Any) -> None:
        event = {"event_type": event_type, "page_url": f"https://{self.store.domain}{path}", "metadata": metadata or {}, **more}
        whose = {"store_id": self.store.id, "user_id": self.user_id, "session_id": self.session_id}
        where = {"user_agent": self.user_agent, "ip_address": self.ip_address, "timestamp": self.now}
        source = EventSource.PLATFORM if event_type in EventType.__members__ else EventSource.CLIENT
        self.events.append({**whose, **where, "is_error": False, "error_msg": None, "source": source, **event})


class Doorkeeper:
    """Counts who comes and what they do. `name` is what the events' ids follow from."""

    def __init__(self, draw: Draw, floor: Floor, name: UUID) -> None:
        self._draw = draw
        self._floor = floor
        self._name = name
        self._visits = 0

    def events(self, count: int = EVENTS) -> list[Values]:
        """Exactly `count` events in the order of their times: the visits of all carts, and others that only look."""
        stores = {store.id: store for store in self._floor.stores}
        made = [event for cart in self._floor.carts if cart.store_id in stores for event in self._shopping(stores[cart.store_id], cart)]
        while len(made) < count:
            made.extend(self._looking())
        ordered = sorted(made[:count], key=lambda event: event["timestamp"])
        return [self._received(event, number) for number, event in enumerate(ordered)]

    def _received(self, event: Values, number: int) -> Values:
        arrived = event["timestamp"] + timedelta(milliseconds=self._draw.number(40, 900))
        return {"id": uuid5(self._name, f"event {number}"), "received_at": arrived, "client_event_id": f"demo-{number}", **event}

    def _enter(self, store: Store, user_id: UUID | None, at: datetime) -> Visit:
        self._visits += 1
        address = f"{self._draw.one(NETWORKS)}.{self._draw.number(1, 254)}"
        session_id = str(uuid5(self._name, f"visit {self._visits}"))
        visit = Visit(store, session_id, user_id, at, self._draw.one(PROGRAMS), address)
        visit.add(VisitStep.PAGE_VIEW, "/", {"referrer": self._draw.one(("https://search.example/", "https://news.example/", ""))})
        return visit

    def _wait(self, visit: Visit, least: int = 5, most: int = 90) -> None:
        visit.now += timedelta(seconds=self._draw.number(least, most))

    def _looking(self) -> list[Values]:
        """Somebody looks around and goes; half of them nobody knows."""
        store = self._draw.one(self._floor.stores)
        user_id = self._draw.one(self._floor.shoppers) if self._draw.number(1, 2) == 1 else None
        visit = self._enter(store, user_id, self._draw.ago(timedelta(days=30), timedelta(minutes=40)))
        if self._draw.number(1, 3) == 1:
            self._wait(visit)
            visit.add(VisitStep.SEARCH, "/search", {"query": self._draw.one(SEARCHES)})
        self._look_around(visit, self._draw.number(0, 6))
        return visit.events

    def _look_around(self, visit: Visit, count: int) -> None:
        on_sale = self._floor.on_sale[visit.store.id]
        for product in self._draw.some(on_sale, min(count, len(on_sale))):
            self._look(visit, product)

    def _look(self, visit: Visit, product: Product) -> None:
        self._wait(visit)
        path, shown = f"/products/{product.sku}", {"productId": encode_id("Product", product.id), "category": product.category}
        if self._draw.number(1, 80) == 1:
            visit.add(VisitStep.PAGE_VIEW, path, shown, is_error=True, error_msg="The picture could not be loaded.")
        visit.add(VisitStep.PRODUCT_VIEW, path, shown)

    def _shopping(self, store: Store, cart: Cart) -> list[Values]:
        """The visit in which a cart was filled, and what became of it."""
        visit = self._enter(store, cart.user_id, cart.created_at - timedelta(minutes=self._draw.number(8, 20)))
        self._look_around(visit, self._draw.number(1, 5))
        visit.now = max(visit.now, cart.created_at)
        about = {"cartId": encode_id("Cart", cart.id)}
        visit.add(EventType.CART_CREATED, "/cart", about)
        for item in self._floor.items[cart.id]:
            if product := self._floor.products.get(item.product_id):
                self._look(visit, product)
                put = {"productId": encode_id("Product", product.id), "quantity": item.quantity}
                visit.add(VisitStep.ADD_TO_CART, f"/products/{product.sku}", {**about, **put})
        self._leave(visit, cart, about)
        return visit.events

    def _leave(self, visit: Visit, cart: Cart, about: dict[str, Any]) -> None:
        order = self._floor.orders.get(cart.id)
        if order is not None:
            visit.add(VisitStep.CHECKOUT_STARTED, "/checkout", about)
            visit.now = max(visit.now, order.created_at)
            paid = {"total": format_amount(order.total, order.currency), "currency": order.currency}
            about = {
                **about,
                "orderId": encode_id("Order", order.id),
                **paid,
                "items": [line_told(item, order.currency) for item in self._floor.items[cart.id]],
            }
            visit.add(EventType.ORDER_PLACED, "/checkout", about)
            if order.status == OrderStatus.COMPLETED and order.completed_at is not None:
                visit.now = max(visit.now, order.completed_at)
                visit.add(EventType.ORDER_COMPLETED, "/checkout/done", about)
        elif cart.status == CartStatus.ABANDONED:
            if self._draw.number(1, 3) == 1:
                visit.add(VisitStep.CHECKOUT_STARTED, "/checkout", about)
            visit.now += timedelta(hours=1)
            visit.add(EventType.CART_ABANDONED, "/cart", about)
