"""The features of carts: what they come to, whom they are for, and what they were."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.clickhouse import ClickHouse
from app.core.security import ViewerKind
from app.engagement.features import Activity, FeatureStore, engagement_score
from app.engagement.models import FeatureCreate
from tests.shop import ADMINISTRATOR, Shop, ids

NOW = datetime(2026, 5, 1, tzinfo=UTC)
COMPUTE = """mutation ($cartId: ID!) { computeCartFeatures(input: { cartId: $cartId }) {
  features { name value version description ttl expiresAt revision cart { id } } unavailable userErrors { field code } } }"""
READ = """query ($cartId: ID!, $version: String, $asOf: DateTime) {
  features(cartId: $cartId, version: $version, asOf: $asOf) { name value version revision } }"""
ACTIVITIES = st.builds(
    Activity,
    st.integers(1, 10**6),
    st.integers(1, 30),
    st.floats(0, 30).map(lambda days: NOW - timedelta(days=days)),
)


# --- The score


@given(ACTIVITIES)
@settings(max_examples=200, deadline=None)
def test_the_score_is_a_share(activity: Activity) -> None:
    assert 0 <= engagement_score(activity, NOW) <= 1


@given(ACTIVITIES, st.integers(0, 1000), st.integers(0, 30), st.floats(0, 30))
@settings(max_examples=200, deadline=None)
def test_whoever_does_more_or_later_never_scores_less(activity: Activity, events: int, days: int, later: float) -> None:
    score = engagement_score(activity, NOW)
    latest = min(activity.latest + timedelta(days=later), NOW)
    for more in (
        replace(activity, events=activity.events + events),
        replace(activity, days=activity.days + days),
        replace(activity, latest=latest),
        Activity(activity.events + events, activity.days + days, latest),
    ):
        assert engagement_score(more, NOW) >= score
    assert engagement_score(activity, NOW + timedelta(days=later)) <= score, "it fades"


def test_whoever_does_nothing_scores_nothing_and_a_regular_much() -> None:
    assert engagement_score(None, NOW) == 0
    assert engagement_score(Activity(1, 1, NOW - timedelta(days=29)), NOW) < 0.1
    assert engagement_score(Activity(400, 25, NOW), NOW) > 0.95
    assert engagement_score(Activity(400, 25, NOW + timedelta(minutes=5)), NOW) <= 1, "a clock that goes ahead"


# --- Computing


@pytest.fixture
async def seen(shop: Shop, clickhouse: ClickHouse) -> Shop:
    """The shop, with events."""
    return replace(shop, repositories=replace(shop.repositories, clickhouse=clickhouse))


async def test_a_cart_s_features_are_those_of_the_specification(seen: Shop) -> None:
    shopper, now = await seen.viewer(), seen.repositories.now()
    cart = await seen.cart(shopper, (await seen.product("10.00"), 3), (await seen.product("5.55"), 1))
    events = [
        {"id": uuid4(), "user_id": shopper.user_id, "event_type": "PAGE_VIEW", "timestamp": now - timedelta(days=n), "received_at": now}
        for n in (1, 1, 2, 40)
    ]
    await seen.repositories.user_events.insert_batch([*events, {**events[0], "id": uuid4(), "user_id": uuid4()}], "token")
    payload = (await seen.ask(shopper, COMPUTE, **ids(cartId=cart)))["data"]["computeCartFeatures"]
    assert (payload["userErrors"], payload["unavailable"]) == ([], [])
    found = {feature["name"]: feature for feature in payload["features"]}
    score = engagement_score(Activity(3, 2, now - timedelta(days=1)), now)
    assert {name: feature["value"] for name, feature in found.items()} == {
        "avg_item_price": 7.775,
        "item_count": 2,
        "total_value": 35.55,
        "user_engagement_score": pytest.approx(score, abs=0.001),
    }
    assert {feature["version"] for feature in found.values()} == {"1.0"}
    assert found["item_count"]["description"] == "Total number of items in cart"
    assert (found["item_count"]["expiresAt"], found["user_engagement_score"]["ttl"]) == (None, 3600)
    assert found["item_count"]["cart"] == ids(id=cart)
    read = (await seen.ask(shopper, READ, **ids(cartId=cart), version="1.0"))["data"]["features"]
    assert [(row["name"], row["value"]) for row in read] == [(name, found[name]["value"]) for name in sorted(found)]
    assert (await seen.ask(shopper, READ, **ids(cartId=cart), version="2.0"))["data"]["features"] == []


async def test_without_events_the_others_are_computed_and_it_says_so(shop: Shop) -> None:
    shopper = await shop.viewer()
    cart = await shop.cart(shopper)
    payload = (await shop.ask(shopper, COMPUTE, **ids(cartId=cart)))["data"]["computeCartFeatures"]
    assert payload["unavailable"] == ["user_engagement_score"]
    assert {row["name"]: row["value"] for row in payload["features"]} == {"avg_item_price": 0, "item_count": 0, "total_value": 0}


async def test_features_are_for_their_shopper_and_the_staff_of_the_store(shop: Shop) -> None:
    shopper = await shop.viewer()
    cart = await shop.cart(shopper, (await shop.product(), 1))
    stranger, reader = await shop.viewer(), await shop.viewer(ViewerKind.STAFF, "features:read", "carts:read")
    for viewer in (stranger, reader):
        payload = (await shop.ask(viewer, COMPUTE, **ids(cartId=cart)))["data"]["computeCartFeatures"]
        assert payload["userErrors"] == [{"field": ["cartId"], "code": "NOT_FOUND"}]
    assert await shop.repositories.features.count() == 0
    for viewer in (await shop.viewer(ViewerKind.STAFF, "features:write"), ADMINISTRATOR, shopper):
        assert (await shop.ask(viewer, COMPUTE, **ids(cartId=cart)))["data"]["computeCartFeatures"]["features"]
    assert len((await shop.ask(reader, READ, **ids(cartId=cart)))["data"]["features"]) == 3
    assert (await shop.ask(stranger, READ, **ids(cartId=cart)))["data"]["features"] == []


# --- What they were


async def test_features_are_read_as_they_were(shop: Shop) -> None:
    shopper = await shop.viewer()
    cart = await shop.cart(shopper, (await shop.product("10.00"), 1))
    store, moments = FeatureStore(shop.repositories), [await clock(shop)]
    for _ in range(2):
        await store.compute(cart.id)
        moments.append(await clock(shop))
        await shop.cart(shopper, (await shop.product("1.00"), 1))
    await store.compute(cart.id)
    seen = []
    for moment in (*moments, None):
        given = {} if moment is None else {"asOf": moment.isoformat()}
        rows = (await shop.ask(shopper, READ, **ids(cartId=cart), **given))["data"]["features"]
        seen.append({row["name"]: row["value"] for row in rows}.get("item_count"))
    assert seen == [None, 1, 2, 3]


async def clock(shop: Shop) -> datetime:
    """The database's own time, which features are stamped with."""
    async with shop.database.connection() as connection:
        now: datetime = await connection.fetchval("select clock_timestamp()")
    return now


