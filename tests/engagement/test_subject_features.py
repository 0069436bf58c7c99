"""The features of shoppers and products: what they come to, whom they are for, and what they were."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from app.api.scalars import encode_id
from app.carts.models import Cart
from app.catalog.models import Product
from app.core.clickhouse import ClickHouse
from app.core.security import Viewer, ViewerKind
from app.engagement.features import Activity, engagement_score
from app.engagement.subject_features import DAY, SubjectFeatures
from app.orders.models import RefundRequest
from app.orders.payments import Payments
from app.orders.refunds import refund
from tests.shop import ADMINISTRATOR, Shop, ids

SHOWN = "features { name value version description ttl expiresAt store { id } } unavailable userErrors { field code }"
USER = f"mutation ($i: ComputeUserFeaturesInput!) {{ computeUserFeatures(input: $i) {{ {SHOWN} }} }}"
PRODUCT = f"mutation ($i: ComputeProductFeaturesInput!) {{ computeProductFeatures(input: $i) {{ {SHOWN} }} }}"
OF_USER = "query ($id: ID!, $asOf: DateTime) { userFeatures(userId: $id, asOf: $asOf) { name value store { id } } }"
OF_PRODUCT = "query ($id: ID!, $asOf: DateTime) { productFeatures(productId: $id, asOf: $asOf) { name value } }"


@pytest.fixture
async def seen(shop: Shop, clickhouse: ClickHouse) -> Shop:
    """The shop, with events."""
    return replace(shop, repositories=replace(shop.repositories, clickhouse=clickhouse))


def store_id(shop: Shop) -> str:
    return encode_id("Store", shop.store.id)


async def of_user(shop: Shop, viewer: Viewer, of: Viewer, **given: Any) -> dict[str, Any]:
    answer = await shop.ask(viewer, OF_USER, id=encode_id("User", of.user_id or uuid4()), **given)
    return {feature["name"]: feature["value"] for feature in answer["data"]["userFeatures"]}


async def bought(shop: Shop, shopper: Viewer, *lines: tuple[Product, int], token: str = "tok_success", back: str | None = None) -> Cart:  # noqa: S107 - of the test provider
    """A cart that became an order, paid or not, of which an amount was given back."""
    cart = await shop.cart(shopper, *lines)
    order = await shop.of(shopper).orders.create_from_cart(cart.id, "card", None)
    await Payments(shop.provider).pay(shop.of(shopper), order.id, token)
    if back is not None:
        [payment] = await shop.repositories.payments.find_by_order(order.id)
        request = RefundRequest(amount=Decimal(back), idempotency_key="back")
        await refund(Payments(shop.provider), shop.repositories, payment, request)
    return cart


async def left(shop: Shop, shopper: Viewer, *lines: tuple[Product, int]) -> None:
    cart = await shop.cart(shopper, *lines)
    await shop.repositories.carts.update_by_id(cart.id, {"status": "ABANDONED", "cart_token_hash": None})


async def test_figures_are_those_of_a_slow_computation(shop: Shop) -> None:
    """Carts and orders at random, in two stores, against plain Python over what was done."""
    draw, other = Random(7), await shop.open_store()
    teas = [await shop.product(price, stores=(shop.store.id, other.id)) for price in ("10.00", "3.33", "0.99")]
    shoppers = [await shop.viewer() for _ in range(3)]
    done: list[dict[str, Any]] = []
    for number in range(20):
        shopper, lines = draw.choice(shoppers), [(tea, draw.randint(1, 4)) for tea in draw.sample(teas, draw.randint(1, 3))]
        # The cart that somebody left is gone on with, so each leaves at most one, at last.
        end = draw.choice(["paid", "paid", "returned", "declined"]) if number < 18 else "left"
        shopper = shoppers[number - 18] if end == "left" else shopper
        done.append({"by": shopper.user_id, "lines": lines, "end": end})
        if end == "left":
            await left(shop, shopper, *lines)
        else:
            token = "tok_declined" if end == "declined" else "tok_success"
            await bought(shop, shopper, *lines, token=token, back="0.50" if end == "returned" else None)
    features = SubjectFeatures(shop.repositories)
    await features.run()
    for shopper in shoppers:
        found, mine = await of_user(shop, shopper, shopper), [one for one in done if one["by"] == shopper.user_id and one["end"] != "left"]
        completed = [one for one in mine if one["end"] in ("paid", "returned")]
        spent = sum(tea.price * pieces for one in completed for tea, pieces in one["lines"])
        spent -= Decimal("0.50") * sum(one["end"] == "returned" for one in completed)
        assert found["order_count"] == len(completed)
        assert found["total_spent"] == pytest.approx(float(spent))
        assert found["avg_order_value"] == pytest.approx(float(spent / len(completed)) if completed else 0, abs=1e-4)
        assert ("days_since_last_order" in found) == bool(completed)
        gone = sum(one["end"] == "left" for one in done if one["by"] == shopper.user_id)
        assert found["cart_abandonment_rate"] == pytest.approx(gone / (gone + len(mine)), abs=1e-4)
    for tea in teas:
        rows = await shop.repositories.product_features.find_latest(tea.id)
        assert {row.store_id for row in rows} <= {shop.store.id}
        found = {row.name: row.value for row in rows}
        with_it = [(one, pieces) for one in done for held, pieces in one["lines"] if held.id == tea.id]
        sold = [pieces for one, pieces in with_it if one["end"] in ("paid", "returned")]
        assert (found["order_count"], found["units_sold"]) == (len(sold), sum(sold))
        assert found["revenue"] == pytest.approx(float(tea.price * sum(sold)))
        assert found["cart_count"] == len(with_it)
        ordered = [one for one, _ in with_it if one["end"] != "left"]
        assert found["cart_conversion_rate"] == pytest.approx(len(ordered) / len(with_it), abs=1e-4)


async def test_a_shopper_s_features_with_events_of_the_store_alone(seen: Shop) -> None:
    shopper, now, tea = await seen.viewer(), seen.repositories.now(), await seen.product("10.00")
    await bought(seen, shopper, (tea, 2), back="5.00")
    await left(seen, shopper, (tea, 1))
    event = {"user_id": shopper.user_id, "event_type": "PAGE_VIEW", "received_at": now}
    here = [{**event, "id": uuid4(), "store_id": seen.store.id, "timestamp": now - timedelta(days=n)} for n in (1, 1, 2)]
    elsewhere = {**event, "id": uuid4(), "store_id": uuid4(), "timestamp": now}
    await seen.repositories.user_events.insert_batch([*here, elsewhere], "token")
    given = {"userId": encode_id("User", shopper.user_id or uuid4()), "storeId": store_id(seen)}
    payload = (await seen.ask(ADMINISTRATOR, USER, i=given))["data"]["computeUserFeatures"]
    assert (payload["userErrors"], payload["unavailable"]) == ([], [])
    found = {feature["name"]: feature for feature in payload["features"]}
    assert found.pop("days_since_last_order")["ttl"] == DAY
    assert {name: feature["value"] for name, feature in found.items()} == {
        "order_count": 1,
        "total_spent": 15,
        "avg_order_value": 15,
        "cart_abandonment_rate": 0.5,
        "user_engagement_score": pytest.approx(engagement_score(Activity(3, 2, now - timedelta(days=1)), now), abs=0.001),
    }
    assert found["total_spent"]["description"] == "What was paid and not given back"
    assert (found["total_spent"]["expiresAt"], found["user_engagement_score"]["ttl"]) == (None, 3600)
    assert {feature["store"]["id"] for feature in found.values()} == {store_id(seen)}


async def test_a_product_s_looks_are_counted_by_both_of_its_names(seen: Shop) -> None:
    tea, now = await seen.product(), seen.repositories.now()
    names = [encode_id("Product", tea.id), str(tea.id)]
    kinds = ["PRODUCT_VIEW"] * 3 + ["ADD_TO_CART"]
    event = {"store_id": seen.store.id, "timestamp": now, "received_at": now}
    events = [{**event, "id": uuid4(), "event_type": kind, "metadata": {"productId": name}} for name in names for kind in kinds]
    await seen.repositories.user_events.insert_batch(events, "token")
    given = {"productId": names[0], "storeId": store_id(seen)}
    payload = (await seen.ask(ADMINISTRATOR, PRODUCT, i=given))["data"]["computeProductFeatures"]
    values = {feature["name"]: feature["value"] for feature in payload["features"]}
    assert (values["view_count"], values["add_to_cart_rate"], payload["unavailable"]) == (6, 0.3333, [])


async def test_without_events_the_others_are_computed_and_it_says_so(shop: Shop) -> None:
    shopper, tea = await shop.viewer(), await shop.product()
    await shop.cart(shopper, (tea, 1))
    user = {"userId": encode_id("User", shopper.user_id or uuid4()), "storeId": store_id(shop)}
    product = {"productId": encode_id("Product", tea.id), "storeId": store_id(shop)}
    of_shopper = (await shop.ask(ADMINISTRATOR, USER, i=user))["data"]["computeUserFeatures"]
    of_tea = (await shop.ask(ADMINISTRATOR, PRODUCT, i=product))["data"]["computeProductFeatures"]
    assert of_shopper["unavailable"] == ["user_engagement_score"]
    assert sorted(feature["name"] for feature in of_shopper["features"]) == ["avg_order_value", "order_count", "total_spent"]
    assert of_tea["unavailable"] == ["view_count", "add_to_cart_rate"]
    assert {feature["name"]: feature["value"] for feature in of_tea["features"]}["cart_count"] == 1


async def test_features_are_for_their_shopper_and_the_staff_of_their_store(shop: Shop) -> None:
    shopper, stranger, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    await shop.cart(shopper, (tea, 1))
    staff = await shop.viewer(ViewerKind.STAFF, "features:write", "features:read")
    rival = replace(await shop.viewer(ViewerKind.STAFF, "features:write", "features:read"), store_id=(await shop.open_store()).id)
    user = {"userId": encode_id("User", shopper.user_id or uuid4()), "storeId": store_id(shop)}
    product = {"productId": encode_id("Product", tea.id), "storeId": store_id(shop)}
    for document, given, name in ((USER, user, "computeUserFeatures"), (PRODUCT, product, "computeProductFeatures")):
        refused = (await shop.ask(rival, document, i=given))["data"][name]
        assert refused["userErrors"] == [{"field": ["storeId"], "code": "NOT_FOUND"}]
        assert (await shop.ask(staff, document, i=given))["data"][name]["features"]
    strange = (await shop.ask(staff, USER, i={**user, "userId": encode_id("User", stranger.user_id or uuid4())}))["data"]
    assert strange["computeUserFeatures"]["userErrors"] == [{"field": ["userId"], "code": "NOT_FOUND"}]
    for viewer, sees in ((shopper, True), (staff, True), (stranger, False), (rival, False)):
        assert bool(await of_user(shop, viewer, shopper)) is sees
    for viewer, sees in ((staff, True), (rival, False)):
        assert bool((await shop.ask(viewer, OF_PRODUCT, **ids(id=tea)))["data"]["productFeatures"]) is sees


async def clock(shop: Shop) -> datetime:
    """The database's own time, which features are stamped with."""
    async with shop.database.connection() as connection:
        now: datetime = await connection.fetchval("select clock_timestamp()")
    return now


