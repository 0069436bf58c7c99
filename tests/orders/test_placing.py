"""Ordering and paying in one call, and orders whose making takes steps that leave the process."""

import asyncio
from decimal import Decimal
from typing import Any

import pytest

from app.core.security import ANONYMOUS
from app.orders.models import Order, OrderCreate, OrderItemCreate
from app.orders.repository import External, PlacedOrder
from tests.shop import Shop, ids

SHOWN = "order { status total payments { status } }"


async def place(shop: Shop, viewer: Any, cart: Any, token: str, **input: str) -> Any:
    return await shop.change(viewer, "placeOrder", SHOWN, **ids(cartId=cart), **{"paymentMethod": "card", "paymentToken": token, **input})


async def test_a_cart_is_ordered_and_paid_in_one_call(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    cart = await shop.cart(ann, (tea, 2))
    placed = [await place(shop, ann, cart, "tok_success", idempotencyKey="k") for _ in range(2)]
    assert placed == [{"order": {"status": "COMPLETED", "total": "10.00", "payments": [{"status": "COMPLETED"}]}, "userErrors": []}] * 2
    assert await shop.stock(tea) == (8, 0, 8)
    assert (await shop.repositories.carts.get_by_id(cart.id)).status == "CONVERTED"


async def test_a_declined_card_gives_the_stock_back_and_the_order_can_be_paid_otherwise(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    placed = await place(shop, ann, await shop.cart(ann, (tea, 2)), "tok_declined")
    assert (placed["order"]["status"], [error["code"] for error in placed["userErrors"]]) == ("FAILED", ["PAYMENT_DECLINED"])
    assert await shop.stock(tea) == (10, 0, 10)
    order = (await shop.repositories.orders.find_many({}))[0]
    paid = await shop.change(ann, "processPayment", SHOWN, **ids(orderId=order), paymentToken="tok_success")
    assert paid["order"]["status"] == "COMPLETED"


@pytest.mark.parametrize("token", ["tok_timeout", "tok_response_lost"])
async def test_what_was_lost_is_asked_for_again(shop: Shop, token: str) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    cart = await shop.cart(ann, (tea, 2))
    lost = await place(shop, ann, cart, token, idempotencyKey="k")
    assert (lost["order"]["status"], [error["code"] for error in lost["userErrors"]]) == ("PENDING", ["PAYMENT_TIMEOUT"])
    assert (await place(shop, ann, cart, token, idempotencyKey="k"))["order"]["status"] == "COMPLETED"
    assert await shop.provider.ledger.count() == await shop.repositories.orders.count() == 1


async def test_nothing_has_changed_where_nothing_can_be_ordered(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product(stock=10)
    cart = await shop.cart(ann, (tea, 2))
    for viewer, token, code in ((ann, "tok_bogus", "PAYMENT_TOKEN_UNKNOWN"), (bob, "tok_success", "NOT_FOUND")):
        placed = await place(shop, viewer, cart, token)
        assert (placed["order"], [error["code"] for error in placed["userErrors"]]) == (None, [code])
    assert await shop.repositories.orders.count() == 0
    assert (await shop.repositories.carts.get_by_id(cart.id)).status == "ACTIVE"
    document = (
        'mutation ($id: ID!) { placeOrder(input: {cartId: $id, paymentMethod: "card", paymentToken: "tok_success"}) { order { id } } }'
    )
    [error] = (await shop.ask(ANONYMOUS, document, **ids(id=cart)))["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_cart_that_is_placed_by_many_at_once_is_paid_once(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=100)
    cart = await shop.cart(ann, (tea, 2))
    keys = [f"k{n % 4}" for n in range(24)]
    placed = await asyncio.gather(*(place(shop, ann, cart, "tok_success", idempotencyKey=key) for key in keys))
    codes = {error["code"] for payload in placed for error in payload["userErrors"]}
    assert codes <= {"CONFLICT", "CART_NOT_ACTIVE"}
    assert sum(charge.captured for charge in await shop.provider.ledger.find_many({})) == Decimal(10)
    assert (await shop.repositories.orders.count(), await shop.stock(tea)) == (1, (98, 0, 98))


# --- Steps that leave the process


async def test_external_steps_keep_their_turn_and_wait_in_no_transaction(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    assert ann.user_id is not None
    wanted = OrderCreate(user_id=ann.user_id, total=Decimal(10))
    items = [OrderItemCreate(product_id=tea.id, quantity=2, price=Decimal(5))]
    seen: list[str] = []

    async def note(placed: PlacedOrder) -> None:
        assert placed.repositories.session.current_transaction is not None
        seen.append("inside")

    async def charge(order: Order) -> None:
        async with asyncio.timeout(2), shop.repositories.transaction() as tx:
            assert await tx.orders.lock_by_id(order.id) is not None
        seen.append("charged")

    async def give_back(_order: Order) -> None:
        seen.append("given back")

    async def fail(_order: Order) -> None:
        seen.append("failed")
        raise ValueError("no mail")

    orders = shop.repositories.orders
    steps = (note, External(charge, give_back), note)
    assert (await orders.create_with_inventory_check(wanted, items, *steps)).status == "PENDING"
    assert seen == ["inside", "charged", "inside"]
    seen.clear()
    with pytest.raises(ValueError, match="no mail"):
        await orders.create_with_inventory_check(wanted, items, *steps, External(fail, give_back))
    assert seen == ["inside", "charged", "inside", "failed", "given back"]
    assert [order.status for order in await orders.find_many({})] == ["FAILED", "PENDING"]
    assert await shop.stock(tea) == (10, 2, 8)
    with pytest.raises(RuntimeError, match="inside a transaction"):
        async with shop.repositories.transaction() as tx:
            await tx.orders.create_with_inventory_check(wanted, items, External(charge))
    assert await orders.count() == 2
