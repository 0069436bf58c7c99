"""The demo shop of development: everything in it, and how it gets into the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from app.core.errors import Unavailable
from app.orders.models.mirror import MIRROR
from app.orders.repository.ledger import TestLedger
from app.repositories import Repositories
from app.seed.draw import Draw, Values
from app.seed.loading import HashPassword, SeedReport, claim, is_loaded, load_once
from app.seed.messages import order_news, staff_news
from app.seed.people import ACCOUNTS, password_hashes, user_rows
from app.seed.quality import schedule_rows
from app.seed.sales import Sales, Till
from app.seed.shelves import Shelves, inventory_rows, stocked_shelves
from app.seed.timelines import timeline
from app.seed.visits import Doorkeeper, read_floor

KEY: Final = "demo_data"
EVENTS_KEY: Final = "demo_events"
MIRROR_RULE: Final = {"name": f"orders_vs_{MIRROR}", "source_table": "orders", "target_table": MIRROR, "join_key": "id"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class DemoShop:
    """Everything in the demo shop, ready to be inserted. The first users are those of `people.ACCOUNTS`."""

    shelves: Shelves
    users: list[Values]
    sales: Sales
    inventory: list[Values]
    notifications: list[Values]


def demo_shop(draw: Draw, hashes: Mapping[str, str], roles: Mapping[str, UUID]) -> DemoShop:
    """The shop as the seed draws it; `hashes` are the password hashes by email, `roles` the ids by name."""
    shelves = stocked_shelves(draw)
    users = user_rows(draw, hashes, roles, [store["id"] for store in shelves.stores])
    staff, shoppers = users[1 : len(ACCOUNTS)], [users[0], *users[len(ACCOUNTS) :]]
    sales = Till(draw, shelves, [shopper["id"] for shopper in shoppers]).ring_up()
    news = order_news(draw, sales.orders) + staff_news(draw, [user["id"] for user in staff])
    return DemoShop(shelves, users, sales, inventory_rows(draw, shelves, sales.reserved), news)


async def seed_demo(repositories: Repositories, hash_password: HashPassword) -> SeedReport:
    """Load the demo shop into an empty database, and its events; does nothing in one that has them, or that has users or stores of its own.

    Raises `RepositoryError` when the database refuses or does not answer; nothing is loaded then.
    """
    shop = await _seed_shop(repositories, hash_password)
    events = await _seed_events(repositories)
    return SeedReport({**shop.rows, **events.rows}, shop.reason or events.reason)


async def _seed_shop(repositories: Repositories, hash_password: HashPassword) -> SeedReport:
    if await is_loaded(repositories, KEY):
        return SeedReport({}, f"{KEY} is there already")
    if await repositories.users.exists({}) or await repositories.stores.exists({}):
        return SeedReport({}, "the database is not empty")
    # Before the transaction, because a good hash takes its time.
    hashes = await password_hashes(hash_password, ACCOUNTS)
    return await load_once(KEY, lambda: _load(repositories, hashes))


async def _seed_events(repositories: Repositories) -> SeedReport:
    """The shop's events, once they can be stored: without ClickHouse the shop does without them, and the next start tries again."""
    if repositories.clickhouse is None or await is_loaded(repositories, EVENTS_KEY):
        return SeedReport({}, f"{EVENTS_KEY} are there already")
    shop = await repositories.config.find_by_key(KEY)
    if shop is None:
        return SeedReport({}, "there is no demo shop")
    events = Doorkeeper(Draw(shop.created_at), await read_floor(repositories), shop.id).events()
    try:
        await repositories.user_events.insert_batch(events, f"{EVENTS_KEY}-{shop.id}")
    except Unavailable:
        log.warning("demo_events_wait", reason="ClickHouse is away")
        return SeedReport({}, "ClickHouse is away")
    return await load_once(EVENTS_KEY, lambda: _claim_events(repositories, len(events)))


async def _claim_events(repositories: Repositories, count: int) -> SeedReport:
    async with repositories.transaction() as tx:
        await claim(tx, EVENTS_KEY, "The version of the demo shop's events in ClickHouse.")
    return SeedReport({"user_events": count})


async def _load(repositories: Repositories, hashes: Mapping[str, str]) -> SeedReport:
    async with repositories.transaction() as tx:
        await claim(tx, KEY, "The version of the demo shop in this database.")
        roles = {role.name: role.id for role in await tx.roles.find_many()}
        shop = demo_shop(Draw(tx.now()), hashes, roles)
        await _insert_shelves(tx, shop)
        await _insert_sales(tx, shop.sales)
        await tx.notifications.create_many(shop.notifications)
        await tx.quality_schedules.create_many(schedule_rows(tx.now()))
        await tx.reconciliation_rules.create({**MIRROR_RULE, "next_run_at": tx.now() + timedelta(days=1)})
    return _report(shop)


async def _insert_shelves(tx: Repositories, shop: DemoShop) -> None:
    shelves = shop.shelves
    await tx.stores.create_many(shelves.stores)
    await tx.store_settings.create_many(shelves.settings)
    await tx.users.create_many(shop.users)
    await tx.vouchers.create_many(shelves.vouchers)
    await tx.stores.update_many({}, {"owner_id": shop.users[1]["id"], "updated_at": shelves.products[0]["created_at"]})
    await tx.products.create_many(shelves.products)
    await tx.products.sell_in_stores(shelves.links)
    await tx.inventory.create_many(shop.inventory)


async def _insert_sales(tx: Repositories, sales: Sales) -> None:
    await tx.carts.create_many(sales.carts)
    await tx.cart_items.create_many(sales.cart_items)
    await tx.orders.create_many(sales.orders)
    await tx.orders.number_all()
    await tx.order_items.create_many(sales.order_items)
    await tx.payments.create_many(sales.payments)
    await tx.of(TestLedger).create_many(sales.charges)
    await tx.order_events.create_many([event for order in sales.orders for event in timeline(order, sales.payments_of(order))])
    for order in sales.orders:
        if order["id"] in sales.settled:
            settled = {"payment_id": sales.settled[order["id"]], "updated_at": order["updated_at"]}
            await tx.orders.update_by_id(order["id"], settled)


def _report(shop: DemoShop) -> SeedReport:
    counted = {
        "stores": shop.shelves.stores,
        "vouchers": shop.shelves.vouchers,
        "users": shop.users,
        "products": shop.shelves.products,
        "carts": shop.sales.carts,
        "orders": shop.sales.orders,
        "payments": shop.sales.payments,
        "notifications": shop.notifications,
    }
    return SeedReport({table: len(rows) for table, rows in counted.items()})