async def test_what_had_expired_then_is_hidden_then(shop: Shop) -> None:
    cart = await shop.cart(await shop.viewer())
    features = shop.repositories.features
    await features.create_many([FeatureCreate(cart_id=cart.id, name="brief", value=1, ttl=60)])
    now = await clock(shop)
    for seconds, expected in ((-3600, 0), (0, 1), (50, 1), (70, 0)):
        assert len(await features.find_by_cart_id(cart.id, as_of=now + timedelta(seconds=seconds))) == expected, seconds


async def history(shop: Shop, cart: Any) -> dict[str, list[Any]]:
    async with shop.database.connection() as connection:
        rows = await connection.fetch(
            "select name, history.* from feature_history history join features on features.id = feature_id "
            "where cart_id = $1 order by name, history.revision",
            cart.id,
        )
    found: dict[str, list[Any]] = {}
    for row in rows:
        found.setdefault(row["name"], []).append(row)
    return found


async def test_twenty_at_once_leave_one_row_each_and_a_history_without_gaps(seen: Shop) -> None:
    shopper = await seen.viewer()
    products = [await seen.product("2.00") for _ in range(10)]
    cart = await seen.cart(shopper, (products[0], 1))

    async def change(product: Any) -> None:
        await seen.cart(shopper, (product, 1))

    store = FeatureStore(seen.repositories)
    await asyncio.gather(*(store.compute(cart.id) for _ in range(20)), *(change(product) for product in products[1:]))
    await store.compute(cart.id)
    rows = await seen.repositories.features.find_many({"cart_id": cart.id})
    assert sorted(row.name for row in rows) == ["avg_item_price", "item_count", "total_value", "user_engagement_score"]
    assert {row.name: row.value for row in rows}["item_count"] == 10, "the last one to compute sees the cart as it is"
    found = await history(seen, cart)
    for row in rows:
        past = found[row.name]
        assert [entry["revision"] for entry in past] == list(range(1, row.revision + 1))
        assert past[-1]["value"] == row.value
        assert [entry["created_at"] for entry in past] == sorted(entry["created_at"] for entry in past)
    assert len(found["user_engagement_score"]) == 21, "what expires is noted each time"
    assert len(found["avg_item_price"]) == 1, "what stays is noted once"
