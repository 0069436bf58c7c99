"""What a purchase costs beside its products: discount, shipping and tax.

Each is an interface of one question, with the store's and the voucher's answer to it: `DiscountRule` (`carts.discounts`), `ShippingRate`
(`FlatShipping`) and `TaxRate` (`PercentTax`). `priced` asks them, rounds once per line, half-even, and loses no cent on the way: the lines'
discounts are the discount, the lines' taxes the tax. Nothing here looks at a clock or a database.

Shipping depends on what the products cost after the discount, and bears no tax. Where prices include the tax, nothing is added: `tax` is 0
and `included_tax` what of the total is tax, so that total = items - discount + shipping + tax holds either way.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Context, Decimal
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from app.core.money import exponent, line_total, quantize

_EXACT: Final = Context(prec=60)
_HUNDRED: Final = Decimal(100)


class Bought(Protocol):
    """A line before it is priced: pieces at a price each."""

    @property
    def product_id(self) -> UUID: ...
    @property
    def quantity(self) -> int: ...
    @property
    def price(self) -> Decimal: ...


class DiscountRule(Protocol):
    def discount(self, items_total: Decimal, currency: str) -> Decimal:
        """What is taken off, with the currency's decimals: no more than the products cost."""


class ShippingRate(Protocol):
    def shipping(self, goods: Decimal, currency: str) -> Decimal:
        """What sending costs, with the currency's decimals; `goods` is what the products cost after the discount."""


class Tax(NamedTuple):
    """Of one line: what comes on top of its price, and what is part of it."""

    added: Decimal
    included: Decimal


class TaxRate(Protocol):
    def tax(self, amount: Decimal, currency: str) -> Tax:
        """The tax of one line that costs this much, rounded."""


class NoDiscount:
    def discount(self, items_total: Decimal, currency: str) -> Decimal:
        return Decimal(0)


@dataclass(frozen=True)
class FlatShipping:
    """One price, and none from an amount on."""

    price: Decimal = Decimal(0)
    free_from: Decimal | None = None

    def shipping(self, goods: Decimal, currency: str) -> Decimal:
        free = self.free_from is not None and goods >= self.free_from
        return Decimal(0) if free else self.price


@dataclass(frozen=True)
class PercentTax:
    """One rate for everything, in percent; `included` in the prices or on top of them."""

    rate: Decimal = Decimal(0)
    included: bool = False

    def tax(self, amount: Decimal, currency: str) -> Tax:
        whole = _HUNDRED + self.rate if self.included else _HUNDRED
        tax, none = quantize(_EXACT.divide(_EXACT.multiply(amount, self.rate), whole), currency), Decimal(0)
        return Tax(none, tax) if self.included else Tax(tax, none)


@dataclass(frozen=True)
class Terms:
    """What a store asks for, and what a voucher takes off."""

    shipping: ShippingRate = FlatShipping()
    tax: TaxRate = PercentTax()
    discount: DiscountRule = field(default_factory=NoDiscount)


@dataclass(frozen=True)
class LineCharges:
    """What a line bears of the whole."""

    discount: Decimal
    tax: Decimal
    included_tax: Decimal


@dataclass(frozen=True)
class Charges:
    """What a purchase costs; `lines` are in the order in which they were given."""

    items_total: Decimal
    discount: Decimal
    shipping: Decimal
    tax: Decimal
    included_tax: Decimal
    lines: tuple[LineCharges, ...]

    @property
    def total(self) -> Decimal:
        return self.items_total - self.discount + self.shipping + self.tax

    def columns(self) -> dict[str, Decimal]:
        """The amounts as carts and orders store them."""
        amounts = {name: getattr(self, name) for name in ("items_total", "discount", "shipping", "tax", "included_tax")}
        return {**amounts, "total": self.total}


def priced(bought: Sequence[Bought], terms: Terms, currency: str) -> Charges:
    """What lines cost together. Nothing is sent where nothing is bought."""
    totals = [line_total(line.price, line.quantity, currency) for line in bought]
    items_total = sum(totals, Decimal(0))
    discount = min(terms.discount.discount(items_total, currency), items_total)
    lines = tuple(_lines(totals, spread(discount, totals, currency), terms.tax, currency))
    shipping = terms.shipping.shipping(items_total - discount, currency) if bought else Decimal(0)
    return charges_of(items_total, shipping, lines)


def charges_of(items_total: Decimal, shipping: Decimal, lines: Iterable[LineCharges]) -> Charges:
    """The whole of what lines bear."""
    borne = tuple(lines)
    discount, tax, included = (
        sum((amounts[name] for amounts in map(asdict, borne)), Decimal(0)) for name in ("discount", "tax", "included_tax")
    )
    return Charges(items_total, discount, shipping, tax, included, borne)


def spread(amount: Decimal, totals: Sequence[Decimal], currency: str) -> list[Decimal]:
    """An amount, at most the sum of the lines, divided among them by what they cost: to the smallest unit, none beyond its own total.

    Up to each line its share is rounded down, and the line gets what it has grown by: the last one gets what is left.
    """
    places = exponent(currency)
    due, *units = (int(value.scaleb(places)) for value in (amount, *totals))
    whole, passed, given = sum(units), 0, 0
    shares = []
    for line in units:
        passed += line
        share = due * passed // whole - given if whole else 0
        shares.append(Decimal(share).scaleb(-places))
        given += share
    return shares


def _lines(totals: Sequence[Decimal], discounts: Sequence[Decimal], rate: TaxRate, currency: str) -> Iterator[LineCharges]:
    for total, discount in zip(totals, discounts, strict=True):
        tax = rate.tax(total - discount, currency)
        yield LineCharges(discount, tax.added, tax.included)
