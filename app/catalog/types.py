"""Products and inventory as GraphQL shows them."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import strawberry

from app.api.cache_control import cached
from app.api.connection import OrderDirection
from app.api.filters import Comparison, DateTimeFilter, DecimalFilter, IdFilter, StringFilter, filter_input, id_filter
from app.api.money import money
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import guarded, published, requires
from app.api.relations import to_many, to_one
from app.catalog import models
from app.stores.types import Store

strawberry.enum(models.ProductStatus, description="Whether a product is for sale: only ACTIVE ones are.")


@strawberry.type(description="The pieces of one product.", directives=[cached(5)])
class Inventory(Node):
    model = models.Inventory
    access = published("products:read")

    on_hand: int | None = guarded(requires("inventory:read"), "Pieces in the warehouse.")
    reserved: int | None = guarded(requires("inventory:read"), "Pieces of those held for orders not yet paid.")
    available: int = strawberry.field(description="Pieces that can be bought now.")
    created_at: datetime
    updated_at: datetime
    product: "Product" = to_one("products", "find_sold_by_ids", key="product_id")


@strawberry.type(description="Something sold, at a price in one currency.", directives=[cached(60)])
class Product(Node):
    model = models.Product
    access = published("products:read")

    name: str
    description: str | None
    price: Decimal = money("price")
    currency: str = strawberry.field(description="ISO 4217 code.")
    sku: str | None = strawberry.field(description="Stock keeping unit, unique.")
    image_url: str | None
    category: str | None
    status: models.ProductStatus
    created_at: datetime
    updated_at: datetime
    inventory: Inventory | None = to_one("inventory", "find_by_product_ids", key="id")
    stores: list[Store] = to_many("stores", "find_by_product_ids", description="The stores that sell it.")


@filter_input
class ProductFilter:
    id: IdFilter | None = id_filter("Product")
    name: StringFilter | None
    sku: StringFilter | None
    category: StringFilter | None
    price: DecimalFilter | None
    currency: StringFilter | None
    status: Comparison[models.ProductStatus] | None
    created_at: DateTimeFilter | None


@strawberry.enum(description="What products can be sorted by.")
class ProductOrderField(StrEnum):
    CREATED_AT = "created_at"
    NAME = "name"
    PRICE = "price"


@strawberry.input
class ProductOrder:
    field: ProductOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type
class ProductPayload(Payload):
    product: Product | None = None


@strawberry.type
class InventoryPayload(Payload):
    inventory: Inventory | None = None
