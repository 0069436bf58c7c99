"""What a shopper agrees to when ordering a cart: that nothing costs more than it was shown to.

A line's price is the one at which it was put in, or at which the shopper accepted it since (`acceptPrices`); discount, shipping and tax are
what they were when the cart last changed. What has become cheaper is charged as it is now; what has become dearer is not ordered unless the
shopper says so. A discount that has shrunk is dearer, too, and so are shipping and taxes that have grown, whatever the total.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Final
from uuid import UUID

from app.carts.discounts import VoucherDiscount
from app.carts.models import Cart
from app.carts.pricing import Bought, Charges
from app.catalog.models import Product
from app.core.errors import ErrorCode, UserError
from app.core.money import format_amount

ACCEPT: Final = "acceptPrices, or acceptPriceChanges: true"


@dataclass(frozen=True)
class Agreement:
    """`cart_version`: the version of the cart that the shopper saw, where the caller says it."""

    accept_price_changes: bool = False
    cart_version: int | None = None

    def check(self, items: Iterable[Bought], sold: Mapping[UUID, Product]) -> None:
        """Raises `UserError` PRICE_CHANGED, naming the lines that have become dearer, unless that is accepted."""
        if not self.accept_price_changes:
            _refuse(_told(sold[item.product_id], item.price) for item in items if sold[item.product_id].price > item.price)

    def check_voucher(self, cart: Cart, voucher: VoucherDiscount, charges: Charges) -> None:
        """Raises `UserError` VOUCHER_NOT_APPLICABLE where the discount that the cart shows is gone, unless that is accepted."""
        problem = voucher.problem(charges.items_total, cart.currency)
        if problem is not None and cart.discount and not self.accept_price_changes:
            advice = f"Take it off the cart (removeVoucher), or accept that ({ACCEPT})"
            message = f"{cart.voucher_code} takes nothing off any more: {problem}. {advice}"
            raise UserError(ErrorCode.VOUCHER_NOT_APPLICABLE, message, "cart_id")

    def check_charges(self, cart: Cart, as_shown: Charges, charges: Charges) -> None:
        """Raises `UserError` PRICE_CHANGED where an order costs more than its cart shows, unless that is accepted.

        `as_shown` is what the lines come to now at the prices that the cart shows, so that a discount of something cheaper may be smaller.
        """
        if not self.accept_price_changes:
            _refuse(_dearer(cart, as_shown, charges))


def _dearer(cart: Cart, as_shown: Charges, charges: Charges) -> Iterable[str]:
    compared = (
        ("the discount", -as_shown.discount, -cart.discount),
        ("shipping", as_shown.shipping, cart.shipping),
        ("the tax", as_shown.tax, cart.tax),
        ("the total", charges.total, cart.total),
    )
    for name, now, shown in compared:
        if now > shown:
            now_text, shown_text = (format_amount(abs(amount), cart.currency) for amount in (now, shown))
            yield f"{name} is {now_text} {cart.currency} instead of {shown_text}"


def _refuse(changes: Iterable[str]) -> None:
    named = "; ".join(changes)
    if named:
        message = f"prices have changed: {named}. Show them and accept them ({ACCEPT})"
        raise UserError(ErrorCode.PRICE_CHANGED, message, "cart_id")


def _told(product: Product, before: Decimal) -> str:
    now, then = (format_amount(price, product.currency) for price in (product.price, before))
    return f"{product.name} costs {now} {product.currency} instead of {then}"
