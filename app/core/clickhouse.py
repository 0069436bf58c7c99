"""The only door to ClickHouse: a server over HTTP, or chDB, the same engine inside this process, with its data in a folder.

Both are spoken to by clickhouse-connect's synchronous client in threads of our own, never on the event loop: one thread for chDB, which
is one engine, a few for a server. A client is made at the first call and not before, since chDB takes some 250 MB of memory and up to a
second. Values are always bound by the server: a statement names them as `{name:Type}`.

Every call has a time limit and every answer a size limit, also where the engine itself does not answer. A server that could not be
reached is left alone for a second, so that callers do not queue for it.
"""

import asyncio
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import clickhouse_connect
import structlog
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, Error

from app.core.errors import InvalidValue, RepositoryError, TooLarge, Unavailable
from app.core.metrics import Metrics

MAX_ROWS: Final = 10_000
MAX_RESULT_BYTES: Final = 64 * 1024 * 1024
MAX_MEMORY_BYTES: Final = 2 * 1024**3
"""What one question may give and take, whatever it asks."""

MAX_WAITING: Final = 100
"""Calls that may wait for a thread; more are refused at once."""

INSERT_SECONDS: Final = 5.0
"""What an insert may take: its rows can still be kept elsewhere before their sender gives up."""

RECONNECT_SECONDS: Final = 1.0
CLOSE_SECONDS: Final = 15.0

# https://github.com/ClickHouse/ClickHouse/blob/master/src/Common/ErrorCodes.cpp
TOO_LARGE: Final = frozenset({158, 159, 160, 161, 191, 241, 307, 396})
WRONG_VALUE: Final = frozenset({6, 26, 27, 38, 41, 53, 69, 70, 72, 321, 376, 427, 457})
AWAY: Final = frozenset({60, 81, 164, 192, 193, 194, 202, 203, 209, 210, 225, 236, 242, 252, 279, 285, 319, 394, 516, 999})
"""Error codes of what asks for too much, of bound values of a wrong form, and of a server that cannot answer now: overloaded, read-only,
cut off from its replicas, without our tables or unwilling to know us."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class ClickHouseOptions:
    """Which database, made replicated on which cluster, and over its shards or not.

    `timeout` in seconds for one statement, `threads` of a server's client.
    """

    database: str = "neurotracker"
    cluster: str | None = None
    sharded: bool = False
    timeout: float = 10.0
    connect_timeout: float = 3.0
    threads: int = 4


class ClickHouse:
    """ClickHouse at `url`, or without one the embedded engine with its data in `folder`.

    `prepare` is run once by each new connection before anything else, in the connection's thread: it brings the tables up to date.
    """

    def __init__(
        self,
        url: str | None,
        folder: Path,
        metrics: Metrics,
        options: ClickHouseOptions | None = None,
        prepare: Callable[["Engine"], None] | None = None,
    ) -> None:
        self._url = url
        # Importing chDB changes the working directory for a moment, so nothing may depend on it.
        self._folder = folder.absolute()
        self._metrics = metrics
        self.options = options or ClickHouseOptions()
        self._prepare = prepare
        self._threads = ThreadPoolExecutor(self.options.threads if url else 1, thread_name_prefix="clickhouse")
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._failed_at = -math.inf
        self._waiting = 0
        self._closed = False

    @property
    def is_embedded(self) -> bool:
        return self._url is None

    async def fetch(
        self, query: str, values: Mapping[str, Any] | None = None, *, limit: int = MAX_ROWS, timeout: float | None = None
    ) -> list[dict[str, Any]]:
        """The rows of a query, by column. Raises `TooLarge` for more than `limit` rows, `InvalidValue`, `Unavailable`."""
        seconds = timeout or self.options.timeout
        return await self._call("query", seconds, lambda engine: engine.fetch(query, values or {}, limit, seconds))

    async def fetch_value(self, query: str, values: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> Any:
        """The first column of the first row, or None."""
        rows = await self.fetch(query, values, limit=1, timeout=timeout)
        return next(iter(rows[0].values())) if rows else None

    async def insert(self, table: str, columns: Sequence[str], lines: bytes, token: str, *, timeout: float = INSERT_SECONDS) -> None:
        """Insert rows given as lines of JSON objects (JSONEachRow): all of them or none.

        The same token again inserts nothing, so what may or may not have arrived can be sent again. Raises `Unavailable` whatever went
        wrong, a refusal by the server included: the rows are still the caller's.
        """
        seconds = min(timeout, self.options.timeout)
        try:
            await self._call("insert", seconds, lambda engine: engine.insert(table, columns, lines, token, seconds))
        except Unavailable:
            raise
        except RepositoryError as error:
            raise Unavailable("ClickHouse did not take the rows") from error

    async def execute(self, statement: str, values: Mapping[str, Any] | None = None, *, timeout: float | None = None) -> None:
        """Run a statement that gives no rows; raises as `fetch` does."""
        await self._call("command", timeout or self.options.timeout, lambda engine: engine.execute(statement, values))

    async def run(self, work: Callable[["Engine"], T], *, timeout: float) -> T:
        """Run several statements in the connection's own thread; raises as `fetch` does."""
        return await self._call("script", timeout, work)

    async def ping(self) -> None:
        """Ask for a sign of life; raises `Unavailable`. The embedded engine is not started for this: nothing can have happened to it."""
        if self.is_embedded and self._engine is None and self._failed_at < 0:
            return
        await self.fetch_value("select 1", timeout=self.options.connect_timeout)

    async def close(self) -> None:
        """Let the calls at work end, then close the engine's files in order. Whatever takes longer than 15 seconds is left to itself."""
        self._closed = True
        if self._engine is not None:
            with suppress(TimeoutError, RuntimeError):
                async with asyncio.timeout(CLOSE_SECONDS):
                    await asyncio.get_running_loop().run_in_executor(self._threads, self._disconnect)
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _call(self, operation: str, seconds: float, work: Callable[["Engine"], T]) -> T:
        if self._closed or self._waiting >= MAX_WAITING:
            raise Unavailable("ClickHouse is closed" if self._closed else "too many calls wait for ClickHouse")
        started, result = time.perf_counter(), "error"
        self._waiting += 1
        try:
            # The engine ends what takes too long by itself; this is for an engine that does not.
            async with asyncio.timeout(seconds + self.options.connect_timeout + 1):
                answer = await asyncio.get_running_loop().run_in_executor(self._threads, self._work, work)
            result = "success"
            return answer
        except TimeoutError as error:
            raise Unavailable("ClickHouse did not answer in time") from error
        finally:
            self._waiting -= 1
            self._metrics.clickhouse_operations.labels(operation, result).observe(time.perf_counter() - started)

    def _work(self, work: Callable[["Engine"], T]) -> T:
        try:
            return work(self._connected())
        except (ClickHouseError, OSError) as error:
            raise translated(error) from error

    def _connected(self) -> "Engine":
        with self._lock:
            if self._engine is not None:
                return self._engine
            if time.monotonic() - self._failed_at < RECONNECT_SECONDS:
                raise Unavailable("ClickHouse cannot be reached")
            try:
                self._engine = self._connect()
            except BaseException:
                self._failed_at = time.monotonic()
                raise
            return self._engine

    def _connect(self) -> "Engine":
        engine = Engine(self._client(), self.options)
        try:
            if self._prepare is not None:
                self._prepare(engine)
        except BaseException:
            engine.close()
            raise
        log.info("clickhouse_connected", embedded=self.is_embedded, version=engine.version)
        return engine

    def _client(self) -> Client:
        options = self.options
        if self._url is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            return clickhouse_connect.get_client(interface="chdb", path=str(self._folder), tz_mode="aware")
        return clickhouse_connect.get_client(
            dsn=self._url,
            client_name="neurotracker",
            connect_timeout=math.ceil(options.connect_timeout),
            send_receive_timeout=math.ceil(options.timeout) + 1,
            query_retries=0,
            autogenerate_session_id=False,
            dedicated_pool=True,
            tz_mode="aware",
        )

    def _disconnect(self) -> None:
        with self._lock:
            if self._engine is not None:
                self._engine.close()
                self._engine = None


