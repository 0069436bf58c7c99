"""What shoppers are written: subjects and texts. Nothing in them was written by whoever caused the mail, and they go to one address."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, Protocol

from app.core.money import format_amount

MOST_LINES: Final = 20
"""Products that a mail names; of a longer list it tells how many there are more."""

REMINDER: Final = """\
You have left something in your cart at {store}:

{lines}

Together {total} {currency}. Go on with it by this link, which is for you alone:

{link}

We write once about a cart. If you want no such mails at all: {unsubscribe}
"""


ORDER: Final = """\
{message}

{lines}

{base}
"""


@dataclass(frozen=True)
class Line:
    """Pieces of a product."""

    name: str
    quantity: int


class Sum(Protocol):
    """What has a total."""

    @property
    def total(self) -> Decimal: ...
    @property
    def currency(self) -> str: ...


def cart_reminder(store: str, lines: Sequence[Line], cart: Sum, link: str, unsubscribe: str) -> tuple[str, str]:
    """Of a cart that was left: subject and text."""
    facts = {"store": flat(store), "lines": listed(lines), "total": format_amount(cart.total, cart.currency), "currency": cart.currency}
    return f"Your cart at {flat(store)}", REMINDER.format(**facts, link=link, unsubscribe=unsubscribe)


def order_letter(message: str, lines: Sequence[Line], base: str) -> str:
    """Of an order: what there is to say, and what was ordered."""
    return ORDER.format(message=message, lines=listed(lines), base=base)


def listed(lines: Sequence[Line]) -> str:
    """Lines as a mail lists them."""
    shown = [f"  {line.quantity} x {flat(line.name)}" for line in lines[:MOST_LINES]]
    return "\n".join([*shown, f"  and {len(lines) - MOST_LINES} more"] if len(lines) > MOST_LINES else shown)


def flat(name: str) -> str:
    """A name on one line."""
    return " ".join(name.split())
