"""Orders: what was bought. They are kept: nothing here disappears with its user, store or product."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, Protocol
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from app.carts.models import QUANTITY_RANGE, Quantity, adds_up, taxed_line
from app.core import model
from app.core.inputs import Amount, CurrencyCode, Input, JsonObject, Line
from app.core.model import Timestamped


class OrderStatus(StrEnum):
    """PENDING orders wait for payment; COMPLETED and CANCELLED are final; a FAILED one may be tried again."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    CANCELLED = "CANCELLED"
    FAILED = "FAILED"

    def can_become(self, next_status: "OrderStatus") -> bool:
        """Whether an order may go from this status to the next; staying is no transition."""
        return next_status in _TRANSITIONS[self]


_TRANSITIONS: Final[Mapping[OrderStatus, frozenset[OrderStatus]]] = MappingProxyType(
    {
        OrderStatus.PENDING: frozenset({OrderStatus.COMPLETED, OrderStatus.CANCELLED, OrderStatus.FAILED}),
        OrderStatus.COMPLETED: frozenset(),
        OrderStatus.CANCELLED: frozenset(),
        OrderStatus.FAILED: frozenset({OrderStatus.PENDING}),
    }
)


class Order(Timestamped, table=True):
    """A purchase. One cart gives one order; one `idempotency_key` of a user gives one order.

    `total = items_total - discount + shipping + tax`, where `items_total` is the sum of the lines; discount and taxes are the sums of what
    the lines say. The code of the voucher is kept as it was.

    Each final or failed status has its time, set exactly while the order is in it: retrying a FAILED order clears `failed_at`.
    `payment_id` is the payment that settled it. `number` is what people call it by, unique in its store.
    """

    __tablename__ = "orders"
    __table_args__ = (
        UniqueConstraint("user_id", "idempotency_key"),
        model.one_of("status", OrderStatus),
        model.stamped("completed_at", "status = 'COMPLETED'"),
        model.stamped("cancelled_at", "status = 'CANCELLED'"),
        model.stamped("failed_at", "status = 'FAILED'"),
        *adds_up(),
        model.is_currency(),
        *model.is_object("metadata"),
        model.newest_first("orders"),
        model.newest_first("orders", "user_id"),
        model.newest_first("orders", "store_id"),
        model.newest_first("orders", "status"),
        model.sparse_index("orders", "payment_id"),
        model.sparse_index("orders", "voucher_id"),
        Index("ix_orders_updated_at_id", "updated_at", "id"),
        Index(
            "uq_orders_store_id_number",
            "store_id",
            "number",
            unique=True,
            postgresql_where=text("number is not null"),
            postgresql_nulls_not_distinct=True,
        ),
        CheckConstraint("number > 0", name="number_positive"),
    )

    cart_id: UUID | None = model.reference("carts.id", "SET NULL", None, unique=True)
    user_id: UUID = model.reference("users.id", "RESTRICT")
    store_id: UUID | None = model.reference("stores.id", "RESTRICT", None)
    status: OrderStatus = model.choice(OrderStatus.PENDING)
    total: Decimal = model.amount()
    currency: str = model.currency_code()
    payment_method: str | None = model.column(None, max_length=64)
    payment_id: UUID | None = model.reference("payments.id", "RESTRICT", None, circular=True)
    idempotency_key: str | None = model.column(None, max_length=255)
    completed_at: datetime | None = model.moment()
    cancelled_at: datetime | None = model.moment()
    failed_at: datetime | None = model.moment()
    metadata_: dict[str, Any] | None = model.metadata_column()
    number: int | None = model.column(None)
    items_total: Decimal = model.amount()
    discount: Decimal = model.amount(0)
    shipping: Decimal = model.amount(0)
    tax: Decimal = model.amount(0)
    included_tax: Decimal = model.amount(0)
    voucher_id: UUID | None = model.reference("vouchers.id", "RESTRICT", None)
    voucher_code: str | None = model.column(None, max_length=64)


class OrderItem(Timestamped, table=True):
    """A line of an order: name, SKU, unit price, discount and tax as sold, whatever becomes of the product.

    `discount` is its share of the order's, and it is taxed without it.
    """

    __tablename__ = "order_items"
    __table_args__ = (
        UniqueConstraint("order_id", "product_id"),
        CheckConstraint(QUANTITY_RANGE, name="quantity"),
        *model.not_negative("price"),
        *taxed_line(),
        model.is_currency(),
    )

    order_id: UUID = model.reference("orders.id", "CASCADE")
    product_id: UUID = model.reference("products.id", "RESTRICT", index=True)
    name: str = model.column(max_length=255)
    sku: str | None = model.column(None, max_length=128)
    quantity: int = model.column(1)
    price: Decimal = model.amount()
    currency: str = model.currency_code()
    discount: Decimal = model.amount(0)
    tax: Decimal = model.amount(0)
    included_tax: Decimal = model.amount(0)


class _HasOrderStatus(Protocol):
    @property
    def status(self) -> str: ...


def is_completed_order(order: _HasOrderStatus) -> bool:
    """Whether an order was paid for (specification, type guards)."""
    return order.status == OrderStatus.COMPLETED


def validate_order_status_transition(current: OrderStatus, next_status: OrderStatus) -> bool:
    """Whether an order may change from one status to another (specification, validation helpers; and PENDING to FAILED)."""
    return current.can_become(next_status)


def allowed_sources(next_status: OrderStatus) -> frozenset[OrderStatus]:
    """The statuses that may become the given one: what a guarded UPDATE asks for in its WHERE."""
    return frozenset(status for status in OrderStatus if status.can_become(next_status))


IdempotencyKey = Annotated[str, Line(255)]
PaymentMethod = Annotated[str, Line(64)]


class OrderCreate(Input):
    """A new PENDING order; its items, with their discounts and taxes, come beside it."""

    user_id: UUID
    currency: CurrencyCode = "USD"
    shipping: Amount = Decimal(0)
    total: Amount
    cart_id: UUID | None = None
    store_id: UUID | None = None
    payment_method: PaymentMethod | None = None
    idempotency_key: IdempotencyKey | None = None
    metadata: JsonObject | None = None


class Checkout(Input):
    """How a cart is ordered. The same `idempotency_key` of a user gives the same order again."""

    payment_method: PaymentMethod
    idempotency_key: IdempotencyKey | None = None


class OrderItemCreate(Input):
    """A line of a new order. Without `name` and `sku` the product's present ones are taken."""

    product_id: UUID
    quantity: Quantity
    currency: CurrencyCode = "USD"
    price: Amount
    discount: Amount = Decimal(0)
    tax: Amount = Decimal(0)
    included_tax: Amount = Decimal(0)
    name: Annotated[str, Line(255)] | None = None
    sku: Annotated[str, Line(128)] | None = None


class OrderUpdate(Input):
    """The change of an order: to a status that its present one can become."""

    status: OrderStatus
