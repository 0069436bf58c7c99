"""Events through `trackEvents`: whose they are, which are taken, and that what is acknowledged is there once, whatever goes away."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import asyncpg
import pytest
from starlette.applications import Starlette

from app.api.scalars import encode_id
from tests.serving import Caller, gateway, new_administrator, reached, running_app, settings_for

TRACK = """
    mutation Track($input: TrackEventsInput!) {
      trackEvents(input: $input) { accepted rejected { index message } userErrors { code message field } } }
"""
EVENTS = """
    query ($filter: UserEventFilter, $first: Int = 100) {
      userEvents(filter: $filter, first: $first) {
        totalCount
        nodes { eventType sessionId clientEventId timestamp receivedAt metadata pageUrl userAgent ipAddress isError errorMsg
          user { email } store { name } } } }
"""


@pytest.fixture
async def app(database_url: str) -> AsyncIterator[Starlette]:
    async with running_app(settings_for(database_url)) as app:
        yield app


@pytest.fixture
async def visitor(app: Starlette) -> AsyncIterator[Caller]:
    async with reached(app) as caller:
        yield caller


@pytest.fixture
async def owner(visitor: Caller, database_url: str) -> Caller:
    return await new_administrator(visitor, database_url)


async def track(caller: Caller, *events: dict[str, Any], **shared: Any) -> dict[str, Any]:
    answer = (await caller.ask(TRACK, input={"events": list(events), **shared}))["trackEvents"]
    assert answer["userErrors"] == []
    return {"accepted": answer["accepted"], "rejected": answer["rejected"]}


async def found(caller: Caller, **where: Any) -> list[dict[str, Any]]:
    return list((await caller.ask(EVENTS, filter=where))["userEvents"]["nodes"])


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


async def test_an_event_is_stored_with_who_sent_it_and_from_where(visitor: Caller, owner: Caller) -> None:
    event = {
        "eventType": "PRODUCT_VIEW",
        "timestamp": "2026-01-31T12:00:00.123456+02:00",
        "clientEventId": "e-1",
        "pageUrl": "https://shop.example/teapot?q=é",
        "metadata": {"productId": "x", "list": [1, 2.5, None]},
        "isError": True,
        "errorMsg": "gone",
    }
    happened = ago(minutes=3)
    assert await track(visitor, {**event, "timestamp": happened}, sessionId="visit") == {"accepted": 1, "rejected": []}
    assert await track(owner, {"eventType": "PAGE_VIEW", "userAgent": "told"}) == {"accepted": 1, "rejected": []}

    mine, theirs = await found(owner)
    assert theirs.pop("receivedAt") > theirs["timestamp"]
    assert datetime.fromisoformat(theirs.pop("timestamp")) == datetime.fromisoformat(happened)
    assert theirs == {
        **{name: value for name, value in event.items() if name != "timestamp"},
        "sessionId": "visit",
        "userAgent": visitor.http.headers["user-agent"],
        "ipAddress": "127.0.0.1",
        "user": None,
        "store": None,
    }
    assert mine["user"] == {"email": "owner@example.com"}
    assert mine["userAgent"] == "told"
    assert mine["sessionId"]
    assert mine["timestamp"] == mine["receivedAt"]


async def test_each_event_is_taken_or_refused_by_itself(visitor: Caller, owner: Caller) -> None:
    refused: dict[str, dict[str, Any]] = {
        "eventType: String should have at least 1 character": {"eventType": "  "},
        "eventType: String should have at most 128 characters": {"eventType": "a" * 129},
        "timestamp: is 6 minutes ahead of our clock; at most 5 minutes are taken": {"timestamp": ago(minutes=-6, seconds=-30)},
        "timestamp: is 31 days ago; at most 30 days are taken": {"timestamp": ago(days=31)},
        "metadata: Input should be a valid dictionary": {"metadata": [1]},
        "metadata: must not exceed 65536 bytes as JSON": {"metadata": {"a": "b" * 65536}},
        "pageUrl: String should have at most 2048 characters": {"pageUrl": "a" * 2049},
        "clientEventId: String should have at most 128 characters": {"clientEventId": "1" * 129},
        "storeId: is the id of no store": {"storeId": encode_id("Store", uuid4())},
    }
    fine: list[dict[str, Any]] = [{"timestamp": ago(days=29, hours=23)}, {"timestamp": ago(minutes=-4)}, {"metadata": None}, {}]
    events = [{"eventType": "PAGE_VIEW", **given} for pair in zip(refused.values(), [*fine, *[{}] * 5], strict=True) for given in pair]

    answer = await track(visitor, *events)

    assert answer["accepted"] == len(refused)
    assert answer["rejected"] == [{"index": 2 * n, "message": message} for n, message in enumerate(refused)]
    assert len(await found(owner)) == len(refused)


async def test_only_so_many_at_once(visitor: Caller, owner: Caller) -> None:
    assert (await track(visitor, *[{"eventType": "A"}] * 500))["accepted"] == 500
    assert await track(visitor) == {"accepted": 0, "rejected": []}
    answer = (await visitor.ask(TRACK, input={"events": [{"eventType": "A"}] * 501}))["trackEvents"]
    assert [(error["code"], error["field"]) for error in answer["userErrors"]] == [("LIMIT_EXCEEDED", ["events"])]
    assert (await owner.ask(EVENTS, first=1))["userEvents"]["totalCount"] == 500


async def test_an_event_that_is_sent_again_counts_once(visitor: Caller, owner: Caller, database_url: str) -> None:
    event = {"eventType": "PAGE_VIEW", "clientEventId": "1", "timestamp": ago(minutes=1), "metadata": {"n": 1}}
    for _ in range(3):
        assert (await track(visitor, event, event, sessionId="a"))["accepted"] == 2
    await track(visitor, {**event, "timestamp": ago(hours=30), "eventType": "OTHER"}, sessionId="a")
    assert len(await found(owner)) == 1

    # Another process knows nothing of it.
    async with gateway(settings_for(database_url)) as other:
        await track(other, event, sessionId="a")
    assert len(await found(owner)) == 1

    # Nobody takes another one's ids: another visit, another account, another program.
    await track(visitor, event, sessionId="b")
    await track(owner, event, sessionId="a")
    await track(visitor, event)
    await track(visitor, {**event, "userAgent": "another"})
    assert len(await found(owner)) == 5
    await track(visitor, *[{"eventType": "PAGE_VIEW"}] * 3, sessionId="a")
    assert len(await found(owner)) == 8


async def test_many_senders_at_once(visitor: Caller, owner: Caller) -> None:
    """Each visit sends each of its events twice, half of the requests at the same time."""

    async def visit(n: int) -> None:
        events = [{"eventType": "PAGE_VIEW", "clientEventId": str(k), "timestamp": ago(seconds=k)} for k in range(20)]
        await asyncio.gather(*(track(visitor, *events, sessionId=f"visit-{n}") for _ in range(2)))

    await asyncio.gather(*map(visit, range(25)))
    assert (await owner.ask(EVENTS, first=1))["userEvents"]["totalCount"] == 500


async def test_nobody_sends_events_of_others(visitor: Caller) -> None:
    for wrong in ({"userId": encode_id("User", uuid4())}, {"ipAddress": "192.0.2.1"}, {"receivedAt": ago()}):
        found = await visitor.refusals(TRACK, input={"events": [{"eventType": "A", **wrong}]})
        assert next(iter(wrong)) in found[0]["message"]


async def test_the_address_of_a_proxy_s_client(database_url: str) -> None:
    async with gateway(settings_for(database_url, trusted_proxies="127.0.0.0/8")) as visitor:
        owner = await new_administrator(visitor, database_url)
        visitor.headers = {"X-Forwarded-For": "198.51.100.7"}
        await track(visitor, {"eventType": "PAGE_VIEW"})
        assert [event["ipAddress"] for event in await found(owner)] == ["198.51.100.7"]


CART = """
    mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } userErrors { message } } }
