"""A gateway of several processes: one address, one set of metrics, and an orderly end."""

import asyncio
import re
from functools import partial
from pathlib import Path

import asyncpg
import httpx
import psutil
from structlog.testing import capture_logs

from app.serving import possible_workers
from app.settings import Settings
from tests.http.watching import blocked, counted, locked
from tests.serving import Caller, Served, eventually, served, settings_for

STARTED = re.compile(r"Started server process \[(\d+)\]")
PRODUCTS = "{ products(first: 3) { nodes { id } totalCount } }"
REQUESTS = 30
SEVERAL = {"WORKERS": "2", "CLICKHOUSE_URL": "http://127.0.0.1:9", "DEMO_DATA": "false"}
"""Nothing is asked of ClickHouse here, so none need be there."""


async def workers(server: Served, count: int) -> list[psutil.Process]:
    """The processes that serve, the oldest first, once so many have begun to."""

    async def are_ready() -> bool:
        return server.logged().count("gateway_ready") >= count

    await eventually(are_ready, 60)
    return [psutil.Process(pid) for pid in map(int, STARTED.findall(server.logged())) if psutil.pid_exists(pid)]


async def ask(url: str, query: str = PRODUCTS) -> httpx.Response:
    """On a connection of its own, which any of the processes may take."""
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        return await Caller(http).post(query)


async def answered(url: str) -> float:
    async with httpx.AsyncClient(base_url=url, timeout=20) as http:
        lines = (await http.get("/metrics")).text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith("graphql_operations_total"))


async def all_counted(url: str) -> bool:
    """A process tells the others soon, not at once."""
    return await answered(url) >= REQUESTS


async def test_processes_are_one_gateway(database_url: str, watcher: asyncpg.Connection, tmp_path: Path) -> None:
    """All count what each answers, one that dies is replaced, and requests in flight are finished at the end."""
    async with served(tmp_path, **SEVERAL, DATABASE_URL=database_url) as server:
        first, second = await workers(server, 2)
        for _ in range(REQUESTS):
            assert (await ask(server.url)).json()["data"]["products"]["totalCount"] == 0
        await eventually(lambda: all_counted(server.url), 5)
        assert {await answered(server.url) for _ in range(6)} == {REQUESTS}

        first.kill()
        assert (await workers(server, 3))[:1] == [second]
        assert await answered(server.url) == REQUESTS
        async with locked(watcher, "products"):
            # Each another question: of those who ask the same, one does the work.
            in_flight = [asyncio.create_task(ask(server.url, f"{{ p{n}: products {{ totalCount }} }}")) for n in range(4)]
            await blocked(watcher, len(in_flight))
            stopping = asyncio.create_task(server.stop())
            await eventually(partial(_refused, server.url))
            assert not any(task.done() for task in in_flight)
        assert {(await task).status_code for task in in_flight} == {200}
        await stopping
    assert await counted(watcher, "true") == 0
    assert not second.is_running()


async def _refused(url: str) -> bool:
    try:
        async with httpx.AsyncClient(base_url=url) as http:
            await http.get("/healthz")
    except httpx.ConnectError:
        return True
    except httpx.TransportError:
        # It waited to be accepted when the socket was closed.
        return False
    return False


async def test_processes_do_not_outlive_the_one_that_watches_them(database_url: str, tmp_path: Path) -> None:
    async with served(tmp_path, **SEVERAL, DATABASE_URL=database_url) as server:
        found = await workers(server, 2)
        server.process.kill()
        await server.process.wait()
        _, alive = await asyncio.to_thread(psutil.wait_procs, found, 20)
        assert not alive
        assert server.logged().count("Application shutdown complete") == 2


async def test_what_cannot_start_ends_with_a_status(tmp_path: Path) -> None:
    nowhere = f"postgresql://somebody@/shop?host={tmp_path}"
    async with served(tmp_path, **SEVERAL, DATABASE_URL=nowhere) as server:
        assert await asyncio.wait_for(server.process.wait(), 60) == 3
    assert "the gateway cannot start: the database did not answer" in server.logged()


def test_embedded_databases_belong_to_one_process(database_url: str) -> None:
    with capture_logs() as logs:
        assert possible_workers(Settings(_env_file=None, workers=4)) == 1
    (event,) = logs
    assert event["log_level"] == "warning"
    assert event["reason"] == "WORKERS=4 needs DATABASE_URL and CLICKHOUSE_URL: embedded databases belong to one process"
    assert possible_workers(settings_for(database_url, workers=4)) == 1
    assert possible_workers(settings_for(database_url, workers=4, clickhouse_url="http://clickhouse:8123")) == 4
