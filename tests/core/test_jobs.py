"""The queue's tables and the worker, on a real database."""

import asyncio

import pytest

from app.core import jobs
from app.core.database import Database, Statement
from app.core.jobs import Worker


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
