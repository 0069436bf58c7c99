"""What holds of every table."""

import importlib
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from sqlalchemy import Boolean, Column, DateTime, Numeric, Table
from sqlmodel import SQLModel

for domain in ("stores", "accounts", "catalog", "carts", "orders", "engagement", "quality", "analytics", "privacy"):
    importlib.import_module(f"app.{domain}.models")

TABLES = sorted(SQLModel.metadata.tables)
WITH_ID = [name for name in TABLES if name != "product_stores"]
MODELS: dict[str, type[SQLModel]] = {str(mapper.local_table): mapper.class_ for mapper in SQLModel._sa_registry.mappers}
COLUMNS = [column for name in TABLES for column in SQLModel.metadata.tables[name].c]
NEVER_LISTED = {
    "account_erasures",
    "config",
    "event_spool",
    "feature_requests",
    "order_counters",
    "idempotency_keys",
    "provider_events",
    "sign_in_delays",
    "test_charges",
    "test_refunds",
    "verifications",
}
REACHED_THROUGH_A_PARENT = {
    "voucher_redemptions",
    "product_stores",
    "store_settings",
    "role_permissions",
    "inventory",
    "cart_items",
    "order_items",
    "order_events",
    "inventory_movements",
    "feature_history",
    "data_exports",
    "user_features",
    "product_features",
}

Insert = Callable[..., Awaitable[UUID]]


def by_name(column: "Column[Any] | Table") -> str:
    return str(column)


def test_the_specification_s_entities_have_tables() -> None:
    assert set(TABLES) == {
        "account_erasures",
        "api_keys",
        "cart_items",
        "carts",
        "config",
        "data_exports",
        "event_spool",
        "feature_history",
        "feature_requests",
        "features",
        "idempotency_keys",
        "inventory",
        "inventory_movements",
        "mail_opt_outs",
        "notifications",
        "order_events",
        "order_counters",
        "order_items",
        "orders",
        "payments",
        "product_features",
        "product_stores",
        "products",
        "provider_events",
        "quality_anomalies",
        "quality_schedules",
        "quality_validations",
        "reconciliation_executions",
        "reconciliation_rules",
        "recovery_events",
        "refunds",
        "repair_operations",
        "reports",
        "role_permissions",
        "roles",
        "security_events",
        "sign_in_delays",
        "store_settings",
        "stores",
        "test_charges",
        "test_refunds",
        "user_features",
        "user_sessions",
        "users",
        "verifications",
        "voucher_redemptions",
        "vouchers",
        "webhook_deliveries",
        "webhooks",
    }


@pytest.mark.parametrize("table", WITH_ID)
async def test_plain_sql_may_leave_out_whatever_has_a_default(insert: Insert, table: str) -> None:
    identity = await insert(table)
    assert identity.version == 7


@pytest.mark.parametrize("table", WITH_ID)
async def test_rows_are_identified_and_dated_by_the_database(insert: Insert, connection: asyncpg.Connection, table: str) -> None:
    identity = await insert(table)
    row = await connection.fetchrow(f"select *, now() from {table} where id = $1", identity)
    assert row is not None
    assert row["created_at"] == row["now"]
    assert row.get("updated_at", row["now"]) == row["now"]
    assert not row.get("is_deleted")


def test_defaults_are_the_database_s() -> None:
    """A default of Python's would be filled in by an engine of SQLAlchemy only, and compiled as an unbound parameter."""
    assert [column for column in COLUMNS if column.default is not None or column.onupdate is not None] == []


@pytest.mark.parametrize("table", TABLES)
def test_a_field_has_a_default_where_its_column_has(table: str) -> None:
    fields = MODELS[table].model_fields
    for column in SQLModel.metadata.tables[table].c:
        field = fields["metadata_" if column.name == "metadata" else column.name]
        given_by_database = column.nullable or column.server_default is not None or column.computed is not None
        assert field.is_required() is not given_by_database, column


