"""A schema made to go wrong, over the shop's own tables: lists inside lists, rows that scopes hide where the schema wants one, resolvers
and computed fields that raise, columns that are null where the schema lets no null be."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import strawberry
from strawberry.schema.config import StrawberryConfig
from strawberry.tools import merge_types

from app.api.computed import batched, computed
from app.api.connection import Connection, connection
from app.api.context import Info
from app.api.money import money
from app.api.node import Node, NodeQuery
from app.api.permissions import public, published
from app.api.relations import sum_of, to_connection, to_many, to_one
from app.api.scalars import SCALARS
from app.api.scopes import enforce_scopes
from app.carts import models as carts
from app.catalog import models as catalog
from app.orders import models as orders
from app.orders.types import OrderFilter, OrderOrder
from app.stores import models as stores


def _slug(name: str) -> str:
    return name.lower().replace(" ", "-")


def _age(created_at: datetime, price: Decimal, id: object) -> str:
    return f"{type(id).__name__} {created_at.isoformat()} {price:f}"


def _short(name: str) -> str:
    if len(name) > 20:
        raise ValueError("too long a name")
    return name


def _first_letter(category: str | None) -> str | None:
    return category and category[0]


async def _views(_repositories: Any, ids: Sequence[UUID]) -> list[int]:
    await asyncio.sleep(0)
    return [id.int % 1000 for id in ids]


async def _tag(_repositories: Any, keys: Sequence[tuple[datetime, Decimal]]) -> list[str]:
    return [f"{created_at.isoformat()} {price:f}" for created_at, price in keys]


async def _popular(_repositories: Any, names: Sequence[str]) -> list[str | Exception | None]:
    """For a row with a long name it fails, and of some rows it knows nothing."""
    return [ValueError("too long a name") if len(name) > 20 else None if name.startswith("t") else name.upper() for name in names]


@strawberry.type
class Product(Node):
    model = catalog.Product
    access = published("products:read")

    name: str
    price: Decimal = money("price")
    category: str = strawberry.field(description="Null in some rows, whatever this says.")
    slug: str = computed(_slug, needs=("name",))
    age: str = computed(_age, needs=("created_at", "price", "id"))
    short: str | None = computed(_short, needs=("name",))
    letter: str | None = computed(_first_letter, needs=("category",))
    must_letter: str = computed(_first_letter, needs=("category",))

    views: int = batched(_views, needs=("id",))
    tag: str = batched(_tag, needs=("created_at", "price"))
    popular: str | None = batched(_popular, needs=("name",))
    must_popular: str = batched(_popular, needs=("name",))

    @strawberry.field
    def resolved(self) -> str | None:
        """Only its resolver knows; for some rows it raises."""
        return _short(self.name)


@strawberry.type
class OrderItem(Node):
    model = orders.OrderItem
    access = published("orders:read")

    quantity: int
    price: Decimal = money("price")
    product: Product = to_one("products", key="product_id", description="Hidden from many viewers when it is off sale.")


@strawberry.type
class Order(Node):
    model = orders.Order
    access = published("orders:read")

    status: orders.OrderStatus
    total: Decimal = money("total")
    items: list[OrderItem] = to_many("order_items", "find_by_order_ids")
    pieces: int = sum_of("order_items", "find_by_order_ids", "quantity")


@strawberry.type
class Cart(Node):
    model = carts.Cart
    access = published("orders:read")

    currency: str


@strawberry.type
class Store(Node):
    model = stores.Store
    access = published("stores:read")

    name: str
    orders: Connection[Order] = to_connection("orders", by="store_id", filter=OrderFilter, order=OrderOrder)
    carts: Connection[Cart] = to_connection("carts", by="store_id")


@strawberry.type
class BazaarQuery:
    stores: Connection[Store] = connection("stores", access=public)
    products: Connection[Product] = connection("products", access=public)
    orders: Connection[Order] = connection("orders", access=public, filter=OrderFilter, order=OrderOrder)


def create_bazaar() -> strawberry.Schema:
    query = merge_types("Query", (NodeQuery, BazaarQuery))
    schema = strawberry.Schema(query=query, config=StrawberryConfig(info_class=Info, scalar_map=SCALARS))
    enforce_scopes(schema._schema)
    return schema
