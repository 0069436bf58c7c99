"""Carts as GraphQL shows them."""

from collections.abc import Callable, Sequence
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any
from uuid import UUID

import strawberry
from strawberry.scalars import JSON

from app.accounts.types import User
from app.api.computed import batched, computed
from app.api.connection import OrderDirection
from app.api.filters import Comparison, DateTimeFilter, DecimalFilter, IdFilter, StringFilter, filter_input, id_filter
from app.api.money import money
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import as_parent, of_others, own_or_guests, requires
from app.api.relations import sum_of, to_many, to_one
from app.api.scalars import MoneyText
from app.carts import models
from app.carts.offers import Availability, Offer
from app.catalog.types import Product
from app.core import money as amounts
from app.stores.types import Store

if TYPE_CHECKING:
    from app.orders.types import Order

strawberry.enum(models.CartStatus, description="Only ACTIVE carts change; an ABANDONED one becomes ACTIVE again when it does.")
strawberry.enum(
    models.RecoveryStatus,
    description="PENDING: the shopper is to be reminded. SENT: that was done. OPENED: the shopper came back by the link. RECOVERED: the "
    "cart became an order in time. EXPIRED: it did not. SUPPRESSED: nobody was written to. FAILED: no mail could be delivered.",
)
strawberry.enum(Availability, description="Whether the pieces of a line can be had now.")


def line_total(price: Decimal, quantity: int, currency: str) -> MoneyText:
    """The total of one line with exactly the digits of its currency."""
    return MoneyText(f"{amounts.line_total(price, quantity, currency):f}")


def _of_offer(shown: Callable[[Offer], Any]) -> Callable[[Any, Sequence[UUID]], Any]:
    """What lines show of their offers, one statement for all of them."""

    async def compute(repositories: Any, ids: Sequence[UUID]) -> list[Any]:
        return [None if offer is None else shown(offer) for offer in await repositories.cart_items.find_offers(ids)]

    return compute


def _current_price(offer: Offer) -> MoneyText | None:
    return None if offer.current_price is None else MoneyText(amounts.format_amount(offer.current_price, offer.currency))


def _previous_price(offer: Offer) -> MoneyText | None:
    return MoneyText(amounts.format_amount(offer.price, offer.currency)) if offer.price_changed else None


@strawberry.type(description="A line of a cart.")
class CartItem(Node):
    model = models.CartItem
    access = own_or_guests("carts:read")

    quantity: int
    price: Decimal = money("price", description="Of one piece, when it was put in.")
    line_total: Decimal = computed(line_total, needs=("price", "quantity", "currency"), description="Of all its pieces.")
    current_price: Decimal | None = batched(
        _of_offer(_current_price), needs=("id",), description="Of one piece now; null where the product is sold in another currency."
    )
    price_changed: bool = batched(
        _of_offer(lambda offer: offer.price_changed),
        needs=("id",),
        description="Whether a piece costs another price than when it was put in.",
    )
    previous_price: Decimal | None = batched(
        _of_offer(_previous_price), needs=("id",), description="Where the price has changed, the one before: that of when it was put in."
    )
    availability: Availability = batched(_of_offer(lambda offer: offer.availability), needs=("id",))
    currency: str
    created_at: datetime
    updated_at: datetime
    product: Product = to_one("products", "find_sold_by_ids", key="product_id")


@strawberry.type(description="What a shopper means to buy at a store.")
class Cart(Node):
    model = models.Cart
    access = own_or_guests("carts:read")

    status: models.CartStatus
    items_total: Decimal = money("items_total", description="The sum of the lines.")
    discount: Decimal = money("discount", description="What the voucher takes off.")
    shipping: Decimal = money("shipping")
    tax: Decimal = money("tax", description="Added to the prices; 0 where they include it.")
    included_tax: Decimal = money("included_tax", description="What of the total is tax, where the prices include it.")
    total: Decimal = money(
        "total", description="`itemsTotal - discount + shipping + tax`: what it costs to order the cart as it was when it last changed."
    )
    voucher_code: str | None = strawberry.field(description="A voucher that takes nothing off stays, until it is removed.")
    currency: str = strawberry.field(description="That of its store.")
    version: int = strawberry.field(description="Counts the changes.")
    converted_at: datetime | None
    metadata: JSON | None
    created_at: datetime
    updated_at: datetime
    items: list[CartItem] = to_many("cart_items", "find_by_cart_ids", description="In the order in which they were put in.")
    item_count: int = sum_of("cart_items", "find_by_cart_ids", "quantity", description="How many pieces it holds.")
    user: User | None = to_one("users", "find_known_by_ids", key="user_id", access=as_parent)
    store: Store | None = to_one("stores", "find_known_by_ids", key="store_id")
    order: Annotated["Order", strawberry.lazy("app.orders.types")] | None = to_one(
        "orders", "find_by_cart_ids", key="id", description="What a CONVERTED cart became."
    )


