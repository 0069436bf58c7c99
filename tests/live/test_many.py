"""Nothing is kept of connections that break, and those that take nothing hold nobody up."""

import asyncio
import base64
import gc
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from urllib.parse import urlsplit

import asyncpg
import orjson
import pytest

from app import protocol
from app.api.live.connections import Connection
from app.api.live.websocket import Conversation
from app.api.updates import ChangedRows
from app.core.changes import Subscription
from app.resources import Resources
from tests.live.conftest import Gateway
from tests.live.shopping import Shopper, metric, uuid_of
from tests.live.speaking import CARTS, ORDERS, acquainted, streaming
from tests.serving import eventually

MANY = 1_000
AT_ONCE = 50


def kept() -> dict[str, int]:
    """How many objects of a connection are alive in this process, and tasks."""
    gc.collect()
    kinds = (Connection, Conversation, ChangedRows, Subscription)
    found = [type(thing).__name__ for thing in gc.get_objects() if isinstance(thing, kinds)]
    return {kind.__name__: found.count(kind.__name__) for kind in kinds} | {"tasks": len(asyncio.all_tasks())}


async def listeners(database: asyncpg.Connection) -> int:
    """Connections of PostgreSQL that listen for a gateway to this database; those of its pool have a name."""
    others = "datname = current_database() and application_name = '' and pid <> pg_backend_pid()"
    return int(await database.fetchval(f"select count(*) from pg_stat_activity where {others}"))


def frame(message: object) -> bytes:
    """A text message of a client (RFC 6455, 5.2), its mask all zeros."""
    data = orjson.dumps(message)
    length = bytes([0x80 | len(data)]) if len(data) < 126 else bytes([0x80 | 126]) + len(data).to_bytes(2, "big")
    return b"\x81" + length + bytes(4) + data


UPGRADE = (
    "GET /graphql HTTP/1.1\r\nHost: gateway\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: graphql-transport-ws\r\n\r\n"
)
STREAM = (
    "POST /graphql HTTP/1.1\r\nHost: gateway\r\nAccept: text/event-stream\r\nAuthorization: {token}\r\n"
    "Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
)
STAGES = 6


async def break_off(url: str, shopper: Shopper, stage: int) -> None:
    """Open a connection, go as far as the stage, and be gone without a word."""
    address = urlsplit(url)
    assert address.hostname is not None
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    if stage == STAGES - 1:
        body = orjson.dumps({"query": CARTS}).decode()
        writer.write(STREAM.format(token=shopper.headers["Authorization"], length=len(body), body=body).encode())
        await reader.readuntil(b"\r\n\r\n")
    else:
        writer.write(UPGRADE.format(key=base64.b64encode(os.urandom(16)).decode()).encode())
    if 0 < stage < STAGES - 1:
        await reader.readuntil(b"\r\n\r\n")
    if 1 < stage < STAGES - 1:
        writer.write(frame({"type": "connection_init", "payload": shopper.headers}))
    if 2 < stage < STAGES - 1:
        writer.write(frame({"type": "subscribe", "id": "1", "payload": {"query": CARTS}}))
        writer.write(frame({"type": "subscribe", "id": "2", "payload": {"query": ORDERS}}))
    if stage == STAGES - 2:
        await reader.readexactly(10)
        await asyncio.sleep(0.02)
    writer.transport.abort()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def test_nothing_is_kept_of_a_thousand_connections_that_break(
    live: Gateway, database: asyncpg.Connection, record_property: Callable[[str, object], None]
) -> None:
    shoppers = [await Shopper(live.http).join() for _ in range(10)]
    await asyncio.gather(*(break_off(live.url, shoppers[0], stage) for stage in range(STAGES)))
    await asyncio.sleep(0.5)
    before, listening = kept(), await listeners(database)
    started = asyncio.get_running_loop().time()

    for start in range(0, MANY, AT_ONCE):
        await asyncio.gather(*(break_off(live.url, shoppers[n % 10], n % STAGES) for n in range(start, start + AT_ONCE)))
        if start % 200 == 0:
            await shoppers[0].fill_cart(live.product_id)
    seconds = asyncio.get_running_loop().time() - started

    async def gone() -> bool:
        return await metric(live.http, "live_connections") == await metric(live.http, "live_subscriptions") == 0

    await eventually(gone, 20)
    await eventually(lambda: _at_most(before), 20)
    assert await listeners(database) == listening == 2, "one for what is cached, one for what subscribers are told"
    record_property("figures", f"{MANY} connections broke off within {seconds:.1f} s; nothing was kept of them")


async def _at_most(before: dict[str, int]) -> bool:
    now = kept()
    return all(now[name] <= before[name] for name in before)


async def test_who_reads_slowly_gets_the_newest_state_and_not_all_before(live: Gateway, shopper: Shopper, elsewhere: Resources) -> None:
    order = await shopper.order(await shopper.fill_cart(live.product_id))
    orders, updates = elsewhere.repositories.orders, 400
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe("subscription { orderUpdated { metadata } }")
        await asyncio.sleep(0.5)
        for number in range(1, updates + 1):
            await orders.update_by_id(uuid_of(order), {"metadata": {"number": number, "weight": "x" * 50_000}})
        await asyncio.sleep(0.5)
        seen: list[int] = []
        while not seen or seen[-1] < updates:
            shown = (await speaker.next())["orderUpdated"]["metadata"]
            seen += [shown["number"]] if shown else []
        await speaker.nothing()
        assert seen == sorted(seen)
        assert len(seen) < updates / 2


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 1.0)


@pytest.fixture
async def heavy(shopper: Shopper, live: Gateway, elsewhere: Resources) -> AsyncIterator[asyncio.Task[None]]:
    """Large changes without end, of an order of the shopper's."""
    order = await shopper.order(await shopper.fill_cart(live.product_id))

    async def change() -> None:
        while True:
            await elsewhere.repositories.orders.update_by_id(uuid_of(order), {"metadata": {"weight": "x" * 200_000}})
            await asyncio.sleep(0.005)

    task = asyncio.create_task(change())
    yield task
    task.cancel()
    await asyncio.wait({task})


@pytest.mark.usefixtures("impatient", "heavy")
async def test_who_takes_nothing_is_cut_off(live: Gateway, shopper: Shopper) -> None:
    query = "subscription { orderUpdated { metadata } }"

    async def cut_off() -> bool:
        return await metric(live.http, "live_connections") == 0

    async with acquainted(live.url, shopper) as speaker, streaming(live.url, shopper, query):
        await speaker.subscribe(query)
        assert await metric(live.http, "live_connections") == 2
        await eventually(cut_off, 20)