def test_times_have_a_zone() -> None:
    times = [column for column in COLUMNS if column.name.endswith("_at")]
    assert [column for column in times if not (isinstance(column.type, DateTime) and column.type.timezone)] == []


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.name in {"price", "total", "amount"}], ids=by_name)
def test_money_has_four_decimals_and_a_currency(column: "Column[Any]") -> None:
    assert isinstance(column.type, Numeric)
    assert (column.type.precision, column.type.scale) == (19, 4)
    assert "currency" in column.table.c


def test_flags_are_never_unknown() -> None:
    assert [column for column in COLUMNS if isinstance(column.type, Boolean) and column.nullable] == []


async def test_every_reference_is_indexed(connection: asyncpg.Connection) -> None:
    """The index starts with the referring column; one of the rows that have a value will do."""
    bare = await connection.fetch(
        """
        select c.conname from pg_constraint c where c.contype = 'f' and not exists (
            select from pg_index i where i.indrelid = c.conrelid and i.indkey[0] = c.conkey[1]
            and (i.indpred is null or pg_get_expr(i.indpred, i.indrelid) = format('(%I IS NOT NULL)',
                (select attname from pg_attribute a where a.attrelid = c.conrelid and a.attnum = c.conkey[1])))
        )
        """
    )
    assert [row["conname"] for row in bare] == []


async def test_every_reference_says_what_happens_on_delete(connection: asyncpg.Connection) -> None:
    undecided = await connection.fetch("select conname from pg_constraint where contype = 'f' and confdeltype = 'a'")
    assert [row["conname"] for row in undecided] == []


async def test_no_index_repeats_another(connection: asyncpg.Connection) -> None:
    repeated = await connection.fetch(
        """
        select indrelid::regclass::text, array_agg(indexrelid::regclass::text) from pg_index
        where indrelid::regclass::text = any($1)
        group by indrelid, indkey, coalesce(indpred::text, ''), coalesce(indexprs::text, '') having count(*) > 1
        """,
        TABLES,
    )
    assert repeated == []


@pytest.mark.parametrize("table", [name for name in TABLES if name not in NEVER_LISTED | REACHED_THROUGH_A_PARENT])
async def test_lists_are_indexed(connection: asyncpg.Connection, table: str) -> None:
    """Every entity is listed newest first, with the id to break ties."""
    definitions = await connection.fetch("select indexdef from pg_indexes where tablename = $1", table)
    assert [row for row in definitions if row["indexdef"].endswith("(created_at, id)")]


@pytest.mark.parametrize(
    ("kind", "prefix"), [("c", "ck"), ("f", "fk"), ("p", "pk"), ("u", "uq")], ids=["checks", "references", "keys", "uniqueness"]
)
async def test_constraints_are_named_by_convention(connection: asyncpg.Connection, kind: str, prefix: str) -> None:
    named = await connection.fetch(
        "select conname, conrelid::regclass::text as table_name from pg_constraint "
        "where contype::text = $1 and conrelid::regclass::text = any($2)",
        kind,
        TABLES,
    )
    assert named
    assert [row["conname"] for row in named if not row["conname"].startswith(f"{prefix}_{row['table_name']}")] == []


@pytest.mark.parametrize("table", [name for name in TABLES if "is_deleted" in SQLModel.metadata.tables[name].c])
async def test_deletion_is_dated(insert: Insert, connection: asyncpg.Connection, table: str) -> None:
    identity = await insert(table)
    for change in ("is_deleted = true", "deleted_at = now()"):
        with pytest.raises(asyncpg.CheckViolationError) as refused:
            async with connection.transaction():
                await connection.execute(f"update {table} set {change} where id = $1", identity)
        assert refused.value.constraint_name == f"ck_{table}_deleted_at_set"
    await connection.execute(f"update {table} set is_deleted = true, deleted_at = now() where id = $1", identity)
