"""The only door to PostgreSQL: a pool, compiled statements, transactions with savepoints and bounded retries.

SQLAlchemy Core expresses statements and compiles each shape once (`core.statement`); asyncpg runs them. Rows come back as `Row`, a Record
with attribute access, which costs nothing to make. A `Session` is either the pool (each call on any connection) or a `Transaction`.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import asyncpg
import orjson
import structlog
from asyncpg import exceptions as postgres
from asyncpg.pool import PoolConnectionProxy
from tenacity import AsyncRetrying, retry_if_exception, stop_after_attempt, wait_random_exponential

from app.core.errors import Conflict, ConstraintViolation, InvalidValue, RepositoryError, Unavailable
from app.core.lending import Lender, Prepared
from app.core.metrics import Metrics
from app.core.statement import DIALECT, Statement

RETRIES = 5
MAINTENANCE_SECONDS = 600.0
MOST_PREPARED = 1000
"""Statements that are kept prepared on one connection; those prepared first go first."""

T = TypeVar("T")
log = structlog.get_logger(__name__)


class Row(asyncpg.Record):
    """A row with its columns as attributes; each repository reads into a subclass that names its model."""

    model: type[Any] | None = None

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Session(Protocol):
    """Where statements run: any connection of the pool, or the one of a transaction."""

    @property
    def current_transaction(self) -> "Transaction | None": ...

    async def fetch(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> list[Any]: ...

    async def fetch_row(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> Any | None: ...

    async def fetch_value(self, statement: Statement, values: Mapping[str, Any]) -> Any: ...

    async def compose(self, text: str, arguments: Sequence[Any]) -> Sequence[Any]: ...


Connection = PoolConnectionProxy | asyncpg.Connection


class Stopwatch:
    """Adds up the seconds that go by while something is awaited."""

    def __init__(self, add: Callable[[float], object]) -> None:
        self.add = add

    async def of(self, awaited: Awaitable[T]) -> T:
        started = time.perf_counter()
        try:
            return await awaited
        finally:
            self.add(time.perf_counter() - started)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise what asyncpg raises as our own typed errors, the original chained."""
    try:
        yield
    except RepositoryError:
        raise
    except (postgres.SerializationError, postgres.DeadlockDetectedError, postgres.LockNotAvailableError) as error:
        raise Conflict("concurrent changes collided; try again") from error
    except postgres.IntegrityConstraintViolationError as error:
        raise ConstraintViolation(error.constraint_name or "unknown") from error
    except (postgres.DataError, UnicodeEncodeError) as error:
        raise InvalidValue("a value has a form that its column cannot hold") from error
    except (
        postgres.PostgresConnectionError,
        postgres.OperatorInterventionError,
        postgres.InsufficientResourcesError,
        postgres.InvalidAuthorizationSpecificationError,
        postgres.InvalidCatalogNameError,
        asyncpg.InterfaceError,
        asyncpg.InternalClientError,
        OSError,
        TimeoutError,
    ) as error:
        raise Unavailable("the database did not answer in time") from error


