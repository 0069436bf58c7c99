"""Seeded faults of every kind, in both databases: each is found, and nothing else is."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import orjson
import pytest
from sqlmodel import SQLModel

from app.accounts.models import User
from app.core import clickhouse_migrations
from app.core.cache import Cache, memory_backend
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.database import Database
from app.core.errors import UserError
from app.core.metrics import Metrics
from app.core.statement import compile_statement
from app.orders.models.mirror import MIRROR, MIRROR_COLUMNS
from app.quality.checks import CheckRequest, Checks
from app.quality.models import QualityCheckType
from app.quality.models.parameters import TABLES, is_secret
from app.repositories import Repositories, create_repository_factory
from tests.conftest import fresh_database
from tests.serving import data_folder

NOW = datetime.now(UTC)
ROWS = 200
FREE = """
    alter table products drop constraint ck_products_price_not_negative;
    alter table orders drop constraint ck_orders_completed_at_set;
    drop index uq_users_email;
    alter table cart_items drop constraint uq_cart_items_cart_id_product_id;
    alter table order_items drop constraint fk_order_items_product_id_products;
"""
"""What keeps such faults out."""
FILL = f"""
    insert into users (email, username, first_name)
        select 'user' || n || '@example.com', 'user' || n, 'Ann' from generate_series(1, {ROWS}) n;
    insert into products (name, price, currency, sku) select 'Tea ' || n, n, 'USD', 'tea-' || n from generate_series(1, {ROWS}) n;
    insert into carts (user_id) select id from users;
    insert into cart_items (cart_id, product_id, quantity, price)
        select carts.id, products.id, 1, 10 from carts, (select id from products order by id limit 2) as products;
    insert into orders (user_id, items_total, total, status, completed_at)
        select id, 30, 30, 'COMPLETED', now() + interval '1 hour' from users;
    insert into order_items (order_id, product_id, name, quantity, price)
        select orders.id, products.id, 'Tea', 3, 10 from orders, (select id from products limit 1) as products;
    insert into payments (order_id, amount, status, completed_at) select id, 30, 'COMPLETED', now() from orders;
    update users set created_at = now() - interval '1 minute' * n from (
        select id, row_number() over (order by id) as n from users) as ranked where ranked.id = users.id;
