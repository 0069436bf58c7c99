"""Old values of features go, and nothing that can be seen within their lifetime changes."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from app.core.revisions import first_id
from app.engagement.history import FeatureHistories
from app.engagement.models import FeatureCreate
from app.engagement.repository.history import REVISIONS, CartFeatureRevisions
from tests.shop import Shop

LIFETIME = timedelta(days=400)
AGES = {
    "often": range(0, 800, 7),
    "long_ago": (900, 700, 500),
    "never_changed": (600,),
    "of_late": (3, 2, 1),
    "at_the_edge": (401, 400, 399),
}
"""How many days ago each feature got its values."""


def kept(ages: Any) -> list[int]:
    """The oldest last: those of the lifetime, and the one that held when it began."""
    older = sorted(age for age in ages if age >= 400)
    return sorted(age for age in ages if age < 400) + older[:1]


@pytest.fixture
async def cart(shop: Shop) -> Any:
    """Its features have got values, each the number of days that it is old."""
    cart = await shop.cart(await shop.viewer())
    given = [FeatureCreate(cart_id=cart.id, name=name, value=min(ages)) for name, ages in AGES.items()]
    rows = await shop.repositories.features.create_many(given)
    async with shop.database.connection() as connection:
        await connection.execute("delete from feature_history")
        for row in rows:
            for revision, age in enumerate(sorted(AGES[row.name], reverse=True), 1):
                await connection.execute(
                    "insert into feature_history (id, feature_id, revision, value, created_at) select uuidv7(-$4::interval - "
                    "interval '1 ms'), $1, $2, to_jsonb($3::int), now() - $4::interval - interval '1 ms'",
                    row.id,
                    revision,
                    age,
                    timedelta(days=age),
                )
    return cart


async def ages(shop: Shop) -> dict[str, list[int]]:
    async with shop.database.connection() as connection:
        rows = await connection.fetch(
            "select name, history.value::int as age from feature_history history join features on features.id = feature_id order by age"
        )
    return {name: [row["age"] for row in rows if row["name"] == name] for name in AGES}


async def seen(shop: Shop, cart: Any, now: datetime) -> list[dict[str, Any]]:
    """What the features were on each day of the lifetime."""
    days = [now - timedelta(days=day) for day in range(0, 400, 3)] + [now - LIFETIME + timedelta(seconds=30)]
    found = [await shop.repositories.features.find_by_cart_id(cart.id, as_of=day) for day in days]
    return [{row.name: row.value for row in rows} for rows in found]


async def test_what_can_be_seen_within_the_lifetime_stays_as_it_was(shop: Shop, cart: Any) -> None:
    now = shop.repositories.now()
    before = await seen(shop, cart, now)
    assert len(before[-1]) == 4
    await FeatureHistories(shop.repositories, LIFETIME).remove_old()
    assert await ages(shop) == {name: kept(given) for name, given in AGES.items()}
    assert await seen(shop, cart, now) == before
    latest = {row.name: row.value for row in await shop.repositories.features.find_by_cart_id(cart.id)}
    assert latest == {name: min(given) for name, given in AGES.items()}


async def test_a_few_rows_at_a_time_are_as_good(shop: Shop, cart: Any) -> None:
    revisions, before = shop.repositories.of(CartFeatureRevisions), shop.repositories.now() - LIFETIME
    expected = sum(len(given) - len(kept(given)) for given in AGES.values())
    assert await revisions.remove_superseded(before, at_once=3) == expected
    assert await ages(shop) == {name: kept(given) for name, given in AGES.items()}
    assert await revisions.remove_superseded(before) == 0


async def test_without_a_lifetime_everything_stays(shop: Shop, cart: Any) -> None:
    await FeatureHistories(shop.repositories, timedelta(0)).remove_old()
    assert await ages(shop) == {name: sorted(given) for name, given in AGES.items()}


async def test_features_of_shoppers_and_products_grow_old_as_well(shop: Shop) -> None:
    shopper, product = await shop.viewer(), await shop.product()
    async with shop.database.connection() as connection:
        for table, column, id in (("user_features", "user_id", shopper.user_id), ("product_features", "product_id", product.id)):
            for name in ("often", "long_ago"):
                await connection.execute(
                    f"insert into {table} (id, {column}, store_id, name, value, created_at) select uuidv7(-days), $1, $2, $3, "
                    "to_jsonb(age), now() - days from unnest($4::int[]) age, make_interval(days => age) days",
                    id,
                    shop.store.id,
                    name,
                    list(AGES[name]),
                )
    await FeatureHistories(shop.repositories, LIFETIME).remove_old()
    for rows in REVISIONS[1:]:
        found = await shop.repositories.of(rows).find_many()
        for name in ("often", "long_ago"):
            assert sorted(row.value for row in found if row.name == name) == kept(AGES[name]), (rows.entity, name)


def test_ids_of_a_moment_and_later_are_not_below_its_first_one() -> None:
    # RFC 9562, appendix A.6: the id of 2022-02-22T19:22:22Z.
    moment, id = datetime.fromisoformat("2022-02-22T14:22:22-05:00"), UUID("017f22e2-79b0-7cc3-98c4-dc0c0c07398f")
    assert first_id(moment) <= id < first_id(moment + timedelta(milliseconds=1))
