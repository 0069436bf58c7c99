"""A shop that changed its payment provider: no other provider than the one that took the money is ever asked about it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from app.core.security import ViewerKind
from app.orders.models import Capture, PaymentStatus, RefundStatus
from app.orders.payments import Payments
from app.orders.provider import Charge, ChargeRequest, Repayment, RepaymentRequest
from app.orders.sweep import Sweep
from app.orders.test_provider import TestPaymentProvider
from tests.orders.test_refunds import Refusing
from tests.orders.test_sweep import WrongProvider
from tests.shop import Shop, ids

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Successor(TestPaymentProvider):
    """The provider that the shop works with from now on. It would answer whatever it is asked about, and notes that it was."""

    def __init__(self, repositories: Any) -> None:
        super().__init__(repositories)
        self.name = "successor"
        self.asked: list[str] = []

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        self.asked.append("charge")
        return await super().charge(request, token)

    async def find(self, request: ChargeRequest) -> Charge:
        self.asked.append("find")
        return await super().find(request)

    async def cancel(self, request: ChargeRequest) -> Charge:
        self.asked.append("cancel")
        return await super().cancel(request)

    async def capture(self, request: ChargeRequest, amount: Any) -> Charge:
        self.asked.append("capture")
        return await super().capture(request, amount)

    async def refund(self, request: RepaymentRequest) -> Repayment:
        self.asked.append("refund")
        return await super().refund(request)


async def paid(shop: Shop, token: str = "tok_success", capture: Capture | None = None) -> Any:  # noqa: S107 - a token of the test provider
    """A payment that the shop's provider of today was charged with."""
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    order = await shop.order(ann, (tea, 2))
    await Payments(shop.provider).pay(shop.of(ann), order.id, token, "key", capture)
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    return ann, order, payment


@pytest.mark.parametrize(
    ("mutation", "arguments", "capture", "held"),
    [
        ("refundPayment", {"idempotencyKey": "k"}, None, False),
        ("capturePayment", {}, Capture.MANUAL, False),
        ("voidPayment", {}, Capture.MANUAL, False),
        ("resolveHeldPayment", {"resolution": "ACCEPT"}, None, True),
        ("resolveHeldPayment", {"resolution": "REJECT"}, None, True),
    ],
)
async def test_staff_is_told_that_the_money_lies_elsewhere(
    shop: Shop, mutation: str, arguments: dict[str, Any], capture: Capture | None, held: bool
) -> None:
    if held:
        shop.provider = WrongProvider(shop.repositories)
    _, order, before = await paid(shop, capture=capture)
    shop.provider = successor = Successor(shop.repositories)
    boss = await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")
    payload = await shop.change(boss, mutation, "order { id }", **ids(paymentId=before), **arguments)
    [error] = payload["userErrors"]
    assert (error["field"], error["code"], successor.asked) == (["paymentId"], "PAYMENT_PROVIDER_CHANGED", [])
    assert "'test'" in error["message"]
    assert await shop.repositories.payments.find_by_order(order.id) == [before]
    assert await shop.repositories.refunds.count() == 0


async def test_the_sweep_leaves_what_another_provider_has_not_answered(shop: Shop) -> None:
    _, _, unanswered = await paid(shop, "tok_timeout")
    _, _, completed = await paid(shop)
    shop.provider = Refusing(shop, lost=True)
    boss = await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")
    await shop.change(boss, "refundPayment", "order { id }", **ids(paymentId=completed), idempotencyKey="k")
    successor = Successor(shop.repositories)
    later = replace(shop.repositories, now=lambda: shop.repositories.now() + 5 * HOUR)
    await Sweep(later, successor, MINUTE, HOUR).run()
    [refund] = await shop.repositories.refunds.find_many({})
    assert (refund.status, successor.asked) == (RefundStatus.PENDING, [])
    left = await shop.repositories.payments.get_by_id(unanswered.id)
    assert (left.status, left.failure_code) == (PaymentStatus.PENDING, None)


async def test_a_buyer_who_asks_again_after_the_change_is_not_charged_by_the_other_provider(shop: Shop) -> None:
    ann, order, unanswered = await paid(shop, "tok_timeout")
    shop.provider = successor = Successor(shop.repositories)
    again = await shop.change(ann, "processPayment", "order { id }", **ids(orderId=order), paymentToken="tok_timeout", idempotencyKey="key")
    assert ([error["code"] for error in again["userErrors"]], successor.asked) == (["PAYMENT_PROVIDER_CHANGED"], [])
    assert await shop.repositories.payments.find_by_order(order.id) == [unanswered]
