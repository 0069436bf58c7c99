"""Server-sent events as graphql-sse says in its distinct connections mode."""

import asyncio
import json
import re
from typing import Any

import httpx
import pytest

from tests.live.conftest import Gateway
from tests.live.shopping import Shopper, metric
from tests.live.speaking import CARTS, streaming
from tests.serving import REPOSITORY, eventually, listening, running_app, settings_for

EVENTS = {"Accept": "text/event-stream"}
URQL = "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed"


async def open_streams(live: Gateway, count: int) -> None:
    async def reached() -> bool:
        return (await metric(live.http, "live_connections", transport="event_stream"), await metric(live.http, "live_subscriptions")) == (
            count,
            count,
        )

    await eventually(reached)


def events(response: httpx.Response) -> list[tuple[str, str]]:
    """The names and the data of all events of a response that has ended."""
    lines = [block.splitlines() for block in response.text.removesuffix("\n\n").split("\n\n")]
    return [(name.removeprefix("event: "), data.removeprefix("data: ")) for name, data in lines]


async def test_events_come_as_rows_change(live: Gateway, shopper: Shopper) -> None:
    async with streaming(live.url, shopper, CARTS) as listener:
        assert listener.response.status_code == 200
        assert listener.response.headers["content-type"] == "text/event-stream; charset=utf-8"
        assert listener.response.headers["cache-control"] == "no-store"
        assert "content-length" not in listener.response.headers
        await open_streams(live, 1)
        for count in (1, 2):
            await shopper.fill_cart(live.product_id)
            name, payload = await listener.event()
            assert (name, payload["data"]["cartUpdated"]["itemCount"]) == ("next", count)
    await open_streams(live, 0)


async def test_the_example_of_the_readme(live: Gateway, shopper: Shopper) -> None:
    found = re.search(r"-d '(\{\"query\": \"subscription.*\})'", (REPOSITORY / "README.md").read_text(encoding="utf-8"))
    assert found is not None
    async with streaming(live.url, shopper, json.loads(found.group(1))["query"]) as listener:
        await open_streams(live, 1)
        await shopper.fill_cart(live.product_id, 3)
        (line,) = (await listener.event())[1]["data"]["cartUpdated"]["items"]
        assert line["quantity"] == 3


async def test_a_long_stream_is_no_slow_request(live: Gateway, shopper: Shopper) -> None:
    async with streaming(live.url, shopper, CARTS):
        await asyncio.sleep(1.2)
        slow = await metric(live.http, "http_request_seconds_sum", path="/graphql")

    async def counted() -> bool:
        return await metric(live.http, "live_connections") == 0

    await eventually(counted)
    assert await metric(live.http, "http_request_seconds_sum", path="/graphql") < slow + 1


async def test_an_event_source_asks_by_get_with_its_cookie(live: Gateway, shopper: Shopper) -> None:
    headers = {**EVENTS, "Cookie": f"session={shopper.headers['Authorization'].partition(' ')[2]}"}
    query = "subscription ($cartId: ID) { cartUpdated(cartId: $cartId) { itemCount } }"
    cart = await shopper.fill_cart(live.product_id)
    parameters = {"query": query, "variables": f'{{"cartId": "{cart}"}}'}
    async with (
        httpx.AsyncClient(base_url=live.url, timeout=10) as http,
        http.stream("GET", "/graphql", params=parameters, headers=headers) as response,
    ):
        await open_streams(live, 1)
        await shopper.fill_cart(live.product_id)
        lines = response.aiter_lines()
        assert await anext(lines) == "event: next"
        assert '"itemCount":2' in await anext(lines)
    await open_streams(live, 0)


