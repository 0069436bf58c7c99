"""A PostgreSQL server per test process; per test a fresh database, or a transaction in a shared one that is rolled back.

`TEST_DATABASE_URL` names a running server to use instead of the embedded one; its role must be allowed to create databases.
"""

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import structlog
from coverage import Coverage
from sqlalchemy import make_url

from app.accounts.passwords import PasswordHasher
from app.core import clickhouse_migrations, jobs, migrations
from app.core.cache import Cache, memory_backend
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.database import Database, DatabaseOptions
from app.core.embedded import EmbeddedPostgres
from app.core.metrics import Metrics
from app.repositories import Repositories, create_repository_factory
from app.seed import seed_demo
from tests.clickhouse_server import ClickHouseServer
from tests.redis_server import RedisServer
from tests.serving import data_folder, settings_for
from tests.specification.contents import checklist

Insert = Callable[..., Awaitable[UUID]]

MEMORY = Path("/dev/shm")
ROOM = 4 * 2**30
"""Bytes that must be free to keep temporary files in memory."""


def pytest_configure() -> None:
    """Keep temporary files in memory where there is room: copies of databases take many times as long on a busy disk."""
    if "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM:
        tempfile.tempdir = os.environ["TMPDIR"] = str(MEMORY)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests counted: of each what it recorded as the property `figures`, and the sums of what several recorded as `counts`.

    Then the specification's operations, of those that recorded which one they walked through.
    """
    totals: dict[str, Counter[str]] = {}
    walked: dict[str, list[tuple[str, str]]] = {"passed": [], "failed": []}
    for report in terminalreporter.getreports("passed") + terminalreporter.getreports("failed"):
        for name, value in report.user_properties if report.when == "call" else ():
            if name == "figures":
                terminalreporter.write_line(str(value))
            elif name == "counts":
                title, counted = value
                totals.setdefault(title, Counter()).update(counted)
            elif name == "operation":
                operation, way = value
                walked[report.outcome].append((operation, way))
    for line in checklist(walked["passed"], walked["failed"]):
        terminalreporter.write_line(line)
    for title, total in totals.items():
        terminalreporter.write_line(f"{title}: {', '.join(f'{name} {count:g}' for name, count in total.items())}")


@pytest.fixture(scope="session")
async def postgres() -> AsyncIterator[str]:
    """The DSN of the server's maintenance database."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    with tempfile.TemporaryDirectory(prefix="neurotracker-test-") as folder:
        async with EmbeddedPostgres(Path(folder), fsync=False) as server:
            yield server.dsn


