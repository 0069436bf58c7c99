"""A database that is away, slow or locked: clean errors within the time limits, nothing left open, and recovery without a restart."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import pytest
from starlette.types import Message

from app.api.middleware import CannotStart
from app.core import migrations
from app.core.embedded import EmbeddedPostgres
from app.main import Gateway
from app.seed.people import ADMINISTRATOR
from tests.http.watching import blocked, counted, idle, locked
from tests.serving import Caller, Served, eventually, gateway, new_administrator, served, settings_for

PRODUCTS = "{ products(first: 3) { nodes { id name } totalCount } }"
SIGN_UP = """
    mutation { signUp(input: { email: "new@example.com", username: "newcomer", password: "long enough 1" }) {
      session { token } userErrors { message } } }
"""
CREATE = 'mutation { createProduct(input: { name: "Lantern", price: 5 }) { product { id } userErrors { message } } }'


@asynccontextmanager
async def own_server() -> AsyncIterator[tuple[EmbeddedPostgres, str]]:
    """A PostgreSQL of the test's own, and an address that stays the same when it is started again."""
    with tempfile.TemporaryDirectory(prefix="neurotracker-outage-") as folder:
        async with EmbeddedPostgres(Path(folder), fsync=False) as server:
            await migrations.upgrade(server.dsn)
            yield server, f"postgresql://neurotracker@/neurotracker?host={folder}/postgres/run&port=5432"


def codes(response: httpx.Response) -> list[str]:
    return [error["extensions"]["code"] for error in response.json().get("errors", [])]


async def unavailable(caller: Caller, query: str) -> None:
    """An operation is answered soon, says that it may be tried again, and nothing of what is behind."""
    started = time.monotonic()
    response = await caller.post(query)
    assert time.monotonic() - started < 4
    assert codes(response) == ["UNAVAILABLE"], response.text
    assert "try again" in response.text
    assert not any(word in response.text.lower() for word in ("postgres", "asyncpg", "connection", "traceback", "socket"))


async def recovered(caller: Caller) -> None:
    async def ready() -> bool:
        return (await caller.http.get("/readyz")).status_code == 200

    await eventually(ready)


async def test_gateway_outlives_its_database() -> None:
    async with own_server() as (server, dsn), gateway(settings_for(dsn, database_connect_timeout=1)) as caller:
        assert (await caller.http.get("/readyz")).json() == {"status": "ok", "checks": {"postgresql": "ok", "clickhouse": "ok"}}
        token = (await caller.ask(SIGN_UP))["signUp"]["session"]["token"]
        member = Caller(caller.http, token)
        await caller.ask(PRODUCTS)
        for _ in range(2):
            await server.stop()
            assert (await caller.http.get("/healthz")).status_code == 200
            ready = await caller.http.get("/readyz")
            assert ready.status_code == 503
            assert ready.json() == {"status": "unavailable", "checks": {"postgresql": "unavailable", "clickhouse": "ok"}}
            await asyncio.gather(*(unavailable(caller, query) for query in (PRODUCTS, SIGN_UP, PRODUCTS, PRODUCTS) * 5))
            await unavailable(member, "{ me { id } }")
            assert (await caller.ask("{ __typename }")) == {"__typename": "Query"}
            await server.start()
            await recovered(caller)
            await caller.ask(PRODUCTS)
            assert (await member.ask("{ me { email } }"))["me"]["email"] == "new@example.com"


async def test_production_starts_without_its_database_and_finds_it_later() -> None:
    async with own_server() as (server, dsn):
        await server.stop()
        strong = {"argon2_memory_kib": 19 * 1024, "argon2_time_cost": 2}
        async with gateway(settings_for(dsn, environment="production", database_connect_timeout=1, **strong)) as caller:
            assert (await caller.http.get("/readyz")).status_code == 503
            await unavailable(caller, PRODUCTS)
            await server.start()
            await recovered(caller)
            await caller.ask(PRODUCTS)


async def test_statement_that_takes_too_long_is_unavailable(database_url: str, watcher: asyncpg.Connection) -> None:
    async with gateway(settings_for(database_url, database_statement_timeout_ms=300)) as caller:
        async with locked(watcher, "products"):
            await unavailable(caller, PRODUCTS)
        assert (await caller.ask(PRODUCTS))["products"]["totalCount"] == 0


async def test_lock_that_is_not_given_is_no_internal_error(database_url: str, watcher: asyncpg.Connection) -> None:
    async with gateway(settings_for(database_url, database_lock_timeout_ms=200)) as caller:
        async with locked(watcher, "products, users"):
            for query in (PRODUCTS, SIGN_UP):
                response = await caller.post(query)
                assert codes(response) in (["CONFLICT"], ["UNAVAILABLE"]), response.text
        await caller.ask(SIGN_UP)


