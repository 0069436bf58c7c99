"""Orders and payments as GraphQL shows them."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import strawberry
from strawberry.scalars import JSON

from app.accounts.types import User
from app.api.computed import computed
from app.api.connection import OrderDirection
from app.api.filters import Comparison, DateTimeFilter, DecimalFilter, IdFilter, filter_input, id_filter
from app.api.money import money
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import as_parent, guarded, of_others, own, requires
from app.api.relations import to_many, to_one
from app.carts.types import Cart, line_total
from app.catalog.types import Product
from app.orders import models
from app.stores.types import Store

strawberry.enum(models.OrderStatus, description="PENDING orders wait for payment; COMPLETED and CANCELLED are final.")
strawberry.enum(models.Actor, description="Who made it happen.")
strawberry.enum(models.Capture, description="Whether money is taken with the charge, or set aside and captured later.")
strawberry.enum(models.HeldResolution, description="What becomes of a payment over other money than its order's.")
strawberry.enum(models.OrderEventKind, description="What can happen to an order.")
strawberry.enum(models.RefundStatus, description="How a refund stands.")
strawberry.enum(models.PaymentStatus, description="How a charge stands.")


@strawberry.type(description="A line of an order, as it was sold.")
class OrderItem(Node):
    model = models.OrderItem
    access = own("orders:read")

    name: str
    sku: str | None
    quantity: int
    price: Decimal = money("price", description="Of one piece.")
    line_total: Decimal = computed(line_total, needs=("price", "quantity", "currency"), description="Of all its pieces, at full price.")
    discount: Decimal = money("discount", description="Its share of the order's.")
    tax: Decimal = money("tax", description="Of all its pieces after the discount, added to the prices.")
    included_tax: Decimal = money("included_tax", description="Of all its pieces after the discount, where the prices include it.")
    currency: str
    created_at: datetime
    updated_at: datetime
    product: Product = to_one("products", "find_sold_by_ids", key="product_id")


@strawberry.type(description="Money given back of a payment, or on its way.")
class Refund(Node):
    model = models.Refund
    access = own("payments:read")

    amount: Decimal = money("amount")
    currency: str
    status: models.RefundStatus
    reason: str | None
    restock: bool = strawberry.field(description="Whether the order's pieces go back on the shelf with it.")
    transaction_id: str | None = strawberry.field(description="The provider's name for the refund.")
    idempotency_key: str
    failure_code: str | None = strawberry.field(description="Why it failed, in the provider's words.")
    completed_at: datetime | None
    failed_at: datetime | None
    created_at: datetime
    updated_at: datetime
    author: User | None = to_one(
        "users", "find_known_by_ids", key="created_by", access=of_others("users:read", owner="created_by"), description="Who gave it back."
    )


@strawberry.type(description="A charge for an order, tried or done.")
class Payment(Node):
    model = models.Payment
    access = own("payments:read")

    amount: Decimal = money("amount")
    currency: str
    captured_amount: Decimal = money("captured_amount", description="What was taken.")
    refunded_amount: Decimal = money("refunded_amount", description="What was given back, or is on its way.")
    status: models.PaymentStatus
    capture: models.Capture = strawberry.field(description="As its payer said, or else the store's setting `paymentCapture`.")
    provider: str | None
    method: str | None
    transaction_id: str | None = strawberry.field(description="The provider's name for the charge.")
    idempotency_key: str | None = strawberry.field(description="The key that its payer gave it.")
    failure_code: str | None = strawberry.field(description="Why it failed, in the provider's words, such as `card_declined`.")
    failure_message: str | None
    held_reason: str | None = guarded(
        requires("payments:read"), "Why staff must look at it: what the provider says does not fit the order."
    )
    authorized_at: datetime | None = strawberry.field(description="Since when the amount is set aside, to be captured.")
    voiding_at: datetime | None = strawberry.field(description="Since when what is set aside is let go of.")
    completed_at: datetime | None
    failed_at: datetime | None
    refunded_at: datetime | None
    created_at: datetime
    updated_at: datetime
    refunds: list[Refund] = to_many("refunds", "find_by_payment_ids", description="Oldest first.")


@strawberry.type(description="Something that happened to an order.")
class OrderEvent(Node):
    model = models.OrderEvent
    access = own("orders:read")

    kind: models.OrderEventKind
    actor: models.Actor
    amount: Decimal | None = money("amount", description="The money that it is about.")
    currency: str | None
    data: JSON = strawberry.field(description="Codes and names of the payment provider.")
    created_at: datetime
    person: User | None = to_one(
        "users", "find_known_by_ids", key="actor_id", access=of_others("users:read", owner="actor_id"), description="Whose hand it was."
    )
    payment: Payment | None = to_one("payments", key="payment_id", access=of_others("payments:read", owner="actor_id"))


@strawberry.type(description="A purchase.")
class Order(Node):
    model = models.Order
    access = own("orders:read")

    number: int | None = strawberry.field(description="What people call it by: unique in its store, without gaps.")
    status: models.OrderStatus
    items_total: Decimal = money("items_total", description="The sum of the lines.")
    discount: Decimal = money("discount", description="What the voucher took off.")
    shipping: Decimal = money("shipping")
    tax: Decimal = money("tax", description="Added to the prices; 0 where they include it.")
    included_tax: Decimal = money("included_tax", description="What of the total is tax, where the prices include it.")
    total: Decimal = money("total", description="What is paid: `itemsTotal - discount + shipping + tax`.")
    voucher_code: str | None
    currency: str
    payment_method: str | None
    idempotency_key: str | None = strawberry.field(description="The key that its buyer gave it.")
    completed_at: datetime | None
    cancelled_at: datetime | None
    failed_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    items: list[OrderItem] = to_many("order_items", "find_by_order_ids")
    payments: list[Payment] | None = to_many(
        "payments", "find_by_order_ids", access=of_others("payments:read"), description="Tried or done, oldest first."
    )
    payment: Payment | None = to_one(
        "payments", key="payment_id", access=of_others("payments:read"), description="The one that settled it."
    )
    events: list[OrderEvent] = to_many("order_events", "find_by_order_ids", description="What happened to it, oldest first.")
    cart: Cart | None = to_one("carts", key="cart_id", description="What it was ordered from.")
    user: User = to_one("users", "find_known_by_ids", key="user_id", access=as_parent)
    store: Store | None = to_one("stores", "find_known_by_ids", key="store_id")


@filter_input
class OrderFilter:
    id: IdFilter | None = id_filter("Order")
    user_id: IdFilter | None = id_filter("User")
    store_id: IdFilter | None = id_filter("Store")
    status: Comparison[models.OrderStatus] | None
    total: DecimalFilter | None
    created_at: DateTimeFilter | None
    completed_at: DateTimeFilter | None


@strawberry.enum(description="What orders can be sorted by.")
class OrderOrderField(StrEnum):
    CREATED_AT = "created_at"
    TOTAL = "total"


@strawberry.input
class OrderOrder:
    field: OrderOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type
class OrderPayload(Payload):
    order: Order | None = None
