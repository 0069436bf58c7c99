"""What becomes of two carts that are one shopper's: the account's and the guest's."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Protocol
from uuid import UUID

from app.carts.models import MAX_LINE_QUANTITY, MAX_LINES
from app.carts.offers import Offer


class Line(Protocol):
    @property
    def product_id(self) -> UUID: ...
    @property
    def quantity(self) -> int: ...


def merged(own: Sequence[Line], brought: Sequence[Offer], currency: str) -> list[Mapping[str, Any]]:
    """The lines that the account's cart gets from the guest's: quantities added, prices as they are now.

    No line passes the limit of pieces or, where pieces are counted, what is free; yet none becomes less than the account had, or less than
    one, for what is out of stock is shown as such rather than dropped. Lines in another currency than the cart's stay behind, and so do
    those beyond the limit of lines, the last ones first.
    """
    held = {line.product_id: line.quantity for line in own}
    room = MAX_LINES - len(held)
    lines: list[Mapping[str, Any]] = []
    for offer in brought:
        if offer.currency != currency or (offer.product_id not in held and room <= 0):
            continue
        room -= offer.product_id not in held
        price: Decimal = offer.price if offer.current_price is None else offer.current_price
        quantity = _quantity(held.get(offer.product_id, 0), offer)
        lines.append({"product_id": offer.product_id, "quantity": quantity, "price": price, "currency": currency})
    return lines


def _quantity(held: int, offer: Offer) -> int:
    most = MAX_LINE_QUANTITY if offer.free is None else min(MAX_LINE_QUANTITY, offer.free)
    return max(1, held, min(held + offer.quantity, most))
