"""Giving money back: never more than was taken, whoever asks at once and whatever gets lost; and taking what was set aside."""

import asyncio
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from app.core.security import Viewer, ViewerKind
from app.orders.models import Order, Payment, RefundRequest
from app.orders.payments import Moment, Payments
from app.orders.provider import Repayment, RepaymentRequest
from app.orders.refunds import capture, refund
from app.orders.sweep import Sweep
from app.orders.test_provider import TestPaymentProvider
from tests.shop import Shop, ids

SHOWN = "order { status payments { status capturedAmount refundedAmount refunds { amount status reason restock } } events { kind actor } }"
RIGHTS = ("payments:refund", "payments:capture", "payments:read")


async def sold(shop: Shop, *, quantity: int = 4, price: str = "5.00") -> tuple[Order, Payment, Any]:
    """A paid order."""
    ann, tea = await shop.viewer(), await shop.product(price, stock=10)
    order = await shop.order(ann, (tea, quantity))
    paid = await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_success")
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    return paid.order, payment, tea


async def administrator(shop: Shop) -> Viewer:
    return await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")


def codes(payload: dict[str, Any]) -> list[tuple[Any, str]]:
    return [(error["field"], error["code"]) for error in payload["userErrors"]]


async def test_a_payment_is_given_back_in_parts(shop: Shop) -> None:
    order, payment, tea = await sold(shop)
    staff = await shop.viewer(ViewerKind.STAFF, *RIGHTS, "orders:read")
    first = await shop.change(staff, "refundPayment", SHOWN, **ids(paymentId=payment), amount="7.5", reason="broken", idempotencyKey="1")
    [shown] = first["order"]["payments"]
    assert shown == {
        "status": "COMPLETED",
        "capturedAmount": "20.00",
        "refundedAmount": "7.50",
        "refunds": [{"amount": "7.50", "status": "COMPLETED", "reason": "broken", "restock": False}],
    }
    much = await shop.change(staff, "refundPayment", SHOWN, **ids(paymentId=payment), amount="12.51", idempotencyKey="2")
    assert codes(much) == [(["amount"], "REFUND_TOO_LARGE")]
    assert "12.50 USD" in much["userErrors"][0]["message"]
    rest = await shop.change(staff, "refundPayment", SHOWN, **ids(orderId=order), restock=True, idempotencyKey="3")
    assert (rest["order"]["status"], rest["order"]["payments"][0]["status"]) == ("COMPLETED", "REFUNDED")
    assert rest["order"]["payments"][0]["refundedAmount"] == "20.00"
    kinds = [event["kind"] for event in rest["order"]["events"] if event["actor"] == "STAFF"]
    assert kinds == ["REFUNDED", "REFUNDED", "RESTOCKED"]
    assert await shop.stock(tea) == (10, 0, 10)
    [charge] = await shop.provider.ledger.find_many({})
    assert (charge.captured, charge.refunded) == (Decimal(20), Decimal(20))
    none = await shop.change(staff, "refundPayment", SHOWN, **ids(paymentId=payment), idempotencyKey="4")
    assert codes(none) == [(None, "INVALID_TRANSITION")]


@pytest.mark.parametrize("amount", ["0", "-1", "0.001", "20.01", "1000000000000"])
async def test_amounts_that_cannot_be_given_back(shop: Shop, amount: str) -> None:
    _, payment, _ = await sold(shop)
    payload = await shop.change(
        await administrator(shop), "refundPayment", "order { id }", **ids(paymentId=payment), amount=amount, idempotencyKey="k"
    )
    assert payload["order"] is None
    assert [error["field"] for error in payload["userErrors"]] == [["amount"]]
    assert await shop.repositories.refunds.count() == 0


