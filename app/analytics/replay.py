"""Brings spooled events to ClickHouse once it is back: every gateway looks every few seconds, and so do workers.

What was never sent is packed into larger batches first, in a transaction of its own: from then on a batch keeps its content and its token,
so that it arrives once however often it is sent.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from random import uniform
from typing import Final

import structlog

from app.analytics.repository import EventSpoolRepository, UserEventRepository
from app.core.errors import RepositoryError, Unavailable
from app.core.factory import RepositoryFactory

EVERY_SECONDS: Final = 3.0
MOST_FAILURES: Final = 2

log = structlog.get_logger(__name__)


async def replay(repositories: RepositoryFactory) -> int:
    """Pack and replay the batches that are due, one by one, until none is left or ClickHouse takes no more; gives how many arrived.

    Several processes may do so at once. Raises `Unavailable` when PostgreSQL is away.
    """
    if not await repositories.of(EventSpoolRepository).is_due():
        return 0
    count = failures = 0
    while failures < MOST_FAILURES and await _answers(repositories):
        await repositories.of(EventSpoolRepository).pack()
        arrived = await _replay_one(repositories)
        if arrived is None:
            break
        failures, count = (failures, count + arrived) if arrived else (failures + 1, count)
    if count:
        log.info("events_replayed", events=count)
    return count


async def _answers(repositories: RepositoryFactory) -> bool:
    try:
        await repositories.of(UserEventRepository).ping()
    except Unavailable:
        return False
    return True


async def _replay_one(repositories: RepositoryFactory) -> int | None:
    """How many events arrived, none where ClickHouse refused them; None where no batch is due.

    The batch is locked meanwhile, which nobody waits for. A process that dies here gives it up at once, to be sent again under the same
    token.
    """
    async with repositories.transaction() as tx:
        spool = tx.of(EventSpoolRepository)
        batch = await spool.take()
        if batch is None:
            return None
        try:
            await tx.of(UserEventRepository).insert_lines(batch.lines, str(batch.id))
        except Unavailable:
            await spool.postpone(batch)
            return 0
        await spool.delete_by_id(batch.id)
        repositories.metrics.events.labels("replayed").inc(batch.events)
        return batch.events


@asynccontextmanager
async def replaying(repositories: RepositoryFactory) -> AsyncIterator[None]:
    """Replay what is due beside the block, every few seconds."""
    task = asyncio.create_task(_keep_replaying(repositories))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _keep_replaying(repositories: RepositoryFactory) -> None:
    while True:
        await asyncio.sleep(EVERY_SECONDS * uniform(0.8, 1.2))  # noqa: S311 - so that processes do not look all at once
        try:
            await replay(repositories)
            repositories.metrics.events_waiting.set(await repositories.of(EventSpoolRepository).waiting())
        except RepositoryError as error:
            log.warning("replay_waits", error=str(error))
        except Exception:
            log.exception("replay_failed")
