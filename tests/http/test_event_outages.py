"""ClickHouse stopped, hanging and started again: what was acknowledged is there, once, and senders are told where there is no room."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url

from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.metrics import Metrics
from app.settings import Settings
from tests.clickhouse_server import ClickHouseServer
from tests.http.test_track_events import TRACK, ago
from tests.serving import REPOSITORY, Caller, eventually, gateway, settings_for

SettingsOf = Callable[..., Settings]


@pytest.fixture
def settings_of(clickhouse_server: ClickHouseServer, database_url: str) -> SettingsOf:
    """Settings of a gateway on the server."""
    return lambda **given: settings_for(database_url, clickhouse_url=clickhouse_server.url, **given)


@pytest.fixture
async def table(clickhouse_server: ClickHouseServer, database_url: str, tmp_path: Path) -> AsyncIterator["Table"]:
    options = ClickHouseOptions(database=make_url(database_url).database or "")
    clickhouse = ClickHouse(clickhouse_server.url, tmp_path, Metrics(), options)
    yield Table(clickhouse, database_url)
    await clickhouse.close()


class Table:
    """What is stored: in ClickHouse by client event id, and how much waits in PostgreSQL."""

    def __init__(self, clickhouse: ClickHouse, dsn: str) -> None:
        self._clickhouse = clickhouse
        self._dsn = dsn

    async def stored(self) -> list[str]:
        """The events, those that are there twice twice, whatever FINAL would make of it."""
        rows = await self._clickhouse.fetch("SELECT client_event_id AS name FROM user_events ORDER BY toUInt32(name)", limit=100_000)
        return [row["name"] for row in rows]

    async def waiting(self) -> int:
        connection = await asyncpg.connect(self._dsn)
        try:
            return int(await connection.fetchval("select coalesce(sum(events), 0) from event_spool"))
        finally:
            await connection.close()

    async def seal(self) -> None:
        """Have each batch that waits sent by itself, as if it had been tried before."""
        connection = await asyncpg.connect(self._dsn)
        await connection.execute("update event_spool set is_loose = false")
        await connection.close()

    async def is_replayed(self) -> bool:
        return await self.waiting() == 0


class Sender:
    """Sends numbered events, and remembers which were acknowledged."""

    def __init__(self, caller: Caller, size: int = 20) -> None:
        self._caller = caller
        self._size = size
        self._next = 0
        self.acknowledged: list[str] = []
        self.refused: list[str] = []

    async def send(self) -> None:
        """A request of events that were never sent before."""
        numbers = range(self._next, self._next + self._size)
        self._next += self._size
        events = [{"eventType": "PAGE_VIEW", "clientEventId": str(n), "timestamp": ago(minutes=1), "metadata": {"n": n}} for n in numbers]
        body = (await self._caller.post(TRACK, {"input": {"events": events, "sessionId": "visit"}})).json()
        if "errors" in body:
            self.refused.append(body["errors"][0]["extensions"]["code"])
            return
        assert body["data"]["trackEvents"] == {"accepted": self._size, "rejected": [], "userErrors": []}
        self.acknowledged += map(str, numbers)

    async def send_many(self, requests: int, at_once: int = 5) -> None:
        for _ in range(requests // at_once):
            await asyncio.gather(*(self.send() for _ in range(at_once)))

    @property
    def expected(self) -> list[str]:
        return sorted(self.acknowledged, key=int)


async def test_a_server_takes_events_as_the_embedded_engine_does(settings_of: SettingsOf, table: Table) -> None:
    async with gateway(settings_of(events_batch=50)) as caller:
        sender = Sender(caller)
        await sender.send_many(20)
    assert len(sender.acknowledged) == 400
    assert await table.stored() == sender.expected
    assert await table.waiting() == 0


async def test_a_server_that_is_stopped_and_started_again(
    settings_of: SettingsOf, table: Table, clickhouse_server: ClickHouseServer
) -> None:
    async with gateway(settings_of()) as caller:
        sender = Sender(caller)
        await sender.send_many(10)
        sending = asyncio.create_task(sender.send_many(60))
        await clickhouse_server.stop()
        await sending
        assert await table.waiting() > 0
        assert (await caller.http.get("/readyz")).json()["status"] == "degraded"
        await clickhouse_server.start()
        await sender.send_many(10)
        await eventually(table.is_replayed, 20)
        assert sender.refused == []
        assert len(sender.acknowledged) == 80 * 20
        assert await table.stored() == sender.expected
        metrics = (await caller.http.get("/metrics")).text
        assert 'events_total{way="stored"} 1600.0' in metrics


async def test_a_server_that_hangs_and_then_does_what_it_was_told(
    settings_of: SettingsOf, table: Table, clickhouse_server: ClickHouseServer
) -> None:
    """The batches that it did not acknowledge in time are spooled, arrive all the same, and are sent once more under their token."""
    async with gateway(settings_of()) as caller:
        sender = Sender(caller)
        await sender.send_many(5)
        assert clickhouse_server.process is not None
        clickhouse_server.process.send_signal(signal.SIGSTOP)
        await sender.send_many(10)
        assert await table.waiting() > 0
        clickhouse_server.process.send_signal(signal.SIGCONT)
        await sender.send_many(5)
        await eventually(table.is_replayed, 20)
        assert sender.refused == []
        assert await table.stored() == sender.expected


async def test_senders_are_told_where_there_is_no_room(settings_of: SettingsOf, table: Table, clickhouse_server: ClickHouseServer) -> None:
    async with gateway(settings_of(events_buffer_bytes=2_000_000)) as caller:
        sender = Sender(caller, size=200)
        await sender.send()
        assert clickhouse_server.process is not None
        clickhouse_server.process.send_signal(signal.SIGSTOP)
        sending = asyncio.create_task(sender.send_many(40, at_once=40))
        await asyncio.sleep(3)
        clickhouse_server.process.send_signal(signal.SIGCONT)
        await sending
        assert set(sender.refused) == {"RATE_LIMITED"}
        assert len(sender.acknowledged) > 200
        await eventually(table.is_replayed, 20)
        assert await table.stored() == sender.expected


async def test_the_spool_has_an_end(settings_of: SettingsOf, table: Table, clickhouse_server: ClickHouseServer) -> None:
    async with gateway(settings_of(events_spool=100)) as caller:
        sender = Sender(caller)
        await sender.send()
        await clickhouse_server.stop()
        for _ in range(8):
            await sender.send()
        assert sender.refused == ["RATE_LIMITED"] * 3
        assert await table.waiting() == 100
        await clickhouse_server.start()
        await eventually(table.is_replayed, 20)
        assert await table.stored() == sender.expected


@asynccontextmanager
async def worker(settings: Settings, log: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """`python -m app worker` on the databases of a gateway; killed at the end."""
    assert settings.database_url is not None
    assert settings.clickhouse_url is not None
    own = {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "CLICKHOUSE_URL": settings.clickhouse_url.get_secret_value(),
        "CLICKHOUSE_DATABASE": settings.clickhouse_database,
        "LOG_FORMAT": "json",
    }
    with log.open("ab") as output:
        command = [sys.executable, "-m", "app", "worker"]
        process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env={**os.environ, **own}, stdout=output, stderr=output)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_worker_killed_during_replay_leaves_nothing_undone_or_done_twice(
    settings_of: SettingsOf, table: Table, clickhouse_server: ClickHouseServer, tmp_path: Path
) -> None:
    settings = settings_of(events_batch=20, events_linger_ms=0)
    async with gateway(settings) as caller:
        sender = Sender(caller)
        await sender.send()
        await clickhouse_server.stop()
        await sender.send_many(60)
        spooled = await table.waiting()
        assert spooled == 1200
    await table.seal()
    await clickhouse_server.start()

    async def has_begun() -> bool:
        return await table.waiting() < spooled

    async with worker(settings, tmp_path / "worker.log"):
        await eventually(has_begun, 30)
    assert 0 < await table.waiting() < spooled
    async with worker(settings, tmp_path / "worker.log") as last:
        await eventually(table.is_replayed, 60)
        last.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(last.wait(), 20) == 0
    assert await table.stored() == sender.expected
    assert len(sender.acknowledged) == 1220
    assert "Traceback" not in (tmp_path / "worker.log").read_text()
