"""A crowd of shoppers for some seconds, against a gateway in a process of its own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.bench.shoppers import crowd, percentile
from tests.conftest import fresh_database

SHOPPERS, SECONDS = 16, 4


async def test_a_crowd_leaves_the_books_right(postgres: str, tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    async with fresh_database(postgres) as dsn:
        figures = await crowd(dsn, tmp_path, SHOPPERS, SECONDS)
    assert figures.wrong == []
    assert figures.deadlocks == 0
    assert figures.orders >= figures.seen.checkouts > 0
    assert {"products", "addToCart", "myCart", "applyVoucher", "order"} <= figures.seen.milliseconds.keys()
    assert figures.with_voucher > 0
    assert len(figures.seen.milliseconds["restoreCart"]) >= figures.won_back > 0
    assert 0 < figures.in_database < 1
    record_property("figures", " ".join(figures.lines()[:4]))


@pytest.mark.parametrize(("percent", "value"), [(50, 5), (99, 10), (10, 1), (11, 2)])
def test_percentiles_are_times_that_were_measured(percent: float, value: float) -> None:
    assert percentile([10, 1, 9, 2, 8, 3, 7, 4, 6, 5], percent) == value
