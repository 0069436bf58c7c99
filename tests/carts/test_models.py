"""What the database and the inputs refuse of carts, their lines and their recovery."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from app.carts.models import MAX_LINE_QUANTITY, CartCreate, CartItemAdd, RecoveryEventCreate

Insert = Callable[..., Awaitable[UUID]]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SHA256 = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("carts", {"user_id": None}, "ck_carts_owner"),
        ("carts", {"cart_token_hash": "token"}, "ck_carts_cart_token_hash"),
        ("carts", {"status": "FULL"}, "ck_carts_status"),
        ("carts", {"total": Decimal("-0.01")}, "ck_carts_total_adds_up"),
        ("carts", {"currency": "usd"}, "ck_carts_currency"),
        ("carts", {"version": 0}, "ck_carts_version_positive"),
        ("carts", {"status": "CONVERTED"}, "ck_carts_converted_at_set"),
        ("carts", {"converted_at": NOW}, "ck_carts_converted_at_set"),
        ("carts", {"metadata": "1"}, "ck_carts_metadata_is_object"),
        ("cart_items", {"quantity": 0}, "ck_cart_items_quantity"),
        ("cart_items", {"quantity": -1}, "ck_cart_items_quantity"),
        ("cart_items", {"quantity": MAX_LINE_QUANTITY + 1}, "ck_cart_items_quantity"),
        ("cart_items", {"price": Decimal(-1)}, "ck_cart_items_price_not_negative"),
        ("cart_items", {"currency": "$"}, "ck_cart_items_currency"),
        ("recovery_events", {"status": "LOST"}, "ck_recovery_events_status"),
        ("recovery_events", {"status": "RECOVERED"}, "ck_recovery_events_recovered_at_set"),
        ("recovery_events", {"recovered_amount": Decimal(1)}, "ck_recovery_events_amount_has_currency"),
        ("recovery_events", {"recipient_hash": "ann@example.com"}, "ck_recovery_events_recipient_hash"),
        ("recovery_events", {"attempts": -1}, "ck_recovery_events_attempts_not_negative"),
        ("recovery_events", {"metadata": "1"}, "ck_recovery_events_metadata_is_object"),
    ],
)
async def test_a_bad_row_is_refused(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


@pytest.mark.parametrize("with_store", [True, False], ids=["in a store", "in none"])
@pytest.mark.parametrize("guest", [True, False], ids=["guest", "user"])
async def test_a_shopper_has_one_active_cart_per_store(
    insert: Insert, connection: asyncpg.Connection, guest: bool, with_store: bool
) -> None:
    store = await insert("stores") if with_store else None
    owner = {"user_id": None, "cart_token_hash": SHA256} if guest else {"user_id": await insert("users")}
    cart = await insert("carts", **owner, store_id=store)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_carts_active_of_guest" if guest else "uq_carts_active_of_user"):
        async with connection.transaction():
            await insert("carts", **owner, store_id=store)
    await insert("carts", **owner, store_id=await insert("stores"))
    await insert("carts", **owner, store_id=store, status="ABANDONED")
    await connection.execute("update carts set status = 'CONVERTED', converted_at = now() where id = $1", cart)
    await insert("carts", **owner, store_id=store)


async def test_carts_of_several_users_and_guests_do_not_collide(insert: Insert) -> None:
    for digit in "ab":
        await insert("carts")
        await insert("carts", user_id=None, cart_token_hash=digit * 64)


async def test_a_deleted_cart_is_no_longer_active(insert: Insert) -> None:
    user = await insert("users")
    await insert("carts", user_id=user, is_deleted=True, deleted_at=NOW)
    await insert("carts", user_id=user)


async def test_a_product_has_one_line(insert: Insert) -> None:
    cart, product = await insert("carts"), await insert("products")
    await insert("cart_items", cart_id=cart, product_id=product)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_cart_items_cart_id_product_id"):
        await insert("cart_items", cart_id=cart, product_id=product)


async def test_a_cart_has_one_pending_recovery(insert: Insert, connection: asyncpg.Connection) -> None:
    cart = await insert("carts")
    event = await insert("recovery_events", cart_id=cart)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_recovery_events_pending"):
        async with connection.transaction():
            await insert("recovery_events", cart_id=cart)
    await connection.execute("update recovery_events set status = 'FAILED' where id = $1", event)
    await insert("recovery_events", cart_id=cart)


async def test_what_is_in_a_cart_goes_with_it(insert: Insert, connection: asyncpg.Connection) -> None:
    cart = await insert("carts")
    await insert("cart_items", cart_id=cart)
    await insert("recovery_events", cart_id=cart)
    await connection.execute("delete from carts where id = $1", cart)
    assert await connection.fetchval("select count(*) from cart_items where cart_id = $1", cart) == 0
    assert await connection.fetchval("select count(*) from recovery_events where cart_id = $1", cart) == 0


@pytest.mark.parametrize("quantity", [0, -1, MAX_LINE_QUANTITY + 1, 2**31, 2**63, 1.5])
def test_a_bad_quantity_is_refused(quantity: Any) -> None:
    with pytest.raises(ValidationError, match="quantity"):
        CartItemAdd(product_id=UUID(int=1), quantity=quantity)


def test_a_cart_belongs_to_somebody() -> None:
    with pytest.raises(ValidationError, match="needs a user or a guest's token"):
        CartCreate()
    with pytest.raises(ValidationError, match="cart_token_hash"):
        CartCreate(cart_token_hash="token")
    assert CartCreate(user_id=UUID(int=1)).currency == "USD"


def test_a_recovery_is_named() -> None:
    with pytest.raises(ValidationError, match="event_type"):
        RecoveryEventCreate(cart_id=UUID(int=1), event_type="")
