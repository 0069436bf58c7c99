"""A new version of the way features are computed reaches all carts, whoever dies meanwhile, and then costs nothing."""

import asyncio
from dataclasses import dataclass, replace
from typing import Any

import pytest

from app.carts.repository import FeatureRequestRepository
from app.core.clickhouse import ClickHouse
from app.core.errors import RepositoryError
from app.engagement.features import VERSION, FeatureStore
from app.engagement.recomputing import DONE, Recomputation
from tests.engagement.test_feature_requests import bought, settled
from tests.engagement.test_features import READ
from tests.shop import Shop, ids

NEXT = "1.1"


@dataclass
class Carts:
    """Four carts whose features are computed, and one that has none."""

    shop: Shop
    shoppers: list[Any]
    computed: list[Any]
    plain: Any

    async def versions(self) -> list[tuple[str, ...]]:
        """Those of which each cart has values."""
        rows = [await self.shop.repositories.features.find_by_cart_id(cart.id) for cart in self.computed]
        return [tuple(sorted({row.version for row in found})) for found in rows]

    def work(self, version: str = NEXT, **limits: int) -> Recomputation:
        return Recomputation(self.shop.repositories, version, at_once=2, **limits)

    async def turn(self, version: str = NEXT, **limits: int) -> int:
        """What workers of a version do in a turn, of which there are two; gives how many carts were computed."""
        await asyncio.gather(*(self.work(version, **limits).run() for _ in range(2)))
        await settled(self.shop)
        return await FeatureStore(self.shop.repositories, version).compute_requested()

    async def mark(self) -> Any:
        return await self.shop.repositories.config.get_value(self.work().key)

    def counted(self) -> float:
        return float(self.shop.repositories.metrics.cart_features.labels("outdated")._value.get())


@pytest.fixture
async def carts(shop: Shop, clickhouse: ClickHouse) -> Carts:
    shop = replace(shop, repositories=replace(shop.repositories, clickhouse=clickhouse))
    shoppers = [await shop.viewer() for _ in range(4)]
    made = [await bought(shop, shopper) for shopper in shoppers]
    await settled(shop)
    assert await FeatureStore(shop.repositories).compute_requested() == len(made)
    plain = await bought(shop, await shop.viewer())
    await shop.repositories.of(FeatureRequestRepository).delete_many({"cart_id": plain.id})
    return Carts(shop, shoppers, made, plain)


async def test_a_new_version_reaches_all_carts_and_the_former_one_can_be_read(carts: Carts) -> None:
    assert await carts.turn() == 4
    assert await carts.versions() == [(VERSION, NEXT)] * 4
    shopper, cart = carts.shoppers[0], carts.computed[0]
    await bought(carts.shop, shopper)
    await settled(carts.shop)
    assert await FeatureStore(carts.shop.repositories, NEXT).compute_requested() == 1
    seen = {}
    for version in (VERSION, NEXT):
        rows = (await carts.shop.ask(shopper, READ, **ids(cartId=cart), version=version))["data"]["features"]
        seen[version] = {row["name"]: row["value"] for row in rows}["item_count"]
    assert seen == {VERSION: 1, NEXT: 2}
    assert await carts.shop.repositories.features.find_by_cart_id(carts.plain.id) == [], "it had none"
    while await carts.mark() != DONE:
        assert await carts.turn() == 0
    assert carts.counted() == 4


async def test_whoever_takes_over_goes_on_where_another_one_was_killed(carts: Carts) -> None:
    """The first one dies between its second look and its commit."""
    dying = carts.work()
    assert await dying._look()
    mark = await carts.mark()
    async with carts.shop.database.connection() as connection:
        await connection.execute(
            "create function die() returns trigger language plpgsql as "
            "$$ begin perform pg_terminate_backend(pg_backend_pid()); return new; end $$;"
            "create trigger die before update on config for each row execute function die()"
        )
    try:
        with pytest.raises(RepositoryError):
            await dying.run()
    finally:
        await carts.shop.database.execute_script("drop function die cascade")
    requests = carts.shop.repositories.of(FeatureRequestRepository)
    assert (await carts.mark(), await requests.count(), carts.counted()) == (mark, 2, 2), "what it did last is as if it had not been"
    assert await carts.turn() == 4
    assert await carts.versions() == [(VERSION, NEXT)] * 4


async def test_it_goes_on_until_workers_of_the_former_version_are_gone(carts: Carts) -> None:
    await carts.work().run()
    await settled(carts.shop)
    assert await FeatureStore(carts.shop.repositories).compute_requested() == 4
    assert (await carts.versions(), await carts.mark()) != ([(VERSION, NEXT)] * 4, DONE)
    assert await carts.turn() == 4
    assert await carts.versions() == [(VERSION, NEXT)] * 4


async def test_it_costs_nothing_once_it_is_done(carts: Carts) -> None:
    await carts.turn(VERSION)
    carts.shop.database.statements.clear()
    await carts.turn(VERSION)
    asked = [text for text in carts.shop.database.statements if "features" in text and "feature_requests" not in text]
    assert asked == []
    assert sum("config" in text for text in carts.shop.database.statements) == 2, "each worker reads the mark"
    assert await carts.mark() is None


async def test_a_cart_that_is_being_changed_is_not_waited_for(carts: Carts) -> None:
    cart = carts.computed[0]
    async with carts.shop.repositories.transaction() as tx:
        await tx.carts.lock_by_id(cart.id)
        await asyncio.wait_for(carts.work().run(), 2)
        assert await carts.shop.repositories.of(FeatureRequestRepository).count() == 3
    assert await carts.turn() == 4


async def test_carts_that_have_changed_do_not_wait_behind_it(carts: Carts) -> None:
    for expected in (2, 2, 0):
        assert await carts.turn(most_waiting=1) == expected
    assert await carts.versions() == [(VERSION, NEXT)] * 4
