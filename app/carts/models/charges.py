"""The checks that hold the amounts of carts and orders together.

`items_total` is the sum of the lines. `tax` is what is added to the prices; where they include it, `tax` is 0 and `included_tax` says how
much of the total it is.
"""

from collections.abc import Iterable

from sqlalchemy import CheckConstraint

from app.core import model


def adds_up() -> Iterable[CheckConstraint]:
    """The checks that the amounts of a cart or an order give its total."""
    return [
        *model.not_negative("items_total", "discount", "shipping", "tax", "included_tax", "total"),
        CheckConstraint("total = items_total - discount + shipping + tax", name="total_adds_up"),
        CheckConstraint("discount <= items_total", name="discount_of_items"),
        CheckConstraint("tax = 0 or included_tax = 0", name="tax_once"),
    ]


def taxed_line() -> Iterable[CheckConstraint]:
    """The checks of what a line of an order bears of the order's amounts."""
    return [
        *model.not_negative("discount", "tax", "included_tax"),
        CheckConstraint("discount <= price * quantity", name="discount_of_price"),
        CheckConstraint("tax = 0 or included_tax = 0", name="tax_once"),
    ]
