"""The embedded server keeps its data through every kind of end, its own and the gateway's, and its folder has one gateway at a time."""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path

import asyncpg
import psutil
import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from app.core.embedded import EmbeddedPostgres, EmbeddedPostgresError, leftovers, program
from app.core.embedded.home import Home

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="the kernel's parent death signal")

Gateway = Callable[[Path], subprocess.Popen[str]]

GATEWAY = """
import asyncio, sys
from pathlib import Path
from app.core.embedded import EmbeddedPostgres

async def main():
    server = EmbeddedPostgres(Path(sys.argv[1]), fsync=False)
    await server.start()
    print("ready", server.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.fixture(scope="module")
async def data() -> AsyncIterator[Path]:
    """A folder with data and no server, for the tests of later starts."""
    with tempfile.TemporaryDirectory(prefix="neurotracker-test-") as folder:
        async with EmbeddedPostgres(Path(folder), fsync=False) as server:
            await run(server.dsn, "create table kept as select 7 as value")
        yield Path(folder)


@pytest.fixture
async def server(data: Path) -> AsyncIterator[EmbeddedPostgres]:
    """A server for that data, not started."""
    server = EmbeddedPostgres(data, fsync=False)
    yield server
    await server.stop()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    """Starts another process that runs a server on a folder."""
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", GATEWAY, str(folder)]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate(timeout=10)


async def run(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(statement, timeout=30)
    finally:
        await connection.close()


def superuser(dsn: str) -> str:
    return make_url(dsn).set(username="postgres").render_as_string(hide_password=False)


def pid_of(server: EmbeddedPostgres) -> int:
    assert server.pid is not None
    return server.pid


def server_of(process: subprocess.Popen[str]) -> int:
    """The process id of another gateway's server, once it is ready."""
    assert process.stdout is not None
    for line in process.stdout:
        if line.startswith("ready"):
            return int(line.split()[1])
    raise AssertionError("the other gateway ended")


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - other processes set no event
            await asyncio.sleep(0.002)


def alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


async def test_data_survives_a_restart(server: EmbeddedPostgres, data: Path) -> None:
    await server.start()
    socket = (data / "postgres" / "run").readlink()
    assert await run(server.dsn, "select value from kept") == 7
    pid = pid_of(server)
    await server.stop()
    assert not alive(pid)
    assert not socket.exists()
    assert not (data / "postgres" / "cluster" / "postmaster.pid").exists()
    assert await run(await server.start(), "select value from kept") == 7


async def test_starting_twice_is_starting_once(server: EmbeddedPostgres) -> None:
    dsn, pid = await server.start(), server.pid
    assert await server.start() == dsn
    assert server.pid == pid


async def test_there_is_no_address_before_the_start(server: EmbeddedPostgres) -> None:
    with pytest.raises(EmbeddedPostgresError, match="not running"):
        _ = server.dsn


async def test_the_address_serves_asyncpg_and_sqlalchemy(server: EmbeddedPostgres) -> None:
    assert await run(await server.start(), "select current_database()") == "neurotracker"
    engine = create_async_engine(make_url(server.dsn).set(drivername="postgresql+asyncpg"))
    async with engine.connect() as connection:
        assert (await connection.execute(text("select current_user"))).scalar() == "neurotracker"
    await engine.dispose()


async def test_the_server_is_set_up(server: EmbeddedPostgres) -> None:
    expected = {
        "listen_addresses": "",
        "timezone": "UTC",
        "jit": "off",
        "shared_buffers": "128MB",
        "server_encoding": "UTF8",
        "fsync": "off",
    }
    await server.start()
    assert {name: await run(server.dsn, f"show {name}") for name in expected} == expected
    assert await run(server.dsn, "select datlocale from pg_database where datname = current_database()") == "C.UTF-8"
    assert await run(server.dsn, "select upper('é')") == "É"


async def test_what_is_written_is_durable_unless_a_test_says_otherwise(data: Path) -> None:
    async with EmbeddedPostgres(data) as server:
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            assert await run(server.dsn, f"show {name}") == "on"


async def test_a_new_database_name_is_made_at_the_next_start(data: Path) -> None:
    async with EmbeddedPostgres(data, database='a "b" ü', fsync=False) as server:
        assert await run(server.dsn, "select current_database()") == 'a "b" ü'


async def test_logs_of_last_week_go(server: EmbeddedPostgres, data: Path) -> None:
    old, recent = (data / "postgres" / "log" / f"postgresql-{name}.log" for name in ("old", "recent"))
    old.write_text("old")
    recent.write_text("recent")
    os.utime(old, (0, time.time() - 7 * 24 * 3600))
    await server.start()
    assert not old.exists()
    assert recent.exists()


async def test_it_recovers_when_the_postmaster_was_killed_under_a_busy_session(server: EmbeddedPostgres) -> None:
    await run(await server.start(), "create table before_the_kill as select 8 as value")
    busy = await asyncpg.connect(server.dsn)
    counting = asyncio.create_task(busy.fetchval("select count(*) from generate_series(1, 1000000000) where random() < 2"))
    await asyncio.sleep(0.1)
    session = busy.get_server_pid()
    os.kill(pid_of(server), signal.SIGKILL)
    await until(lambda: server.pid is None)
    assert alive(session)
    assert await run(await server.start(), "select value from before_the_kill") == 8
    assert not alive(session)
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await counting


