"""The queue's tables and the worker, on a real database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest

from app.core import jobs
from app.core.database import Database
from app.core.jobs import Worker
from app.core.statement import Statement
from tests.serving import eventually


async def test_installing_again_and_at_once_is_harmless(database_url: str) -> None:
    await asyncio.gather(*(jobs.install(database_url) for _ in range(3)))
    await jobs.install(database_url)


async def test_a_job_exists_only_if_its_transaction_commits(database: Database) -> None:
    await jobs.install(database.dsn)
    with pytest.raises(RuntimeError):
        async with database.transaction() as transaction:
            await jobs.enqueue(transaction, "lost", {"id": 1})
            raise RuntimeError("stop")
    async with database.transaction() as transaction:
        await jobs.enqueue(transaction, "kept", {"id": 2})
    queued = await database.fetch(Statement("select entrypoint from pgqueuer", (), {}), {})
    assert [row.entrypoint for row in queued] == ["kept"]


async def test_a_schedule_runs_and_survives_its_own_failure(database: Database) -> None:
    await jobs.install(database.dsn)
    worker = Worker(database.dsn)
    turns: list[int] = []

    async def work() -> None:
        turns.append(1)
        if len(turns) == 1:
            raise ValueError("the first turn fails")
        worker.stop()

    worker.schedule("often", "* * * * * *", work)
    async with asyncio.timeout(20):
        await worker.run()
    assert len(turns) == 2


@asynccontextmanager
async def listening(database: Database, work: Callable[[dict[str, Any]], Awaitable[None]]) -> AsyncIterator[None]:
    await jobs.install(database.dsn)
    worker = Worker(database.dsn)
    worker.job("greet", work)
    async with worker.running():
        yield


async def enqueue(database: Database, **arguments: object) -> None:
    async with database.transaction() as transaction:
        await jobs.enqueue(transaction, "greet", arguments)


async def queued(database: Database) -> int:
    return int(await database.fetch_value(Statement("select count(*) from pgqueuer", (), {}), {}))


async def test_a_job_runs_with_its_arguments_and_is_gone(database: Database) -> None:
    seen: list[dict[str, Any]] = []

    async def greet(arguments: dict[str, Any]) -> None:
        seen.append(arguments)

    async def all_done() -> bool:
        return len(seen) == 2 and await queued(database) == 0

    async with listening(database, greet):
        await enqueue(database, name="Anna")
        await enqueue(database, name="Bert")
        await eventually(all_done)
    assert sorted(one["name"] for one in seen) == ["Anna", "Bert"]


async def test_a_job_that_fails_is_tried_again(database: Database) -> None:
    turns = 0

    async def greet(_arguments: dict[str, Any]) -> None:
        nonlocal turns
        turns += 1
        if turns == 1:
            raise ValueError("the first time fails")

    async def done() -> bool:
        return turns == 2 and await queued(database) == 0

    async with listening(database, greet):
        await enqueue(database)
        await eventually(done)


async def test_a_worker_outlives_its_connection(database: Database) -> None:
    seen: list[dict[str, Any]] = []

    async def greet(arguments: dict[str, Any]) -> None:
        seen.append(arguments)

    async def served() -> bool:
        return len(seen) > 0

    async with listening(database, greet):
        await enqueue(database, turn=1)
        await eventually(served)
        seen.clear()
        others = "datname = current_database() and pid <> pg_backend_pid()"
        await database.fetch_value(Statement(f"select count(pg_terminate_backend(pid)) from pg_stat_activity where {others}", (), {}), {})
        await enqueue(database, turn=2)
        await eventually(served, 30)
    assert seen == [{"turn": 2}]


async def test_what_is_at_hand_is_finished_before_the_worker_ends(database: Database) -> None:
    begun, finished = asyncio.Event(), False

    async def greet(_arguments: dict[str, Any]) -> None:
        nonlocal finished
        begun.set()
        await asyncio.sleep(0.3)
        finished = True

    async with listening(database, greet):
        await enqueue(database)
        await asyncio.wait_for(begun.wait(), 10)
    assert finished
    assert await queued(database) == 0


async def test_only_old_history_is_removed(database: Database) -> None:
    await jobs.install(database.dsn)
    await database.execute_script(
        "insert into pgqueuer_log (created, job_id, status, priority, entrypoint, aggregated) values "
        "(now() - interval '8 days', 1, 'successful', 0, 'greet', true), (now() - interval '6 days', 2, 'successful', 0, 'greet', true), "
        "(now() - interval '8 days', 3, 'successful', 0, 'greet', false)"
    )
    await jobs.remove_history(database)
    kept = await database.fetch(Statement("select job_id from pgqueuer_log order by job_id", (), {}), {})
    assert [row.job_id for row in kept] == [2, 3]
