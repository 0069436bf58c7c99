"""Two tables to compare: orders, and their mirror in ClickHouse, with faults in it that are known."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from app.core.clickhouse import ClickHouse
from app.core.database import Database
from app.orders.mirror import OrderMirror
from app.orders.models.mirror import MIRROR, MIRROR_COLUMNS
from app.quality.models import ReconciliationRule, ReconciliationRuleCreate
from app.repositories import Repositories

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
ORDERS = """
    insert into users (email, username) values ('buyer@example.com', 'buyer') on conflict do nothing;
    insert into orders (id, user_id, number, status, items_total, total, currency, created_at, updated_at, completed_at)
    select ('01900000-0000-7000-8000-' || lpad(to_hex(n::bigint * 7919), 12, '0'))::uuid, (select id from users limit 1), n,
        case n % 3 when 0 then 'COMPLETED' else 'PENDING' end, n % 977 + 10.25, n % 977 + 10.25, 'EUR', at, at,
        case n % 3 when 0 then at end
    from (select n, timestamptz '2026-01-01T00:00:00.000001Z' + n * interval '1 second' as at from generate_series(1, {rows}) as n) as made
"""
FAULT = "INSERT INTO {mirror} ({columns}) SELECT {values} FROM {mirror} FINAL WHERE {condition}"


@dataclass(frozen=True)
class Faults:
    """The keys of the rows that were made wrong, by kind; `forgiven` ones differ within the tolerance."""

    missing_in_target: frozenset[str]
    missing_in_source: frozenset[str]
    differing: frozenset[str]
    forgiven: frozenset[str]


async def fill(repositories: Repositories, rows: int) -> None:
    """So many orders, mirrored."""
    await repositories.database.execute_script(ORDERS.format(rows=rows))
    assert await OrderMirror(repositories).sync() == rows


async def break_some(database: Database, clickhouse: ClickHouse, rows: int, each: int = 50) -> Faults:
    """Faults of every kind, `each` many, and twice as many that differ; none among those that the next sync ships again."""
    picked = await _ids(database, range(10, rows - 1_000, (rows - 1_010) // (each * 5)))
    missing, gone, changed, other, forgiven = (picked[n : each * 5 : 5] for n in range(5))
    await write(clickhouse, missing, is_deleted="1")
    await database.execute_script(f"delete from orders where id in ({', '.join(map(repr, map(str, gone)))})")
    await write(clickhouse, changed, total="toDecimal64(total * 1.02 + 0.01, 4)", status="'FAILED'")
    await write(clickhouse, other, completed_at="updated_at + INTERVAL 1 MICROSECOND", number="NULL")
    await write(clickhouse, forgiven, total="toDecimal64(total * 1.005, 4)")
    kinds = (frozenset(map(str, kind)) for kind in (missing, gone, changed + other, forgiven))
    return Faults(*kinds)


async def write(clickhouse: ClickHouse, ids: list[UUID], **values: str) -> None:
    """Later versions of rows of the mirror, with these expressions for some columns."""
    given = {**{name: name for name in MIRROR_COLUMNS}, "synced_at": "synced_at + INTERVAL 1 SECOND", **values}
    listed = ", ".join(f"toUUID('{id}')" for id in ids)
    statement = FAULT.format(mirror=MIRROR, columns=", ".join(given), values=", ".join(given.values()), condition=f"id IN ({listed})")
    await clickhouse.execute(statement)


async def _ids(database: Database, numbers: range) -> list[UUID]:
    async with database.connection() as connection:
        rows = await connection.fetch("select id from orders where number = any($1) order by number", list(numbers))
    return [row["id"] for row in rows]


async def rule(repositories: Repositories, **given: Any) -> ReconciliationRule:
    values = {"name": "orders_vs_orders_mirror", "source_table": "orders", "target_table": MIRROR, "join_key": "id", **given}
    return await repositories.reconciliation_rules.create(ReconciliationRuleCreate(**values))