@only_linux
async def test_a_killed_gateway_takes_its_server_along(server: EmbeddedPostgres, data: Path, gateway: Gateway) -> None:
    killed = gateway(data)
    pid = await asyncio.to_thread(server_of, killed)
    socket = (data / "postgres" / "run").readlink()
    killed.kill()
    await until(lambda: not alive(pid))
    assert await run(await server.start(), "select value from kept") == 7
    assert not socket.exists()


async def test_the_next_gateway_need_not_wait_for_the_end_of_a_killed_one(server: EmbeddedPostgres, data: Path, gateway: Gateway) -> None:
    killed = gateway(data)
    pid = await asyncio.to_thread(server_of, killed)
    killed.kill()
    await asyncio.to_thread(killed.wait, 10)
    assert await run(await server.start(), "select value from kept") == 7
    assert not alive(pid)


async def test_a_server_without_gateway_is_stopped_in_order(server: EmbeddedPostgres, data: Path) -> None:
    await server.start()
    home = Home(data)
    await asyncio.to_thread(leftovers.stop_leftovers, home.cluster_name, home.cluster.stat().st_uid)
    await until(lambda: server.pid is None)
    assert not (home.cluster / "postmaster.pid").exists()


async def test_a_stranger_with_the_recorded_process_id_is_left_alone(server: EmbeddedPostgres, data: Path) -> None:
    cluster = data / "postgres" / "cluster"
    user = cluster.stat().st_uid if os.geteuid() == 0 else None
    stranger = await asyncio.create_subprocess_exec("sleep", "60", user=user)
    (cluster / "postmaster.pid").write_text(f"{stranger.pid}\n{cluster}\n0\n5432\n\n\n0 0\nready\n")
    assert await run(await server.start(), "select value from kept") == 7
    assert stranger.returncode is None
    stranger.kill()
    await stranger.wait()


async def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path, gateway: Gateway) -> None:
    home = tmp_path / "postgres"
    killed = gateway(tmp_path)
    await until(lambda: any(home.glob("cluster.*/PG_VERSION")))
    killed.kill()
    await asyncio.to_thread(killed.wait, 10)
    assert not (home / "cluster").exists()
    server = EmbeddedPostgres(tmp_path, fsync=False)
    for _ in range(2):  # the killed initdb may still be busy at the first start, not at the second
        assert await run(await server.start(), "select 1") == 1
        await server.stop()
    assert not list(home.glob("cluster.*"))


async def test_a_start_that_is_given_up_leaves_nothing_running(tmp_path: Path) -> None:
    # Another server may be there for other tests of this process.
    present = set(psutil.Process().children())
    server = EmbeddedPostgres(tmp_path, fsync=False)
    starting = asyncio.create_task(server.start())
    await until(lambda: any((tmp_path / "postgres").glob("cluster.*/PG_VERSION")))
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert server.pid is None
    await until(lambda: not [child for child in psutil.Process().children() if child not in present])
    assert await run(await server.start(), "select 1") == 1
    await server.stop()


async def test_a_folder_has_one_gateway(server: EmbeddedPostgres, data: Path) -> None:
    await server.start()
    with pytest.raises(EmbeddedPostgresError, match=f"in use by process {os.getpid()}"):
        await EmbeddedPostgres(data, fsync=False).start()
    assert await run(server.dsn, "select value from kept") == 7


async def test_stopping_ends_busy_sessions(server: EmbeddedPostgres) -> None:
    connection = await asyncpg.connect(await server.start())
    sleeping = asyncio.create_task(connection.execute("select pg_sleep(60)"))
    await asyncio.sleep(0.05)
    async with asyncio.timeout(5):
        await server.stop()
    with pytest.raises((asyncpg.PostgresError, OSError)):
        await sleeping


async def test_a_server_that_will_not_stop_is_made_to(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "ABRUPT_END", 0.2)
    monkeypatch.setattr(leftovers, "IMMEDIATE_SHUTDOWN", 0.2)
    server = EmbeddedPostgres(data, fsync=False, stop_timeout=0.2)
    await run(await server.start(), "create table before_the_hang as select 9 as value")
    hung = await asyncpg.connect(superuser(server.dsn))
    session, pid = hung.get_server_pid(), pid_of(server)
    os.kill(session, signal.SIGSTOP)
    await server.stop()
    assert not alive(pid)
    assert alive(session)
    assert await run(await server.start(), "select value from before_the_hang") == 9
    assert not alive(session)
    hung.terminate()
    await server.stop()


async def test_why_a_start_fails_is_said_and_the_folder_is_free_afterwards(server: EmbeddedPostgres, data: Path) -> None:
    version = data / "postgres" / "cluster" / "PG_VERSION"
    made_by = version.read_text()
    version.write_text("17\n")
    try:
        with pytest.raises(EmbeddedPostgresError, match="initialized by PostgreSQL version 17"):
            await server.start()
    finally:
        version.write_text(made_by)
    assert not (data / "postgres" / "run").is_symlink()
    assert await run(await server.start(), "select value from kept") == 7


async def test_a_start_that_takes_too_long_is_given_up(data: Path) -> None:
    server = EmbeddedPostgres(data, fsync=False, start_timeout=0.001)
    with pytest.raises(EmbeddedPostgresError, match=r"not ready after 0\.001 seconds"):
        await server.start()
    assert server.pid is None


async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(EmbeddedPostgresError, match="file/data/postgres"):
        await EmbeddedPostgres(tmp_path / "file" / "data").start()
