"""Carts that were left, and come back to: by their shopper, and by the link in a mail, which opens one cart to who may have it."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from app.carts.models import Cart, CartStatus
from app.carts.restoring import restore
from app.core.errors import ErrorCode, UserError
from app.core.security import ANONYMOUS, Viewer, guest, token_hash
from app.core.signing import Seals
from app.orders.models import OrderStatus
from tests.leaving import SEALS, Leaving, leaving, token_in
from tests.shop import Shop, ids, refused

DAY = timedelta(days=1)
GONE, NOT_THEIRS = (ErrorCode.NOT_FOUND, "token"), (ErrorCode.FORBIDDEN, "token")


@pytest.fixture
async def left(shop: Shop) -> AsyncIterator[Leaving]:
    async with leaving(shop) as left:
        yield left


async def mailed(left: Leaving) -> str:
    """The token in the mail about the carts that have been left."""
    await left.leave()
    return token_in(left.mailbox.mails[-1])


def follow(left: Leaving, viewer: Viewer, token: str, seals: Seals = SEALS) -> Any:
    return restore(left.repositories.scoped(viewer), seals, token)


async def test_a_link_opens_the_cart_to_its_shopper_and_nobody_else(left: Leaving) -> None:
    shop = left.shop
    ann, cart = await left.cart()
    bob, other = await left.cart()
    token = await mailed(left)
    mails = {mail["To"]: token_in(mail) for mail in left.mailbox.mails}
    token = mails[await left.address(ann)]
    for viewer in (bob, ANONYMOUS, (await left.guest_cart())[0]):
        assert await refused(follow(left, viewer, token)) == NOT_THEIRS
    assert await left.status(cart) == ("ABANDONED", "SENT")
    opened, given = await follow(left, ann, token)
    assert (opened.id, opened.status, given) == (cart.id, "ACTIVE", None)
    assert await left.status(cart) == ("ACTIVE", "OPENED")
    again, _ = await follow(left, ann, token)
    assert (again.id, (await left.event(cart)).status) == (cart.id, "OPENED")
    assert await left.status(other) == ("ABANDONED", "SENT")
    order = await left.repositories.scoped(ann).orders.create_from_cart(cart.id, "card")
    event = await left.event(cart)
    assert (event.status, event.order_id) == ("RECOVERED", order.id)
    assert await refused(follow(left, ann, token)) == GONE
    assert len(await shop.of(ann).carts.find_many({})) == 1


async def test_the_link_of_a_guest_gives_its_reader_a_token(left: Leaving) -> None:
    visitor, cart = await left.guest_cart()
    token = await mailed(left)
    opened, given = await follow(left, ANONYMOUS, token)
    assert (opened.id, opened.status) == (cart.id, "ACTIVE")
    assert given is not None
    reader = guest(given)
    assert opened.cart_token_hash == token_hash(given)
    assert (await left.repositories.scoped(reader).carts.get_by_id(cart.id)).total == cart.total
    assert await left.repositories.scoped(visitor).carts.find_by_id(cart.id) is None


async def test_an_account_takes_a_guests_cart_over_and_the_attempt_with_it(left: Leaving) -> None:
    ann = await left.shop.viewer()
    _, cart = await left.guest_cart()
    token = await mailed(left)
    own, given = await follow(left, ann, token)
    assert (own.user_id, own.status, own.total, given) == (ann.user_id, "ACTIVE", cart.total, None)
    order = await left.repositories.scoped(ann).orders.create_from_cart(own.id, "card")
    event = await left.event(own)
    assert (event.status, event.order_id) == ("RECOVERED", order.id)
    assert await refused(follow(left, ann, token)) == GONE
    assert await refused(follow(left, ANONYMOUS, token)) == GONE


async def test_a_link_ends_and_cannot_be_made_up(left: Leaving) -> None:
    ann, cart = await left.cart()
    token = await mailed(left)
    event = await left.event(cart)
    stranger = Seals(["x" * 32])
    forged = (
        token[:20] + ("A" if token[20] != "A" else "B") + token[21:],
        token[:-2],
        stranger.seal("restore-cart", event.id.hex, event.expires_at),
        SEALS.seal("unsubscribe", event.id.hex, event.expires_at),
        "",
        "x" * 5_000,
    )
    for text in forged:
        assert await refused(follow(left, ann, text)) == GONE
    left.passed += 8 * DAY
    assert await refused(follow(left, ann, token)) == GONE
    assert (await left.event(cart)).opened_at is None


async def test_a_link_that_was_never_sent_opens_nothing(left: Leaving) -> None:
    ann, cart = await left.cart()
    await left.sweep()
    event = await left.event(cart)
    assert await refused(follow(left, ann, SEALS.seal("restore-cart", event.id.hex, event.expires_at))) == GONE


async def test_a_deleted_cart_has_no_link(left: Leaving) -> None:
    ann, cart = await left.cart()
    token = await mailed(left)
    await left.repositories.carts.soft_delete(cart.id)
    assert await refused(follow(left, ann, token)) == GONE


async def test_either_a_cart_or_a_link_is_named(shop: Shop) -> None:
    ann = await shop.viewer()
    cart: Cart = await shop.cart(ann)
    for input in ({}, {**ids(cartId=cart), "token": "x"}):
        payload = await shop.change(ann, "restoreCart", "cart { id }", **input)
        assert [(error["field"], error["code"]) for error in payload["userErrors"]] == [(["cartId"], "INVALID")]


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
    await shop.cart(ann, (tea, 1))
    left = await shop.repositories.carts.create({"user_id": ann.user_id, "store_id": shop.store.id, "status": "ABANDONED"})
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
