"""A shop to buy from: products with stock, shoppers with carts, and GraphQL on behalf of any of them, all on a real database."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import pytest
import strawberry
from graphql import ExecutionResult, execute, parse

from app.api.context import Context, RequestInfo
from app.api.errors import formatted
from app.api.rate_limit import RateLimiter
from app.api.scalars import encode_id
from app.carts.models import Cart
from app.catalog.models import Product, ProductCreate
from app.core.cache import Cache, memory_backend
from app.core.clock import Clock, system_clock
from app.core.database import Database, DatabaseOptions, Row
from app.core.errors import UserError
from app.core.metrics import Metrics
from app.core.quotas import Quotas
from app.core.security import Viewer, ViewerKind
from app.core.statement import Statement
from app.engagement.outbound import AddressRules
from app.engagement.webhooks import Webhooks
from app.orders.models import Order
from app.orders.payments import Moment, Payments
from app.orders.test_provider import TestPaymentProvider
from app.repositories import Repositories, create_repository_factory
from app.schema import create_schema
from app.stores.models import Store, StoreCreate, StoreSettingsUpdate
from tests.conftest import fresh_database

ADMINISTRATOR = Viewer(kind=ViewerKind.ADMINISTRATOR, user_id=uuid4(), permissions=frozenset({"*:*"}))
CONNECTIONS = 24
CLOSING = "update orders set payment_id = null;" + "".join(
    f"delete from {table};" for table in ("test_charges", "refunds", "payments", "orders", "carts", "products", "users", "stores", "config")
)
"""Empties the tables of a shop, and those that hang on them: quicker than to truncate so many, or to copy a database."""


class CountingDatabase(Database):
    """Keeps the text of every statement that runs outside of transactions."""

    def __init__(self, dsn: str, options: DatabaseOptions) -> None:
        super().__init__(dsn, options)
        self.statements: list[str] = []

    async def fetch(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> list[Any]:
        self.statements.append(statement.text)
        return await super().fetch(statement, values, record_class)

    async def fetch_row(self, statement: Statement, values: Mapping[str, Any], record_class: type[Row] = Row) -> Any | None:
        self.statements.append(statement.text)
        return await super().fetch_row(statement, values, record_class)

    async def fetch_value(self, statement: Statement, values: Mapping[str, Any]) -> Any:
        self.statements.append(statement.text)
        return await super().fetch_value(statement, values)

    async def compose(self, text: str, arguments: Sequence[Any]) -> Sequence[Any]:
        self.statements.append(text)
        return await super().compose(text, arguments)


def unlimited() -> RateLimiter:
    metrics = Metrics()
    return RateLimiter(Quotas(None, metrics.quota_failures.inc), metrics, per_address=1, per_user=1, enabled=False)


@dataclass
class Services:
    payments: Payments
    webhooks: Webhooks = field(default_factory=lambda: Webhooks(AddressRules(), timedelta(days=1)))
    rate_limiter: RateLimiter = field(default_factory=unlimited)


@dataclass
class Shop:
    """One store of a database of its own. `passed` is told of the moments of payments."""

    database: CountingDatabase
    repositories: Repositories
    store: Store
    schema: strawberry.Schema
    provider: TestPaymentProvider
    numbers: Any = field(default_factory=count)
    passed: Callable[[Moment], object] = lambda _moment: None

    @property
    def payments(self) -> Payments:
        return Payments(self.provider, self.passed)

    async def open_store(self, **settings: Any) -> Store:
        domain, given = f"tea{next(self.numbers)}.example.com", StoreSettingsUpdate(**settings)
        return await self.repositories.stores.create_with_settings(StoreCreate(name="Tea shop", domain=domain, settings=given))

    async def product(self, price: str = "10.00", stock: int = 100, *, stores: tuple[UUID, ...] | None = None, **values: Any) -> Product:
        """A product for sale; in the shop's store unless others are given."""
        store_ids = frozenset((self.store.id,) if stores is None else stores)
        given = ProductCreate(name=f"Tea {next(self.numbers)}", price=Decimal(price), store_ids=store_ids, **values)
        row = await self.repositories.products.create_in_stores(given)
        await self.repositories.inventory.set_on_hand(row.id, stock)
        return row

    async def viewer(self, kind: ViewerKind = ViewerKind.SHOPPER, *permissions: str) -> Viewer:
        """A new account; staff is of the shop's store."""
        name = f"shopper{next(self.numbers)}"
        user = await self.repositories.users.create({"email": f"{name}@example.com", "username": name})
        return Viewer(kind, user.id, self.store.id if kind is ViewerKind.STAFF else None, permissions=frozenset(permissions))

    def of(self, viewer: Viewer) -> Repositories:
        return self.repositories.scoped(viewer)

    async def cart(self, viewer: Viewer, *lines: tuple[Product, int]) -> Cart:
        """The shopper's active cart, with these pieces."""
        assert viewer.user_id is not None
        if not lines:
            return await self.of(viewer).carts.obtain_active(viewer.user_id, self.store.id)
        for product, quantity in lines:
            cart = await self.of(viewer).carts.put_in(viewer.user_id, product.id, quantity)
        return cart

    async def order(self, viewer: Viewer, *lines: tuple[Product, int], key: str | None = None) -> Order:
        cart = await self.cart(viewer, *lines)
        return await self.of(viewer).orders.create_from_cart(cart.id, "card", key)

    async def stock(self, product: Product) -> tuple[int, int, int]:
        """Pieces on hand, reserved, available."""
        row = await self.repositories.inventory.find_first({"product_id": product.id})
        assert row is not None
        return row.on_hand, row.reserved, row.available

    async def deadlocks(self) -> int:
        """How many there were in this database, also those that were retried: every connection is made to tell, which may take its time."""
        async with AsyncExitStack() as stack:
            for _ in range(CONNECTIONS):
                connection = await stack.enter_async_context(self.database.connection())
                await connection.execute("select pg_stat_force_next_flush()")
        async with self.database.connection() as connection:
            return int(await connection.fetchval("select deadlocks from pg_stat_database where datname = current_database()"))

    async def ask(self, viewer: Viewer, document: str, **variables: Any) -> dict[str, Any]:
        """The body of a GraphQL answer."""
        limiter = RateLimiter(Quotas(), self.repositories.metrics, per_address=10_000, per_user=10_000)
        context = Context(self.of(viewer), RequestInfo(id="test"), Services(self.payments, rate_limiter=limiter))
        result = execute(self.schema._schema, parse(document), context_value=context, variable_values=variables)
        found = result if isinstance(result, ExecutionResult) else await result
        errors = [formatted(error, "test") for error in found.errors or ()]
        return {"data": found.data, **({"errors": errors} if errors else {})}

    async def change(self, viewer: Viewer, name: str, shown: str, **input: Any) -> Any:
        """The payload of one mutation; it must not fail."""
        kind = f"{name[0].upper()}{name[1:]}Input" if name != "cancelOrder" else "IdInput"
        document = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ {shown} userErrors {{ field code message }} }} }}"
        answer = await self.ask(viewer, document, input=input)
        assert "errors" not in answer, answer
        return answer["data"][name]