"""
COLUMNS = ("id", "user_id", "session_id", "client_event_id", "event_type", "timestamp", "received_at", "page_url", "is_error")


@pytest.fixture(scope="module")
async def dsn(postgres: str, migrated: str) -> AsyncIterator[str]:
    async with fresh_database(postgres, migrated) as dsn:
        connection = await asyncpg.connect(dsn, timeout=10)
        await connection.execute(FREE)
        await connection.execute(FILL)
        await connection.close()
        yield dsn


@pytest.fixture(scope="module")
async def events() -> AsyncIterator[ClickHouse]:
    options = ClickHouseOptions(database=f"test_{uuid4().hex}")
    engine = ClickHouse(None, data_folder() / "clickhouse", Metrics(), options, clickhouse_migrations.apply)
    yield engine
    await engine.execute(f"DROP DATABASE IF EXISTS {options.database}")
    await engine.close()


@pytest.fixture(scope="module")
async def system(dsn: str, events: ClickHouse) -> AsyncIterator[Repositories]:
    database, metrics = Database(dsn), Metrics()
    await database.open()
    yield create_repository_factory(database, Cache(memory_backend(), metrics), metrics, clickhouse=events)
    await database.close()


@pytest.fixture
async def connection(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, timeout=10)
    yield connection
    await connection.close()


async def checked(system: Repositories, type: str, table: str, column: str | None = None, parameters: Any = None) -> Any:
    checks = Checks(system)
    return await checks.run(await checks.prepare(CheckRequest(QualityCheckType(f"{type}_CHECK"), table, column, parameters)))


FAULTS: Mapping[str, tuple[str, str, str | None, dict[str, Any], str, str]] = {
    "null": ("NULL", "users", "first_name", {}, "update users set first_name = null where id = any($1)", "MISSING_DATA"),
    "range": ("RANGE", "products", "price", {"min": 0, "max": "500.5"}, "update products set price = -0.01 where id = any($1)", "OUTLIER"),
    "range of times": (
        "RANGE",
        "users",
        "created_at",
        {"min": (NOW - timedelta(days=10)).isoformat(), "max": (NOW + timedelta(hours=1)).isoformat()},
        "update users set created_at = now() - interval '11 days' where id = any($1)",
        "OUTLIER",
    ),
    "format": (
        "FORMAT",
        "users",
        "email",
        {"format": "email"},
        "update users set email = 'a@b@' || id where id = any($1)",
        "INVALID_FORMAT",
    ),
    "pattern": (
        "FORMAT",
        "products",
        "sku",
        {"pattern": r"^tea-\d+$"},
        "update products set sku = 'tea.' || sku where id = any($1)",
        "INVALID_FORMAT",
    ),
    "reference": (
        "REFERENCE",
        "order_items",
        "product_id",
        {"table": "products"},
        "update order_items set product_id = uuidv7() where id = any($1)",
        "REFERENCE_ERROR",
    ),
    "sum of lines": (
        "CONSISTENCY",
        "orders",
        None,
        {"rule": "lines_total"},
        "update order_items set quantity = 4 where order_id = any($1)",
        "INCONSISTENT",
    ),
    "unpaid": ("CONSISTENCY", "orders", None, {"rule": "PAID"}, "delete from payments where order_id = any($1)", "INCONSISTENT"),
    "columns": (
        "CONSISTENCY",
        "orders",
        "completed_at",
        {"operator": "gte", "column": "created_at"},
        "update orders set completed_at = created_at - interval '1 second' where id = any($1)",
        "INCONSISTENT",
    ),
    "duplicate": (
        "DUPLICATE",
        "users",
        "email",
        {},
        "update users set email = 'twice@example.com' where id = any($1)",
        "DUPLICATE",
    ),
    "duplicate key": (
        "DUPLICATE",
        "cart_items",
        "cart_id",
        {"columns": ["product_id"]},
        "update cart_items set product_id = (select product_id from cart_items where id = ($1::uuid[])[1]) where id = any($1)",
        "DUPLICATE",
    ),
}


@pytest.mark.parametrize("kind", FAULTS)
async def test_seeded_faults_are_found_and_nothing_else(system: Repositories, connection: asyncpg.Connection, kind: str) -> None:
    type, table, column, parameters, fault, anomaly = FAULTS[kind]
    before = await checked(system, type, table, column, parameters)
    assert (before.status, before.affected_rows, before.details["sample"]) == ("PASSED", 0, [])
    if kind == "duplicate key":
        chosen = [row["id"] for row in await connection.fetch("select id from cart_items where cart_id = (select id from carts limit 1)")]
    else:
        chosen = [row["id"] for row in await connection.fetch(f"select id from {table} order by md5(id::text) limit 3")]
    await connection.execute(fault, chosen)
    expected = sorted(map(str, chosen))
    after = await checked(system, type, table, column, parameters)
    rows = before.details["total"]
    assert rows >= ROWS
    assert (after.affected_rows, after.details["sample"], after.details["total"]) == (len(chosen), expected, rows)
    assert (after.status, after.severity) == (("FAILED", "MEDIUM") if len(chosen) * 100 >= rows else ("WARNING", "LOW"))
    assert (after.check_name, after.table_name, after.column_name) == (f"{table}_{type}_CHECK", table, column)
    assert after.execution_time is not None
    assert after.execution_time > 0
    noted = await system.quality_anomalies.find_many({"validation_id": after.id})
    assert sorted(row.record_id or "" for row in noted) == expected
    assert {row.type for row in noted} == {anomaly}
    assert not {row.sample_data for row in noted} - {None}, "what is in the rows stays there"
    again = await checked(system, type, table, column, parameters)
    assert again.affected_rows == len(chosen)
    labels = {"work": "quality_check", "kind": after.check_type, "outcome": after.status.lower()}
    assert (system.metrics.registry.get_sample_value("background_work_seconds_count", labels) or 0) >= 2
    assert await system.quality_anomalies.count({"validation_id": again.id}) == 0, "what is open already is not noted twice"


async def test_a_table_is_fresh_late_or_stale(system: Repositories, connection: asyncpg.Connection) -> None:
    newest = await connection.fetchval("select max(created_at) from carts")
    ages = {}
    for factor in (0.5, 2, 5, 20):
        later = Checks(_at(system, newest + timedelta(seconds=factor * 60)))
        check = await later.prepare(CheckRequest(QualityCheckType.FRESHNESS_CHECK, "carts", "created_at", {"maxAgeSeconds": 60}))
        run: Any = await later.run(check)
        assert (run.affected_rows, run.details["newest"]) == (0, newest.isoformat())
        ages[factor] = (run.status, run.severity)
    assert ages == {0.5: ("PASSED", "LOW"), 2: ("WARNING", "LOW"), 5: ("FAILED", "HIGH"), 20: ("FAILED", "CRITICAL")}
    empty = await checked(system, "FRESHNESS", "reports", "created_at", {"maxAgeSeconds": 60})
    assert (empty.status, empty.severity, empty.details["newest"]) == ("FAILED", "CRITICAL", None)
    assert (await checked(system, "NULL", "reports", "url")).status == "PASSED", "an empty table has no row that is wrong"


def _at(system: Repositories, moment: datetime) -> Repositories:
    return replace(system, now=lambda: moment)


def event(**given: Any) -> dict[str, Any]:
    id = uuid4()
    made = {"id": id, "user_id": UUID(int=1), "session_id": "visit", "client_event_id": str(id), "event_type": "PAGE_VIEW"}
    return {**made, "timestamp": NOW, "received_at": NOW, "page_url": "https://shop.example/", "is_error": False, "metadata": {}, **given}


EVENT_FAULTS: Mapping[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "null": ("NULL", "session_id", {}, {"session_id": None}),
    "duplicate": ("DUPLICATE", "client_event_id", {"columns": ["event_type"]}, {"client_event_id": "twice"}),
    "range": ("RANGE", "timestamp", {"min": (NOW - timedelta(days=1)).isoformat()}, {"timestamp": NOW - timedelta(days=1, seconds=1)}),
    "format": ("FORMAT", "page_url", {"format": "URL"}, {"page_url": "ftp://shop.example/"}),
    "pattern": ("FORMAT", "event_type", {"pattern": r"^PAGE\x5FVIE\w$"}, {"event_type": "PAGE-VIEW"}),
    "consistency": ("CONSISTENCY", "received_at", {"operator": "GTE", "column": "timestamp"}, {"received_at": NOW - timedelta(seconds=1)}),
}


async def test_seeded_faults_of_events_are_found_and_nothing_else(system: Repositories) -> None:
    known = UUID(int=1)
    sound = [event(id=known), *(event() for _ in range(ROWS))]
    await system.user_events.insert_batch(sound, uuid4().hex)
    for type, column, parameters, _ in EVENT_FAULTS.values():
        assert (await checked(system, type, "user_events", column, parameters)).status == "PASSED", type
    reference = {"table": "user_events", "column": "id"}
    assert (await checked(system, "REFERENCE", "user_events", "user_id", reference)).status == "PASSED"
    total = await system.user_events.count()
    for type, column, parameters, fault in (*EVENT_FAULTS.values(), ("REFERENCE", "user_id", reference, {"user_id": uuid4()})):
        wrong = [event(**fault) for _ in range(2)]
        await system.user_events.insert_batch(wrong, uuid4().hex)
        # What arrives twice is one event.
        await system.user_events.insert_batch(wrong, uuid4().hex)
        total += 2
        run = await checked(system, type, "user_events", column, parameters)
        assert (run.affected_rows, run.details["sample"]) == (2, sorted(str(row["id"]) for row in wrong)), type
        assert run.details["total"] == total
    stale = Checks(_at(system, NOW + timedelta(hours=1)))
    request = CheckRequest(QualityCheckType.FRESHNESS_CHECK, "user_events", "timestamp", {"maxAgeSeconds": 60})
    assert (await stale.run(await stale.prepare(request))).severity == "CRITICAL"


def mirrored(**given: Any) -> dict[str, Any]:
    id = uuid4()
    made = {"id": id, "store_id": None, "number": id.int % 10**15, "status": "COMPLETED", "currency": "EUR", "total": "30.0000"}
    times = {"created_at": NOW, "updated_at": NOW, "completed_at": NOW + timedelta(minutes=1), "synced_at": NOW}
    return {**dict.fromkeys(MIRROR_COLUMNS, 0), **made, **times, **given}


MIRROR_FAULTS: Mapping[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "NULL": ("number", {}, {"number": None}),
    "DUPLICATE": ("number", {}, {"number": 7}),
    "RANGE": ("total", {"min": 0, "max": "1000"}, {"total": "1000.0001"}),
    "FORMAT": ("currency", {"pattern": "^EUR$"}, {"currency": "eur"}),
    "REFERENCE": ("store_id", {"table": MIRROR, "column": "id"}, {"store_id": UUID(int=9)}),
    "CONSISTENCY": ("completed_at", {"operator": "GTE", "column": "created_at"}, {"completed_at": NOW - timedelta(microseconds=1)}),
}


async def test_seeded_faults_of_the_mirror_are_found_and_nothing_else(system: Repositories) -> None:
    """Orders that are gone are none."""
    gone = [mirrored(**fault, is_deleted=1) for _, _, fault in MIRROR_FAULTS.values()]
    await mirror(system, [*(mirrored() for _ in range(ROWS)), *gone])
    for type, (column, parameters, _) in MIRROR_FAULTS.items():
        run = await checked(system, type, MIRROR, column, parameters)
        assert (run.status, run.details.get("total")) == ("PASSED", ROWS), (type, run.details)
    for type, (column, parameters, fault) in MIRROR_FAULTS.items():
        wrong = [mirrored(**fault) for _ in range(2)]
        await mirror(system, wrong)
        run = await checked(system, type, MIRROR, column, parameters)
        assert (run.affected_rows, run.details["sample"]) == (2, sorted(str(row["id"]) for row in wrong)), type
    for age, status in ((30, "PASSED"), (3_600, "FAILED")):
        late = Checks(_at(system, NOW + timedelta(seconds=age)))
        request = CheckRequest(QualityCheckType.FRESHNESS_CHECK, MIRROR, "updated_at", {"maxAgeSeconds": 60})
        assert (await late.run(await late.prepare(request))).status == status


async def mirror(system: Repositories, rows: list[dict[str, Any]]) -> None:
    lines = b"\n".join(orjson.dumps(row, default=str) for row in rows)
    await system.analytical.insert(MIRROR, MIRROR_COLUMNS, lines, uuid4().hex)


REFUSED: Mapping[str, tuple[CheckRequest, tuple[str, ...], str]] = {
    name: (CheckRequest(QualityCheckType(f"{type}_CHECK"), table, column, parameters), tuple(field.split(".")), message)
    for name, (type, table, column, parameters, field, message) in {
        "unknown table": ("NULL", "nothing", "id", {}, "table_name", "there are cart_items, carts"),
        "table of secrets": ("NULL", "user_sessions", "id", {}, "table_name", "no such table"),
        "table of the catalog": ("NULL", "pg_shadow", "passwd", {}, "table_name", "no such table"),
        "spliced table": ("NULL", "users; drop table users", "id", {}, "table_name", "no such table"),
        "other schema": ("NULL", "information_schema.tables", "table_name", {}, "table_name", "no such table"),
        "unknown column": ("NULL", "users", "nothing", {}, "column_name", "is no column of users"),
        "spliced column": ("NULL", "users", 'id" is null or "id', {}, "column_name", "is no column of users"),
        "secret column": ("FORMAT", "users", "password_hash", {"pattern": "^a"}, "column_name", "may not be looked at"),
        "secret of webhooks": ("NULL", "webhooks", "secret", {}, "column_name", "may not be looked at"),
        "no column": ("NULL", "users", None, {}, "column_name", "needs a column"),
        "secret key": ("DUPLICATE", "users", "email", {"columns": ["password_hash"]}, "parameters.columns", "may not be looked at"),
        "spliced key": ("DUPLICATE", "users", "email", {"columns": ["id) from users --"]}, "parameters.columns.0", "match pattern"),
        "range of a text": ("RANGE", "users", "email", {"min": 1}, "column_name", "needs a moment or a number"),
        "no bound": ("RANGE", "orders", "total", {}, "parameters", "give min"),
        "bound of words": ("RANGE", "orders", "total", {"min": "1); drop table users"}, "parameters.min", "must be a number"),
        "bound beyond": ("RANGE", "orders", "total", {"max": "1e400"}, "parameters.max", "must be a number"),
        "naive time": ("RANGE", "orders", "created_at", {"max": "2026-01-01T00:00:00"}, "parameters.max", "must be a time"),
        "unknown parameter": ("NULL", "users", "email", {"where": "1=1"}, "parameters.where", "takes none"),
        "no object": ("NULL", "users", "email", [1], "parameters", "valid dictionary"),
        "two patterns": ("FORMAT", "users", "email", {"pattern": "a", "format": "email"}, "parameters", "either"),
        "parent elsewhere": ("REFERENCE", "orders", "user_id", {"table": "user_events"}, "parameters.table", "another database"),
        "unknown parent": ("REFERENCE", "orders", "user_id", {"table": "nothing"}, "parameters.table", "no such table"),
        "other kind": ("REFERENCE", "orders", "user_id", {"table": "users", "column": "email"}, "parameters.column", "cannot be compared"),
        "rule of others": ("CONSISTENCY", "users", None, {"rule": "PAID"}, "parameters.rule", "orders only"),
        "no age": ("FRESHNESS", "orders", "created_at", {}, "parameters.maxAgeSeconds", "required"),
        "age of a number": ("FRESHNESS", "orders", "total", {"maxAgeSeconds": 1}, "column_name", "needs a moment"),
        "column of events": ("NULL", "user_events", "id`) --", {}, "column_name", "is no column of user_events"),
    }.items()
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_there_or_not_for_checks_is_refused_by_name(system: Repositories, name: str) -> None:
    request, field, message = REFUSED[name]
    with pytest.raises(UserError, match=message) as refused:
        await Checks(system).prepare(request)
    assert refused.value.field == field


@pytest.mark.parametrize(("table", "column"), [("users", "email"), ("user_events", "page_url")])
async def test_a_pattern_is_a_value_and_must_be_one(system: Repositories, table: str, column: str) -> None:
    await system.user_events.insert_batch([event()], uuid4().hex)
    before = await system.quality_validations.count()
    with pytest.raises(UserError, match="no regular expression") as refused:
        await checked(system, "FORMAT", table, column, {"pattern": "("})
    assert refused.value.field == ("parameters", "pattern")
    assert await system.quality_validations.count() == before
    odd = await checked(system, "FORMAT", table, column, {"pattern": "' or 1=1; drop table users; -- \\ \t"})
    assert odd.affected_rows > 0
    assert await system.users.count() == ROWS


@pytest.mark.parametrize(("table", "column"), [("users", "email"), ("user_events", "page_url")])
async def test_a_check_that_takes_too_long_says_so(system: Repositories, connection: asyncpg.Connection, table: str, column: str) -> None:
    checks = Checks(system, seconds=0.001)
    check = await checks.prepare(CheckRequest(QualityCheckType.FORMAT_CHECK, table, column, {"pattern": "(a|b)*c(d|e){1,200}"}))
    transaction = connection.transaction()
    await transaction.start()
    await connection.execute("lock table users in access exclusive mode")
    run: Any = await checks.run(check)
    await transaction.rollback()
    assert (run.status, run.affected_rows) == ("ERROR", 0)
    assert run.details["error"] == "the check took longer than 0.001 s and was stopped"
    assert await system.quality_anomalies.count({"validation_id": run.id}) == 0


async def test_a_check_cannot_write(system: Repositories) -> None:
    async with system.database.reading(5) as transaction:
        with pytest.raises(asyncpg.ReadOnlySQLTransactionError):
            await transaction.fetch(compile_statement(User.__table__.delete()), {})  # type: ignore[attr-defined]
    assert await system.users.count() == ROWS


def test_no_column_with_a_secret_in_it_can_be_checked() -> None:
    columns = {(table.name, column.name) for table in SQLModel.metadata.tables.values() for column in table.columns if table.name in TABLES}
    shown = {f"{table}.{column}" for table, column in columns if not is_secret(column)}
    assert {"users.password_hash", "webhooks.secret", "webhooks.previous_secret", "carts.cart_token_hash"}.isdisjoint(shown)
    assert not [name for name in shown if any(word in name for word in ("hash", "secret", "token", "password"))]
