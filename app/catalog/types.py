"""Products and inventory as GraphQL shows them."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import strawberry

from app.accounts.types import User
from app.api.cache_control import cached
from app.api.connection import Connection, OrderDirection
from app.api.filters import Comparison, DateTimeFilter, DecimalFilter, IdFilter, StringFilter, filter_input, id_filter
from app.api.money import money
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import as_parent, guarded, published, requires
from app.api.relations import to_connection, to_many, to_one
from app.catalog import models
from app.stores.types import Store

if TYPE_CHECKING:
    from app.orders.types import Order

READ_STOCK = requires("inventory:read")

strawberry.enum(models.ProductStatus, description="Whether a product is for sale: only ACTIVE ones are.")
strawberry.enum(
    models.InventoryPolicy,
    description="Out of stock, a product cannot be ordered (DENY), or its pieces are owed (CONTINUE). UNTRACKED ones are not counted.",
)
strawberry.enum(models.MovementKind, description="Why the quantity on hand changed.")


@strawberry.type(description="A change of the quantity on hand. The sum of all is what is there.")
class InventoryMovement(Node):
    model = models.InventoryMovement
    access = READ_STOCK

    kind: models.MovementKind
    quantity: int = strawberry.field(description="Pieces that came, or below zero, that went.")
    reason: str | None
    created_at: datetime
    inventory: "Inventory" = to_one("inventory", "find_known_by_ids", key="inventory_id")
    order: Annotated["Order", strawberry.lazy("app.orders.types")] | None = to_one("orders", key="order_id", description="That it was for.")
    user: User | None = to_one("users", "find_known_by_ids", key="user_id", access=as_parent, description="Who said so; null for the shop.")


@filter_input
class InventoryMovementFilter:
    kind: Comparison[models.MovementKind] | None
    order_id: IdFilter | None = id_filter("Order")
    user_id: IdFilter | None = id_filter("User")
    created_at: DateTimeFilter | None


@strawberry.enum(description="What movements can be sorted by.")
class InventoryMovementOrderField(StrEnum):
    CREATED_AT = "created_at"


@strawberry.input
class InventoryMovementOrder:
    field: InventoryMovementOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type(description="The pieces of one product.", directives=[cached(5)])
class Inventory(Node):
    model = models.Inventory
    access = published("products:read")

    on_hand: int | None = guarded(READ_STOCK, "Pieces in the warehouse; below zero, pieces that are owed.")
    reserved: int | None = guarded(READ_STOCK, "Pieces of those held for orders not yet paid.")
    available: int = strawberry.field(description="Pieces that are there and free.")
    policy: models.InventoryPolicy = strawberry.field(description="What happens when no piece is free.")
    created_at: datetime
    updated_at: datetime
    movements: Connection[InventoryMovement] | None = to_connection(
        "inventory_movements",
        by="inventory_id",
        filter=InventoryMovementFilter,
        order=InventoryMovementOrder,
        access=READ_STOCK,
        description="How the quantity on hand came about, newest first.",
    )
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
