"""What a line of a cart is beside what it was: the product's price now, and whether its pieces can be had."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID


class Availability(StrEnum):
    """UNAVAILABLE: no longer sold in the cart's store. INSUFFICIENT_STOCK: some pieces are left, fewer than the line wants."""

    AVAILABLE = "AVAILABLE"
    INSUFFICIENT_STOCK = "INSUFFICIENT_STOCK"
    OUT_OF_STOCK = "OUT_OF_STOCK"
    UNAVAILABLE = "UNAVAILABLE"


@dataclass(frozen=True)
class Offer:
    """How a line stands. `price` is the one it was put in at, `current_price` the product's in the line's currency, where it has one.

    `free` are the pieces that can be ordered now; None where there is no limit.
    """

    product_id: UUID
    quantity: int
    currency: str
    price: Decimal
    current_price: Decimal | None
    is_for_sale: bool
    free: int | None

    @property
    def price_changed(self) -> bool:
        return self.current_price is not None and self.current_price != self.price

    @property
    def availability(self) -> Availability:
        if not self.is_for_sale:
            return Availability.UNAVAILABLE
        if self.free is None or self.free >= self.quantity:
            return Availability.AVAILABLE
        return Availability.INSUFFICIENT_STOCK if self.free > 0 else Availability.OUT_OF_STOCK