class Engine:
    """A connection as its thread sees it. Raises what clickhouse-connect raises."""

    def __init__(self, client: Client, options: ClickHouseOptions) -> None:
        self._client = client
        self._client.database = options.database
        self.options = options

    @property
    def version(self) -> str:
        return str(self._client.server_version)

    def fetch(self, query: str, values: Mapping[str, Any], limit: int, seconds: float) -> list[dict[str, Any]]:
        settings = {
            "max_execution_time": seconds,
            "max_result_rows": limit,
            "max_result_bytes": MAX_RESULT_BYTES,
            "result_overflow_mode": "throw",
            "max_memory_usage": MAX_MEMORY_BYTES,
            # All versions of a row lie in one partition: each partition's time is part of its table's sorting key.
            "do_not_merge_across_partitions_select_final": 1,
            # What a table over shards is held against is read once, not by each shard.
            "distributed_product_mode": "global",
        }
        result = self._client.query(query, parameters=dict(values), settings=settings)
        names = result.column_names
        return [dict(zip(names, row, strict=True)) for row in result.result_rows]

    def insert(self, table: str, columns: Sequence[str], lines: bytes, token: str, seconds: float) -> None:
        settings = {
            "insert_deduplication_token": token,
            "date_time_input_format": "best_effort",
            # The answer comes when the rows are stored, whatever the server's own default.
            "async_insert": 0,
            "insert_distributed_sync": 1,
            "max_execution_time": seconds,
        }
        self._client.raw_insert(table, columns, lines, settings=settings, fmt="JSONEachRow")

    def execute(self, statement: str, values: Mapping[str, Any] | None = None) -> None:
        self._client.command(statement, parameters=dict(values or {}))

    def clusters(self) -> list[str]:
        """The clusters that the server knows."""
        query = "SELECT arrayStringConcat(arraySort(groupUniqArray(cluster)), ',') FROM system.clusters"
        names = str(self._client.command(query, use_database=False)).strip()
        return names.split(",") if names else []

    def create_database(self, where: str) -> None:
        """Make our database where there is none, which takes a right that not every account has; `where` names a cluster, or nothing."""
        if not self._client.command(f"EXISTS DATABASE `{self.options.database}`", use_database=False):
            self._client.command(f"CREATE DATABASE IF NOT EXISTS `{self.options.database}`{where}", use_database=False)

    def close(self) -> None:
        self._client.close()


def translated(error: Exception) -> RepositoryError:
    """Our own error for one of the engine's. Its text stays in the chain: it may quote a statement or a value."""
    code = error.code if isinstance(error, Error) else None
    if code in TOO_LARGE:
        return TooLarge("asks for more rows, memory or time than one question may take; ask for less or for a shorter time")
    if code in WRONG_VALUE:
        return InvalidValue("a value has a form that its column cannot hold")
    if code is None or code in AWAY:
        log.warning("clickhouse_unavailable", code=code, error=type(error).__name__)
        return Unavailable("ClickHouse did not answer in time")
    return RepositoryError(f"ClickHouse refused a statement with code {code}")
