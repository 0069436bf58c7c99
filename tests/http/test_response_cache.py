"""Answers to public queries are kept for everybody: until they change, and for nobody who is known."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

import asyncpg
import httpx
import pytest

from app.settings import ResponseCacheMode, SettingsError, read_settings
from tests.http.watching import blocked, locked
from tests.redis_server import RedisServer
from tests.serving import Caller, eventually, gateway, new_administrator, settings_for

LIST = "{ products(first: 5) { nodes { id name } } }"
ONE = "query ($id: ID!) { product(id: $id) { name } }"
STOCK = "query ($id: ID!) { product(id: $id) { inventory { available } stores { name } } }"
CREATE = "mutation ($name: String!) { createProduct(input: { name: $name, price: 1 }) { product { id } userErrors { message } } }"
RENAME = "mutation ($id: ID!, $name: String) { updateProduct(input: { id: $id, name: $name }) { userErrors { message } } }"
SET = "mutation ($id: ID!) { setInventory(input: { productId: $id, onHand: 9 }) { userErrors { message } } }"
STORE = 'mutation { createStore(input: { name: "Tea", domain: "tea.example.com" }) { store { id } userErrors { message } } }'
SELL = "mutation ($id: ID!, $stores: [ID!]) { updateProduct(input: { id: $id, storeIds: $stores }) { userErrors { message } } }"
PUBLIC = "max-age=60, public"


async def looked_up(caller: Caller) -> dict[str, int]:
    """How often the cache was asked, by what came of it."""
    lines = (await caller.http.get("/metrics")).text.splitlines()
    found = [line.split() for line in lines if line.startswith("response_cache_lookups_total")]
    return {labels.split('"')[1]: int(float(count)) for labels, count in found}


@pytest.fixture(params=["memory", "redis"])
async def pair(request: pytest.FixtureRequest, database_url: str, redis: RedisServer) -> AsyncIterator[tuple[Caller, Caller]]:
    """An administrator of one gateway, and nobody in particular at another one over the same database."""
    shared = {"redis_url": redis.url, "response_cache": "redis"} if request.param == "redis" else {}
    async with AsyncExitStack() as stack:
        first, second = [await stack.enter_async_context(gateway(settings_for(database_url, **shared))) for _ in range(2)]
        yield await new_administrator(first, database_url), second


async def is_kept(visitor: Caller, query: str, **variables: Any) -> bool:
    """Whether the answer, asked for once more, comes from the cache."""
    before = await looked_up(visitor)
    await visitor.ask(query, **variables)
    return bool((await looked_up(visitor))["hit"] == before["hit"] + 1)


async def test_a_write_in_one_process_ends_the_answers_of_the_other(pair: tuple[Caller, Caller]) -> None:
    administrator, visitor = pair
    id = (await administrator.ask(CREATE, name="Teapot"))["createProduct"]["product"]["id"]
    other = (await administrator.ask(CREATE, name="Lantern"))["createProduct"]["product"]["id"]
    for query, variables in ((LIST, {}), (ONE, {"id": id}), (ONE, {"id": other}), (STOCK, {"id": id})):
        # What the other process tells of the two new products may still be on its way.
        await eventually(partial(is_kept, visitor, query, **variables), 5)

    await administrator.ask(RENAME, id=id, name="Kettle")

    async def is_renamed() -> bool:
        return bool((await visitor.ask(ONE, id=id)) == {"product": {"name": "Kettle"}})

    await eventually(is_renamed, 5)
    assert [node["name"] for node in (await visitor.ask(LIST))["products"]["nodes"]] == ["Lantern", "Kettle"]
    before = await looked_up(visitor)
    assert (await visitor.ask(ONE, id=other)) == {"product": {"name": "Lantern"}}
    assert (await looked_up(visitor))["hit"] == before["hit"] + 1


async def test_changes_behind_a_relation_are_heard(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as visitor:
        administrator = await new_administrator(visitor, database_url)
        id = (await administrator.ask(CREATE, name="Teapot"))["createProduct"]["product"]["id"]
        store = (await administrator.ask(STORE))["createStore"]["store"]["id"]
        assert await visitor.ask(STOCK, id=id) == {"product": {"inventory": {"available": 0}, "stores": []}}
        await administrator.ask(SET, id=id)
        assert await visitor.ask(STOCK, id=id) == {"product": {"inventory": {"available": 9}, "stores": []}}
        await administrator.ask(SELL, id=id, stores=[store])
        assert await visitor.ask(STOCK, id=id) == {"product": {"inventory": {"available": 9}, "stores": [{"name": "Tea"}]}}
        assert (await looked_up(visitor))["hit"] == 0


async def test_a_list_hears_of_what_is_new(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as visitor:
        administrator = await new_administrator(visitor, database_url)
        for count in range(3):
            assert len((await visitor.ask(LIST))["products"]["nodes"]) == count
            await administrator.ask(CREATE, name=f"Teapot {count}")


async def test_fifty_who_ask_at_once_are_one_statement(database_url: str, watcher: asyncpg.Connection) -> None:
    async with gateway(settings_for(database_url)) as caller:
        async with locked(watcher, "products"):
            asked = [asyncio.create_task(caller.post(LIST)) for _ in range(50)]
            await blocked(watcher)
            await eventually(lambda: _joined(caller, 49))
        answers = [await task for task in asked]
        assert {answer.text for answer in answers} == {answers[0].text}
        assert answers[0].json()["data"] == {"products": {"nodes": []}}
        assert (
            'repository_operation_seconds_count{entity="products",operation="products",result="success"} 1.0'
            in (await caller.http.get("/metrics")).text
        )


async def _joined(caller: Caller, count: int) -> bool:
    return (await looked_up(caller))["joined"] == count


async def test_who_waits_outlives_the_one_that_asked_first(database_url: str, watcher: asyncpg.Connection) -> None:
    async with gateway(settings_for(database_url)) as caller:
        async with locked(watcher, "products"):
            first = asyncio.create_task(caller.post(LIST))
            await blocked(watcher)
            others = [asyncio.create_task(caller.post(LIST)) for _ in range(3)]
            await eventually(lambda: _joined(caller, 3))
            first.cancel()
            await asyncio.gather(first, return_exceptions=True)
            await eventually(lambda: _joined(caller, 5))
        assert [(await task).json()["data"] for task in others] == [{"products": {"nodes": []}}] * 3


async def test_who_is_signed_in_neither_gets_nor_makes_what_is_kept(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as visitor:
        administrator = await new_administrator(visitor, database_url)
        for _ in range(2):
            assert (await administrator.post(LIST)).headers["cache-control"] == "no-store"
        assert (await looked_up(visitor)) == {"hit": 0, "miss": 0, "joined": 0}
        assert (await visitor.post(LIST)).headers["cache-control"] == PUBLIC
        assert (await administrator.post(LIST)).headers["cache-control"] == "no-store"
        assert (await looked_up(visitor)) == {"hit": 0, "miss": 1, "joined": 0}


@pytest.mark.parametrize(
    "query",
    [
        "{ products(first: 0) { nodes { id } } }",
        "{ orders { nodes { id } } }",
        "{ me { id } products { nodes { id } } }",
        "{ products { nodes { inventory { onHand } } } }",
        "{ __typename products { totalCount } }",
        "{ unknown }",
        "{",
    ],
)
async def test_errors_and_what_is_personal_are_never_kept(anonymous: Caller, query: str) -> None:
    before = await looked_up(anonymous)
    for _ in range(2):
        answer = await anonymous.post(query)
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["vary"] == "Accept"
    assert await looked_up(anonymous) == before


async def got(caller: Caller, query: str, **headers: str) -> httpx.Response:
    return await caller.http.get("/graphql", params={"query": query}, headers=headers)


async def test_clients_that_have_an_answer_are_told_that_it_is_good(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as visitor:
        administrator = await new_administrator(visitor, database_url)
        answer = await got(visitor, LIST)
        etag = answer.headers["etag"]
        assert (answer.status_code, answer.headers["cache-control"]) == (200, PUBLIC)
        assert answer.headers["vary"] == "Accept, Authorization, Cookie, Origin"
        for known in (etag, f'"other", W/{etag}', "*"):
            again = await got(visitor, LIST, **{"if-none-match": known})
            assert (again.status_code, again.content) == (304, b"")
            assert {again.headers[name] for name in ("etag", "cache-control")} == {etag, PUBLIC}
            assert again.headers["vary"] == answer.headers["vary"]
        assert (await got(visitor, LIST, **{"if-none-match": '"other"'})).status_code == 200
        graphql = await got(visitor, LIST, accept="application/graphql-response+json", **{"if-none-match": etag})
        assert graphql.status_code == 200
        assert graphql.headers["etag"] != etag

        await administrator.ask(CREATE, name="Teapot")
        changed = await got(visitor, LIST, **{"if-none-match": etag})
        assert changed.status_code == 200
        assert changed.headers["etag"] != etag
        assert "etag" not in (await visitor.post(LIST)).headers


async def test_an_answer_that_ends_a_session_is_for_nobody_else(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as visitor:
        answer = await visitor.post(LIST, cookie="session=long-gone")
    assert answer.json()["data"] == {"products": {"nodes": []}}
    assert answer.headers["cache-control"] == "no-store"
    assert "session=" in answer.headers["set-cookie"]


async def test_variables_and_operations_have_answers_of_their_own(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as visitor:
        administrator = await new_administrator(visitor, database_url)
        ids = [(await administrator.ask(CREATE, name=name))["createProduct"]["product"]["id"] for name in ("Teapot", "Lantern")]
        for _ in range(2):
            assert [(await visitor.ask(ONE, id=id))["product"]["name"] for id in ids] == ["Teapot", "Lantern"]
        text = "query A { products(first: 1) { nodes { name } } } query B { products(last: 1) { nodes { name } } }"
        for name, expected in (("A", "Lantern"), ("B", "Teapot")) * 2:
            body: Any = (await visitor.http.post("/graphql", json={"query": text, "operationName": name})).json()
            assert body["data"]["products"]["nodes"] == [{"name": expected}]


@pytest.mark.parametrize("execution", ["compiled", "standard"])
async def test_the_cache_can_be_off(database_url: str, execution: str) -> None:
    async with gateway(settings_for(database_url, response_cache="off", execution=execution)) as caller:
        answer = await got(caller, LIST)
    assert answer.headers["cache-control"] == "no-store"
    assert "etag" not in answer.headers


async def test_resolvers_answers_say_how_long_they_hold_as_well(database_url: str) -> None:
    async with gateway(settings_for(database_url, execution="standard")) as caller:
        assert (await got(caller, LIST)).headers["cache-control"] == PUBLIC
        assert (await got(caller, "{ products(first: 0) { nodes { id } } }")).headers["cache-control"] == "no-store"


def test_redis_must_be_somewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESPONSE_CACHE", "redis")
    with pytest.raises(SettingsError, match="REDIS_URL must say where answers are kept when RESPONSE_CACHE is redis"):
        read_settings(_env_file=None)
    monkeypatch.setenv("REDIS_URL", "redis://cache:6379/0")
    assert read_settings(_env_file=None).response_cache is ResponseCacheMode.REDIS
