"""What the database and the inputs refuse of orders and payments, and which way an order may go."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from app.carts.models import MAX_LINE_QUANTITY
from app.orders.models import (
    OrderCreate,
    OrderItemCreate,
    OrderStatus,
    OrderUpdate,
    PaymentCreate,
    allowed_sources,
    is_completed_order,
    validate_order_status_transition,
)

Insert = Callable[..., Awaitable[UUID]]

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("orders", {"status": "SHIPPED"}, "ck_orders_status"),
        ("orders", {"total": Decimal("-0.01")}, "ck_orders_total_adds_up"),
        ("orders", {"currency": "usd"}, "ck_orders_currency"),
        ("orders", {"status": "COMPLETED"}, "ck_orders_completed_at_set"),
        ("orders", {"completed_at": NOW}, "ck_orders_completed_at_set"),
        ("orders", {"status": "CANCELLED"}, "ck_orders_cancelled_at_set"),
        ("orders", {"cancelled_at": NOW}, "ck_orders_cancelled_at_set"),
        ("orders", {"status": "FAILED"}, "ck_orders_failed_at_set"),
        ("orders", {"failed_at": NOW}, "ck_orders_failed_at_set"),
        ("orders", {"metadata": "1"}, "ck_orders_metadata_is_object"),
        ("order_items", {"quantity": 0}, "ck_order_items_quantity"),
        ("order_items", {"quantity": MAX_LINE_QUANTITY + 1}, "ck_order_items_quantity"),
        ("order_items", {"price": Decimal(-1)}, "ck_order_items_discount_of_price"),
        ("order_items", {"currency": "usd"}, "ck_order_items_currency"),
        ("payments", {"status": "LOST"}, "ck_payments_status"),
        ("payments", {"amount": Decimal(-1)}, "ck_payments_amount_not_negative"),
        ("payments", {"currency": "usd"}, "ck_payments_currency"),
        ("payments", {"status": "COMPLETED"}, "ck_payments_completed_at_set"),
        ("payments", {"completed_at": NOW}, "ck_payments_completed_at_set"),
        ("payments", {"status": "REFUNDED", "refunded_at": NOW}, "ck_payments_completed_at_set"),
        ("payments", {"status": "REFUNDED", "completed_at": NOW}, "ck_payments_refunded_at_set"),
        ("payments", {"status": "FAILED"}, "ck_payments_failed_at_set"),
        ("payments", {"failed_at": NOW}, "ck_payments_failed_at_set"),
        ("payments", {"failure_code": "declined"}, "ck_payments_failure_of_failed"),
        ("payments", {"failure_message": "No."}, "ck_payments_failure_of_failed"),
        ("payments", {"metadata": "1"}, "ck_payments_metadata_is_object"),
    ],
)
async def test_a_bad_row_is_refused(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


async def test_a_cart_gives_one_order(insert: Insert, connection: asyncpg.Connection) -> None:
    cart = await insert("carts")
    order = await insert("orders", cart_id=cart)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_orders_cart_id"):
        async with connection.transaction():
            await insert("orders", cart_id=cart)
    await connection.execute("delete from carts where id = $1", cart)
    assert await connection.fetchval("select cart_id from orders where id = $1", order) is None


async def test_a_key_of_a_user_gives_one_order(insert: Insert) -> None:
    user = await insert("users")
    await insert("orders", user_id=user, idempotency_key="once")
    await insert("orders", idempotency_key="once")
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_orders_user_id_idempotency_key"):
        await insert("orders", user_id=user, idempotency_key="once")


async def test_a_product_has_one_line(insert: Insert) -> None:
    order, product = await insert("orders"), await insert("products")
    await insert("order_items", order_id=order, product_id=product)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_order_items_order_id_product_id"):
        await insert("order_items", order_id=order, product_id=product)


async def test_an_order_is_paid_once(insert: Insert, connection: asyncpg.Connection) -> None:
    order = await insert("orders")
    paid = await insert("payments", order_id=order, status="COMPLETED", completed_at=NOW)
    await insert("payments", order_id=order, status="FAILED", failed_at=NOW)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_payments_completed"):
        async with connection.transaction():
            await insert("payments", order_id=order, status="COMPLETED", completed_at=NOW)
    await connection.execute("update payments set status = 'REFUNDED', refunded_at = now() where id = $1", paid)
    await insert("payments", order_id=order, status="COMPLETED", completed_at=NOW)


@pytest.mark.parametrize("provider", ["stripe", None])
async def test_a_transaction_is_recorded_once(insert: Insert, provider: str | None) -> None:
    await insert("payments", provider=provider, transaction_id="tx-1")
    await insert("payments", provider="another", transaction_id="tx-1")
    await insert("payments", provider=provider)
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_payments_transaction_id_provider"):
        await insert("payments", provider=provider, transaction_id="tx-1")


async def test_a_key_of_an_order_gives_one_payment(insert: Insert) -> None:
    order = await insert("orders")
    await insert("payments", order_id=order, idempotency_key="once")
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_payments_order_id_idempotency_key"):
        await insert("payments", order_id=order, idempotency_key="once")


async def test_the_ledger_keeps_what_it_refers_to(insert: Insert, connection: asyncpg.Connection) -> None:
    user, store, product = await insert("users"), await insert("stores"), await insert("products")
    order = await insert("orders", user_id=user, store_id=store)
    await insert("order_items", order_id=order, product_id=product)
    payment = await insert("payments", order_id=order)
    await connection.execute("update orders set payment_id = $1 where id = $2", payment, order)
    for table, identity in {"users": user, "stores": store, "products": product, "orders": order, "payments": payment}.items():
        with pytest.raises(asyncpg.RestrictViolationError):
            async with connection.transaction():
                await connection.execute(f"delete from {table} where id = $1", identity)


TRANSITIONS = {
    (OrderStatus.PENDING, OrderStatus.COMPLETED),
    (OrderStatus.PENDING, OrderStatus.CANCELLED),
    (OrderStatus.PENDING, OrderStatus.FAILED),
    (OrderStatus.FAILED, OrderStatus.PENDING),
}


@pytest.mark.parametrize("current", OrderStatus)
@pytest.mark.parametrize("following", OrderStatus)
def test_which_way_an_order_may_go(current: OrderStatus, following: OrderStatus) -> None:
    allowed = (current, following) in TRANSITIONS
    assert current.can_become(following) is allowed
    assert validate_order_status_transition(current, following) is allowed
    assert (current in allowed_sources(following)) is allowed


def test_only_completed_orders_are_completed() -> None:
    assert [status for status in OrderStatus if is_completed_order(SimpleNamespace(status=status))] == [OrderStatus.COMPLETED]
    assert is_completed_order(SimpleNamespace(status="COMPLETED"))


def refused_field(model: type[Any], **values: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        model(**values)
    return str(refused.value.errors()[0]["loc"][0])


def test_amounts_suit_their_currency() -> None:
    user = UUID(int=1)
    assert refused_field(OrderCreate, user_id=user, currency="JPY", total=Decimal("1.5")) == "total"
    assert refused_field(PaymentCreate, currency="JPY", amount=Decimal("1.5")) == "amount"
    assert refused_field(OrderItemCreate, product_id=user, quantity=1, price=Decimal("1.234")) == "price"
    assert OrderCreate(user_id=user, total=Decimal("1.50")).currency == "USD"


def test_lines_payments_and_keys_are_checked() -> None:
    assert refused_field(OrderItemCreate, product_id=UUID(int=1), quantity=0, price=1) == "quantity"
    assert refused_field(OrderCreate, user_id=UUID(int=1), total=1, idempotency_key="a" * 256) == "idempotency_key"
    assert refused_field(OrderCreate, user_id=UUID(int=1), total=1, payment_method="a" * 65) == "payment_method"
    assert refused_field(OrderCreate, user_id=UUID(int=1), total=1, status="COMPLETED") == "status"
    assert refused_field(PaymentCreate, amount=1, status="PAID") == "status"
    assert refused_field(OrderUpdate, status="SHIPPED") == "status"
