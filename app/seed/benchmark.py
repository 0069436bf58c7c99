"""The data of the benchmark: many products and orders, made by the database itself (`benchmark.sql`)."""

from collections.abc import Mapping
from importlib.resources import files
from typing import Final

from app.repositories import Repositories
from app.seed.draw import Draw
from app.seed.loading import HashPassword, SeedReport, is_loaded, load_once
from app.seed.people import ADMINISTRATOR, account_row, password_hashes

KEY: Final = "benchmark_data"
PRODUCTS: Final = 10_000
ORDERS: Final = 20_000
ITEMS_PER_ORDER: Final = 4
ORDERS_PER_SHOPPER: Final = 10
TABLES: Final = ("users", "stores", "products", "product_stores", "inventory", "orders", "order_items", "payments")


async def seed_benchmark(
    repositories: Repositories, hash_password: HashPassword, *, products: int = PRODUCTS, orders: int = ORDERS
) -> SeedReport:
    """Load products, and orders of four items and a payment each, newer than whatever is there; and the administrator who may read them.

    Does nothing where it was done before. Raises ValueError for fewer products than an order has items, or no order; `RepositoryError`
    when the database refuses or does not answer: then nothing is loaded but the administrator.
    """
    if products < ITEMS_PER_ORDER or orders < 1:
        raise ValueError(f"products must be at least {ITEMS_PER_ORDER} and orders at least 1, not {products} and {orders}")
    if await is_loaded(repositories, KEY):
        return SeedReport({}, f"{KEY} is there already")
    await _add_administrator(repositories, hash_password)
    shoppers = -(-orders // ORDERS_PER_SHOPPER)
    return await load_once(KEY, lambda: _load(repositories, {"products": products, "orders": orders, "shoppers": shoppers}))


async def _add_administrator(repositories: Repositories, hash_password: HashPassword) -> None:
    if await repositories.users.exists({"email": ADMINISTRATOR.email}):
        return
    hashes = await password_hashes(hash_password, (ADMINISTRATOR,))
    roles = {role.name: role.id for role in await repositories.roles.find_many()}
    row = account_row(Draw(repositories.now()), ADMINISTRATOR, hashes[ADMINISTRATOR.email], roles[ADMINISTRATOR.role])
    await repositories.users.create(row)


async def _load(repositories: Repositories, sizes: Mapping[str, int]) -> SeedReport:
    script = files("app.seed").joinpath("benchmark.sql").read_text(encoding="utf-8")
    await repositories.database.execute_script(script, {f"benchmark.{name}": str(size) for name, size in sizes.items()})
    await repositories.database.vacuum(*TABLES)
    products, orders, shoppers = sizes["products"], sizes["orders"], sizes["shoppers"]
    return SeedReport(
        {"users": shoppers, "products": products, "orders": orders, "order_items": orders * ITEMS_PER_ORDER, "payments": orders}
    )
