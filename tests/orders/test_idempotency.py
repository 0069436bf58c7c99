"""Requests that are sent again: one effect, one answer."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.accounts.repository.idempotency import IdempotencyRepository
from app.core.claims import Claim
from app.core.errors import UserError
from app.core.security import Viewer, ViewerKind
from app.orders.models import Order
from tests.shop import Shop, ids

CANCEL = """mutation ($input: IdInput!, $key: String) {
  cancelOrder(input: $input, idempotencyKey: $key) { order { status } userErrors { code } } }"""


async def cancelled(shop: Shop, viewer: Viewer, order: Order, key: str | None) -> Any:
    return (await shop.ask(viewer, CANCEL, input=ids(id=order), key=key))["data"]["cancelOrder"]


async def create(shop: Shop, viewer: Viewer, cart: Any, **input: str) -> Any:
    return await shop.change(viewer, "createOrder", "order { id status }", **ids(cartId=cart), **{"paymentMethod": "card", **input})


async def test_the_answer_is_given_again_and_nothing_happens(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    answers = [await cancelled(shop, ann, order, "k") for _ in range(3)]
    assert answers == [{"order": {"status": "CANCELLED"}, "userErrors": []}] * 3
    assert (await cancelled(shop, ann, order, None))["userErrors"] == [{"code": "INVALID_TRANSITION"}]
    assert (await cancelled(shop, ann, order, "other"))["userErrors"] == [{"code": "INVALID_TRANSITION"}]
    assert await shop.stock(tea) == (10, 0, 10)


async def test_an_answer_shows_its_objects_as_they_are_now(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    made = await create(shop, ann, cart, idempotencyKey="k")
    await shop.repositories.orders.cancel((await shop.repositories.orders.find_by_cart(cart.id)).id)  # type: ignore[union-attr]
    again = await create(shop, ann, cart, idempotencyKey="k")
    assert (made["order"]["status"], again["order"]) == ("PENDING", {"id": made["order"]["id"], "status": "CANCELLED"})


async def test_refusals_are_repeated_as_they_were(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=1)
    cart = await shop.cart(ann, (tea, 1))
    await shop.repositories.inventory.set_on_hand(tea.id, 0)
    first = await create(shop, ann, cart, idempotencyKey="k")
    assert [error["code"] for error in first["userErrors"]] == ["OUT_OF_STOCK"]
    await shop.repositories.inventory.set_on_hand(tea.id, 5)
    assert await create(shop, ann, cart, idempotencyKey="k") == first
    assert (await create(shop, ann, cart, idempotencyKey="another"))["order"]["status"] == "PENDING"


async def test_a_key_is_for_one_input_of_one_account_and_operation(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    carts = {viewer: await shop.cart(viewer, (tea, 1)) for viewer in (ann, bob)}
    made = await create(shop, ann, carts[ann], idempotencyKey="k")
    other = await create(shop, ann, carts[ann], idempotencyKey=" k ", paymentMethod="paypal")
    assert [(error["field"], error["code"]) for error in other["userErrors"]] == [(["idempotencyKey"], "CONFLICT")]
    assert (await create(shop, bob, carts[bob], idempotencyKey="k"))["order"]["status"] == "PENDING"
    paid = {"orderId": made["order"]["id"], "paymentToken": "tok_success", "idempotencyKey": "k"}
    assert (await shop.change(ann, "processPayment", "order { status }", **paid))["order"] == {"status": "COMPLETED"}
    changed = await shop.change(ann, "processPayment", "order { status }", **{**paid, "paymentToken": "tok_declined"})
    assert [error["code"] for error in changed["userErrors"]] == ["CONFLICT"]


async def test_a_key_that_says_nothing_is_refused(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    for key in (" ", "k" * 256, "a\0b"):
        payload = await create(shop, ann, cart, idempotencyKey=key)
        assert payload["order"] is None
        assert await shop.repositories.idempotency_keys.count() == 0


async def test_requests_at_once_have_one_effect(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    order = await shop.order(ann, (tea, 2))
    paid = {**ids(orderId=order), "paymentToken": "tok_success", "idempotencyKey": "k"}
    payloads = await asyncio.gather(*(shop.change(ann, "processPayment", "order { status }", **paid) for _ in range(20)))
    answers = {(str(payload["order"]), *(error["code"] for error in payload["userErrors"])) for payload in payloads}
    assert answers <= {("{'status': 'COMPLETED'}",), ("None", "CONFLICT")}
    assert ("{'status': 'COMPLETED'}",) in answers
    assert await shop.provider.ledger.count() == await shop.repositories.payments.count() == 1
    under_way = [error for payload in payloads for error in payload["userErrors"]]
    assert all("again with the same key" in error["message"] for error in under_way)


async def test_cancelling_at_once_has_one_effect(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    payloads = await asyncio.gather(*(cancelled(shop, ann, order, "k") for _ in range(20)))
    assert {str(payload["userErrors"]) for payload in payloads} <= {"[]", "[{'code': 'CONFLICT'}]"}
    assert await shop.stock(tea) == (10, 0, 10)


async def test_an_outcome_that_is_not_known_is_asked_for_again(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    paid = {**ids(orderId=order), "paymentToken": "tok_response_lost", "idempotencyKey": "k"}
    lost = await shop.change(ann, "processPayment", "order { status }", **paid)
    assert [error["code"] for error in lost["userErrors"]] == ["PAYMENT_TIMEOUT"]
    assert (await shop.change(ann, "processPayment", "order { status }", **paid))["order"] == {"status": "COMPLETED"}


async def test_what_fails_by_itself_can_be_tried_again(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    provider = shop.provider
    shop.provider = None  # type: ignore[assignment]
    document = "mutation ($input: ProcessPaymentInput!) { processPayment(input: $input) { order { status } } }"
    input = {**ids(orderId=order), "paymentToken": "tok_success", "idempotencyKey": "k"}
    assert (await shop.ask(ann, document, input=input))["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    shop.provider = provider
    assert (await shop.ask(ann, document, input=input))["data"]["processPayment"] == {"order": {"status": "COMPLETED"}}


async def test_a_request_whose_process_died_is_taken_up_after_a_while(shop: Shop) -> None:
    ann = await shop.viewer()
    assert ann.user_id is not None
    claim = Claim(ann.user_id, "processPayment", "k", "0" * 64)
    assert await shop.repositories.idempotency_keys.claim(claim) is None
    later = replace(shop.repositories, now=lambda: shop.repositories.now() + timedelta(minutes=2)).of(IdempotencyRepository)
    with pytest.raises(UserError, match="under way"):
        await shop.repositories.idempotency_keys.claim(claim)
    with pytest.raises(UserError, match="another input"):
        await later.claim(replace(claim, input_hash="1" * 64))
    taken = await asyncio.gather(*(later.claim(claim) for _ in range(5)), return_exceptions=True)
    assert [answer for answer in taken if not isinstance(answer, UserError)] == [None]


async def test_answers_are_forgotten_after_their_time(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    await cancelled(shop, ann, await shop.order(ann, (tea, 1)), "k")
    keys = shop.repositories.idempotency_keys
    later = replace(shop.repositories, now=lambda: shop.repositories.now() + timedelta(hours=1)).of(IdempotencyRepository)
    assert await later.delete_older(shop.repositories.now() - timedelta(hours=1)) == 0
    assert await later.delete_older(shop.repositories.now() + timedelta(seconds=1)) == 1
    assert await keys.count() == 0


async def test_nobody_else_gets_an_answer(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    await cancelled(shop, ann, order, "k")
    assert (await cancelled(shop, bob, order, "k")) == {"order": None, "userErrors": [{"code": "NOT_FOUND"}]}
    stranger = replace(ann, permissions=frozenset(), user_id=None, kind=ViewerKind.ANONYMOUS)
    assert (await shop.ask(stranger, CANCEL, input=ids(id=order), key="k"))["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    stored = await shop.repositories.idempotency_keys.find_many({})
    assert "tok_" not in str([dict(row) for row in stored])
    assert {row.user_id for row in stored} == {ann.user_id, bob.user_id}
