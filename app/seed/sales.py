"""The demo shop's carts, orders and payments: every order comes of a cart, and its payments are of its total."""

from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import Enum, auto
from typing import Final
from uuid import UUID

from app.carts.models import CartStatus
from app.carts.pricing import FlatShipping, PercentTax, Terms, priced
from app.core.security import new_token, token_hash
from app.orders.models import OrderStatus, PaymentStatus
from app.orders.provider import ChargeState
from app.seed.draw import Draw, Values, new_row
from app.seed.shelves import CURRENCY, Shelves

PROVIDER: Final = "test"
METHODS: Final = ("card", "card", "card", "paypal")
DECLINE: Final = {"failure_code": "card_declined", "failure_message": "The card was declined."}


class Story(Enum):
    """What became of an order."""

    WAITING = auto()
    PAID = auto()
    PAID_AT_SECOND_TRY = auto()
    REFUNDED = auto()
    CANCELLED = auto()
    DECLINED = auto()

    @property
    def status(self) -> OrderStatus:
        """The order's status at the end of the story."""
        return _ENDS.get(self, OrderStatus.COMPLETED)


_ENDS: Final = {Story.WAITING: OrderStatus.PENDING, Story.CANCELLED: OrderStatus.CANCELLED, Story.DECLINED: OrderStatus.FAILED}
ORDERS: Final = {
    Story.WAITING: 8,
    Story.PAID: 24,
    Story.PAID_AT_SECOND_TRY: 3,
    Story.REFUNDED: 3,
    Story.CANCELLED: 7,
    Story.DECLINED: 5,
}
"""How many orders have each story."""

AMOUNTS: Final = ("items_total", "discount", "shipping", "tax", "included_tax", "total")
BORNE: Final = ("discount", "tax", "included_tax")
ABANDONED: Final = 12
ABANDONED_BY_GUESTS: Final = 3
ACTIVE: Final = 5


@dataclass(frozen=True)
class _Piece:
    """A line to be priced."""

    product_id: UUID
    quantity: int
    price: Decimal


@dataclass
class Sales:
    """Rows of carts and orders; `reserved` are the pieces that orders wait for, by product."""

    carts: list[Values] = field(default_factory=list)
    cart_items: list[Values] = field(default_factory=list)
    orders: list[Values] = field(default_factory=list)
    order_items: list[Values] = field(default_factory=list)
    payments: list[Values] = field(default_factory=list)
    charges: list[Values] = field(default_factory=list)
    """What the test provider knows of the payments that were charged, so that they can be given back."""

    settled: dict[UUID, UUID] = field(default_factory=dict)
    """The payment that settled an order, by order: written last, since each refers to the other."""

    reserved: dict[UUID, int] = field(default_factory=dict)

    def payments_of(self, order: Values) -> list[Values]:
        """What was paid, or tried, for an order, oldest first."""
        return [payment for payment in self.payments if payment["order_id"] == order["id"]]


