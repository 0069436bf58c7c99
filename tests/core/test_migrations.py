"""The migrations make what the models say, whole or not at all, whoever else migrates at the same time."""

import asyncio
import difflib
import shutil
from pathlib import Path

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import ProgrammingError
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool
from sqlmodel import SQLModel

from app.core import jobs, migrations
from app.core.embedded import find_binaries

REVISIONS = ["0001", "0002", "0003", "0004", "0005", "0006", "0007"]


async def dump(dsn: str) -> list[str]:
    """The whole schema as SQL: tables, columns, types, nullability, defaults, constraints with their texts, indexes."""
    options = ["--schema-only", "--no-owner", "--restrict-key=x", "--exclude-table=alembic_version"]
    libpq = make_url(dsn).render_as_string(hide_password=False)
    process = await asyncio.create_subprocess_exec(find_binaries() / "pg_dump", *options, libpq, stdout=asyncio.subprocess.PIPE)
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0
    return output.decode().splitlines()


async def create_from_models(dsn: str) -> None:
    engine = create_async_engine("postgresql+asyncpg://", connect_args={"dsn": dsn}, poolclass=NullPool)
    async with engine.begin() as connection:
        await connection.run_sync(SQLModel.metadata.create_all)
    await engine.dispose()


async def tables(dsn: str) -> set[str]:
    """All tables but the one in which Alembic keeps the revision, and those of the job queue."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch("select tablename from pg_tables where schemaname = 'public' and tablename not like 'pgqueuer%'")
    finally:
        await connection.close()
    return {row["tablename"] for row in rows} - {"alembic_version"}


async def run_sql(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


async def test_migrations_make_the_schema_of_the_models(migrated: str, empty_database_url: str) -> None:
    await create_from_models(empty_database_url)
    await jobs.install(empty_database_url)
    by_models, by_migrations = await dump(empty_database_url), await dump(migrated)
    assert len(by_models) > 1000
    assert list(difflib.unified_diff(by_models, by_migrations, "models", "migrations", lineterm="")) == []


async def test_models_and_migrations_agree(database_url: str) -> None:
    await migrations.check(database_url)


async def test_tables_of_the_job_queue_are_not_drift(database_url: str) -> None:
    await run_sql(database_url, "create table pgqueuer_jobs (id int)")
    await migrations.check(database_url)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ("drop index ix_orders_user_id_created_at_id", "ix_orders_user_id_created_at_id"),
        ("alter table products drop column category", "category"),
        ("alter table products alter price type numeric(12, 2)", "price"),
        ("alter table carts alter currency set default 'EUR'", "currency"),
        ("alter table users alter email drop not null", "email"),
        ("alter table payments drop constraint fk_payments_order_id_orders", "fk_payments_order_id_orders"),
    ],
)
async def test_a_difference_is_found_and_named(database_url: str, change: str, named: str) -> None:
    await run_sql(database_url, change)
    with pytest.raises(migrations.SchemaDrift, match=named):
        await migrations.check(database_url)


async def test_check_wants_the_newest_revision(empty_database_url: str) -> None:
    with pytest.raises(migrations.MigrationError, match="not up to date"):
        await migrations.check(empty_database_url)


async def test_every_revision_can_be_undone(empty_database_url: str, migrated: str) -> None:
    before: list[set[str]] = []
    for revision in REVISIONS:
        before.append(await tables(empty_database_url))
        await migrations.upgrade(empty_database_url, revision)
        assert await migrations.current(empty_database_url) == revision
    for present in reversed(before):
        await migrations.downgrade(empty_database_url, "-1")
        assert await tables(empty_database_url) - {"alembic_version", "alembic_version_pkc"} == present - {
            "alembic_version",
            "alembic_version_pkc",
        }
    assert await migrations.current(empty_database_url) is None
    await migrations.upgrade(empty_database_url)
    await jobs.install(empty_database_url)
    assert await dump(empty_database_url) == await dump(migrated)


async def test_downgrade_leaves_nothing(database_url: str) -> None:
    await migrations.downgrade(database_url)
    assert await tables(database_url) == set()
    assert not await migrations.is_current(database_url)


async def test_upgrade_twice_changes_nothing(database_url: str) -> None:
    assert await migrations.is_current(database_url)
    before = await dump(database_url)
    await migrations.upgrade(database_url)
    assert await dump(database_url) == before


async def test_processes_that_start_together_migrate_once(empty_database_url: str) -> None:
    await asyncio.gather(*(migrations.upgrade(empty_database_url) for _ in range(4)))
    assert await migrations.is_current(empty_database_url)


async def test_a_run_waits_for_the_one_before(empty_database_url: str) -> None:
    holder = await asyncpg.connect(empty_database_url)
    await holder.execute("select pg_advisory_lock($1)", migrations.ADVISORY_LOCK)
    run = asyncio.create_task(migrations.upgrade(empty_database_url))
    await until_someone_waits(holder)
    assert await migrations.current(empty_database_url) is None
    await holder.close()
    await asyncio.wait_for(run, 30)
    assert await migrations.is_current(empty_database_url)


async def until_someone_waits(connection: asyncpg.Connection) -> None:
    async with asyncio.timeout(10):
        while not await connection.fetchval("select count(*) from pg_locks where locktype = 'advisory' and not granted"):
            await connection.execute("select pg_sleep(0.01)")


async def test_a_failed_run_leaves_nothing_behind(empty_database_url: str) -> None:
    await run_sql(empty_database_url, "create table payments (id int)")
    before = await tables(empty_database_url)
    with pytest.raises(ProgrammingError, match="already exists"):
        await migrations.upgrade(empty_database_url)
    assert await tables(empty_database_url) == before
    await run_sql(empty_database_url, "drop table payments")
    await migrations.upgrade(empty_database_url)
    assert await migrations.is_current(empty_database_url)


async def test_an_unknown_revision_is_named(empty_database_url: str) -> None:
    with pytest.raises(migrations.MigrationError, match="9999"):
        await migrations.upgrade(empty_database_url, "9999")


async def test_a_database_of_a_newer_version_is_refused(database_url: str) -> None:
    await run_sql(database_url, "update alembic_version set version_num = '9999'")
    with pytest.raises(migrations.MigrationError, match="9999"):
        await migrations.upgrade(database_url)
    assert not await migrations.is_current(database_url)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The module as if installed from a wheel, with this folder as working directory."""
    monkeypatch.setattr(migrations, "__file__", str(tmp_path / "lib" / "app" / "core" / "migrations.py"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


async def test_without_files_the_error_says_where_they_are_sought(elsewhere: Path) -> None:
    with pytest.raises(migrations.MigrationError, match="beside the package 'app' or in the working directory"):
        migrations.folder()


async def test_a_new_revision_is_written_from_the_difference(database_url: str, elsewhere: Path) -> None:
    source = Path(__file__).parents[2] / "migrations"
    shutil.copytree(source, elsewhere / "migrations", ignore=shutil.ignore_patterns("__pycache__"))
    await run_sql(database_url, "drop index ix_orders_user_id_created_at_id; alter table products drop column category; drop table config")
    next_number = int(migrations.head() or 0) + 1
    path = await migrations.revise(database_url, "Put back")
    assert path.parent == elsewhere / "migrations" / "versions"
    assert path.name == f"{next_number:04d}_put_back.py"
    written = path.read_text()
    assert "ix_orders_user_id_created_at_id" in written
    assert "sa.String(100)" in written
    assert "postgresql.JSONB()" in written
    await migrations.upgrade(database_url)
    await migrations.check(database_url)


async def test_every_installation_has_the_roles(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(
        "select r.name, p.name as parent, array_agg(q.resource || ':' || q.action) filter (where q.id is not null) as may "
        "from roles r left join roles p on p.id = r.parent_role_id left join role_permissions q on q.role_id = r.id group by r.id, p.id"
    )
    roles = {row["name"]: row for row in rows}
    assert {name: row["parent"] for name, row in roles.items()} == {"USER": None, "VIEWER": "USER", "ANALYST": "VIEWER", "ADMIN": "ANALYST"}
    assert roles["ADMIN"]["may"] == ["*:*"]
    assert roles["USER"]["may"] is None
    assert {"orders:read", "users:read"} <= set(roles["VIEWER"]["may"])
    assert "features:write" in roles["ANALYST"]["may"]
    assert not [right for right in roles["VIEWER"]["may"] if not right.endswith(":read")]


@pytest.mark.parametrize("host", ["/no/such/folder", "127.0.0.1:1"])
async def test_database_out_of_reach_is_named_without_the_password(host: str) -> None:
    with pytest.raises(migrations.MigrationError, match="cannot be reached") as failure:
        await migrations.upgrade(f"postgresql://somebody:very-secret@/shop?host={host}")
    assert "very-secret" not in str(failure.value)
