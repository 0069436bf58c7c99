"""Carts that were left, and come back to."""

import asyncio

from app.carts.models import CartStatus
from app.core.errors import UserError
from app.core.security import guest
from app.orders.models import OrderStatus
from tests.shop import Shop, ids, refused


async def test_an_abandoned_cart_is_restored_by_its_shopper(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 2))
    await shop.repositories.carts.update_status(cart.id, CartStatus.ABANDONED)
    denied = await shop.change(bob, "restoreCart", "cart { id }", **ids(cartId=cart))
    assert [(error["field"], error["code"]) for error in denied["userErrors"]] == [(["cartId"], "NOT_FOUND")]
    back = await shop.change(ann, "restoreCart", "cart { status itemCount }", **ids(cartId=cart))
    assert back == {"cart": {"status": "ACTIVE", "itemCount": 2}, "userErrors": []}
    assert (await shop.order(ann)).status == OrderStatus.PENDING
    ordered = await shop.change(ann, "restoreCart", "cart { id }", **ids(cartId=cart))
    assert [(error["field"], error["code"]) for error in ordered["userErrors"]] == [(["cartId"], "INVALID_TRANSITION")]


async def test_a_cart_is_not_restored_beside_another(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    left = await shop.cart(ann, (tea, 2))
    await shop.repositories.carts.update_status(left.id, CartStatus.ABANDONED)
    await shop.cart(ann, (tea, 1))
    assert await refused(shop.of(ann).carts.reopen(left.id)) == ("CONFLICT", "cart_id")


async def test_a_cart_is_not_restored_while_another_is_begun(shop: Shop) -> None:
    tea = await shop.product()
    for number, viewer in enumerate([guest("token"), await shop.viewer()] * 4):
        carts = shop.of(viewer).carts
        left = await carts.put_in(viewer.user_id, tea.id, 1)
        await shop.repositories.carts.update_status(left.id, CartStatus.ABANDONED)
        begun = (carts.put_in(viewer.user_id, tea.id, 1) for _ in range(2))
        results = await asyncio.gather(carts.reopen(left.id), *begun, return_exceptions=True)
        refusals = [result for result in results if isinstance(result, BaseException)]
        assert all(isinstance(refusal, UserError) and refusal.field == ("cart_id",) for refusal in refusals), (number, refusals)
        assert await carts.count({"status": "ACTIVE"}) == 1
        await shop.repositories.carts.update_many({"status": {"in": ["ACTIVE", "ABANDONED"]}}, {"status": "EXPIRED"})
