"""What nobody came back for is settled by asking the provider, and what is not paid gives its stock back."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from app.core.errors import ErrorCode
from app.orders.models import Order, OrderStatus
from app.orders.payments import Moment, Payments
from app.orders.provider import Charge, ChargeRequest
from app.orders.repository import PaymentRepository
from app.orders.sweep import Sweep
from app.orders.test_provider import BANK_SECONDS, TestPaymentProvider
from tests.shop import Shop, ids, refused

SUCCESS = "tok_success"
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Died(BaseException):
    """The process is gone."""


def sweep(shop: Shop, after: timedelta, provider: TestPaymentProvider | None = None) -> Sweep:
    """The sweep as it runs some time from now."""
    later = replace(shop.repositories, now=lambda: shop.repositories.now() + after)
    return Sweep(later, provider or TestPaymentProvider(later), MINUTE, HOUR)


async def paid_until(shop: Shop, moment: Moment, token: str = SUCCESS) -> tuple[Order, Any]:
    """An order whose payment ends, at a moment, with the process."""

    def die(at: Moment) -> None:
        if at is moment:
            raise Died

    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    with pytest.raises(Died):
        await Payments(shop.provider, die).pay(shop.of(ann), order.id, token, "key")
    return order, tea


async def state(shop: Shop, order: Order) -> tuple[str, str]:
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    return (await shop.repositories.orders.get_by_id(order.id)).status, payment.status


async def kinds(shop: Shop, order: Order) -> list[tuple[str, str]]:
    events = (await shop.repositories.order_events.find_by_order_ids([order.id]))[0]
    return [(event.kind, event.actor) for event in events]


@pytest.mark.parametrize(
    ("moment", "token", "ended", "stock"),
    [
        (Moment.OPENED, "tok_success", ("FAILED", "FAILED"), (10, 0, 10)),
        (Moment.ANSWERED, "tok_success", ("COMPLETED", "COMPLETED"), (8, 0, 8)),
        (Moment.ANSWERED, "tok_declined", ("FAILED", "FAILED"), (10, 0, 10)),
        (Moment.ANSWERED, "tok_timeout", ("FAILED", "FAILED"), (10, 0, 10)),
        (Moment.ANSWERED, "tok_response_lost", ("COMPLETED", "COMPLETED"), (8, 0, 8)),
        (Moment.SETTLED, "tok_success", ("COMPLETED", "COMPLETED"), (8, 0, 8)),
    ],
)
async def test_a_payment_that_was_left_alone_is_settled_by_the_truth(
    shop: Shop, moment: Moment, token: str, ended: tuple[str, str], stock: tuple[int, int, int]
) -> None:
    order, tea = await paid_until(shop, moment, token)
    before = await state(shop, order)
    await sweep(shop, MINUTE / 2).run()
    assert await state(shop, order) == before
    await asyncio.gather(*(sweep(shop, 2 * MINUTE).run() for _ in range(4)))
    assert (await state(shop, order), await shop.stock(tea)) == (ended, stock)
    taken = [charge.captured for charge in await shop.provider.ledger.find_many({})]
    assert sum(taken) == (order.total if ended[0] == "COMPLETED" else 0)


async def test_a_charge_that_arrives_after_it_was_given_up_takes_no_money(shop: Shop) -> None:
    order, _ = await paid_until(shop, Moment.OPENED)
    await sweep(shop, 2 * MINUTE).run()
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    late = await shop.provider.charge(ChargeRequest(payment.amount, payment.currency, str(payment.id)), "tok_success")
    assert late.failure_code == payment.failure_code == "abandoned"


async def test_a_slow_bank_is_waited_for(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    paid = await shop.change(ann, "processPayment", "order { status }", **ids(orderId=order), paymentToken="tok_async")
    assert paid == {"order": {"status": "PENDING"}, "userErrors": []}
    assert await refused(shop.of(ann).orders.cancel(order.id)) == (ErrorCode.PAYMENT_IN_PROGRESS, "id")
    early = TestPaymentProvider(shop.repositories)
    await sweep(shop, 2 * HOUR, early).run()
    assert await state(shop, order) == ("PENDING", "PENDING")
    await sweep(shop, 3 * HOUR + BANK_SECONDS).run()
    assert (await state(shop, order), await shop.stock(tea)) == (("COMPLETED", "COMPLETED"), (8, 0, 8))


async def test_an_unpaid_order_gives_its_stock_back_and_may_still_be_paid(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    await sweep(shop, HOUR - MINUTE).run()
    assert await shop.stock(tea) == (10, 2, 8)
    await asyncio.gather(*(sweep(shop, HOUR + MINUTE).run() for _ in range(4)))
    assert (await shop.repositories.orders.get_by_id(order.id)).status == "FAILED"
    assert await shop.stock(tea) == (10, 0, 10)
    assert await kinds(shop, order) == [("CREATED", "BUYER"), ("RESERVED", "BUYER"), ("EXPIRED", "SYSTEM")]
    await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_success")
    assert (await state(shop, order), await shop.stock(tea)) == (("COMPLETED", "COMPLETED"), (8, 0, 8))


class WrongProvider(TestPaymentProvider):
    """Takes another amount than it was asked for, or in another currency."""

    wrong: Charge | None = None

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        charge = await super().charge(request, token)
        return replace(charge, amount=charge.amount + 1) if token == "tok_success" else replace(charge, currency="EUR")


@pytest.mark.parametrize("token", ["tok_success", "tok_async"])
async def test_money_that_does_not_fit_the_order_is_held_for_staff(shop: Shop, token: str) -> None:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    order = await shop.order(ann, (tea, 2))
    shop.provider = WrongProvider(shop.repositories)
    paid = await Payments(shop.provider).pay(shop.of(ann), order.id, token)
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    assert (paid.order.status, payment.status, payment.captured_amount) == ("PENDING", "PENDING", Decimal(0))
    assert payment.held_reason is not None
    await sweep(shop, 5 * HOUR).run()
    assert await state(shop, order) == ("PENDING", "PENDING")
    assert await shop.stock(tea) == (10, 2, 8)
    assert (await kinds(shop, order))[-1] == ("HELD", "BUYER")


async def test_the_log_says_what_happened_and_who_did_it(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("5.00", stock=10)
    staff = await shop.viewer()
    order = await shop.order(ann, (tea, 2))
    await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_declined")
    await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_success")
    cancelled = await shop.order(ann, (tea, 1))
    await shop.repositories.scoped(replace(shop.repositories.viewer, user_id=staff.user_id)).orders.cancel(cancelled.id)
    assert (await kinds(shop, cancelled))[-1] == ("CANCELLED", "STAFF")
    shown = "query ($id: ID!) { order(id: $id) { events { kind actor amount currency data payment { status } person { username } } } }"
    events = (await shop.ask(ann, shown, **ids(id=order)))["data"]["order"]["events"]
    assert [event["kind"] for event in events] == [
        "CREATED",
        "RESERVED",
        "DECLINED",
        "FAILED",
        "RESERVED",
        "CHARGED",
        "COMPLETED",
    ]
    assert {event["actor"] for event in events} == {"BUYER"}
    assert (events[5]["amount"], events[5]["currency"], events[5]["payment"]) == ("10.00", "USD", {"status": "COMPLETED"})
    assert events[2]["data"] == {"code": "card_declined"}
    assert "tok_" not in str(events)


async def test_the_log_is_only_ever_added_to(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    await shop.order(ann, (tea, 1))
    connection = await asyncpg.connect(shop.database.dsn)
    for change in ("update order_events set kind = 'COMPLETED'", "delete from order_events"):
        with pytest.raises(asyncpg.RestrictViolationError):
            await connection.execute(change)
    await connection.close()
    assert await shop.repositories.order_events.count() == 2


async def test_another_sweeper_takes_other_payments(shop: Shop) -> None:
    order, _ = await paid_until(shop, Moment.ANSWERED)
    payments = sweep(shop, 2 * MINUTE).repositories.of(PaymentRepository)
    now = payments.repositories.now()
    taken = await asyncio.gather(*(payments.take_unsettled(now - MINUTE, now - HOUR, 10) for _ in range(5)))
    assert [payment.order_id for found in taken for payment in found] == [order.id]
    assert (await shop.repositories.orders.get_by_id(order.id)).status == OrderStatus.PENDING