class Transaction:
    """One transaction on one connection. `after_commit` callbacks run once the outermost block has committed, never otherwise."""

    def __init__(self, connection: Connection, statements: Stopwatch) -> None:
        self._connection = connection
        self._statements = statements
        self._after_commit: list[Callable[[], Awaitable[None]]] = []

    @property
    def current_transaction(self) -> "Transaction":
        return self

    @property
    def connection(self) -> Connection:
        """The asyncpg connection, for the job queue's own driver."""
        return self._connection

    def after_commit(self, callback: Callable[[], Awaitable[None]]) -> None:
        self._after_commit.append(callback)

    async def run_after_commit(self) -> None:
        """What was committed stays: a callback that fails is logged, and the others still run."""
        for callback in self._after_commit:
            try:
                await callback()
            except Exception:
                log.exception("after_commit_failed", callback=getattr(callback, "__qualname__", repr(callback)))

    async def fetch(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> list[Any]:
        with translated_errors():
            return await self._statements.of(
                self._connection.fetch(statement.text, *statement.arguments(values), record_class=record_class)
            )

    async def fetch_row(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> Any | None:
        with translated_errors():
            return await self._statements.of(
                self._connection.fetchrow(statement.text, *statement.arguments(values), record_class=record_class)
            )

    async def fetch_value(self, statement: Statement, values: Mapping[str, Any]) -> Any:
        with translated_errors():
            return await self._statements.of(self._connection.fetchval(statement.text, *statement.arguments(values)))

    async def compose(self, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        """The rows of a statement that often runs, by its text and its arguments in their order."""
        with translated_errors():
            return await self._statements.of(self._connection.fetch(text, *arguments))

    @asynccontextmanager
    async def savepoint(self) -> AsyncIterator["Transaction"]:
        """A nested block: its failure undoes its own work and its callbacks alone."""
        kept = len(self._after_commit)
        try:
            async with _block(self._connection, self._statements):
                yield self
        except BaseException:
            del self._after_commit[kept:]
            raise


@asynccontextmanager
async def _block(connection: Connection, statements: Stopwatch) -> AsyncIterator[None]:
    """BEGIN or SAVEPOINT, then COMMIT, or ROLLBACK on any exception; errors of the body itself pass through untouched."""
    block = connection.transaction()
    with translated_errors():
        await statements.of(block.start())
    try:
        yield
    except BaseException:
        # Where the connection is gone, the server has rolled back already; the body's error is the one to tell.
        with suppress(RepositoryError), translated_errors():
            await statements.of(block.rollback())
        raise
    with translated_errors():
        await statements.of(block.commit())


@dataclass(frozen=True)
class DatabaseOptions:
    """Sizes and time limits of a pool; `*_ms` in milliseconds, the others in seconds."""

    pool_min: int = 2
    pool_max: int = 10
    statement_timeout_ms: int = 10_000
    lock_timeout_ms: int = 3_000
    connect_timeout: float = 5.0


class Database:
    """A pool of PostgreSQL connections. Opens lazily, so the gateway starts and recovers whatever the database does."""

    def __init__(self, dsn: str, options: DatabaseOptions | None = None, metrics: Metrics | None = None) -> None:
        self._dsn = dsn
        metrics = metrics or Metrics()
        waits = (partial(metrics.tally.count, metrics.database_seconds.labels(wait)) for wait in ("statement", "connection"))
        self._statements, self._turns = map(Stopwatch, waits)
        self._options = options or DatabaseOptions()
        self._lender: Lender | None = None

    @property
    def current_transaction(self) -> None:
        return None

    @property
    def dsn(self) -> str:
        return self._dsn

    async def open(self) -> None:
        options = self._options
        pool = await asyncpg.create_pool(
            self._dsn,
            min_size=0,
            max_size=options.pool_max,
            max_inactive_connection_lifetime=300,
            max_queries=10**9,
            timeout=options.connect_timeout,
            command_timeout=options.statement_timeout_ms / 1000 + 2,
            statement_cache_size=1024,
            max_cached_statement_lifetime=0,
            init=_prepare_connection,
            server_settings={
                "application_name": "neurotracker",
                "timezone": "UTC",
                "statement_timeout": str(options.statement_timeout_ms),
                "lock_timeout": str(options.lock_timeout_ms),
                "idle_in_transaction_session_timeout": str(options.statement_timeout_ms * 3),
                "jit": "off",
            },
        )
        self._lender = Lender(pool, options.pool_max, options.connect_timeout)

    async def warm(self, reads: Sequence[tuple[str, Sequence[Any]]] = ()) -> None:
        """Open the pool's least number of connections, and run statements on each (`compose`), so that they are prepared there.

        Raises `Unavailable` when the database is away.
        """
        async with AsyncExitStack() as stack:
            connections = [await stack.enter_async_context(self.connection()) for _ in range(self._options.pool_min)]
            await asyncio.gather(*(self._read(connection, reads) for connection in connections))

    async def _read(self, connection: PoolConnectionProxy, reads: Sequence[tuple[str, Sequence[Any]]]) -> None:
        assert self._lender is not None
        with translated_errors():
            for text, arguments in reads:
                prepared = await _prepared(connection, text, self._lender.prepared[connection])
                await prepared.fetch(arguments)

    async def close(self, timeout: float = 5.0) -> None:
        """Close every connection, waiting at most `timeout` seconds for those at work."""
        if self._lender is None:
            return
        try:
            await asyncio.wait_for(self._lender.close(), timeout)
        except TimeoutError:
            self._lender.terminate()
        finally:
            self._lender = None

    async def ping(self) -> None:
        """Ask the database for a sign of life; raises `Unavailable`."""
        async with self.connection() as connection:
            with translated_errors():
                await connection.fetchval("select 1", timeout=self._options.connect_timeout)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[PoolConnectionProxy]:
        lender, connection = await self._take()
        try:
            yield connection
        except BaseException:
            await lender.replace(connection)
            raise
        if connection.is_in_transaction():
            await lender.replace(connection)
        else:
            lender.give(connection)

    async def fetch(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> list[Any]:
        return await self._run("fetch", statement, values, record_class=record_class)  # type: ignore[no-any-return]

    async def fetch_row(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> Any | None:
        return await self._run("fetchrow", statement, values, record_class=record_class)

    async def fetch_value(self, statement: Statement, values: Mapping[str, Any]) -> Any:
        return await self._run("fetchval", statement, values)

    async def compose(self, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        """The rows of a statement that often runs, by its text and its arguments in their order; under a time limit of the caller's.

        It is prepared once on each connection. asyncpg's own way to a prepared statement, with a timer for each run, takes as much CPU as
        sending it and reading what comes.
        """
        lender = self._lender
        connection = lender.at_hand() if lender else None
        if lender is None or connection is None:
            lender, connection = await self._take()
        try:
            known = lender.prepared[connection]
            prepared = known.get(text)
            if prepared is None:
                prepared = await _prepared(connection, text, known)
            started = time.perf_counter()
            try:
                rows: Sequence[Any] = await prepared.fetch(arguments)
            finally:
                self._statements.add(time.perf_counter() - started)
        except BaseException:
            await lender.replace(connection)
            with translated_errors():
                raise
        lender.give(connection)
        return rows

    async def _run(self, method: str, statement: Statement, values: Mapping[str, Any], **options: Any) -> Any:
        lender, connection = await self._take()
        try:
            found = await self._statements.of(getattr(connection, method)(statement.text, *statement.arguments(values), **options))
        except BaseException:
            await lender.replace(connection)
            with translated_errors():
                raise
        lender.give(connection)
        return found

    async def _take(self) -> tuple[Lender, PoolConnectionProxy]:
        lender = self._lender
        if lender is None:
            raise Unavailable("the database is not open")
        try:
            return lender, await self._turns.of(lender.take())
        except Exception:
            with translated_errors():
                raise

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """A transaction; commits when the block ends, rolls back on any exception, cancellation included."""
        async with self.connection() as connection:
            transaction = Transaction(connection, self._statements)
            async with _block(connection, self._statements):
                yield transaction
        await transaction.run_after_commit()

    async def retry(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        """Run `work` in a transaction, again after serialization failures and deadlocks, at most `RETRIES` times; then `Conflict`."""
        attempts = AsyncRetrying(
            retry=retry_if_exception(_is_retriable),
            stop=stop_after_attempt(RETRIES),
            wait=wait_random_exponential(multiplier=0.01, max=0.5),
            reraise=True,
        )
        return await attempts(self._in_transaction, work)

    async def execute_script(self, script: str, settings: Mapping[str, str] | None = None, *, timeout: float = MAINTENANCE_SECONDS) -> None:
        """Run statements that have no parameters and give no rows: all of them or none, within `timeout` seconds.

        They read `settings`, whose names have a dot, with `current_setting('name')`.
        """
        async with self._maintenance(timeout) as connection, connection.transaction():
            for name, value in (settings or {}).items():
                await connection.execute("select set_config($1, $2, true)", name, value)
            await connection.execute(script)

    async def vacuum(self, *tables: str, timeout: float = MAINTENANCE_SECONDS) -> None:
        """Tidy tables and renew what the planner knows of them: after a bulk load, which autovacuum only notices later."""
        async with self._maintenance(timeout) as connection:
            for table in tables:
                await connection.execute(f"vacuum (analyze) {DIALECT.identifier_preparer.quote(table)}")

    @asynccontextmanager
    async def reading(self, timeout: float) -> AsyncIterator[Transaction]:
        """A transaction that cannot write, on a connection outside the pool, so that whatever takes long there keeps nobody waiting.

        It sees everything as it was at its first statement. Each statement is ended after `timeout` seconds.
        """
        settings = {"default_transaction_read_only": "on", "default_transaction_isolation": "repeatable read", "jit": "off"}
        async with self._maintenance(timeout, **settings) as connection:
            await _prepare_connection(connection)
            transaction = Transaction(connection, self._statements)
            async with _block(connection, self._statements):
                yield transaction

    @asynccontextmanager
    async def _maintenance(self, timeout: float, **settings: str) -> AsyncIterator[asyncpg.Connection]:
        """A connection outside the pool, whose statements may take longer than a request's."""
        limits = {"statement_timeout": str(int(timeout * 1000)), "lock_timeout": str(self._options.lock_timeout_ms), "timezone": "UTC"}
        with translated_errors():
            connection = await asyncpg.connect(
                self._dsn, timeout=self._options.connect_timeout, command_timeout=timeout + 2, server_settings={**limits, **settings}
            )
            try:
                yield connection
            finally:
                await connection.close(timeout=self._options.connect_timeout)

    async def _in_transaction(self, work: Callable[[Transaction], Awaitable[T]]) -> T:
        async with self.transaction() as transaction:
            return await work(transaction)


def _is_retriable(error: BaseException) -> bool:
    return isinstance(error.__cause__, (postgres.SerializationError, postgres.DeadlockDetectedError))


async def _prepared(connection: PoolConnectionProxy, text: str, known: dict[str, Prepared]) -> Prepared:
    """A statement, prepared on a connection and kept there."""
    if len(known) >= MOST_PREPARED:
        del known[next(iter(known))]
    prepared = known[text] = Prepared(await connection.prepare(text))
    return prepared


async def _prepare_connection(connection: Connection) -> None:
    """Columns are jsonb, and are read as Python values. A value of type json is text that PostgreSQL composed: it stays bytes."""
    await connection.set_type_codec("jsonb", schema="pg_catalog", encoder=_encode_json, decoder=orjson.loads, format="text")
    await connection.set_type_codec("json", schema="pg_catalog", encoder=bytes, decoder=bytes, format="binary")


def _encode_json(value: Any) -> str:
    return orjson.dumps(value, default=str).decode()