async def test_values_are_read_as_they_were_and_only_new_ones_are_written(shop: Shop) -> None:
    shopper, tea = await shop.viewer(), await shop.product("5.00")
    await bought(shop, shopper, (tea, 1))
    features, subject = SubjectFeatures(shop.repositories), [(shopper.user_id or uuid4(), shop.store.id)]
    moments = [await clock(shop)]
    for _ in range(2):
        await features.compute_users(subject)
        moments.append(await clock(shop))
        await features.compute_users(subject)
        await bought(shop, shopper, (tea, 1))
    await features.compute_users(subject)
    seen = [(await of_user(shop, shopper, shopper, asOf=moment.isoformat())).get("total_spent") for moment in moments]
    assert [*seen, (await of_user(shop, shopper, shopper))["total_spent"]] == [None, 5, 10, 15]
    assert await shop.repositories.user_features.count({"name": "total_spent"}) == 3
    assert await of_user(shop, shopper, shopper, asOf=(moments[-1] + timedelta(seconds=DAY + 60)).isoformat()) != {}


async def test_what_faded_is_hidden_and_a_turn_looks_only_at_what_changed(shop: Shop) -> None:
    shopper, tea, coffee = await shop.viewer(), await shop.product("5.00"), await shop.product()
    await bought(shop, shopper, (tea, 1))
    features, products = SubjectFeatures(shop.repositories), shop.repositories.product_features
    await features.run()
    assert {row.product_id for row in await products.find_many({})} == {tea.id}
    assert len(await products.find_latest(tea.id)) == 5
    later: datetime = shop.repositories.now() + timedelta(days=2)
    assert await products.find_latest(tea.id, as_of=later) == []
    assert "days_since_last_order" not in {
        row.name for row in await shop.repositories.user_features.find_latest(shopper.user_id or UUID(int=0), as_of=later)
    }
    tomorrow = replace(shop.repositories, now=lambda: later)
    await SubjectFeatures(tomorrow).run()
    count = await products.count()
    await shop.cart(shopper, (coffee, 1))
    await SubjectFeatures(replace(shop.repositories, now=lambda: later + timedelta(hours=1))).run()
    assert await products.count() == count, "nothing was changed two days from now"