class Till:
    """Rings up sales to the shoppers."""

    def __init__(self, draw: Draw, shelves: Shelves, shopper_ids: list[UUID]) -> None:
        self._draw = draw
        self._stores = [
            (store["id"], shelves.for_sale_in(store["id"]), _terms(settings))
            for store, settings in zip(shelves.stores, shelves.settings, strict=True)
        ]
        self._shoppers = shopper_ids
        self.sales = Sales()

    def ring_up(self) -> Sales:
        """All orders in all states, then the carts that did not become orders. The first shopper buys more than the others do
        and leaves no cart: what it puts into its cart is all that is there."""
        for story in self._draw.shuffled([story for story, count in ORDERS.items() for _ in range(count)]):
            self._add_order(story)
        for number in range(ABANDONED):
            self._leave_cart(guest=number < ABANDONED_BY_GUESTS)
        for user_id in self._draw.some(self._shoppers[1:], ACTIVE):
            started = self._draw.ago(timedelta(minutes=50), timedelta(minutes=5))
            self._add_cart(started, self._draw.number(0, 1), CartStatus.ACTIVE, user_id=user_id)
        return self.sales

    def _shopper(self) -> UUID:
        return self._shoppers[0] if self._draw.number(1, 5) == 1 else self._draw.one(self._shoppers)

    def _leave_cart(self, *, guest: bool) -> None:
        left = self._draw.ago(timedelta(days=6), timedelta(hours=2))
        owner = {"cart_token_hash": token_hash(new_token())} if guest else {"user_id": self._draw.one(self._shoppers[1:])}
        self._add_cart(left, self._draw.number(0, 1), CartStatus.ABANDONED, **owner)

    def _add_cart(self, started: datetime, store: int, status: CartStatus, **owner: UUID | str) -> tuple[Values, list[Values]]:
        store_id, products, terms = self._stores[store]
        items = [self._line(started, product) for product in self._draw.some(products, self._draw.number(1, 4))]
        charges = priced([_Piece(item["product_id"], item["quantity"], item["price"]) for item in items], terms, CURRENCY)
        cart = new_row(
            started,
            **{"user_id": None, "cart_token_hash": None, **owner},
            store_id=store_id,
            status=status,
            **charges.columns(),
            currency=CURRENCY,
            version=1 + len(items),
            converted_at=None,
        )
        self.sales.carts.append(cart)
        self.sales.cart_items.extend(item | {"cart_id": cart["id"]} for item in items)
        return cart, [self._sold(item, products) | asdict(borne) for item, borne in zip(items, charges.lines, strict=True)]

    def _line(self, moment: datetime, product: Values) -> Values:
        quantity = self._draw.one((1, 1, 1, 2, 2, 3))
        return new_row(moment, product_id=product["id"], quantity=quantity, price=product["price"], currency=CURRENCY)

    def _sold(self, item: Values, products: list[Values]) -> Values:
        product = next(product for product in products if product["id"] == item["product_id"])
        return item | {"name": product["name"], "sku": product["sku"]}

    def _add_order(self, story: Story) -> None:
        waiting = story is Story.WAITING
        started = self._draw.ago(timedelta(hours=20) if waiting else timedelta(days=44), timedelta(hours=1))
        placed = self._draw.after(started, timedelta(minutes=4), timedelta(minutes=40))
        cart, items = self._add_cart(started, self._draw.number(0, 1), CartStatus.CONVERTED, user_id=self._shopper())
        cart |= {"converted_at": placed, "updated_at": placed}
        order = self._order(placed, story.status, cart)
        self.sales.orders.append(order)
        self.sales.order_items.extend(new_row(placed, **_copied(item), order_id=order["id"]) for item in items)
        if waiting:
            self._reserve(items)
        self._pay(order, story)

    def _order(self, placed: datetime, status: OrderStatus, cart: Values) -> Values:
        ended = self._draw.after(placed, timedelta(minutes=1), timedelta(minutes=15))
        ends = {OrderStatus.COMPLETED: "completed_at", OrderStatus.CANCELLED: "cancelled_at", OrderStatus.FAILED: "failed_at"}
        order = new_row(
            placed,
            **{name: cart[name] for name in ("user_id", "store_id", "currency", *AMOUNTS)},
            cart_id=cart["id"],
            status=status,
            payment_method=self._draw.one(METHODS),
            **{column: ended if ended_as is status else None for ended_as, column in ends.items()},
        )
        return order if status is OrderStatus.PENDING else order | {"updated_at": ended}

    def _reserve(self, items: list[Values]) -> None:
        for item in items:
            self.sales.reserved[item["product_id"]] = self.sales.reserved.get(item["product_id"], 0) + item["quantity"]

    def _pay(self, order: Values, story: Story) -> None:
        """The payments of an order: what was tried in vain, and what settled it."""
        ended = order["updated_at"]
        if story in (Story.DECLINED, Story.PAID_AT_SECOND_TRY):
            failed_at = order["failed_at"] or order["created_at"] + timedelta(seconds=20)
            self._add_payment(order, PaymentStatus.FAILED, failed_at, failed_at=failed_at, **DECLINE)
        if story is Story.REFUNDED:
            refunded_at = self._draw.after(ended, timedelta(days=1), timedelta(days=6))
            self._settle(order, PaymentStatus.REFUNDED, refunded_at=refunded_at, updated_at=refunded_at)
        elif story.status is OrderStatus.COMPLETED:
            self._settle(order, PaymentStatus.COMPLETED)

    def _settle(self, order: Values, status: PaymentStatus, **outcome: datetime) -> None:
        ended = order["updated_at"]
        payment = self._add_payment(order, status, ended, completed_at=ended, **outcome)
        payment["transaction_id"] = f"test_{payment['id'].hex}"
        payment["captured_amount"] = payment["amount"]
        payment["refunded_amount"] = payment["amount"] if status is PaymentStatus.REFUNDED else 0
        self.sales.charges.append(_charge(payment))
        self.sales.settled[order["id"]] = payment["id"]

    def _add_payment(self, order: Values, status: PaymentStatus, tried: datetime, **outcome: datetime | str) -> Values:
        payment = {
            **dict.fromkeys(("transaction_id", "completed_at", "failed_at", "refunded_at", "failure_code", "failure_message")),
            **new_row(tried, order_id=order["id"], amount=order["total"], currency=order["currency"], status=status),
            "captured_amount": 0,
            "refunded_amount": 0,
            "provider": PROVIDER,
            "method": order["payment_method"],
            **outcome,
        }
        self.sales.payments.append(payment)
        return payment


def _terms(settings: Values) -> Terms:
    shipping = FlatShipping(settings["shipping_price"], settings["free_shipping_from"])
    return Terms(shipping, PercentTax(settings["tax_rate"], settings["prices_include_tax"]))


def _charge(payment: Values) -> Values:
    amounts = {"amount": payment["amount"], "captured": payment["captured_amount"], "refunded": payment["refunded_amount"]}
    named = {"key": str(payment["id"]), "transaction_id": payment["transaction_id"], "currency": payment["currency"]}
    return {**named, **amounts, "state": ChargeState.SUCCEEDED}


def _copied(item: Values) -> Values:
    return {name: item[name] for name in ("product_id", "quantity", "price", "currency", "name", "sku", *BORNE)}
