"""Background work on the same PostgreSQL (pgqueuer): jobs enqueued in the transaction that causes them, and schedules.

A job committed is a job done, at least once; a job of a rolled back transaction never was.
"""

import asyncio
from collections.abc import Awaitable, Callable

import asyncpg
import orjson
import structlog
from pgqueuer import AsyncpgDriver, PgQueuer, Queries
from pgqueuer.models import Schedule

from app.core.database import Transaction

CONNECT_SECONDS = 5
Work = Callable[[], Awaitable[None]]

log = structlog.get_logger(__name__)


async def install(dsn: str) -> None:
    """Make the queue's tables, or bring them up to date. Several processes may call it at once."""
    connection = await asyncpg.connect(dsn, timeout=CONNECT_SECONDS)
    try:
        queries = Queries(AsyncpgDriver(connection))
        async with queries.schema_lock():
            if not await queries.schema_is_installed():
                await queries.install()
        await queries.upgrade()
    finally:
        await connection.close(timeout=CONNECT_SECONDS)


async def enqueue(transaction: Transaction, name: str, arguments: dict[str, object]) -> None:
    """Add a job to the transaction: it runs if and only if the transaction commits."""
    queries = Queries(AsyncpgDriver(transaction.connection))  # type: ignore[arg-type]
    await queries.enqueue(name, orjson.dumps(arguments, default=str))


class Worker:
    """Runs schedules until it is stopped; on several hosts, each turn runs once."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._schedules: dict[str, tuple[str, Work]] = {}
        self._stopping = asyncio.Event()

    def schedule(self, name: str, crontab: str, work: Work) -> None:
        """Run `work` whenever `crontab` says: five fields, in UTC, or six with seconds last.

        A failure is logged, and the next turn comes all the same.
        """
        self._schedules[name] = (crontab, work)

    def stop(self) -> None:
        """Take no new work; `run` returns when the work at hand is done."""
        self._stopping.set()

    async def run(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=CONNECT_SECONDS)
        try:
            queue = PgQueuer.from_asyncpg_connection(connection)
            for name, (crontab, work) in self._schedules.items():
                queue.schedule(name, crontab)(_logged(name, work))
            running = asyncio.create_task(queue.run())
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            queue.shutdown.set()
            await running
        finally:
            await connection.close(timeout=CONNECT_SECONDS)


def _logged(name: str, work: Work) -> Callable[[Schedule], Awaitable[None]]:
    async def run(_schedule: Schedule) -> None:
        try:
            await work()
        except Exception:
            log.exception("schedule_failed", schedule=name)
        else:
            log.info("schedule_done", schedule=name)

    return run
