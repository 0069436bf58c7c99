"""Money: how many decimals a currency has (ISO 4217), rounding and writing of amounts.

An amount is a `Decimal` in major units. Amounts of different currencies never add. Rounding is half-even and happens once,
at the line (`line_total`): sums of lines are exact.
"""

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation
from types import MappingProxyType
from typing import Final

from iso4217 import Currency

DECIMAL_PLACES: Final = 4
"""The decimals of the money columns, numeric(19,4): as many as the most finely divided currency has."""

EXPONENTS: Final[Mapping[str, int]] = MappingProxyType({c.code: c.exponent for c in Currency if c.exponent is not None})
"""The decimals of every currency in use, by code. Metals, funds without a minor unit and test codes are no currencies here."""


def _with_exponent(digits: int) -> tuple[str, ...]:
    return tuple(sorted(code for code, exponent in EXPONENTS.items() if exponent == digits))


ZERO_DECIMAL_CURRENCIES: Final = _with_exponent(0)
THREE_DECIMAL_CURRENCIES: Final = _with_exponent(3)
FOUR_DECIMAL_CURRENCIES: Final = _with_exponent(4)

_CONTEXT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_UNITS = [Decimal(1).scaleb(-digits) for digits in range(DECIMAL_PLACES + 1)]


class UnknownCurrency(ValueError):
    """A code that ISO 4217 does not list as a currency in use, or not in capital letters."""

    def __init__(self, currency: str) -> None:
        super().__init__(f"{currency!r:.20} is not the code of an ISO 4217 currency in use, such as 'USD'")
        self.currency = currency


class InvalidAmount(ValueError):
    """A number that cannot be an amount of its currency: not finite, too large, or with too many decimals."""


def exponent(currency: str) -> int:
    """How many decimals amounts of a currency have: JPY 0, USD 2, KWD 3, CLF 4.

    Raises:
        UnknownCurrency: the code is not that of a currency in use.
    """
    try:
        return EXPONENTS[currency]
    except (KeyError, TypeError):
        raise UnknownCurrency(currency) from None


def quantize(amount: Decimal, currency: str) -> Decimal:
    """The amount rounded half-even to the currency's decimals; zero never carries a sign.

    Raises:
        UnknownCurrency: the code is not that of a currency in use.
        InvalidAmount: the number is not finite or has more than 50 digits before the point.
    """
    unit = _UNITS[exponent(currency)]
    if not amount.is_finite():
        raise InvalidAmount("an amount must be a finite number")
    try:
        rounded = amount.quantize(unit, context=_CONTEXT)
    except InvalidOperation as error:
        raise InvalidAmount("an amount has too many digits") from error
    return rounded or abs(rounded)


def exact(amount: Decimal, currency: str) -> Decimal:
    """The amount with the currency's decimals, provided that nothing is lost by it.

    Raises:
        UnknownCurrency: the code is not that of a currency in use.
        InvalidAmount: the number is not finite, too large, or has more decimals than the currency.
    """
    rounded = quantize(amount, currency)
    if rounded != amount:
        raise InvalidAmount(f"an amount in {currency} has at most {exponent(currency)} decimals")
    return rounded


def line_total(price: Decimal, quantity: int, currency: str) -> Decimal:
    """The total of one line of a cart or an order, rounded once: totals are sums of these.

    Raises:
        UnknownCurrency: the code is not that of a currency in use.
        InvalidAmount: the product is not finite or too large.
    """
    return quantize(_CONTEXT.multiply(price, Decimal(quantity)), currency)


def format_amount(amount: Decimal, currency: str) -> str:
    """The amount in plain ASCII digits with exactly the currency's decimals, as the API writes it: "1234.50", "0", "-3.125".

    Raises:
        UnknownCurrency: the code is not that of a currency in use.
        InvalidAmount: the number is not finite or too large.
    """
    return f"{quantize(amount, currency):f}"
