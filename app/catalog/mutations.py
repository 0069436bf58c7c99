"""Changing the catalogue: for staff."""

from decimal import Decimal

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from app.api.context import Info
from app.api.idempotency import DESCRIPTION as KEY
from app.api.idempotency import Effect
from app.api.inputs import IdInput
from app.api.mutations import given, mutation
from app.api.permissions import requires
from app.api.scalars import decode_id
from app.catalog.models import InventoryAdjust, InventoryPolicy, ProductCreate, ProductStatus, ProductUpdate
from app.catalog.types import InventoryPayload, ProductPayload

WRITE = requires("products:write")
WRITE_STOCK = requires("inventory:write")


@strawberry.input
class CreateProductInput:
    name: str
    price: Decimal = strawberry.field(description="In major units, at most as many decimals as the currency has.")
    currency: str = "USD"
    sku: str | None = UNSET
    description: str | None = UNSET
    category: str | None = UNSET
    image_url: str | None = UNSET
    metadata: JSON | None = UNSET
    inventory_policy: InventoryPolicy | None = strawberry.field(default=UNSET, description="DENY, if not given.")
    store_ids: list[strawberry.ID] | None = strawberry.field(default=UNSET, description="The stores that sell it.")


@strawberry.input(description="What is left out stays as it is.")
class UpdateProductInput:
    id: strawberry.ID
    name: str | None = UNSET
    price: Decimal | None = UNSET
    currency: str | None = UNSET
    sku: str | None = UNSET
    description: str | None = UNSET
    category: str | None = UNSET
    image_url: str | None = UNSET
    status: ProductStatus | None = UNSET
    metadata: JSON | None = UNSET
    inventory_policy: InventoryPolicy | None = UNSET
    store_ids: list[strawberry.ID] | None = UNSET


@strawberry.input
class SetInventoryInput:
    product_id: strawberry.ID
    on_hand: int
    reason: str | None = strawberry.field(default=None, description="For the ledger.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input
class AdjustInventoryInput:
    product_id: strawberry.ID
    delta: int = strawberry.field(description="Pieces that came, or below zero, that went.")
    reason: str = strawberry.field(description="Why, such as `delivery` or `broken`: it stands in the ledger.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


def _store_ids(ids: list[strawberry.ID] | None) -> dict[str, object]:
    if ids is UNSET or ids is None:
        return {}
    return {"store_ids": [decode_id(id, "Store", "storeIds") for id in ids]}


@strawberry.type
class CatalogMutation:
    @mutation(access=WRITE)
    async def create_product(self, info: Info, input: CreateProductInput) -> ProductPayload | None:
        values = {**given(input, without=("store_ids",)), **_store_ids(input.store_ids), "created_by": info.context.viewer.user_id}
        return ProductPayload(product=await info.context.repositories.products.create_in_stores(ProductCreate.model_validate(values)))

    @mutation(access=WRITE)
    async def update_product(self, info: Info, input: UpdateProductInput) -> ProductPayload | None:
        values = {**given(input, without=("id", "store_ids")), **_store_ids(input.store_ids), "updated_by": info.context.viewer.user_id}
        change = ProductUpdate.model_validate(values)
        return ProductPayload(product=await info.context.repositories.products.update_product(decode_id(input.id, "Product", "id"), change))

    @mutation(access=WRITE, description="Take a product off sale. Orders keep it; carts show that it is gone.")
    async def archive_product(self, info: Info, input: IdInput) -> ProductPayload | None:
        return ProductPayload(product=await info.context.repositories.products.archive(decode_id(input.id, "Product", "id")))

    @mutation(access=WRITE, description="Put an archived product on sale again.")
    async def restore_product(self, info: Info, input: IdInput) -> ProductPayload | None:
        return ProductPayload(product=await info.context.repositories.products.unarchive(decode_id(input.id, "Product", "id")))

    @mutation(access=WRITE_STOCK, idempotent=Effect.ONE_TRANSACTION, description="Say how many pieces of a product are in the warehouse.")
    async def set_inventory(self, info: Info, input: SetInventoryInput) -> InventoryPayload | None:
        product_id = decode_id(input.product_id, "Product", "productId")
        return InventoryPayload(inventory=await info.context.repositories.inventory.set_on_hand(product_id, input.on_hand, input.reason))

    @mutation(
        access=WRITE_STOCK,
        idempotent=Effect.ONE_TRANSACTION,
        description="Add pieces of a product that came, or take those that went, otherwise than by a sale.",
    )
    async def adjust_inventory(self, info: Info, input: AdjustInventoryInput) -> InventoryPayload | None:
        product_id = decode_id(input.product_id, "Product", "productId")
        adjustment = InventoryAdjust(product_id=product_id, delta=input.delta, reason=input.reason)
        return InventoryPayload(inventory=await info.context.repositories.inventory.adjust(adjustment))
