"""The catalogue: products, the stores that sell them, and how many pieces there are."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, ClassVar
from uuid import UUID

from pydantic import Field
from sqlalchemy import Index, text
from sqlmodel import SQLModel

from app.catalog.models.inventory import (
    MAX_STOCK,
    Inventory,
    InventoryAdjust,
    InventoryMovement,
    InventoryPolicy,
    InventorySet,
    MovementKind,
)
from app.core import model
from app.core.inputs import Amount, CurrencyCode, Input, JsonObject, Line, Passage, Update, Url
from app.core.model import TEXT, SoftDeletable

__all__ = [
    "MAX_STOCK",
    "Inventory",
    "InventoryAdjust",
    "InventoryMovement",
    "InventoryPolicy",
    "InventorySet",
    "MovementKind",
    "Product",
    "ProductCreate",
    "ProductStatus",
    "ProductStore",
    "ProductUpdate",
]


class ProductStatus(StrEnum):
    """ACTIVE products are public; an archived one can be restored to ACTIVE."""

    ACTIVE = "ACTIVE"
    INACTIVE = "INACTIVE"
    ARCHIVED = "ARCHIVED"
    DELETED = "DELETED"


class Product(SoftDeletable, table=True):
    """Something sold, at a price in one currency. The SKU is unique among the products that exist."""

    __tablename__ = "products"
    __table_args__ = (
        model.one_of("status", ProductStatus),
        model.deletion_is_dated(),
        model.deleted_status(),
        *model.not_negative("price"),
        model.is_currency(),
        *model.is_object("metadata"),
        Index("uq_products_sku", "sku", unique=True, postgresql_where=text("not is_deleted")),
        model.newest_first("products"),
        model.newest_first("products", where="status = 'ACTIVE' and not is_deleted", name="ix_products_public"),
        model.newest_first("products", "status"),
        model.newest_first("products", "category"),
        model.sparse_index("products", "created_by"),
        model.sparse_index("products", "updated_by"),
    )

    name: str = model.column(max_length=255)
    description: str | None = model.column(None, sa_type=TEXT)
    price: Decimal = model.amount()
    currency: str = model.currency_code()
    sku: str | None = model.column(None, max_length=128)
    image_url: str | None = model.column(None, max_length=2048)
    category: str | None = model.column(None, max_length=100)
    status: ProductStatus = model.choice(ProductStatus.ACTIVE)
    created_by: UUID | None = model.reference("users.id", "SET NULL", None)
    updated_by: UUID | None = model.reference("users.id", "SET NULL", None)
    metadata_: dict[str, Any] | None = model.metadata_column()


class ProductStore(SQLModel, table=True):
    """That a store sells a product."""

    __tablename__ = "product_stores"
    __table_args__ = (Index("ix_product_stores_store_id_product_id", "store_id", "product_id"),)

    product_id: UUID = model.reference("products.id", "CASCADE", primary_key=True)
    store_id: UUID = model.reference("stores.id", "CASCADE", primary_key=True)
    created_at: datetime = model.moment("now")


ProductName = Annotated[str, Line(255)]
Description = Annotated[str, Passage(5000)]
Sku = Annotated[str, Line(100)]
Category = Annotated[str, Line(100)]


class ProductCreate(Input):
    """A new product, sold by `store_ids` (each once)."""

    name: ProductName
    currency: CurrencyCode = "USD"
    price: Amount
    description: Description | None = None
    sku: Sku | None = None
    category: Category | None = None
    image_url: Url | None = None
    status: ProductStatus = ProductStatus.ACTIVE
    created_by: UUID | None = None
    metadata: JsonObject | None = None
    inventory_policy: InventoryPolicy = InventoryPolicy.DENY
    store_ids: Annotated[frozenset[UUID], Field(max_length=100)] = frozenset()


class ProductUpdate(Update):
    """What may change about a product; deleting and restoring have their own methods.

    A price given without its currency is in the product's present one: `core.money.exact` says whether it suits.
    """

    nullable: ClassVar[frozenset[str]] = frozenset({"description", "sku", "category", "image_url", "metadata"})

    name: ProductName | None = None
    currency: CurrencyCode | None = None
    price: Amount | None = None
    description: Description | None = None
    sku: Sku | None = None
    category: Category | None = None
    image_url: Url | None = None
    status: ProductStatus | None = None
    updated_by: UUID | None = None
    metadata: JsonObject | None = None
    inventory_policy: InventoryPolicy | None = None
    store_ids: Annotated[frozenset[UUID], Field(max_length=100)] | None = None