"""


async def test_an_event_that_names_ones_own_cart_is_its_feature(visitor: Caller, owner: Caller, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    users = {}
    for name in ("robin", "sam"):
        input = {"email": f"{name}@example.com", "username": name, "password": "long enough 1"}
        answer = await visitor.ask("mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } } }", input=input)
        users[name] = Caller(visitor.http, answer["signUp"]["session"]["token"])
    carts = {}
    for name in users:
        carts[name] = await connection.fetchval("insert into carts (user_id) select id from users where username = $1 returning id", name)

    async def features() -> dict[str, Any]:
        rows = await connection.fetch("select * from features order by cart_id")
        assert all((row["name"], row["version"]) == ("user_interaction", "1.0") for row in rows)
        return {name: row["value"] for row in rows for name, cart in carts.items() if cart == row["cart_id"]}

    mine, theirs = encode_id("Cart", carts["robin"]), encode_id("Cart", carts["sam"])
    await track(
        users["robin"],
        {"eventType": "LATER", "timestamp": ago(minutes=1), "metadata": {"cartId": mine}},
        {"eventType": "EARLIER", "timestamp": ago(minutes=2), "metadata": {"cartId": mine}},
        {"eventType": "FOREIGN", "metadata": {"cartId": theirs}},
        {"eventType": "WRONG", "metadata": {"cartId": "x"}},
        {"eventType": "WRONG", "metadata": {"cartId": 5}},
        {"eventType": "MISSING", "metadata": {"cartId": encode_id("Cart", uuid4())}},
    )
    assert await features() == {"robin": '"LATER"'}
    await track(users["robin"], {"eventType": "CHECKOUT", "metadata": {"cartId": str(carts["robin"])}})
    await track(visitor, {"eventType": "ANONYMOUS", "metadata": {"cartId": mine}})
    await track(owner, {"eventType": "STAFF", "metadata": {"cartId": mine}})
    await track(users["robin"], {"eventType": "LATE", "timestamp": ago(minutes=3), "metadata": {"cartId": mine}})
    assert await features() == {"robin": '"CHECKOUT"'}
    assert len(await found(owner)) == 10

    # All at once, in no order.
    steps = [8 * k % 21 for k in range(1, 21)]
    events = [{"eventType": f"STEP_{n}", "timestamp": ago(seconds=-n), "metadata": {"cartId": mine}} for n in steps]
    await asyncio.gather(*(track(users["robin"], event) for event in events))
    assert await features() == {"robin": '"STEP_20"'}
    await connection.close()
