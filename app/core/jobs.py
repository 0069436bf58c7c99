"""Background work on the same PostgreSQL (pgqueuer): jobs enqueued in the transaction that causes them, and schedules.

A job committed is a job done, at least once; a job of a rolled back transaction never was. What is enqueued can be read by whoever reads
the database, so jobs carry names and ids, never secrets.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg
import orjson
import structlog
from pgqueuer import AsyncpgDriver, PgQueuer, Queries
from pgqueuer.errors import FailingListenerError
from pgqueuer.executors import DatabaseRetryEntrypointExecutor, EntrypointExecutorParameters
from pgqueuer.models import Job, Schedule

from app.core.database import Database, Transaction, translated_errors
from app.core.pubsub import BROKEN

CONNECT_SECONDS = 5
RECONNECT_SECONDS = 2.0
JOB_SECONDS = 60
POLL = timedelta(seconds=5)
"""How often the queue is looked at though nothing was announced: a job that failed just now is not, when its time comes again."""

FIRST_RETRY = timedelta(seconds=2)
LONGEST_RETRY = timedelta(minutes=10)
HISTORY_KEPT_DAYS = 7
FORGETTING = (
    "delete from pgqueuer where status = 'queued' and strpos(lower(convert_from(payload, 'UTF8')), $1) > 0",
    "update pgqueuer_log set traceback = null where strpos(lower(traceback::text), $1) > 0",
)
INTERRUPTIONS = (*BROKEN, OSError, FailingListenerError)

Work = Callable[[], Awaitable[None]]
JobWork = Callable[[dict[str, Any]], Awaitable[None]]

log = structlog.get_logger(__name__)


class PooledDriver(AsyncpgDriver):
    """Enqueues on a pooled connection, where jsonb is made of Python values: pgqueuer gives the headers, its last argument, as text."""

    async def fetch(self, query: str, *args: Any) -> list[dict[str, object]]:
        *others, headers = args
        return await super().fetch(query, *others, [orjson.loads(header) for header in headers])


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


async def enqueue(transaction: Transaction, name: str, arguments: dict[str, object], delay: timedelta | None = None) -> None:
    """Add a job to the transaction: it runs if and only if the transaction commits, and not before a delay."""
    queries = Queries(PooledDriver(transaction.connection))  # type: ignore[arg-type]
    with translated_errors():
        await queries.enqueue(name, orjson.dumps(arguments, default=str), execute_after=delay)


async def forget(transaction: Transaction, text: str) -> None:
    """Take out the jobs that wait and mention a text, whatever its case, and what was logged of failures with it."""
    with translated_errors():
        for statement in FORGETTING:
            await transaction.connection.execute(statement, text.lower())


async def remove_history(database: Database) -> None:
    """Remove what the queue keeps of jobs that were done, or given up, more than a week ago."""
    old = f"created < now() - interval '{HISTORY_KEPT_DAYS} days'"
    await database.execute_script(f"delete from pgqueuer_log where aggregated and {old}; delete from pgqueuer_statistics where {old}")  # noqa: S608


@dataclass(frozen=True)
class Task:
    """What a job of some name does; `attempts` in all, `at_once` on all hosts together."""

    work: JobWork
    attempts: int
    at_once: int

    async def run(self, job: Job) -> None:
        async with asyncio.timeout(JOB_SECONDS):
            await self.work(orjson.loads(job.payload or b"{}"))

    def executor(self, parameters: EntrypointExecutorParameters) -> DatabaseRetryEntrypointExecutor:
        return DatabaseRetryEntrypointExecutor(
            parameters, max_attempts=self.attempts - 1, initial_delay=FIRST_RETRY, max_delay=LONGEST_RETRY
        )


class Worker:
    """Runs jobs and schedules until it is stopped; on several hosts, each job and each turn of a schedule runs once."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._tasks: dict[str, Task] = {}
        self._schedules: dict[str, tuple[str, Work]] = {}
        self._stopping = asyncio.Event()

    def job(self, name: str, work: JobWork, *, attempts: int = 8, at_once: int = 10) -> None:
        """Run `work` with the arguments of every job of this name, again after failures, ever later: eight attempts take four minutes.

        It must bear to run twice, since a worker may die after the work and before it says so. Each attempt has a minute.
        """
        self._tasks[name] = Task(work, attempts, at_once)

    def schedule(self, name: str, crontab: str, work: Work) -> None:
        """Run `work` whenever `crontab` says: five fields, in UTC, or six with seconds last.

        A failure is logged, and the next turn comes all the same.
        """
        self._schedules[name] = (crontab, work)

    def stop(self) -> None:
        """Take no new work; `run` returns when the work at hand is done."""
        self._stopping.set()

    async def run(self) -> None:
        """Work until stopped. A database that goes away is asked again until it is back."""
        while not self._stopping.is_set():
            try:
                await self._run_connected()
            except INTERRUPTIONS as error:
                log.warning("worker_interrupted", error=type(error).__name__, seconds=RECONNECT_SECONDS)
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), RECONNECT_SECONDS)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Work beside the block; its end waits for the work at hand, which would otherwise begin again elsewhere."""
        running = asyncio.create_task(self.run())
        try:
            yield
        finally:
            self.stop()
            await running

    async def _run_connected(self) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=CONNECT_SECONDS)
        try:
            queue = self._queue(connection)
            running = asyncio.create_task(queue.run(dequeue_timeout=POLL, shutdown_on_listener_failure=True))
            stopping = asyncio.create_task(self._stopping.wait())
            await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            queue.shutdown.set()
            await running
        finally:
            await connection.close(timeout=CONNECT_SECONDS)

    def _queue(self, connection: asyncpg.Connection) -> PgQueuer:
        queue = PgQueuer.from_asyncpg_connection(connection)
        for name, task in self._tasks.items():
            queue.entrypoint(name, concurrency_limit=task.at_once, executor_factory=task.executor)(task.run)
        for name, (crontab, work) in self._schedules.items():
            queue.schedule(name, crontab)(_logged(name, work))
        return queue


def _logged(name: str, work: Work) -> Callable[[Schedule], Awaitable[None]]:
    async def run(_schedule: Schedule) -> None:
        try:
            await work()
        except Exception:
            log.exception("schedule_failed", schedule=name)
        else:
            log.debug("schedule_done", schedule=name)

    return run