async def test_busy_pool_is_unavailable(database_url: str, watcher: asyncpg.Connection) -> None:
    settings = settings_for(database_url, database_pool_min=1, database_pool_max=1, database_connect_timeout=0.3)
    async with gateway(settings) as caller:
        async with locked(watcher, "products"):
            first = asyncio.create_task(caller.post(PRODUCTS))
            await blocked(watcher)
            await unavailable(caller, PRODUCTS)
        assert codes(await first) == []


async def test_request_that_takes_too_long_is_stopped_and_leaves_nothing_open(database_url: str, watcher: asyncpg.Connection) -> None:
    async with gateway(settings_for(database_url, request_timeout=0.5)) as caller:
        async with locked(watcher, "products, users"):
            answers = await asyncio.gather(*(caller.post(query) for query in (PRODUCTS, SIGN_UP, PRODUCTS)))
            for answer in answers:
                assert answer.status_code == 503
                assert codes(answer) == ["UNAVAILABLE"]
                assert "longer than 0.5 s" in answer.text
            await idle(watcher)
        assert await watcher.fetchval("select count(*) from users") == 0
        await caller.ask(SIGN_UP)


async def test_request_that_is_cancelled_leaves_nothing_open(database_url: str, watcher: asyncpg.Connection) -> None:
    async with gateway(settings_for(database_url)) as caller:
        administrator = await new_administrator(caller, database_url)
        async with locked(watcher, "inventory"):
            # The product is inserted, and its transaction waits for its inventory.
            tasks = [asyncio.create_task(administrator.post(CREATE)) for _ in range(3)]
            await blocked(watcher, len(tasks))
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await idle(watcher)
        assert await watcher.fetchval("select count(*) from products") == 0
        assert (await administrator.ask(CREATE))["createProduct"]["userErrors"] == []


async def _says(server: Served, text: str) -> bool:
    return text in server.logged()


async def test_requests_in_flight_are_finished_at_shutdown(database_url: str, watcher: asyncpg.Connection, tmp_path: Path) -> None:
    async with served(tmp_path, DATABASE_URL=database_url, DEMO_DATA="false") as server, httpx.AsyncClient(base_url=server.url) as http:
        async with locked(watcher, "products"):
            in_flight = asyncio.create_task(Caller(http).post(PRODUCTS))
            await blocked(watcher)
            stopping = asyncio.create_task(server.stop())
            await eventually(partial(_says, server, "Shutting down"))
            async with httpx.AsyncClient(base_url=server.url) as late:
                with pytest.raises(httpx.ConnectError):
                    await late.get("/healthz")
            assert not in_flight.done()
        assert (await in_flight).json()["data"]["products"] == {"nodes": [], "totalCount": 0}
        await stopping
    assert await counted(watcher, "true") == 0


async def test_start_without_a_database_says_why(tmp_path: Path) -> None:
    app = Gateway(settings_for(f"postgresql://somebody:very-secret@/shop?host={tmp_path}")).app()
    told: list[Message] = []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        told.append(message)

    with pytest.raises(CannotStart):
        await app({"type": "lifespan", "state": {}}, receive, send)
    (message,) = told
    assert message["type"] == "lifespan.startup.failed"
    assert message["message"].startswith("the gateway cannot start: the database did not answer in time (")
    assert "very-secret" not in message["message"]
    assert "\n" not in message["message"]


async def test_a_gateway_without_its_clickhouse_sells_on(database_url: str, unused_tcp_port: int) -> None:
    settings = settings_for(database_url, demo_data=True, clickhouse_url=f"http://user:secret@127.0.0.1:{unused_tcp_port}")
    async with gateway(settings) as caller:
        ready = await caller.http.get("/readyz")
        assert ready.status_code == 200
        assert ready.json() == {"status": "degraded", "checks": {"postgresql": "ok", "clickhouse": "unavailable"}}
        assert len((await caller.ask(PRODUCTS))["products"]["nodes"]) == 3
        administrator = await caller.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
        await unavailable(administrator, "{ userEvents { nodes { id } } }")


async def test_events_that_nothing_can_store_are_not_acknowledged(unused_tcp_port: int) -> None:
    track = 'mutation { trackEvents(input: { events: [{ eventType: "PAGE_VIEW" }] }) { accepted userErrors { message } } }'
    away = f"http://user:secret@127.0.0.1:{unused_tcp_port}"
    async with own_server() as (server, dsn), gateway(settings_for(dsn, database_connect_timeout=1, clickhouse_url=away)) as caller:
        assert (await caller.ask(track))["trackEvents"] == {"accepted": 1, "userErrors": []}
        await server.stop()
        await unavailable(caller, track)
        await server.start()
        await recovered(caller)
        assert (await caller.ask(track))["trackEvents"] == {"accepted": 1, "userErrors": []}
        connection = await asyncpg.connect(dsn, timeout=10)
        assert await connection.fetchval("select sum(events) from event_spool") == 2
        await connection.close()
