"""Paying: whatever happens between the gateway and the provider, the card is charged once and order, payment and stock agree."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
import structlog

from app.core.errors import ErrorCode, NotFound, UserError
from app.core.security import ANONYMOUS, Viewer, ViewerKind
from app.orders.models import Order, OrderStatus, Payment, PaymentStatus, TestCharge
from app.orders.payments import Paid, Payments
from app.orders.provider import Charge, ChargeRequest, UnknownToken
from app.orders.test_provider import TestPaymentProvider
from tests.shop import ADMINISTRATOR, Shop, refused

CALLS = 50
SUCCESS = "tok_success"
NO_CHARGE: list[TestCharge] = []


@dataclass
class FaultyProvider(TestPaymentProvider):
    """The test provider behind a wire that does something before or after it has charged."""

    shop: Shop
    before: Callable[[], Awaitable[object]] | None = None
    after: Callable[[], Awaitable[object]] | None = None
    asked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(self.shop.repositories)

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        self.asked.append(request.idempotency_key)
        if self.before:
            await self.before()
        charge = await super().charge(request, token)
        if self.after:
            await self.after()
        return charge


async def pay(shop: Shop, viewer: Viewer, order_id: UUID, token: str = SUCCESS, key: str | None = None) -> Paid:
    return await Payments(shop.provider).pay(shop.of(viewer), order_id, token, key)


async def payments(shop: Shop, order: Order) -> list[Payment]:
    """The order's payments, oldest first."""
    return (await shop.repositories.payments.find_by_order_ids([order.id]))[0]  # type: ignore[no-any-return]


async def charges(provider: TestPaymentProvider) -> list[TestCharge]:
    """What the provider has been asked for."""
    return await provider.ledger.find_many({})


async def charged(provider: TestPaymentProvider) -> list[TestCharge]:
    """The charges that moved money."""
    return [charge for charge in await charges(provider) if charge.captured]


