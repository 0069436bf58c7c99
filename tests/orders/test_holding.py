"""Money that is set aside by one call, let go of, or held for staff: each ends once, whoever dies or races."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from app.core.errors import UserError
from app.core.security import Viewer, ViewerKind
from app.orders.models import Capture, Order, Payment
from app.orders.payments import Moment, Payments
from app.orders.provider import Charge, ChargeRequest
from app.orders.refunds import capture, void
from app.orders.repository import RefundingRepository
from app.orders.sweep import Sweep
from app.orders.test_provider import TestPaymentProvider
from tests.orders.test_vouchers import order_with, uses, voucher
from tests.shop import Shop, ids

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
SHOWN = "order { status payments { status capture capturedAmount refundedAmount failureCode heldReason } events { kind actor } }"
RIGHTS = ("payments:capture", "payments:refund", "payments:read", "orders:read")


async def staff(shop: Shop, *rights: str) -> Viewer:
    return await shop.viewer(ViewerKind.STAFF, *(rights or RIGHTS))


async def set_aside(shop: Shop) -> tuple[Viewer, Order, Payment, Any]:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    order = await shop.order(ann, (tea, 2))
    paid = await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_success", capture=Capture.MANUAL)
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    return ann, paid.order, payment, tea


async def state(shop: Shop, order: Order) -> tuple[str, str]:
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    return (await shop.repositories.orders.get_by_id(order.id)).status, payment.status


def later(shop: Shop, by: timedelta) -> Sweep:
    repositories = replace(shop.repositories, now=lambda: shop.repositories.now() + by)
    return Sweep(repositories, TestPaymentProvider(repositories), MINUTE, HOUR)


def codes(payload: dict[str, Any]) -> list[str]:
    return [error["code"] for error in payload["userErrors"]]


# --- By call


@pytest.mark.parametrize("place", [True, False])
async def test_a_call_says_whether_money_is_taken_or_set_aside(shop: Shop, place: bool) -> None:
    for setting, said, status in (("AUTOMATIC", "MANUAL", "PENDING"), ("MANUAL", "AUTOMATIC", "COMPLETED"), ("MANUAL", None, "PENDING")):
        await shop.repositories.store_settings.update_many({"store_id": shop.store.id}, {"config": {"paymentCapture": setting}})
        ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
        input: dict[str, Any] = {"paymentToken": "tok_success", "capture": said, "idempotencyKey": "k"}
        if place:
            cart = await shop.cart(ann, (tea, 2))
            answer = await shop.change(ann, "placeOrder", "order { status }", **ids(cartId=cart), paymentMethod="card", **input)
        else:
            order = await shop.order(ann, (tea, 2))
            answer = await shop.change(ann, "processPayment", "order { status }", **ids(orderId=order), **input)
        assert (answer["userErrors"], answer["order"]["status"]) == ([], status)
        assert await shop.stock(tea) == ((10, 2, 8) if status == "PENDING" else (8, 0, 8))


async def test_what_one_call_sets_aside_staff_takes_later(shop: Shop) -> None:
    _, order, payment, tea = await set_aside(shop)
    taken = await shop.change(await staff(shop), "capturePayment", SHOWN, **ids(paymentId=payment))
    assert (taken["userErrors"], await state(shop, order)) == ([], ("COMPLETED", "COMPLETED"))
    assert await shop.stock(tea) == (8, 0, 8)


# --- Letting go


async def test_staff_lets_go_of_what_was_set_aside(shop: Shop) -> None:
    ann, _, payment, tea = await set_aside(shop)
    clerk = await staff(shop, "payments:capture", "payments:read", "orders:read")
    for _ in range(2):
        gone = await shop.change(clerk, "voidPayment", SHOWN, **ids(paymentId=payment), idempotencyKey="k")
        assert (gone["userErrors"], gone["order"]["status"]) == ([], "CANCELLED")
    [shown] = gone["order"]["payments"]
    assert (shown["status"], shown["failureCode"], shown["capturedAmount"]) == ("FAILED", "voided", "0.00")
    assert [event["kind"] for event in gone["order"]["events"] if event["actor"] == "STAFF"] == ["VOIDED", "CANCELLED"]
    assert await shop.stock(tea) == (10, 0, 10)
    [charge] = await shop.provider.ledger.find_many({})
    assert (charge.state, charge.captured) == ("FAILED", Decimal(0))
    assert codes(await shop.change(clerk, "voidPayment", SHOWN, **ids(paymentId=payment))) == ["INVALID_TRANSITION"]
    assert codes(await shop.change(clerk, "capturePayment", SHOWN, **ids(paymentId=payment))) == ["INVALID_TRANSITION"]
    document = "mutation ($input: VoidPaymentInput!) { voidPayment(input: $input) { order { id } } }"
    [error] = (await shop.ask(ann, document, input=ids(paymentId=payment)))["errors"]
    assert error["extensions"]["code"] == "FORBIDDEN"


async def test_letting_go_of_the_money_lets_go_of_the_voucher(shop: Shop) -> None:
    row = await voucher(shop, max_uses=1)
    order = await order_with(shop, row, await shop.product("5.00", stock=10), ann := await shop.viewer())
    await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_success", capture=Capture.MANUAL)
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    assert (payment.amount, await uses(shop, row)) == (order.total, 1)
    gone = await shop.change(await staff(shop), "voidPayment", SHOWN, **ids(paymentId=payment))
    assert (gone["userErrors"], gone["order"]["status"], await uses(shop, row)) == ([], "CANCELLED", 0)


async def test_what_was_taken_cannot_be_let_go_of(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_success")
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    assert codes(await shop.change(await staff(shop), "voidPayment", SHOWN, **ids(paymentId=payment))) == ["INVALID_TRANSITION"]
    assert await state(shop, order) == ("COMPLETED", "COMPLETED")


class Deaf(TestPaymentProvider):
    """Does what it is asked, and loses the answer."""

    async def cancel(self, request: ChargeRequest) -> Charge:
        await super().cancel(request)
        raise TimeoutError


@pytest.mark.parametrize("cut", ["before", "unanswered", "after"])
async def test_the_sweep_brings_to_its_end_what_was_cut_off(shop: Shop, cut: str) -> None:
    _, order, payment, tea = await set_aside(shop)

    class Died(BaseException):
        """The process is gone."""

    def die(_moment: Moment) -> None:
        raise Died

    if cut == "before":
        await shop.repositories.of(RefundingRepository).open_void(payment.id)
    elif cut == "unanswered":
        paid = await void(Payments(Deaf(shop.repositories)), shop.repositories, payment)
        assert paid.refusal is not None
        assert paid.refusal.code == "PAYMENT_TIMEOUT"
    else:
        with pytest.raises(Died):
            await void(Payments(shop.provider, die), shop.repositories, payment)
    assert await state(shop, order) == ("PENDING", "PENDING")
    with pytest.raises(UserError):
        await capture(Payments(shop.provider), shop.repositories, await shop.repositories.payments.get_by_id(payment.id), None)
    await later(shop, 2 * MINUTE).run()
    assert await state(shop, order) == ("CANCELLED", "FAILED")
    assert await shop.stock(tea) == (10, 0, 10)


async def test_money_that_is_taken_and_let_go_of_at_once_ends_in_one_way(shop: Shop) -> None:
    for _ in range(6):
        _, order, payment, tea = await set_aside(shop)
        payments = Payments(shop.provider)
        calls = (capture(payments, shop.repositories, payment, None), void(payments, shop.repositories, payment))
        await asyncio.gather(*calls, return_exceptions=True)
        await later(shop, 2 * HOUR).settle_payments()
        ended = await state(shop, order)
        charge = await shop.provider.ledger.get_by_key(str(payment.id))
        assert ended in (("COMPLETED", "COMPLETED"), ("CANCELLED", "FAILED"))
        assert (charge.captured == Decimal(10)) is (ended[0] == "COMPLETED")
        assert (await shop.stock(tea))[1] == 0


# --- Held


class Wrong(TestPaymentProvider):
    """Charges more than it was asked for."""

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        return await super().charge(replace(request, amount=request.amount + 1), token)


async def held(shop: Shop, how: Capture = Capture.AUTOMATIC) -> tuple[Viewer, Order, Payment, Any]:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    order = await shop.order(ann, (tea, 2))
    await Payments(Wrong(shop.repositories)).pay(shop.of(ann), order.id, "tok_success", capture=how)
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    assert payment.held_reason is not None
    return ann, order, payment, tea


async def resolved(shop: Shop, viewer: Viewer, payment: Payment, resolution: str, **more: str) -> Any:
    return await shop.change(viewer, "resolveHeldPayment", SHOWN, **ids(paymentId=payment), resolution=resolution, **more)


async def test_staff_accepts_other_money_as_payment(shop: Shop) -> None:
    _, _, payment, tea = await held(shop)
    clerk = await staff(shop)
    for _ in range(2):
        answer = await resolved(shop, clerk, payment, "ACCEPT", idempotencyKey="k")
        assert (answer["userErrors"], answer["order"]["status"]) == ([], "COMPLETED")
    [shown] = answer["order"]["payments"]
    assert (shown["status"], shown["capturedAmount"], shown["heldReason"]) == ("COMPLETED", "11.00", None)
    assert [event["kind"] for event in answer["order"]["events"]][-4:] == ["HELD", "RESOLVED", "CHARGED", "COMPLETED"]
    assert await shop.stock(tea) == (8, 0, 8)
    assert codes(await resolved(shop, clerk, payment, "REJECT")) == ["INVALID_TRANSITION"]


async def test_staff_rejects_it_and_all_of_it_is_given_back(shop: Shop) -> None:
    ann, order, payment, tea = await held(shop)
    answer = await resolved(shop, await staff(shop), payment, "REJECT")
    assert (answer["userErrors"], answer["order"]["status"]) == ([], "FAILED")
    [shown] = answer["order"]["payments"]
    assert (shown["status"], shown["capturedAmount"], shown["refundedAmount"]) == ("REFUNDED", "11.00", "11.00")
    assert await shop.stock(tea) == (10, 0, 10)
    [charge] = await shop.provider.ledger.find_many({})
    assert charge.captured == charge.refunded == Decimal(11)
    again = await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_success", "again")
    assert again.order.status == "COMPLETED"


@pytest.mark.parametrize(("resolution", "ended"), [("ACCEPT", ("PENDING", "PENDING")), ("REJECT", ("FAILED", "FAILED"))])
async def test_held_money_that_is_only_set_aside(shop: Shop, resolution: str, ended: tuple[str, str]) -> None:
    _, order, payment, _ = await held(shop, Capture.MANUAL)
    clerk = await staff(shop)
    assert (await resolved(shop, clerk, payment, resolution))["userErrors"] == []
    assert await state(shop, order) == ended
    if resolution == "ACCEPT":
        taken = await shop.change(clerk, "capturePayment", SHOWN, **ids(paymentId=payment))
        assert (taken["order"]["status"], taken["order"]["payments"][0]["capturedAmount"]) == ("COMPLETED", "11.00")


async def test_only_what_is_held_is_resolved_and_by_whom_may_give_back(shop: Shop) -> None:
    ann, _, payment, _ = await set_aside(shop)
    assert codes(await resolved(shop, await staff(shop), payment, "ACCEPT")) == ["INVALID_TRANSITION"]
    document = "mutation ($input: ResolveHeldPaymentInput!) { resolveHeldPayment(input: $input) { order { id } } }"
    for viewer in (ann, await staff(shop, "payments:capture")):
        [error] = (await shop.ask(viewer, document, input={**ids(paymentId=payment), "resolution": "ACCEPT"}))["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"


async def test_staff_who_decide_at_once_are_heard_once(shop: Shop) -> None:
    _, order, payment, _ = await held(shop)
    clerk = await staff(shop)
    answers = await asyncio.gather(*(resolved(shop, clerk, payment, "ACCEPT") for _ in range(5)))
    assert sorted(map(codes, answers)) == [[], *[["INVALID_TRANSITION"]] * 4]
    assert await state(shop, order) == ("COMPLETED", "COMPLETED")
