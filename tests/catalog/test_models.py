"""What the database and the inputs refuse of products and their inventory."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from app.catalog.models import MAX_STOCK, InventorySet, ProductCreate, ProductStatus, ProductUpdate

Insert = Callable[..., Awaitable[UUID]]


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("products", {"price": Decimal("-0.01")}, "ck_products_price_not_negative"),
        ("products", {"currency": "usd"}, "ck_products_currency"),
        ("products", {"currency": "US"}, "ck_products_currency"),
        ("products", {"status": "SOLD"}, "ck_products_status"),
        ("products", {"status": "DELETED"}, "ck_products_status_deleted"),
        ("products", {"metadata": "[]"}, "ck_products_metadata_is_object"),
        ("inventory", {"on_hand": -1, "reserved": -1}, "ck_inventory_on_hand_not_negative"),
        ("inventory", {"reserved": -1}, "ck_inventory_reserved_not_negative"),
        ("inventory", {"on_hand": 1, "reserved": 2}, "ck_inventory_reserved_on_hand"),
    ],
)
async def test_a_bad_row_is_refused(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


async def test_a_sku_is_free_again_once_its_product_is_deleted(insert: Insert, connection: asyncpg.Connection) -> None:
    first = await insert("products", sku="TEA-1")
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_products_sku"):
        async with connection.transaction():
            await insert("products", sku="TEA-1")
    await connection.execute("update products set is_deleted = true, deleted_at = now(), status = 'DELETED' where id = $1", first)
    await insert("products", sku="TEA-1")


async def test_products_without_a_sku_are_many(insert: Insert) -> None:
    assert await insert("products") != await insert("products")


async def test_a_product_has_one_inventory(insert: Insert) -> None:
    product = await insert("products")
    await insert("inventory", product_id=product)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_inventory_product_id"):
        await insert("inventory", product_id=product)


async def test_available_is_what_is_not_reserved(insert: Insert, connection: asyncpg.Connection) -> None:
    stock = await insert("inventory", on_hand=10, reserved=3)
    assert await connection.fetchval("select available from inventory where id = $1", stock) == 7
    taken = "update inventory set reserved = on_hand where id = $1 returning available"
    assert await connection.fetchval(taken, stock) == 0


async def test_a_store_sells_a_product_once(insert: Insert, connection: asyncpg.Connection) -> None:
    product, store = await insert("products"), await insert("stores")
    sell = "insert into product_stores (product_id, store_id) values ($1, $2)"
    await connection.execute(sell, product, store)
    with pytest.raises(asyncpg.UniqueViolationError, match="pk_product_stores"):
        async with connection.transaction():
            await connection.execute(sell, product, store)
    await connection.execute("delete from products where id = $1", product)
    assert await connection.fetchval("select count(*) from product_stores where store_id = $1", store) == 0


async def test_the_public_list_is_read_from_its_index(connection: asyncpg.Connection) -> None:
    await connection.execute("set local enable_seqscan = off; set local enable_sort = off")
    plan = await connection.fetch(
        "explain select id from products where status = 'ACTIVE' and not is_deleted order by created_at desc, id desc limit 50"
    )
    assert "Backward using ix_products_public" in " ".join(row[0] for row in plan)


PRODUCT: dict[str, Any] = {"name": "Teapot", "price": Decimal("12.50")}


def refused_field(model: type[Any], **values: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        model(**values)
    return str(refused.value.errors()[0]["loc"][0])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", ""),
        ("name", " "),
        ("name", "a" * 256),
        ("name", "tea\x00pot"),
        ("price", Decimal(-1)),
        ("price", Decimal("1.005")),
        ("price", Decimal(10**15)),
        ("price", None),
        ("currency", "XXX"),
        ("description", "a" * 5001),
        ("sku", "a" * 101),
        ("category", "a" * 101),
        ("image_url", "file:///etc/passwd"),
        ("image_url", "https://example.com/" + "a" * 2048),
        ("status", "SOLD"),
        ("metadata", [1]),
        ("store_ids", ["1"]),
        ("store_ids", [UUID(int=number) for number in range(101)]),
        ("id", UUID(int=1)),
    ],
)
def test_a_bad_product_is_refused(field: str, value: Any) -> None:
    assert refused_field(ProductCreate, **PRODUCT | {field: value}) == field


def test_a_product() -> None:
    product = ProductCreate(**PRODUCT | {"name": " Teapot ", "store_ids": [UUID(int=1), UUID(int=1)]})
    assert (product.name, product.price, product.currency, product.status) == ("Teapot", Decimal("12.50"), "USD", ProductStatus.ACTIVE)
    assert product.store_ids == {UUID(int=1)}


def test_a_price_suits_its_currency() -> None:
    assert refused_field(ProductCreate, **PRODUCT | {"currency": "JPY"}) == "price"
    assert refused_field(ProductUpdate, price=Decimal("1.5"), currency="JPY") == "price"
    assert ProductCreate(**PRODUCT | {"currency": "KWD", "price": Decimal("1.125")}).price == Decimal("1.125")
    assert ProductUpdate(price=Decimal("1.5")).price == Decimal("1.5")


def test_what_a_product_must_have_cannot_be_cleared() -> None:
    assert ProductUpdate(sku=None, description=None).model_dump(exclude_unset=True) == {"sku": None, "description": None}
    for field in ("name", "price", "currency", "status", "store_ids"):
        assert refused_field(ProductUpdate, **{field: None}) == field


@pytest.mark.parametrize("on_hand", [-1, MAX_STOCK + 1, 2**63, 1.5, "many"])
def test_a_bad_stock_is_refused(on_hand: Any) -> None:
    assert refused_field(InventorySet, product_id=UUID(int=1), on_hand=on_hand) == "on_hand"


async def test_the_greatest_stock_fits_its_column(insert: Insert) -> None:
    await insert("inventory", on_hand=MAX_STOCK, reserved=MAX_STOCK)
