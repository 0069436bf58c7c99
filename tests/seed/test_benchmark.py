"""The benchmark's data on a small scale: as many rows as asked for, and as consistent as real ones."""

import asyncio
from collections import Counter
from typing import Any

import pytest
from argon2 import PasswordHasher

from app.core.database import Database
from app.repositories import Repositories
from app.seed import SeedReport, seed_benchmark, seed_demo

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


async def hash_password(password: str) -> str:
    return HASHER.hash(password)


async def value(database: Database, query: str) -> Any:
    async with database.connection() as connection:
        return await connection.fetchval(query)


async def rows(database: Database, query: str) -> list[Any]:
    async with database.connection() as connection:
        return await connection.fetch(query)


@pytest.fixture
async def loaded(repositories: Repositories) -> Database:
    """A database with 50 products and 105 orders."""
    report = await seed_benchmark(repositories, hash_password, products=50, orders=105)
    assert report.rows == {"users": 11, "products": 50, "orders": 105, "order_items": 420, "payments": 105}
    return repositories.database


async def test_there_are_as_many_rows_as_asked_for(loaded: Database) -> None:
    tables = {"stores": 2, "store_settings": 2, "users": 12, "products": 50, "product_stores": 100, "inventory": 50, "orders": 105}
    for table, count in (tables | {"order_items": 420, "payments": 105}).items():
        assert await value(loaded, f"select count(*) from {table}") == count


async def test_every_order_has_four_items_and_one_payment_of_its_total(loaded: Database) -> None:
    wrong = """
        select count(*) from orders o
        cross join lateral (select count(*) as lines, sum(quantity * price) as sum from order_items where order_id = o.id) i
        cross join lateral (select count(*) as payments, min(amount) as amount from payments where order_id = o.id) p
        where (lines, sum, payments, amount) is distinct from (4, total, 1, total)"""
    assert await value(loaded, wrong) == 0


async def test_order_and_payment_say_the_same(loaded: Database) -> None:
    found = await rows(
        loaded,
        "select o.status as ordered, p.status as paid, o.payment_id = p.id as settled from orders o join payments p on order_id = o.id",
    )
    assert Counter((row["ordered"], row["paid"], row["settled"]) for row in found) == {
        ("PENDING", "PENDING", None): 26,
        ("COMPLETED", "COMPLETED", True): 27,
        ("CANCELLED", "REFUNDED", None): 26,
        ("FAILED", "FAILED", None): 26,
    }


async def test_pieces_are_reserved_for_pending_orders(loaded: Database) -> None:
    wrong = """
        select count(*) from inventory
        left join (
            select product_id, sum(quantity) as wanted from order_items join orders on orders.id = order_id
            where status = 'PENDING' group by product_id
        ) pending using (product_id)
        where reserved <> coalesce(wanted, 0)"""
    assert await value(loaded, wrong) == 0
    assert await value(loaded, "select sum(reserved) from inventory") > 0


@pytest.mark.parametrize("table", ["users", "products", "orders", "payments"])
async def test_no_two_rows_share_a_time_and_ids_follow_the_times(loaded: Database, table: str) -> None:
    found = await rows(loaded, f"select id, created_at from {table} where created_at < now() order by created_at")
    times = [row["created_at"] for row in found]
    ids = [row["id"] for row in found]
    assert len(set(times)) == len(times)
    assert table == "users" or ids == sorted(ids)


async def test_the_planner_knows_the_tables(loaded: Database) -> None:
    known = await rows(
        loaded, "select relname, reltuples::int as rows from pg_class where relname in ('products', 'orders', 'order_items')"
    )
    assert {row["relname"]: row["rows"] for row in known} == {"products": 50, "orders": 105, "order_items": 420}


async def test_it_is_newer_than_the_demo_shop_whose_administrator_it_keeps(repositories: Repositories) -> None:
    await seed_demo(repositories, hash_password)
    await seed_benchmark(repositories, hash_password, products=60, orders=30)

    newest = await repositories.products.find_many(limit=50)
    assert all(product.name.startswith("Product ") for product in newest)
    assert await value(repositories.database, "select count(*) from users where email = 'admin@example.com'") == 1


async def test_the_administrator_can_sign_in(loaded: Database) -> None:
    stored = await value(
        loaded,
        "select password_hash from users join roles on roles.id = role_id where email = 'admin@example.com' and roles.name = 'ADMIN'",
    )
    assert HASHER.verify(stored, "admin-password-1")


async def test_it_is_loaded_once(repositories: Repositories) -> None:
    await seed_demo(repositories, hash_password)
    reports = await asyncio.gather(*(seed_benchmark(repositories, hash_password, products=4, orders=1) for _ in range(2)))

    assert sorted(bool(report.rows) for report in reports) == [False, True]
    assert await seed_benchmark(repositories, hash_password) == SeedReport({}, "benchmark_data is there already")
    assert await value(repositories.database, "select count(*) from order_items where sku like 'SKU-%'") == 4


@pytest.mark.parametrize(("products", "orders"), [(3, 10), (10, 0)])
async def test_impossible_sizes_are_refused(repositories: Repositories, products: int, orders: int) -> None:
    with pytest.raises(ValueError, match=f"not {products} and {orders}"):
        await seed_benchmark(repositories, hash_password, products=products, orders=orders)
