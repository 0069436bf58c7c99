"""Discount, shipping and tax: pure functions, so every rule is held for any amounts."""

from dataclasses import dataclass
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.carts.pricing import Charges, FlatShipping, PercentTax, Terms, priced, spread
from app.core.money import exponent, format_amount, line_total, quantize

TEA = UUID(int=0)
CURRENCIES = ("JPY", "USD", "KWD", "CLF")


@dataclass(frozen=True)
class Line:
    price: Decimal
    quantity: int = 1
    product_id: UUID = TEA


@dataclass(frozen=True)
class Off:
    """A rule that takes off a fixed amount, however little the products cost."""

    amount: Decimal

    def discount(self, items_total: Decimal, currency: str) -> Decimal:
        return self.amount


def lines(*prices: str) -> list[Line]:
    return [Line(Decimal(price)) for price in prices]


def amounts(charges: Charges) -> dict[str, str]:
    return {name: format_amount(amount, "USD") for name, amount in charges.columns().items()}


@st.composite
def purchases(draw: st.DrawFn) -> tuple[str, list[Line], Terms]:
    currency = draw(st.sampled_from(CURRENCIES))
    money = st.integers(0, 10**9).map(lambda units: Decimal(units).scaleb(-exponent(currency)))
    rates = st.decimals(0, 100, places=4, allow_nan=False)
    bought = draw(st.lists(st.builds(Line, money, st.integers(1, 1000)), max_size=12))
    shipping = FlatShipping(draw(money), draw(st.none() | money))
    return currency, bought, Terms(shipping, PercentTax(draw(rates), draw(st.booleans())), Off(draw(money)))


@settings(deadline=None)
@given(purchases())
def test_no_cent_is_lost_or_made(purchase: tuple[str, list[Line], Terms]) -> None:
    currency, bought, terms = purchase
    charges = priced(bought, terms, currency)
    totals = [line_total(line.price, line.quantity, currency) for line in bought]
    assert charges.items_total == sum(totals, Decimal(0))
    assert charges.total == charges.items_total - charges.discount + charges.shipping + charges.tax
    assert 0 <= charges.discount <= charges.items_total
    assert charges.discount == min(terms.discount.discount(Decimal(0), currency), charges.items_total)
    for name in ("discount", "tax", "included_tax"):
        assert getattr(charges, name) == sum((getattr(line, name) for line in charges.lines), Decimal(0))
    for total, line in zip(totals, charges.lines, strict=True):
        assert 0 <= line.discount <= total
        assert 0 <= line.included_tax <= total - line.discount
        assert line.tax == 0 or line.included_tax == 0
    for amount in charges.columns().values():
        assert amount == quantize(amount, currency)


@settings(deadline=None)
@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=20), st.data())
def test_a_discount_is_spread_by_what_the_lines_cost(units: list[int], data: st.DataObject) -> None:
    """No line is further from its exact share than a smallest unit."""
    amount = data.draw(st.integers(0, sum(units)))
    shares = spread(Decimal(amount), [Decimal(unit) for unit in units], "JPY")
    assert sum(shares) == amount
    for unit, share in zip(units, shares, strict=True):
        assert 0 <= share <= unit
        assert sum(units) == 0 or abs(share - Decimal(amount * unit) / sum(units)) < 1


@pytest.mark.parametrize(
    ("currency", "prices", "rate", "taxes"),
    [
        # Half-even, at each line: 0.125 is 0.12 and 0.375 is 0.38.
        ("USD", ("1.25", "3.75"), "10", ("0.12", "0.38")),
        ("JPY", ("5", "15", "25"), "10", ("0", "2", "2")),
        ("KWD", ("0.125", "0.375"), "10", ("0.012", "0.038")),
        ("USD", ("0.01", "0.01", "0.01"), "19", ("0.00", "0.00", "0.00")),
        ("USD", ("19.99",), "7.7", ("1.54",)),
    ],
)
def test_tax_on_top_is_rounded_half_even_once_per_line(currency: str, prices: tuple[str, ...], rate: str, taxes: tuple[str, ...]) -> None:
    charges = priced(lines(*prices), Terms(tax=PercentTax(Decimal(rate))), currency)
    assert [f"{line.tax:f}" for line in charges.lines] == list(taxes)
    assert charges.tax == sum(map(Decimal, taxes))
    assert charges.total == sum(map(Decimal, (*prices, *taxes)))


@pytest.mark.parametrize(
    ("currency", "price", "rate", "tax"),
    [
        ("USD", "119.00", "19", "19.00"),
        ("USD", "0.03", "20", "0.00"),
        ("USD", "0.09", "20", "0.02"),
        ("JPY", "110", "10", "10"),
        ("KWD", "1.050", "5", "0.050"),
    ],
)
def test_tax_that_prices_include_adds_nothing(currency: str, price: str, rate: str, tax: str) -> None:
    """0.09 at 20 % holds 0.015, which is half-even 0.02; 0.03 holds 0.005, which is 0.00."""
    charges = priced(lines(price), Terms(tax=PercentTax(Decimal(rate), included=True)), currency)
    assert (f"{charges.included_tax:f}", charges.total) == (tax, Decimal(price))
    assert charges.tax == 0


def test_what_is_taken_off_is_not_taxed_and_counts_for_free_shipping() -> None:
    terms = Terms(FlatShipping(Decimal("4.90"), Decimal(50)), PercentTax(Decimal(10)), Off(Decimal(10)))
    assert amounts(priced(lines("40.00", "15.00"), terms, "USD")) == {
        "items_total": "55.00",
        "discount": "10.00",
        "shipping": "4.90",
        "tax": "4.50",
        "included_tax": "0.00",
        "total": "54.40",
    }
    assert priced(lines("45.00", "15.00"), terms, "USD").shipping == 0


def test_nothing_is_sent_where_nothing_is_bought() -> None:
    assert priced([], Terms(FlatShipping(Decimal("4.90"))), "USD").total == 0