def ids(**rows: Any) -> dict[str, str]:
    """Global ids by argument: `ids(cartId=cart)`."""
    return {name: encode_id(row.model.__name__, row.id) for name, row in rows.items()}


async def refused(action: Awaitable[Any]) -> tuple[str, str | None]:
    """The code and the field of the user error that an action ends with."""
    with pytest.raises(UserError) as error:
        await action
    return error.value.code, ".".join(error.value.field) if error.value.field else None


@pytest.fixture(scope="session")
def schema() -> strawberry.Schema:
    return create_schema()


@pytest.fixture(scope="module")
async def premises(postgres: str, migrated: str) -> AsyncIterator[CountingDatabase]:
    """A database for the shops of one module, with many connections, so that shoppers really race."""
    async with fresh_database(postgres, migrated) as dsn:
        database = CountingDatabase(dsn, DatabaseOptions(pool_max=CONNECTIONS, lock_timeout_ms=10_000, connect_timeout=20))
        await database.open()
        yield database
        await database.close()


async def open_shop(database: CountingDatabase, schema: strawberry.Schema, now: Clock = system_clock, **settings: Any) -> Shop:
    """A new shop in an empty database; `settings` are those of its store."""
    metrics = Metrics()
    repositories = create_repository_factory(database, Cache(memory_backend(), metrics), metrics, now=now)
    opened = StoreCreate(name="Tea shop", domain="tea.example.com", settings=StoreSettingsUpdate(**settings))
    store = await repositories.stores.create_with_settings(opened)
    return Shop(database, repositories, store, schema, TestPaymentProvider(repositories))


@pytest.fixture
async def shop(premises: CountingDatabase, schema: strawberry.Schema) -> AsyncIterator[Shop]:
    """A new shop, alone in its database."""
    yield await open_shop(premises, schema)
    await premises.execute_script(CLOSING)