async def test_refunds_at_once_never_exceed_what_was_taken(shop: Shop) -> None:
    _, payment, _ = await sold(shop)
    requests = [RefundRequest(amount=Decimal(3), idempotency_key=str(n % 15)) for n in range(30)]
    payments = Payments(shop.provider)
    calls = (refund(payments, shop.repositories, payment, request) for request in requests)
    await asyncio.gather(*calls, return_exceptions=True)
    [charge] = await shop.provider.ledger.find_many({})
    row = await shop.repositories.payments.get_by_id(payment.id)
    given = [found.amount for found in await shop.repositories.refunds.find_many({"status": "COMPLETED"})]
    assert (charge.refunded, row.refunded_amount, sum(given)) == (Decimal(18), Decimal(18), Decimal(18))


async def test_the_database_itself_refuses_to_give_back_more_than_was_taken(shop: Shop) -> None:
    _, payment, _ = await sold(shop)
    connection = await asyncpg.connect(shop.database.dsn)
    with pytest.raises(asyncpg.CheckViolationError, match="ck_payments_refunded_amount"):
        await connection.execute("update payments set refunded_amount = captured_amount + 1 where id = $1", payment.id)
    await connection.close()


async def test_pieces_are_put_back_once(shop: Shop) -> None:
    _, payment, tea = await sold(shop)
    for key in ("1", "2"):
        input = {**ids(paymentId=payment), "amount": "1", "restock": True, "idempotencyKey": key}
        payload = await shop.change(await administrator(shop), "refundPayment", "order { id }", **input)
    assert codes(payload) == [(["restock"], "INVALID")]
    assert await shop.stock(tea) == (10, 0, 10)


async def test_only_staff_of_the_store_gives_back(shop: Shop) -> None:
    order, payment, _ = await sold(shop)
    other = await shop.open_store()
    stranger = replace(await shop.viewer(ViewerKind.STAFF, *RIGHTS), store_id=other.id)
    for named in (ids(paymentId=payment), ids(orderId=order)):
        payload = await shop.change(stranger, "refundPayment", "order { id }", **named, idempotencyKey=str(named))
        assert [code for _, code in codes(payload)] == ["NOT_FOUND"]
    buyer = replace(await shop.viewer(), user_id=order.user_id)
    document = "mutation ($input: RefundPaymentInput!) { refundPayment(input: $input) { order { id } } }"
    for viewer in (buyer, await shop.viewer(ViewerKind.STAFF, "payments:read", "payments:write")):
        [error] = (await shop.ask(viewer, document, input={**ids(paymentId=payment), "idempotencyKey": "k"}))["errors"]
        assert error["extensions"]["code"] == "FORBIDDEN"
    both = await shop.change(
        await administrator(shop), "refundPayment", "order { id }", **ids(paymentId=payment, orderId=order), idempotencyKey="k"
    )
    assert codes(both) == [(["paymentId"], "INVALID")]
    assert await shop.repositories.refunds.count() == 0


@dataclass
class Refusing(TestPaymentProvider):
    """Refuses to give back, or does and loses the answer."""

    shop: Shop
    lost: bool = False

    def __post_init__(self) -> None:
        super().__init__(self.shop.repositories)

    async def refund(self, request: RepaymentRequest) -> Repayment:
        if not self.lost:
            return Repayment(None, "insufficient_balance")
        await super().refund(request)
        raise TimeoutError


async def test_what_the_provider_refuses_can_be_given_back_later(shop: Shop) -> None:
    _, payment, _ = await sold(shop)
    shop.provider = Refusing(shop)
    refused = await shop.change(await administrator(shop), "refundPayment", SHOWN, **ids(paymentId=payment), idempotencyKey="1")
    assert [code for _, code in codes(refused)] == ["PAYMENT_DECLINED"]
    assert refused["order"]["payments"][0]["refundedAmount"] == "0.00"
    assert refused["order"]["events"][-1]["kind"] == "REFUND_FAILED"
    shop.provider = TestPaymentProvider(shop.repositories)
    again = await shop.change(await administrator(shop), "refundPayment", SHOWN, **ids(paymentId=payment), idempotencyKey="2")
    assert (again["userErrors"], again["order"]["payments"][0]["status"]) == ([], "REFUNDED")


