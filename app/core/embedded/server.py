"""Starts and stops the embedded server."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import ParamSpec, Self, TypeVar
from urllib.parse import quote

import asyncpg
import structlog

from app.core.embedded.binaries import find_binaries, reachable_binaries
from app.core.embedded.errors import EmbeddedPostgresError
from app.core.embedded.home import Home
from app.core.embedded.program import Program

ROLE = "neurotracker"
SUPERUSER = "postgres"
PORT = 5432
POLL = 0.02

SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "128MB",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Seven files, each emptied when its weekday comes again.
    "logging_collector": "on",
    "log_filename": "postgresql-%a.log",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
    "log_truncate_on_rotation": "on",
    "log_file_mode": "0600",
}
WITHOUT_FSYNC = {"fsync": "off", "full_page_writes": "off"}

P = ParamSpec("P")
T = TypeVar("T")

log = structlog.get_logger(__name__)


class EmbeddedPostgres:
    """A PostgreSQL server of this process's own, with its data under DATA_DIR/postgres.

    Start and stop it from one event loop; on Linux the server also ends when the thread of that loop does. The role of the DSN owns
    `database` and may create others; it is no superuser. The superuser `postgres` may connect from the same account, for maintenance.

    `binaries` is the folder of PostgreSQL's programs (default: `find_binaries`). Without `fsync` a crash of the machine loses the data:
    for tests. `start_timeout` bounds making a cluster, and likewise starting it, recovery included; `stop_timeout` bounds how long a clean
    end may take. Both in seconds.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        database: str = "neurotracker",
        binaries: Path | None = None,
        fsync: bool = True,
        start_timeout: float = 60.0,
        stop_timeout: float = 15.0,
    ) -> None:
        self._home = Home(data_dir)
        self._database = database
        self._binaries = binaries
        self._fsync = fsync
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._server: Program | None = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.stop()

    @property
    def dsn(self) -> str:
        """The address of the database, `postgresql://role@/database?host=...`, without a password: the kernel vouches for the account.

        Raises `EmbeddedPostgresError` when the server has not been started.
        """
        return f"postgresql://{ROLE}@/{quote(self._database, safe='')}?host={quote(str(self._home.runtime), safe='')}&port={PORT}"

    @property
    def pid(self) -> int | None:
        """The process id of the running server; None when it does not run."""
        return self._server.pid if self._server is not None and self._server.status is None else None

    async def start(self) -> str:
        """Start the server, on the first start make its data, wait until it answers, and return the DSN; at once if it runs already.

        Raises `EmbeddedPostgresError` when the programs are missing, the folder is in use or unusable, or the server does not come up.
        """
        if self.pid is not None:
            return self.dsn
        await self.stop()
        began = time.monotonic()
        try:
            await self._start()
        except OSError as error:
            await self.stop()
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL cannot use {self._home.path}: {error}. Choose another DATA_DIR or set DATABASE_URL"
            ) from error
        except BaseException:
            await self.stop()
            raise
        log.info("embedded_postgres.started", folder=str(self._home.path), pid=self.pid, seconds=round(time.monotonic() - began, 3))
        return self.dsn

    async def stop(self) -> None:
        """End the server, its sessions with it, and wait for that; nothing happens when it does not run.

        At most `stop_timeout` for a clean end, then 7 seconds for an abrupt one (the next start recovers), then it is killed.
        """
        if self._server is not None:
            await self._server.end(self._stop_timeout)
            self._server = None
        await _in_thread(self._home.close)

    async def _start(self) -> None:
        found = await asyncio.to_thread(find_binaries) if self._binaries is None else self._binaries
        await _in_thread(self._home.open)
        binaries = await _in_thread(reachable_binaries, found, self._home.account, self._home.runtime)
        if not self._home.cluster.exists():
            await self._make_cluster(binaries)
        self._server = await self._run(
            str(binaries / "postgres"), "-D", f"{self._home.seen_by_server}/cluster", *_options(self._settings())
        )
        await self._become_ready(self._server)

    async def _run(self, *command: str) -> Program:
        return await Program.start(command, self._home.account, self._home.inherited)

    async def _make_cluster(self, binaries: Path) -> None:
        """Make the data beside its place and move it there when it is whole."""
        folder = await _in_thread(self._home.new_cluster)
        locale = ("--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")
        access = (f"--username={SUPERUSER}", "--auth=peer", "--no-instructions")
        sync = () if self._fsync else ("--no-sync",)
        initdb = await self._run(str(binaries / "initdb"), "-D", f"{self._home.seen_by_server}/{folder.name}", *locale, *access, *sync)
        try:
            async with asyncio.timeout(self._start_timeout):
                if await initdb.wait() != 0:
                    raise EmbeddedPostgresError(f"initdb failed in {self._home.path}: {initdb.said()}")
        except TimeoutError:
            raise EmbeddedPostgresError(f"initdb did not finish in {self._start_timeout:g} seconds: {initdb.said()}") from None
        finally:
            await initdb.end(patience=2)
        await _in_thread(self._home.adopt, folder)
        log.info("embedded_postgres.created", folder=str(self._home.cluster))

    def _settings(self) -> dict[str, str]:
        seen = self._home.seen_by_server
        return {
            **SETTINGS,
            **({} if self._fsync else WITHOUT_FSYNC),
            "cluster_name": self._home.cluster_name,
            "unix_socket_directories": str(self._home.runtime),
            "port": str(PORT),
            "hba_file": f"{seen}/pg_hba.conf",
            "ident_file": f"{seen}/pg_ident.conf",
            "log_directory": f"{seen}/log",
        }

    async def _become_ready(self, server: Program) -> None:
        """Wait until the server answers, and make the role and the database that are missing."""
        try:
            async with asyncio.timeout(self._start_timeout):
                while (connection := await self._connect()) is None:
                    if server.status is not None:
                        raise EmbeddedPostgresError(
                            f"the embedded PostgreSQL ended while it started; its log is in {self._home.log}: {server.said()}"
                        )
                    await asyncio.sleep(POLL)
                try:
                    await _provision(connection, self._database)
                finally:
                    await connection.close(timeout=5)
        except TimeoutError:
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL was not ready after {self._start_timeout:g} seconds; its log is in {self._home.log}"
            ) from None
        except asyncpg.PostgresError as error:
            raise EmbeddedPostgresError(f"the embedded PostgreSQL cannot be prepared: {error}") from error

    async def _connect(self) -> "asyncpg.Connection[asyncpg.Record] | None":
        """A superuser's connection; None while the server does not accept any yet."""
        with suppress(FileNotFoundError, ConnectionError, asyncpg.CannotConnectNowError, asyncpg.ConnectionDoesNotExistError):
            return await asyncpg.connect(
                host=str(self._home.runtime), port=PORT, user=SUPERUSER, database="postgres", ssl=False, timeout=self._start_timeout
            )
        return None


async def _in_thread(step: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """Run a blocking step in a thread. A caller that is cancelled waits for its end, and so finds nothing half done to clear away."""
    running = asyncio.ensure_future(asyncio.to_thread(step, *arguments, **options))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        if (error := running.exception()) is not None:
            log.warning("embedded_postgres.failed_while_cancelled", error=str(error))
        raise


def _options(settings: Mapping[str, str]) -> list[str]:
    return [option for name, value in settings.items() for option in ("-c", f"{name}={value}")]


async def _provision(connection: "asyncpg.Connection[asyncpg.Record]", database: str) -> None:
    """Make the role and the database that are missing: at the first start, after an interrupted one, and for a new database name."""
    if not await connection.fetchval("select exists (select from pg_roles where rolname = $1)", ROLE):
        # Errors of the gateway's statements are the gateway's to log; the server's own log keeps what nobody else sees, and stays small.
        await connection.execute(f"create role {ROLE} login createdb in role pg_monitor; alter role {ROLE} set log_min_messages = 'log'")
    if not await connection.fetchval("select exists (select from pg_database where datname = $1)", database):
        quoted = database.replace('"', '""')
        await connection.execute(f'create database "{quoted}" owner {ROLE}')
