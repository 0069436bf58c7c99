"""What a voucher takes off, and when it does not."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.carts.discounts import VoucherDiscount
from app.core.money import exponent, quantize

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@dataclass(frozen=True)
class Voucher:
    percent: Decimal | None = None
    amount: Decimal | None = None
    currency: str = "USD"
    minimum_amount: Decimal | None = None
    max_uses: int | None = None
    uses: int = 0
    once_per_user: bool = False
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    is_active: bool = True


TENTH = Voucher(percent=Decimal(10))
FIVER = Voucher(amount=Decimal(5))


@pytest.mark.parametrize(
    ("voucher", "items_total", "currency", "discount"),
    [
        (TENTH, "19.99", "USD", "2.00"),
        (TENTH, "0.25", "USD", "0.02"),
        (TENTH, "15", "JPY", "2"),
        (TENTH, "0.125", "KWD", "0.012"),
        (Voucher(percent=Decimal(100)), "19.99", "USD", "19.99"),
        (FIVER, "19.99", "USD", "5"),
        (FIVER, "3.50", "USD", "3.50"),
        (replace(TENTH, minimum_amount=Decimal(20)), "20.00", "USD", "2.00"),
    ],
)
def test_what_a_voucher_takes_off(voucher: Voucher, items_total: str, currency: str, discount: str) -> None:
    assert f"{VoucherDiscount(voucher, NOW).discount(Decimal(items_total), currency):f}" == discount


@pytest.mark.parametrize(
    ("voucher", "problem"),
    [
        (replace(TENTH, is_active=False), "it is no longer valid"),
        (replace(TENTH, starts_at=NOW + HOUR), "it is valid from 2026-06-01 13:00 UTC on"),
        (replace(TENTH, ends_at=NOW), "it was valid until 2026-06-01 12:00 UTC"),
        (replace(TENTH, max_uses=3, uses=3), "it has been used up"),
        (replace(TENTH, once_per_user=True), "you have used it before"),
        (replace(TENTH, minimum_amount=Decimal("10.01")), "it is for purchases from 10.01 USD on"),
        (replace(FIVER, currency="EUR"), "it is for purchases in EUR"),
        (replace(TENTH, currency="EUR", minimum_amount=Decimal(1)), "it is for purchases in EUR"),
    ],
)
def test_why_a_voucher_takes_nothing_off(voucher: Voucher, problem: str) -> None:
    rule = VoucherDiscount(voucher, NOW, used_before=True)
    assert rule.problem(Decimal(10), "USD") == problem
    assert rule.discount(Decimal(10), "USD") == 0


@pytest.mark.parametrize(
    "voucher",
    [
        replace(TENTH, starts_at=NOW, ends_at=NOW + HOUR),
        replace(TENTH, max_uses=3, uses=2),
        replace(TENTH, currency="EUR"),
        TENTH,
    ],
)
def test_a_voucher_is_good_up_to_its_limits(voucher: Voucher) -> None:
    assert VoucherDiscount(voucher, NOW, used_before=True).problem(Decimal(10), "USD") is None


@given(
    st.sampled_from(("JPY", "USD", "KWD")),
    st.integers(0, 10**12),
    st.one_of(
        st.decimals("0.0001", 100, places=4).map(lambda percent: {"percent": percent}),
        st.integers(1, 10**12).map(lambda units: {"amount": Decimal(units)}),
    ),
)
def test_no_discount_exceeds_what_the_products_cost(currency: str, units: int, value: dict[str, Any]) -> None:
    items_total = Decimal(units).scaleb(-exponent(currency))
    discount = VoucherDiscount(Voucher(**value, currency=currency), NOW).discount(items_total, currency)
    assert 0 <= discount <= items_total
    assert discount == quantize(discount, currency)
