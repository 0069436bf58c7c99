"""The demo shop: loaded once, and everything in it adds up."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from argon2 import PasswordHasher

from app.carts.discounts import VoucherDiscount
from app.core.cache import Cache, memory_backend
from app.core.database import Database
from app.core.metrics import Metrics
from app.orders.models import OrderStatus, PaymentStatus
from app.quality.checks import CheckRequest, Checks
from app.quality.models import QualityCheckType
from app.repositories import Repositories, create_repository_factory
from app.seed import SeedReport, seed_demo
from app.seed.assortment import ASSORTMENT
from app.seed.demo import demo_shop
from app.seed.draw import Draw
from app.seed.people import ACCOUNTS
from app.seed.sales import AMOUNTS
from app.stores.models import StoreCreate

HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
ROLES = dict.fromkeys(("USER", "VIEWER", "ANALYST", "ADMIN"), UUID(int=1))
TABLES = (
    "config",
    "stores",
    "store_settings",
    "vouchers",
    "users",
    "products",
    "product_stores",
    "inventory",
    "carts",
    "cart_items",
    "orders",
    "order_items",
    "payments",
    "notifications",
)


async def hash_password(password: str) -> str:
    return HASHER.hash(password)


async def table(repositories: Repositories, name: str) -> list[Any]:
    """Every row, however long the table is."""
    async with repositories.database.connection() as connection:
        return await connection.fetch(f"select * from {name}")


async def counts(repositories: Repositories) -> dict[str, int]:
    return {name: len(await table(repositories, name)) for name in TABLES}


@pytest.fixture
async def shop(repositories: Repositories) -> Repositories:
    """Repositories of a database with the demo shop in it."""
    assert (await seed_demo(repositories, hash_password)).rows
    return repositories


@pytest.fixture
async def another_process(database_url: str) -> AsyncIterator[Repositories]:
    """Repositories on the same database with nothing else in common."""
    database, metrics = Database(database_url), Metrics()
    await database.open()
    yield create_repository_factory(database, Cache(memory_backend(), metrics, 60), metrics)
    await database.close()


async def test_the_shop_is_as_large_as_promised_and_loads_in_a_moment(repositories: Repositories) -> None:
    started = time.perf_counter()
    report = await seed_demo(repositories, hash_password)

    assert time.perf_counter() - started < 3
    found = await counts(repositories)
    assert dict(report.rows) == {name: found[name] for name in report.rows}
    assert (found["stores"], found["orders"]) == (2, 50)
    assert str(report).startswith("loaded 2 stores, 8 vouchers, 18 users, 216 products")


async def test_a_second_run_changes_nothing(shop: Repositories) -> None:
    before = {name: await table(shop, name) for name in TABLES}

    report = await seed_demo(shop, hash_password)

    assert report == SeedReport({}, "demo_data is there already")
    assert {name: await table(shop, name) for name in TABLES} == before


async def test_two_processes_at_once_load_it_once(repositories: Repositories, another_process: Repositories) -> None:
    reports = await asyncio.gather(*(seed_demo(one, hash_password) for one in (repositories, another_process)))

    assert sorted(bool(report.rows) for report in reports) == [False, True]
    assert (await counts(repositories))["orders"] == 50


async def test_a_process_that_waited_in_vain_for_its_turn_tries_again(database_url: str, another_process: Repositories) -> None:
    from app.core.database import DatabaseOptions

    metrics = Metrics()
    hasty = Database(database_url, DatabaseOptions(lock_timeout_ms=20))
    await hasty.open()
    async with another_process.transaction() as other:
        await other.config.create({"key": "demo_data", "value": 1})
        waiting = asyncio.create_task(seed_demo(create_repository_factory(hasty, Cache(memory_backend(), metrics), metrics), hash_password))
        await asyncio.sleep(0.2)
        assert not waiting.done()

    assert await waiting == SeedReport({}, "demo_data is there already")
    await hasty.close()


async def test_a_database_with_stores_of_its_own_is_left_alone(repositories: Repositories) -> None:
    await repositories.stores.create_with_settings(StoreCreate(name="Harbour Books", domain="harbour.example.com"))

    assert await seed_demo(repositories, hash_password) == SeedReport({}, "the database is not empty")
    assert (await counts(repositories))["products"] == 0


async def test_a_failure_leaves_nothing_behind(repositories: Repositories) -> None:
    async def too_long(_password: str) -> str:
        return "x" * 300

    before = await counts(repositories)
    with pytest.raises(Exception, match="users"):
        await seed_demo(repositories, too_long)

    assert await counts(repositories) == before


async def test_accounts_have_their_documented_passwords_and_roles(shop: Repositories) -> None:
    roles = {role["id"]: role["name"] for role in await table(shop, "roles")}
    users = {user["email"]: user for user in await table(shop, "users")}
    oldest = min(await table(shop, "stores"), key=lambda store: store["created_at"])

    for account in ACCOUNTS:
        user = users[account.email]
        assert HASHER.verify(user["password_hash"], account.password)
        assert roles[user["role_id"]] == account.role
        assert user["store_id"] == (oldest["id"] if account.store == 0 else None)
    assert {"demo@example.com": "demo-password-1", "admin@example.com": "admin-password-1"}.items() <= {
        account.email: account.password for account in ACCOUNTS
    }.items()
    assert all(user["password_hash"] is None for email, user in users.items() if email not in {account.email for account in ACCOUNTS})


async def test_products_are_those_of_a_shop(shop: Repositories) -> None:
    products = await table(shop, "products")
    stock = {row["product_id"]: row for row in await table(shop, "inventory")}
    stores = defaultdict(set)
    for link in await table(shop, "product_stores"):
        stores[link["store_id"]].add(link["product_id"])

    assert len({product["name"] for product in products}) >= 200
    assert not any(character.isdigit() for product in products for character in product["name"].split()[0])
    assert len({product["description"] for product in products}) >= 200
    assert {product["category"] for product in products} == {category.name for category in ASSORTMENT}
    assert all(product["image_url"].startswith("https://images.example.com/products/") for product in products)
    assert stock.keys() == {product["id"] for product in products}
    assert sum(product["status"] == "ACTIVE" and stock[product["id"]]["available"] > 0 for product in products) >= 200
    assert any(row["available"] == 0 for row in stock.values())
    assert min(len(sold) for sold in stores.values()) > 100
    assert set.union(*stores.values()) == stock.keys()


async def test_totals_and_payments_add_up(shop: Repositories) -> None:
    lines: dict[Any, Any] = defaultdict(int)
    for name, parent in (("order_items", "order_id"), ("cart_items", "cart_id")):
        for item in await table(shop, name):
            lines[item[parent]] += item["price"] * item["quantity"]
    orders = {order["id"]: order for order in await table(shop, "orders")}
    carts = {cart["id"]: cart for cart in await table(shop, "carts")}

    assert all(whole["items_total"] == lines[whole["id"]] > 0 for whole in (*orders.values(), *carts.values()))
    for name in ("items_total", "shipping", "tax", "included_tax", "total"):
        assert all(order[name] == carts[order["cart_id"]][name] for order in orders.values())
        assert any(cart[name] > 0 for cart in carts.values())
    assert all(payment["amount"] == orders[payment["order_id"]]["total"] for payment in await table(shop, "payments"))


async def test_carts_cost_what_their_stores_ask_for_now(shop: Repositories) -> None:
    """Whoever orders one pays what it shows."""
    for cart in await shop.carts.find_many({"status": ["ACTIVE", "ABANDONED"]}):
        again = await shop.carts.recalculate_total(cart.id)
        assert [getattr(again, name) for name in AMOUNTS] == [getattr(cart, name) for name in AMOUNTS]


async def test_each_store_has_vouchers_one_of_which_is_over(shop: Repositories) -> None:
    found: dict[UUID, dict[str, str | None]] = defaultdict(dict)
    for row in await shop.vouchers.find_many():
        found[row.store_id][row.code] = VoucherDiscount(row, shop.now()).problem(Decimal(50), "USD")
    assert len(found) == 2
    for problems in found.values():
        assert {code for code, problem in problems.items() if problem is None} == {"HELLO-10", "FIVE-OFF", "ONE-EACH"}
        assert "valid until" in (problems["LAST-YEAR"] or "")


async def test_orders_are_in_all_states_and_settled_by_what_they_say(shop: Repositories) -> None:
    payments = {payment["id"]: payment for payment in await table(shop, "payments")}
    by_order = defaultdict(list)
    for payment in payments.values():
        by_order[payment["order_id"]].append(PaymentStatus(payment["status"]))
    orders = await table(shop, "orders")

    assert {order["status"] for order in orders} == set(OrderStatus)
    assert set(Counter(status for statuses in by_order.values() for status in statuses)) == {
        PaymentStatus.COMPLETED,
        PaymentStatus.FAILED,
        PaymentStatus.REFUNDED,
    }
    for order in orders:
        settled = payments.get(order["payment_id"])
        assert (order["status"] == OrderStatus.COMPLETED) is (settled is not None)
        assert settled is None or (settled["order_id"] == order["id"] and settled["completed_at"] == order["completed_at"])
        if order["status"] == OrderStatus.FAILED:
            assert by_order[order["id"]] == [PaymentStatus.FAILED]


async def test_each_order_has_the_log_of_what_became_of_it(shop: Repositories) -> None:
    logs = defaultdict(list)
    for event in sorted(await table(shop, "order_events"), key=lambda event: (event["created_at"], event["id"])):
        logs[event["order_id"]].append(event)
    ends = {"PENDING": {"RESERVED"}, "COMPLETED": {"COMPLETED", "REFUNDED"}, "CANCELLED": {"CANCELLED"}, "FAILED": {"FAILED"}}
    payments = {payment["id"]: payment for payment in await table(shop, "payments")}
    stories = set()
    for order in await table(shop, "orders"):
        log = logs[order["id"]]
        kinds = [event["kind"] for event in log]
        stories.add(tuple(kinds))
        assert kinds[:2] == ["CREATED", "RESERVED"]
        assert kinds[-1] in ends[order["status"]]
        assert order["created_at"] <= log[0]["created_at"]
        assert all(event["amount"] == payments[event["payment_id"]]["amount"] for event in log if event["payment_id"])
    assert ("CREATED", "RESERVED", "DECLINED", "FAILED", "RESERVED", "CHARGED", "COMPLETED") in stories
    assert len(stories) == 6


async def test_pieces_are_reserved_for_the_pending_orders_and_no_others(shop: Repositories) -> None:
    pending = {order["id"] for order in await table(shop, "orders") if order["status"] == OrderStatus.PENDING}
    wanted: Counter[Any] = Counter()
    for item in await table(shop, "order_items"):
        if item["order_id"] in pending:
            wanted[item["product_id"]] += item["quantity"]
    stock = await table(shop, "inventory")

    assert pending
    assert {row["product_id"]: row["reserved"] for row in stock if row["reserved"]} == dict(wanted)
    assert all(row["reserved"] <= row["on_hand"] for row in stock)


async def test_carts_were_left_with_something_in_them(shop: Repositories) -> None:
    carts = await table(shop, "carts")
    filled = {item["cart_id"] for item in await table(shop, "cart_items")}
    demo = next(user for user in await table(shop, "users") if user["email"] == "demo@example.com")

    left = [cart for cart in carts if cart["status"] == "ABANDONED"]
    assert len(left) == 12
    assert {cart["user_id"] is None for cart in left} == {True, False}
    assert filled == {cart["id"] for cart in carts}
    assert not any(cart["user_id"] == demo["id"] and cart["status"] == "ACTIVE" for cart in carts)
    assert {cart["id"] for cart in carts if cart["status"] == "CONVERTED"} == {order["cart_id"] for order in await table(shop, "orders")}


async def test_everything_happened_in_the_last_sixty_days_and_in_order(shop: Repositories) -> None:
    now = shop.now()
    users = {user["id"]: user for user in await table(shop, "users")}
    products = {product["id"]: product for product in await table(shop, "products")}
    orders = {order["id"]: order for order in await table(shop, "orders")}

    for name in ("users", "products", "carts", "orders", "payments", "notifications"):
        for row in await table(shop, name):
            assert now - timedelta(days=61) < row["created_at"] <= row.get("updated_at", row["created_at"]) <= now
            assert abs(row["id"].int >> 80) == int(row["created_at"].timestamp() * 1000)
    for item in await table(shop, "order_items"):
        assert products[item["product_id"]]["created_at"] < orders[item["order_id"]]["created_at"]
    assert all(users[order["user_id"]]["created_at"] < order["created_at"] for order in orders.values())


async def test_notifications_tell_buyers_and_staff(shop: Repositories) -> None:
    notifications = await table(shop, "notifications")
    buyers = {order["user_id"] for order in await table(shop, "orders")}
    staff = {user["id"] for user in await table(shop, "users") if user["email"] in {account.email for account in ACCOUNTS[1:]}}

    assert {one["user_id"] for one in notifications} == buyers | staff
    assert {one["read"] for one in notifications} == {True, False}
    assert not any("{" in one["message"] for one in notifications)


async def test_the_same_seed_draws_the_same_shop(repositories: Repositories) -> None:
    now = repositories.now()
    hashes = {account.email: "hash" for account in ACCOUNTS}
    first, second = (demo_shop(Draw(now), hashes, ROLES) for _ in range(2))

    for name in ("total", "status", "payment_method", "created_at", "updated_at"):
        assert [order[name] for order in first.sales.orders] == [order[name] for order in second.sales.orders]
    assert [row["on_hand"] for row in first.inventory] == [row["on_hand"] for row in second.inventory]
    assert [row["message"] for row in first.notifications] == [row["message"] for row in second.notifications]


async def test_the_data_passes_its_own_checks_but_for_what_is_sold_out(shop: Repositories) -> None:
    checks, found = Checks(shop), {}
    for row in await shop.quality_schedules.find_many({"table_name": {"in": ["orders", "carts", "users", "inventory", "order_items"]}}):
        request = CheckRequest(QualityCheckType(row.check_type), row.table_name, row.column_name, row.parameters)
        run = await checks.run(await checks.prepare(request))
        found[f"{run.check_name} {row.parameters}"] = run.status
    assert len(found) == 7
    assert {name for name, status in found.items() if status != "PASSED"} <= {"inventory_RANGE_CHECK {'min': 1}"}