@filter_input
class CartFilter:
    id: IdFilter | None = id_filter("Cart")
    user_id: IdFilter | None = id_filter("User")
    store_id: IdFilter | None = id_filter("Store")
    status: Comparison[models.CartStatus] | None
    total: DecimalFilter | None
    created_at: DateTimeFilter | None
    updated_at: DateTimeFilter | None


@strawberry.enum(description="What carts can be sorted by.")
class CartOrderField(StrEnum):
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    TOTAL = "total"


@strawberry.input
class CartOrder:
    field: CartOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type(description="A code of a store that makes purchases cheaper.")
class Voucher(Node):
    model = models.Voucher
    access = requires("vouchers:read")

    code: str
    percent: Decimal | None = strawberry.field(description="What it takes off of what the products cost, in percent; or else an amount.")
    amount: Decimal | None = money("amount", description="What it takes off, but never more than the products cost.")
    currency: str
    minimum_amount: Decimal | None = money("minimum_amount", description="What the products must cost at least.")
    max_uses: int | None = strawberry.field(description="How many orders may have it at most.")
    uses: int = strawberry.field(description="How many orders have it: paid ones, and those that wait to be.")
    once_per_user: bool = strawberry.field(description="Whether a shopper may have one order with it only.")
    starts_at: datetime | None
    ends_at: datetime | None
    is_active: bool
    created_at: datetime
    updated_at: datetime
    store: Store = to_one("stores", "find_known_by_ids", key="store_id")
    author: User | None = to_one(
        "users", "find_known_by_ids", key="created_by", access=of_others("users:read", owner="created_by"), description="Who made it."
    )


@filter_input
class VoucherFilter:
    id: IdFilter | None = id_filter("Voucher")
    store_id: IdFilter | None = id_filter("Store")
    code: StringFilter | None
    is_active: Comparison[bool] | None
    ends_at: DateTimeFilter | None
    created_at: DateTimeFilter | None


@strawberry.enum(description="What vouchers can be sorted by.")
class VoucherOrderField(StrEnum):
    CREATED_AT = "created_at"
    CODE = "code"
    USES = "uses"


@strawberry.input
class VoucherOrder:
    field: VoucherOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type
class VoucherPayload(Payload):
    voucher: Voucher | None = None


@strawberry.type(description="An attempt to win back a cart that was left.")
class RecoveryEvent(Node):
    model = models.RecoveryEvent
    access = requires("recovery:read")

    event_type: str
    status: models.RecoveryStatus
    outcome: str | None = strawberry.field(description="Why nobody was written to, or the mail failed.")
    attempts: int = strawberry.field(description="Mails that were tried.")
    sent_at: datetime | None
    opened_at: datetime | None = strawberry.field(description="When the shopper came back by the link.")
    expires_at: datetime | None = strawberry.field(description="Until when the link is good, and an order counts.")
    recovered_at: datetime | None
    recovered_amount: Decimal | None = money("recovered_amount", description="The total of the order.")
    currency: str | None
    created_at: datetime
    updated_at: datetime
    cart: Cart | None = to_one("carts", key="cart_id")
    order: Annotated["Order", strawberry.lazy("app.orders.types")] | None = to_one("orders", key="order_id", description="What it became.")
    user: User | None = to_one("users", "find_known_by_ids", key="user_id", access=as_parent)
    store: Store | None = to_one("stores", "find_known_by_ids", key="store_id")


@filter_input
class RecoveryEventFilter:
    cart_id: IdFilter | None = id_filter("Cart")
    store_id: IdFilter | None = id_filter("Store")
    user_id: IdFilter | None = id_filter("User")
    status: Comparison[models.RecoveryStatus] | None
    created_at: DateTimeFilter | None


@strawberry.type
class CartPayload(Payload):
    cart: Cart | None = None
    cart_token: str | None = strawberry.field(
        default=None,
        description="Of a guest: to be sent as `X-Cart-Token`. Whoever has it has the cart; an account takes it over at sign-in.",
    )
