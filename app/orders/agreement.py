"""What a shopper agrees to when ordering a cart: that nothing costs more than it was shown to.

A line's price is the one at which it was put in, or at which the shopper accepted it since (`acceptPrices`). What has become cheaper is
charged as it is now; what has become dearer is not ordered unless the shopper says so.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

from app.carts.models import CartItem
from app.catalog.models import Product
from app.core.errors import ErrorCode, UserError
from app.core.money import format_amount


@dataclass(frozen=True)
class Agreement:
    """`cart_version`: the version of the cart that the shopper saw, where the caller says it."""

    accept_price_changes: bool = False
    cart_version: int | None = None

    def check(self, items: list[CartItem], sold: Mapping[UUID, Product]) -> None:
        """Raises `UserError` PRICE_CHANGED, naming the lines that have become dearer, unless that is accepted."""
        dearer = [item for item in items if sold[item.product_id].price > item.price]
        if self.accept_price_changes or not dearer:
            return
        named = "; ".join(_told(sold[item.product_id], item.price) for item in dearer)
        message = f"prices have changed: {named}. Show them and accept them (acceptPrices, or acceptPriceChanges: true)"
        raise UserError(ErrorCode.PRICE_CHANGED, message, "cart_id")


def _told(product: Product, before: Decimal) -> str:
    now, then = (format_amount(price, product.currency) for price in (product.price, before))
    return f"{product.name} costs {now} {product.currency} instead of {then}"