async def test_a_query_is_one_event(live: Gateway) -> None:
    response = await live.http.post("/graphql", json={"query": "{ products(first: 1) { nodes { currency } } }"}, headers=EVENTS)

    assert response.status_code == 200
    assert events(response) == [("next", '{"data":{"products":{"nodes":[{"currency":"USD"}]}}}'), ("complete", "")]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("subscription {", "GRAPHQL_PARSE_FAILED"),
        ("subscription { nothing }", "GRAPHQL_VALIDATION_FAILED"),
        ("subscription { orderUpdated { id } }", "UNAUTHENTICATED"),
        ('subscription { cartUpdated(cartId: "x") { id } }', "BAD_USER_INPUT"),
        (f"{{ {' '.join(f'a{n}: __typename' for n in range(50))} }}", "TOO_COMPLEX"),
    ],
)
async def test_errors_of_the_operation_are_events(live: Gateway, shopper: Shopper, query: str, code: str) -> None:
    headers = EVENTS if code == "UNAUTHENTICATED" else {**EVENTS, **shopper.headers}
    response = await live.http.post("/graphql", json={"query": query}, headers=headers)

    assert response.status_code == 200
    (name, data), last = events(response)
    assert name == "next"
    assert f'"code":"{code}"' in data
    assert last == ("complete", "")
    await open_streams(live, 0)


REFUSED: list[tuple[dict[str, Any], dict[str, str], int]] = [
    ({"json": {"query": 5}}, {}, 400),
    ({"content": b"{"}, {"Content-Type": "application/json"}, 400),
    ({"data": {"query": "{ __typename }"}}, {}, 415),
    ({"json": {"query": CARTS}}, {"Authorization": "Bearer nobody"}, 401),
    ({"json": {"query": CARTS}}, {"Cookie": "session=nobody"}, 401),
    ({"json": {"query": "mutation { signOut { signedOut } }"}}, {"Cookie": "session={token}", "Origin": "https://evil.example"}, 403),
]


@pytest.mark.parametrize(("body", "headers", "status"), REFUSED)
async def test_what_is_wrong_with_the_request_has_a_status(
    live: Gateway, shopper: Shopper, body: dict[str, Any], headers: dict[str, str], status: int
) -> None:
    token = shopper.headers["Authorization"].partition(" ")[2]
    given = {name: value.replace("{token}", token) for name, value in headers.items()}

    response = await live.http.post("/graphql", **body, headers={**EVENTS, **given})

    assert response.status_code == status, response.text
    assert "json" in response.headers["content-type"]
    assert response.json()["errors"][0]["message"]
    assert ("session=" in response.headers.get("set-cookie", "")) == (headers.get("Cookie") == "session=nobody")


async def test_a_mutation_needs_post(live: Gateway, shopper: Shopper) -> None:
    parameters = {"query": "mutation { signOut { signedOut } }"}

    response = await live.http.get("/graphql", params=parameters, headers={**EVENTS, **shopper.headers})

    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    assert (await shopper.ask("{ me { email } }"))["me"]["email"] == shopper.email


@pytest.mark.parametrize("accept", [URQL, "*/*", "text/event-stream;q=0.5, application/json"])
async def test_who_takes_events_as_well_as_json_gets_json(live: Gateway, accept: str) -> None:
    response = await live.http.post("/graphql", json={"query": "{ __typename }"}, headers={"Accept": accept})

    assert response.json()["data"] == {"__typename": "Query"}
    refused = await live.http.post("/graphql", json={"query": CARTS}, headers={"Accept": accept})
    assert "text/event-stream" in refused.json()["errors"][0]["message"]


async def test_a_quiet_stream_is_kept_from_looking_dead(live: Gateway, shopper: Shopper, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.api.live.event_stream.KEEP_ALIVE_SECONDS", 0.05)
    async with streaming(live.url, shopper, CARTS) as listener:
        chunks = listener.response.aiter_raw()
        assert [await anext(chunks) for _ in range(3)] == [b":\n\n"] * 3


async def test_there_is_room_for_so_many_streams(database_url: str) -> None:
    settings = settings_for(database_url, live_connections_per_user=1)
    async with running_app(settings) as app, listening(app) as url, httpx.AsyncClient(base_url=url) as http:
        shopper = await Shopper(http).join()
        async with streaming(url, shopper, CARTS):
            refused = await http.post("/graphql", json={"query": CARTS}, headers={**EVENTS, **shopper.headers})
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "10")
        await asyncio.sleep(0.3)
        async with streaming(url, shopper, CARTS) as listener:
            assert listener.response.status_code == 200
