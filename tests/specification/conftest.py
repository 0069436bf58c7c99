"""One gateway on a socket, and the repository factory over the same databases, for the walk through the specification's operations."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest
import structlog

from app.accounts.models import User, UserCreate
from app.accounts.passwords import PasswordHasher
from app.api.scalars import decode_id, encode_id
from app.carts.models import Cart
from app.catalog.models import Product, ProductCreate
from app.repositories import Repositories, create_repository_factory
from app.resources import open_resources
from app.settings import Settings
from app.stores.models import Store, StoreCreate
from tests.conftest import fresh_database
from tests.serving import Caller, listening, new_administrator, running_app, settings_for

PASSWORD = "plum-harbour-lantern-9"


@dataclass
class World:
    """What an operation works with, and what shows its effect: the rows themselves."""

    factory: Repositories
    passwords: PasswordHasher
    database: asyncpg.Connection
    visitor: Caller
    administrator: Caller
    number: Callable[[], int]
    settings: Settings

    def another_gateway(self) -> AbstractAsyncContextManager[Caller]:
        """A gateway on the same databases, as long as the block."""
        return served(self.settings)

    async def row(self, table: str, id: UUID) -> asyncpg.Record:
        """The row of an id as the database has it."""
        return await self.found(f"select * from {table} where id = $1", id)

    async def found(self, query: str, *values: Any) -> asyncpg.Record:
        """The first row of a query, which has one."""
        row = await self.database.fetchrow(query, *values)
        assert row is not None, (query, values)
        return row

    async def shown(self, table: str, kind: str, id: str) -> asyncpg.Record:
        """The row of a global id."""
        return await self.row(table, decode_id(id, kind, "id"))

    # --- What is there before an operation

    async def store(self) -> Store:
        name = f"shop{self.number()}"
        return await self.factory.stores.create_with_settings(StoreCreate(name=name, domain=f"{name}.example.com"))

    async def product(self, store: Store, price: str = "10.00", stock: int = 10) -> Product:
        given = ProductCreate(name=f"Tea {self.number()}", price=price, store_ids=frozenset({store.id}))  # type: ignore[arg-type]
        product = await self.factory.products.create_in_stores(given)
        await self.factory.inventory.set_on_hand(product.id, stock)
        return product

    async def user(self) -> User:
        name = f"user{self.number()}"
        account = UserCreate(email=f"{name}@example.com", username=name, password=PASSWORD)  # type: ignore[arg-type]
        return await self.factory.users.create_account(account, await self.passwords.hash(PASSWORD))

    async def caller(self) -> tuple[Caller, User]:
        """A user, signed in over HTTP."""
        user = await self.user()
        return await self.visitor.sign_in(user.email, PASSWORD), user

    async def cart(self, user: User, *lines: tuple[Product, int]) -> Cart:
        for product, quantity in lines:
            cart = await self.factory.carts.put_in(user.id, product.id, quantity)
        return cart


def global_id(row: Any) -> str:
    return encode_id(row.model.__name__, row.id)


@asynccontextmanager
async def served(settings: Settings) -> AsyncIterator[Caller]:
    """Somebody who reaches a gateway through a socket."""
    async with running_app(settings) as app, listening(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
        yield Caller(http)


@pytest.fixture(autouse=True)
def told(request: pytest.FixtureRequest, record_property: Callable[[str, object], None]) -> None:
    """Has the checklist at the end know which operations a test walked through."""
    for marker in request.node.iter_markers("operation"):
        record_property("operation", marker.args)


@pytest.fixture(scope="session")
async def world(postgres: str, migrated: str) -> AsyncIterator[World]:
    async with fresh_database(postgres, migrated) as dsn:
        settings = settings_for(dsn, clickhouse_timeout=60)
        async with served(settings) as visitor, open_resources(settings) as resources:
            factory = create_repository_factory(
                resources.database, resources.cache, resources.metrics, structlog.get_logger(), clickhouse=resources.clickhouse
            )
            passwords, numbers = PasswordHasher.from_settings(settings), count(1)
            connection = await asyncpg.connect(dsn, timeout=10)
            administrator = await new_administrator(visitor, dsn)
            yield World(factory, passwords, connection, visitor, administrator, lambda: next(numbers), settings)
            await connection.close()
            passwords.close()