@pytest.fixture(scope="session", autouse=True)
def plain_logs() -> Iterator[None]:
    """Logs as a process writes them: pictures of stacks would take longer than what is tested."""
    shared = [structlog.contextvars.merge_contextvars, structlog.stdlib.add_log_level]
    structlog.configure(processors=[*shared, structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    yield
    structlog.reset_defaults()


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """Without coverage: it makes thousands of operations half as slow again, and other tests run the same lines."""
    measuring = Coverage.current()
    if measuring:
        measuring.stop()
    yield
    if measuring:
        measuring.start()


@asynccontextmanager
async def fresh_database(server: str, template: str = "template1") -> AsyncIterator[str]:
    """The DSN of a new database, a copy of the template (its name or DSN), dropped afterwards whoever is still connected."""
    name, template = f"test_{uuid4().hex}", make_url(template).database or "" if "://" in template else template
    await _execute(server, f"create database {name} template {template} strategy file_copy")
    try:
        yield _named(server, name)
    finally:
        await _drop(server, name)


async def _drop(server: str, name: str) -> None:
    """Plain `drop database` waits for autovacuum, which only a superuser may end as `with (force)` would; who else is connected is ours."""
    connection = await asyncpg.connect(server, timeout=10)
    try:
        await connection.execute(f"alter database {name} allow_connections false")
        ours = "select pid from pg_stat_activity where datname = $1 and usename = current_user"
        await connection.execute(f"select pg_terminate_backend(pid) from ({ours}) as others", name)
        await connection.execute(f"drop database {name}", timeout=60)
    finally:
        await connection.close()


def _named(dsn: str, database: str) -> str:
    return make_url(dsn).set(database=database).render_as_string(hide_password=False)


async def _execute(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        await connection.execute(statement, timeout=60)
    finally:
        await connection.close()


@pytest.fixture(scope="session")
async def migrated(postgres: str) -> AsyncIterator[str]:
    """The DSN of a migrated database that tests only copy, or change in transactions that they roll back."""
    async with fresh_database(postgres) as dsn:
        await migrations.upgrade(dsn)
        await jobs.install(dsn)
        yield dsn


@asynccontextmanager
async def repositories_over(database: Database) -> AsyncIterator[Repositories]:
    """The system's repositories, without ClickHouse."""
    metrics = Metrics()
    cache = Cache(memory_backend(), metrics)
    await cache.open()
    yield create_repository_factory(database, cache, metrics)
    await cache.close()


@pytest.fixture(scope="session")
async def demo(postgres: str, migrated: str) -> AsyncIterator[str]:
    """The name of a database with the demo shop, to be copied; without events."""
    async with fresh_database(postgres, migrated) as dsn:
        database, passwords = Database(dsn), PasswordHasher.from_settings(settings_for(dsn))
        await database.open()
        async with repositories_over(database) as repositories:
            await seed_demo(repositories, passwords.hash)
        passwords.close()
        await database.close()
        yield make_url(dsn).database or ""


@pytest.fixture
async def empty_database_url(postgres: str) -> AsyncIterator[str]:
    """A database of the test's own, without tables."""
    async with fresh_database(postgres) as dsn:
        yield dsn


@pytest.fixture
async def database_url(postgres: str, migrated: str) -> AsyncIterator[str]:
    """A migrated database of the test's own, without rows but the roles."""
    async with fresh_database(postgres, migrated) as dsn:
        yield dsn


@pytest.fixture
async def connection(migrated: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection in a transaction that is rolled back; closed between tests, so that the database can be copied."""
    connection = await asyncpg.connect(migrated, timeout=10)
    transaction = connection.transaction()
    await transaction.start()
    yield connection
    await transaction.rollback()
    await connection.close()


class Parent(str):
    """In `REQUIRED`, a row of another table to insert first."""


_number = count(1)

REQUIRED: dict[str, dict[str, Any]] = {
    "stores": {"name": "Harbour Books", "domain": "shop{n}.example.com"},
    "store_settings": {"store_id": Parent("stores")},
    "reports": {"store_id": Parent("stores"), "type": "revenue"},
    "config": {"key": "key{n}", "value": "1"},
    "roles": {"name": "ROLE{n}", "display_name": "Role"},
    "role_permissions": {"role_id": Parent("roles"), "resource": "orders", "action": "read"},
    "users": {"email": "user{n}@example.com", "username": "user{n}"},
    "user_sessions": {"user_id": Parent("users"), "token_hash": "{sha256}", "expires_at": datetime(2100, 1, 1, tzinfo=UTC)},
    "api_keys": {"user_id": Parent("users"), "name": "Key", "key_hash": "{sha256}", "key_identifier": "key{n}", "key_preview": "key..."},
    "security_events": {"user_id": Parent("users"), "type": "SIGNED_IN"},
    "sign_in_delays": {"key": "{sha256}"},
    "mail_opt_outs": {"address_hash": "{sha256}"},
    "verifications": {
        "user_id": Parent("users"),
        "purpose": "EMAIL_VERIFICATION",
        "email": "user{n}@example.com",
        "token_hash": "{sha256}",
        "expires_at": datetime(2100, 1, 1, tzinfo=UTC),
    },
    "products": {"name": "Teapot", "price": 10},
    "inventory": {"product_id": Parent("products")},
    "inventory_movements": {"inventory_id": Parent("inventory"), "kind": "ADJUSTMENT", "quantity": 1},
    "vouchers": {"store_id": Parent("stores"), "code": "CODE{n}", "percent": 10},
    "voucher_redemptions": {"voucher_id": Parent("vouchers"), "order_id": Parent("orders"), "user_id": Parent("users")},
    "carts": {"user_id": Parent("users")},
    "cart_items": {"cart_id": Parent("carts"), "product_id": Parent("products"), "price": 10},
    "recovery_events": {"cart_id": Parent("carts"), "event_type": "cart_abandoned"},
    "orders": {"user_id": Parent("users"), "items_total": 10, "total": 10},
    "order_counters": {"last": 1},
    "order_items": {"order_id": Parent("orders"), "product_id": Parent("products"), "name": "Teapot", "price": 10},
    "payments": {"order_id": Parent("orders"), "amount": 10},
    "refunds": {"payment_id": Parent("payments"), "amount": 1, "idempotency_key": "key{n}"},
    "idempotency_keys": {
        "user_id": Parent("users"),
        "operation": "createOrder",
        "key": "key{n}",
        "input_hash": "{sha256}",
        "leased_until": datetime(2100, 1, 1, tzinfo=UTC),
    },
    "provider_events": {"provider": "test", "event_id": "evt_{n}", "type": "charge"},
    "order_events": {"order_id": Parent("orders"), "kind": "CREATED"},
    "test_charges": {"key": "key{n}", "transaction_id": "test_{n}", "amount": 10, "state": "SUCCEEDED"},
    "test_refunds": {"key": "key{n}", "charge_id": Parent("test_charges"), "amount": 1},
    "features": {"cart_id": Parent("carts"), "name": "item_count", "value": "1"},
    "feature_requests": {"cart_id": Parent("carts")},
    "feature_history": {"feature_id": Parent("features"), "revision": 1, "value": "1"},
    "user_features": {"user_id": Parent("users"), "store_id": Parent("stores"), "name": "order_count", "value": "1"},
    "product_features": {"product_id": Parent("products"), "store_id": Parent("stores"), "name": "order_count", "value": "1"},
    "notifications": {"user_id": Parent("users"), "type": "order", "message": "Sent."},
    "webhooks": {"store_id": Parent("stores"), "url": "https://example.com/", "event_type": "ORDER_CREATED", "secret": "s" * 16},
    "webhook_deliveries": {
        "webhook_id": Parent("webhooks"),
        "event_id": "{uuid}",
        "event_type": "ORDER_CREATED",
        "payload": "{{}}",
        "next_attempt_at": datetime(2100, 1, 1, tzinfo=UTC),
    },
    "data_exports": {"user_id": Parent("users")},
    "account_erasures": {"user_id": Parent("users")},
    "event_spool": {"events": 1, "lines": b"{}"},
    "quality_validations": {"table_name": "users", "check_type": "NULL_CHECK", "check_name": "users_null"},
    "quality_anomalies": {"table_name": "users", "type": "DUPLICATE"},
    "quality_schedules": {"table_name": "users", "check_type": "NULL_CHECK", "column_name": "email"},
    "reconciliation_rules": {"name": "rule{n}", "source_table": "orders", "target_table": "payments", "join_key": "id"},
    "reconciliation_executions": {"rule_id": Parent("reconciliation_rules"), "status": "PASSED"},
    "repair_operations": {"operation_id": "repair", "type": "update", "status": "SUCCESS"},
}
"""What an insert must say, by table; everything else has a default in the database."""


@pytest.fixture
def insert(connection: asyncpg.Connection) -> Insert:
    """Inserts a row that is gone after the test."""
    return inserting(connection)


def inserting(connection: asyncpg.Connection) -> Insert:
    """Inserts a row in plain SQL and returns its id; the values that are not given come from `REQUIRED`."""

    async def value_of(value: Any, number: int) -> Any:
        if isinstance(value, Parent):
            return await insert_row(value)
        return value.format(n=number, sha256=f"{number:064x}", uuid=uuid4()) if isinstance(value, str) else value

    async def insert_row(table: str, **values: Any) -> UUID:
        number = next(_number)
        row = {name: await value_of(value, number) for name, value in REQUIRED[table].items() if name not in values} | values
        names, places = ", ".join(row), ", ".join(f"${place}" for place in range(1, len(row) + 1))
        statement = f"insert into {table} ({names}) values ({places}) returning id"
        return UUID(str(await connection.fetchval(statement, *row.values())))

    return insert_row


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """A pool on a database of the test's own, with short limits."""
    database = Database(database_url, DatabaseOptions(statement_timeout_ms=3_000, lock_timeout_ms=2_000, connect_timeout=2))
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def repositories(database: Database) -> AsyncIterator[Repositories]:
    """The system's repositories on a database of the test's own, without ClickHouse."""
    async with repositories_over(database) as repositories:
        yield repositories


@asynccontextmanager
async def fresh_clickhouse() -> AsyncIterator[ClickHouse]:
    """The embedded ClickHouse with a new migrated database, dropped afterwards."""
    options = ClickHouseOptions(database=f"test_{uuid4().hex}")
    engine = ClickHouse(None, data_folder() / "clickhouse", Metrics(), options, clickhouse_migrations.apply)
    yield engine
    await engine.execute(f"DROP DATABASE IF EXISTS {options.database}")
    await engine.close()


@pytest.fixture
async def clickhouse() -> AsyncIterator[ClickHouse]:
    """The embedded ClickHouse with a migrated database of the test's own."""
    async with fresh_clickhouse() as engine:
        yield engine


@pytest.fixture(scope="session")
async def clickhouse_process() -> AsyncIterator[ClickHouseServer]:
    with tempfile.TemporaryDirectory(prefix="neurotracker-test-") as folder:
        server = ClickHouseServer(Path(folder))
        yield server
        await server.stop()


@pytest.fixture
async def clickhouse_server(clickhouse_process: ClickHouseServer) -> ClickHouseServer:
    """A ClickHouse server for all tests of a process that ask for it, running when a test begins."""
    await clickhouse_process.start()
    return clickhouse_process


@pytest.fixture
async def redis() -> AsyncIterator[RedisServer]:
    """A Redis of the test's own, running."""
    with tempfile.TemporaryDirectory(prefix="neurotracker-test-") as folder:
        server = RedisServer(Path(folder))
        await server.start()
        yield server
        await server.stop()
