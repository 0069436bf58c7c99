"""Money: the currency's decimals, half-even rounding, and plain digits."""

from decimal import ROUND_HALF_EVEN, Decimal, localcontext

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.money import (
    DECIMAL_PLACES,
    EXPONENTS,
    FOUR_DECIMAL_CURRENCIES,
    THREE_DECIMAL_CURRENCIES,
    ZERO_DECIMAL_CURRENCIES,
    InvalidAmount,
    UnknownCurrency,
    exact,
    exponent,
    format_amount,
    line_total,
    quantize,
)

currencies = st.sampled_from(sorted(EXPONENTS))
amounts = st.decimals(min_value=-(10**15), max_value=10**15, allow_nan=False, allow_infinity=False)


@pytest.mark.parametrize(("currency", "digits"), [("JPY", 0), ("USD", 2), ("EUR", 2), ("KWD", 3), ("CLF", 4)])
def test_exponents_are_those_of_iso_4217(currency: str, digits: int) -> None:
    assert exponent(currency) == digits


def test_currencies_by_their_number_of_decimals() -> None:
    assert {"JPY", "KRW", "CLP", "ISK"} <= set(ZERO_DECIMAL_CURRENCIES)
    assert {"BHD", "KWD", "TND"} <= set(THREE_DECIMAL_CURRENCIES)
    assert {"CLF", "UYW"} == set(FOUR_DECIMAL_CURRENCIES)
    assert "USD" not in {*ZERO_DECIMAL_CURRENCIES, *THREE_DECIMAL_CURRENCIES, *FOUR_DECIMAL_CURRENCIES}
    assert max(EXPONENTS.values()) == DECIMAL_PLACES


@pytest.mark.parametrize("code", ["usd", "US", "USDX", "", "XXX", "XAU", "DEM", "ÜSD", "USD\n"])
def test_what_is_no_currency_in_use_is_refused(code: str) -> None:
    with pytest.raises(UnknownCurrency, match="ISO 4217"):
        exponent(code)


@given(amounts, currencies)
def test_rounding_is_half_even_to_the_currency(amount: Decimal, currency: str) -> None:
    rounded = quantize(amount, currency)
    unit = Decimal(1).scaleb(-exponent(currency))
    assert rounded.as_tuple().exponent == -exponent(currency)
    with localcontext(prec=100):
        assert abs(rounded - amount) <= unit / 2
        assert rounded == (amount / unit).to_integral_value(ROUND_HALF_EVEN) * unit


@given(amounts, currencies)
def test_rounding_twice_is_rounding_once(amount: Decimal, currency: str) -> None:
    assert quantize(quantize(amount, currency), currency) == quantize(amount, currency)


@pytest.mark.parametrize(
    ("amount", "currency", "text"),
    [
        ("0.005", "USD", "0.00"),
        ("0.015", "USD", "0.02"),
        ("2.5", "JPY", "2"),
        ("3.5", "JPY", "4"),
        ("1E+3", "USD", "1000.00"),
        ("1E-9", "USD", "0.00"),
        ("-0.001", "USD", "0.00"),
        ("-0", "JPY", "0"),
        ("1.5", "KWD", "1.500"),
        ("0.00005", "CLF", "0.0000"),
        ("999999999999999.9999", "CLF", "999999999999999.9999"),
    ],
)
def test_amounts_as_text(amount: str, currency: str, text: str) -> None:
    assert format_amount(Decimal(amount), currency) == text


@given(amounts, currencies)
def test_text_is_plain_digits_and_loses_nothing_but_the_rounding(amount: Decimal, currency: str) -> None:
    text = format_amount(amount, currency)
    whole, _, decimals = text.removeprefix("-").partition(".")
    assert (whole + decimals).isascii()
    assert (whole + decimals).isdigit()
    assert len(decimals) == exponent(currency)
    assert Decimal(text) == quantize(amount, currency)


@given(st.decimals(min_value=0, max_value=10**12, places=4), st.integers(1, 1000), currencies)
def test_a_line_is_rounded_once(price: Decimal, quantity: int, currency: str) -> None:
    with localcontext(prec=100):
        assert line_total(price, quantity, currency) == quantize(price * quantity, currency)


@given(st.lists(st.tuples(st.decimals(min_value=0, max_value=10**9, places=2), st.integers(1, 1000)), max_size=20))
def test_sums_of_lines_are_exact(lines: list[tuple[Decimal, int]]) -> None:
    total = sum((line_total(price, quantity, "USD") for price, quantity in lines), Decimal(0))
    assert quantize(total, "USD") == total


@given(amounts, currencies)
def test_exact_refuses_what_rounding_would_change(amount: Decimal, currency: str) -> None:
    if quantize(amount, currency) == amount:
        assert exact(amount, currency) == amount
    else:
        with pytest.raises(InvalidAmount, match="decimals"):
            exact(amount, currency)


@pytest.mark.parametrize("amount", ["NaN", "sNaN", "Infinity", "-Infinity", "1E+999999", "1E+70"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(InvalidAmount):
        format_amount(Decimal(amount), "USD")