async def test_a_paid_order_is_completed_and_its_pieces_are_sold(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("12.50", stock=10)
    order = await shop.order(ann, (tea, 2))
    paid = await pay(shop, ann, order.id, key="key")
    [payment] = await payments(shop, order)
    assert (paid.refusal, paid.order.status, paid.order.payment_id) == (None, "COMPLETED", payment.id)
    assert paid.order.completed_at is not None
    assert (payment.status, payment.amount, payment.currency) == ("COMPLETED", Decimal(25), "USD")
    assert (payment.provider, payment.method, payment.idempotency_key) == ("test", "card", "key")
    assert payment.completed_at is not None
    assert [charge.transaction_id for charge in await charged(shop.provider)] == [payment.transaction_id]
    assert await shop.stock(tea) == (8, 0, 8)
    assert "tok_success" not in str(dict(payment))


@pytest.mark.parametrize(
    ("token", "code", "failure"),
    [
        ("tok_declined", ErrorCode.PAYMENT_DECLINED, "card_declined"),
        ("tok_insufficient_funds", ErrorCode.PAYMENT_INSUFFICIENT_FUNDS, "insufficient_funds"),
    ],
)
async def test_a_declined_order_fails_and_can_be_paid_with_another_card(shop: Shop, token: str, code: ErrorCode, failure: str) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    for _ in range(2):
        declined = await pay(shop, ann, order.id, token, "first")
        assert declined.order.status == "FAILED"
        assert declined.refusal is not None
        assert (declined.refusal.code, declined.refusal.field) == (code, ("payment_token",))
    [payment] = await payments(shop, order)
    assert (payment.status, payment.failure_code, declined.order.payment_id) == ("FAILED", failure, None)
    assert payment.failed_at is not None
    assert await shop.stock(tea) == (10, 0, 10)
    paid = await pay(shop, ann, order.id, key="second")
    assert (paid.order.status, paid.order.failed_at, paid.refusal) == ("COMPLETED", None, None)
    assert [payment.status for payment in await payments(shop, order)] == ["FAILED", "COMPLETED"]
    assert await shop.stock(tea) == (8, 0, 8)
    assert len(await charged(shop.provider)) == 1


async def test_a_failed_order_reserves_again_before_it_is_charged(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product(stock=2)
    order = await shop.order(ann, (tea, 2))
    await pay(shop, ann, order.id, "tok_declined")
    await shop.order(bob, (tea, 1))
    assert await refused(pay(shop, ann, order.id)) == (ErrorCode.OUT_OF_STOCK, "order_id")
    assert (await shop.repositories.orders.get_by_id(order.id)).status == "FAILED"
    assert await charged(shop.provider) == NO_CHARGE
    assert await shop.stock(tea) == (2, 1, 1)


# --- Once only


async def test_fifty_calls_with_one_key_charge_once(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    results = await asyncio.gather(*(pay(shop, ann, order.id, key="once") for _ in range(CALLS)))
    assert {(paid.order.status, paid.refusal) for paid in results} == {("COMPLETED", None)}
    assert len(await payments(shop, order)) == len(await charges(shop.provider)) == 1
    assert await shop.stock(tea) == (8, 0, 8)


@pytest.mark.parametrize("keys", [lambda n: f"key-{n}", lambda _: None])
async def test_fifty_calls_with_other_keys_or_none_complete_one_payment(shop: Shop, keys: Callable[[int], str | None]) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    results = await asyncio.gather(*(pay(shop, ann, order.id, key=keys(n)) for n in range(CALLS)), return_exceptions=True)
    errors = {result.code for result in results if isinstance(result, UserError)}
    assert errors <= {ErrorCode.PAYMENT_IN_PROGRESS, ErrorCode.INVALID_TRANSITION}
    assert all(isinstance(result, UserError | Paid) for result in results)
    assert [payment.status for payment in await payments(shop, order)] == ["COMPLETED"]
    assert len(await charged(shop.provider)) == 1
    assert await shop.stock(tea) == (8, 0, 8)


async def test_payments_that_race_with_declined_ones_complete_one(shop: Shop) -> None:
    """Shoppers who try every card at once, and again while an answer is lost."""
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    tokens = ["tok_declined", "tok_success", "tok_insufficient_funds", "tok_timeout"]
    for _ in range(10):
        calls = (pay(shop, ann, order.id, tokens[n % 4], f"key-{n}") for n in range(24))
        await asyncio.gather(*calls, return_exceptions=True)
        if (await shop.repositories.orders.get_by_id(order.id)).status == "COMPLETED":
            break
    statuses = [payment.status for payment in await payments(shop, order)]
    assert statuses.count(PaymentStatus.COMPLETED) == 1
    assert len(await charged(shop.provider)) == 1
    assert (await shop.repositories.orders.get_by_id(order.id)).status == "COMPLETED"
    assert await shop.stock(tea) == (8, 0, 8)


async def test_a_key_stands_for_one_token(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    await pay(shop, ann, order.id, "tok_timeout", "key")
    assert await refused(pay(shop, ann, order.id, "tok_success", "key")) == (ErrorCode.CONFLICT, "idempotency_key")
    await pay(shop, ann, order.id, "tok_timeout", "key")
    assert await refused(pay(shop, ann, order.id, "tok_success", "key")) == (ErrorCode.CONFLICT, "idempotency_key")
    assert await refused(pay(shop, ann, order.id, key="another")) == (ErrorCode.INVALID_TRANSITION, "order_id")
    assert len(await charged(shop.provider)) == 1


# --- When the answer is not known


@pytest.mark.parametrize("key", ["key", None])
async def test_a_lost_answer_leaves_the_payment_pending_until_it_is_asked_for(shop: Shop, key: str | None) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    lost = await pay(shop, ann, order.id, "tok_timeout", key)
    assert lost.refusal is not None
    assert (lost.order.status, lost.refusal.code) == ("PENDING", ErrorCode.PAYMENT_TIMEOUT)
    in_progress = (ErrorCode.PAYMENT_IN_PROGRESS, "order_id")
    assert await refused(pay(shop, ann, order.id, key="another")) == in_progress
    assert await refused(pay(shop, ann, order.id, "tok_success")) == in_progress
    assert await refused(shop.of(ann).orders.cancel(order.id)) == (ErrorCode.PAYMENT_IN_PROGRESS, "id")
    assert await shop.stock(tea) == (10, 2, 8)
    found = await pay(shop, ann, order.id, "tok_timeout", key)
    assert (found.order.status, found.refusal) == ("COMPLETED", None)
    assert len(await payments(shop, order)) == len(await charges(shop.provider)) == 1
    assert await shop.stock(tea) == (8, 0, 8)


async def test_a_provider_that_hangs_is_left_after_its_timeout(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    shop.provider = FaultyProvider(shop, before=asyncio.Event().wait)
    shop.provider.timeout = 0.05
    hung = await pay(shop, ann, order.id, key="key")
    assert hung.refusal is not None
    assert hung.refusal.code == ErrorCode.PAYMENT_TIMEOUT
    assert [payment.status for payment in await payments(shop, order)] == ["PENDING"]
    shop.provider.before = None
    assert (await pay(shop, ann, order.id, key="key")).order.status == "COMPLETED"
    assert shop.provider.asked == [str(payment.id) for payment in await payments(shop, order)] * 2


async def test_a_provider_that_does_not_know_the_token_in_time_is_not_charged(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))

    class SlowToVerify(TestPaymentProvider):
        async def verify(self, token: str) -> None:
            await asyncio.Event().wait()

    shop.provider = SlowToVerify(shop.repositories, timeout=0.05)
    assert await refused(pay(shop, ann, order.id)) == (ErrorCode.PAYMENT_TIMEOUT, "payment_token")
    assert await payments(shop, order) == []


async def test_a_provider_that_cannot_be_reached_is_an_unknown_answer(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))

    async def lose_connection() -> None:
        raise ConnectionResetError

    shop.provider = FaultyProvider(shop, after=lose_connection)
    lost = await pay(shop, ann, order.id, key="key")
    assert lost.refusal is not None
    assert lost.refusal.code == ErrorCode.PAYMENT_TIMEOUT
    shop.provider.after = None
    assert (await pay(shop, ann, order.id, key="key")).order.status == "COMPLETED"
    assert len(await charges(shop.provider)) == 1


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_a_crash_around_the_charge_never_charges_twice(shop: Shop, moment: str) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    reached = asyncio.Event()

    async def stop_here() -> None:
        reached.set()
        await asyncio.Event().wait()

    shop.provider = FaultyProvider(shop, before=stop_here) if moment == "before" else FaultyProvider(shop, after=stop_here)
    task = asyncio.create_task(pay(shop, ann, order.id, key="key"))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(await charged(shop.provider)) == (moment == "after")
    assert (await shop.repositories.orders.get_by_id(order.id)).status == "PENDING"
    shop.provider.before = shop.provider.after = None
    assert (await pay(shop, ann, order.id, key="key")).order.status == "COMPLETED"
    assert len(await charged(shop.provider)) == len(await payments(shop, order)) == 1
    assert await shop.stock(tea) == (8, 0, 8)


async def test_nothing_is_locked_while_the_provider_is_asked(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    free: list[object] = []

    async def look() -> None:
        async with asyncio.timeout(2), shop.repositories.transaction() as tx:
            free.extend([await tx.orders.lock_by_id(order.id), await tx.inventory.set_on_hand(tea.id, 50)])
            free.extend(await tx.payments.find_by_order(order.id))

    shop.provider = FaultyProvider(shop, before=look)
    assert (await pay(shop, ann, order.id)).order.status == "COMPLETED"
    assert len(free) == 3


async def test_money_for_an_order_that_was_closed_meanwhile_is_recorded(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))

    async def close() -> None:
        await shop.repositories.orders.update_status(order.id, OrderStatus.CANCELLED)

    shop.provider = FaultyProvider(shop, before=close)
    with structlog.testing.capture_logs() as logs:
        paid = await pay(shop, ann, order.id)
    assert paid.order.status == "CANCELLED"
    assert [payment.status for payment in await payments(shop, order)] == ["COMPLETED"]
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["payment_of_closed_order"]
    assert await shop.stock(tea) == (10, 0, 10)


# --- Tokens, owners, states


async def test_an_unknown_token_changes_nothing(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    assert await refused(pay(shop, ann, order.id, "tok_bogus", "key")) == (ErrorCode.PAYMENT_TOKEN_UNKNOWN, "payment_token")
    assert await payments(shop, order) == []
    assert await shop.stock(tea) == (10, 2, 8)
    assert (await pay(shop, ann, order.id, key="key")).order.status == "COMPLETED"


async def test_a_token_that_expires_before_the_charge_is_a_failed_payment(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))

    async def expire() -> None:
        raise UnknownToken

    shop.provider = FaultyProvider(shop, before=expire)
    paid = await pay(shop, ann, order.id)
    assert paid.refusal is not None
    assert (paid.order.status, paid.refusal.code) == ("FAILED", ErrorCode.PAYMENT_DECLINED)
    [payment] = await payments(shop, order)
    assert payment.failure_code == "unknown_token"
    assert await charged(shop.provider) == NO_CHARGE


async def test_orders_are_paid_by_their_buyer(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    staff = await shop.viewer(ViewerKind.STAFF, "orders:read")
    order = await shop.order(ann, (tea, 1))
    for viewer in (bob, staff, ANONYMOUS):
        assert await refused(pay(shop, viewer, order.id)) == (ErrorCode.NOT_FOUND, "order_id")
    assert await refused(pay(shop, ann, uuid4())) == (ErrorCode.NOT_FOUND, "order_id")
    assert await charges(shop.provider) == NO_CHARGE
    assert (await pay(shop, ADMINISTRATOR, order.id)).order.status == "COMPLETED"


async def test_closed_orders_cannot_be_paid(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    await shop.of(ann).orders.cancel(order.id)
    assert await refused(pay(shop, ann, order.id)) == (ErrorCode.INVALID_TRANSITION, "order_id")
    assert await charges(shop.provider) == NO_CHARGE


async def test_a_payments_status_changes_only_along_its_ways(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    await pay(shop, ann, order.id)
    [payment] = await payments(shop, order)
    rows = shop.repositories.payments
    for status in (PaymentStatus.PENDING, PaymentStatus.FAILED, PaymentStatus.COMPLETED):
        with pytest.raises(UserError, match=f"COMPLETED and cannot become {status}"):
            await rows.update_status(payment.id, status)
    refunded = await rows.update_status(payment.id, PaymentStatus.REFUNDED)
    assert refunded.refunded_at is not None
    assert refunded.completed_at == payment.completed_at
    with pytest.raises(NotFound):
        await rows.update_status(uuid4(), PaymentStatus.FAILED)
    assert await rows.get_payment_stats() == {"pending": 0, "completed": 0, "failed": 0, "refunded": 1}
    assert [row.id for row in await rows.find_by_status(PaymentStatus.REFUNDED)] == [payment.id]