@pytest.mark.parametrize("again", ["key", "sweep"])
async def test_a_lost_answer_is_found_again_and_nothing_is_given_back_twice(shop: Shop, again: str) -> None:
    _, payment, _ = await sold(shop)
    shop.provider, boss = Refusing(shop, lost=True), await administrator(shop)
    input = {**ids(paymentId=payment), "amount": "15", "idempotencyKey": "k"}
    lost = await shop.change(boss, "refundPayment", SHOWN, **input)
    assert [code for _, code in codes(lost)] == ["PAYMENT_TIMEOUT"]
    assert lost["order"]["payments"][0]["refunds"][0]["status"] == "PENDING"
    shop.provider = TestPaymentProvider(shop.repositories)
    if again == "sweep":
        later = replace(shop.repositories, now=lambda: shop.repositories.now() + timedelta(minutes=5))
        await Sweep(later, shop.provider, timedelta(minutes=1), timedelta(hours=1)).run()
    found = await shop.change(boss, "refundPayment", SHOWN, **input)
    assert (found["userErrors"], found["order"]["payments"][0]["refunds"][0]["status"]) == ([], "COMPLETED")
    [charge] = await shop.provider.ledger.find_many({})
    assert charge.refunded == Decimal(15)


# --- What is set aside


async def set_aside(shop: Shop, token: str = "tok_success") -> tuple[Order, Payment, Any]:  # noqa: S107 - a token of the test provider
    await shop.repositories.store_settings.update_many({"store_id": shop.store.id}, {"config": {"paymentCapture": "MANUAL"}})
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    order = await shop.order(ann, (tea, 2))
    paid = await Payments(shop.provider).pay(shop.of(ann), order.id, token)
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    return paid.order, payment, tea


async def test_money_is_set_aside_and_taken_by_staff(shop: Shop) -> None:
    order, payment, tea = await set_aside(shop)
    assert (order.status, payment.status, payment.capture) == ("PENDING", "PENDING", "MANUAL")
    assert payment.authorized_at is not None
    assert [charge.captured for charge in await shop.provider.ledger.find_many({})] == [Decimal(0)]
    staff = await shop.viewer(ViewerKind.STAFF, *RIGHTS, "orders:read")
    much = await shop.change(staff, "capturePayment", SHOWN, **ids(paymentId=payment), amount="10.01")
    assert codes(much) == [(["amount"], "INVALID")]
    taken = await shop.change(staff, "capturePayment", SHOWN, **ids(paymentId=payment), amount="8", idempotencyKey="k")
    assert (taken["userErrors"], taken["order"]["status"]) == ([], "COMPLETED")
    assert taken["order"]["payments"][0]["capturedAmount"] == "8.00"
    assert [event["kind"] for event in taken["order"]["events"]][-3:] == ["AUTHORIZED", "CHARGED", "COMPLETED"]
    assert await shop.stock(tea) == (8, 0, 8)
    twice = await shop.change(staff, "capturePayment", SHOWN, **ids(paymentId=payment))
    assert [code for _, code in codes(twice)] == ["INVALID_TRANSITION"]
    back = await shop.change(staff, "refundPayment", SHOWN, **ids(paymentId=payment), amount="8.01", idempotencyKey="k")
    assert codes(back) == [(["amount"], "REFUND_TOO_LARGE")]


async def test_a_capture_that_was_cut_off_is_found_by_the_sweep(shop: Shop) -> None:
    order, payment, tea = await set_aside(shop)

    class Died(BaseException):
        """The process is gone."""

    def die(moment: Moment) -> None:
        raise Died

    with pytest.raises(Died):
        await capture(Payments(shop.provider, die), shop.repositories, payment, None)
    later = replace(shop.repositories, now=lambda: shop.repositories.now() + timedelta(hours=2))
    await Sweep(later, shop.provider, timedelta(minutes=1), timedelta(hours=1)).run()
    assert (await shop.repositories.orders.get_by_id(order.id)).status == "COMPLETED"
    assert await shop.stock(tea) == (8, 0, 8)
