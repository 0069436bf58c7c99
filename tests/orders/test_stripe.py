"""Stripe's library against what speaks as Stripe does: charges, lost answers, captures, refunds, events."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import httpx
import pytest
from pydantic import ValidationError
from starlette.applications import Starlette
from starlette.routing import Route

from app.core.errors import ErrorCode
from app.orders.incoming import MOST_BYTES, IncomingPayments
from app.orders.models import Order, Payment, RefundRequest
from app.orders.payments import Paid, Payments
from app.orders.refunds import capture, refund
from app.orders.stripe_provider import StripeProvider, major, minor
from app.orders.sweep import Sweep
from tests.orders.stripe_server import SECRET, StripeServer
from tests.serving import listening, settings_for
from tests.shop import Shop, refused

VISA, MINUTE, HOUR = "pm_card_visa", timedelta(minutes=1), timedelta(hours=1)


@pytest.fixture
async def server() -> StripeServer:
    return StripeServer()


@pytest.fixture
async def stripe(server: StripeServer) -> AsyncIterator[StripeProvider]:
    async with listening(server.app()) as url:
        provider = StripeProvider("sk_test", SECRET, url, timeout=2)
        yield provider
        await provider.close()


async def pay(shop: Shop, stripe: StripeProvider, card: str = VISA, price: str = "12.50") -> tuple[Paid, Payment]:
    ann, tea = await shop.viewer(), await shop.product(price, stock=10)
    order = await shop.order(ann, (tea, 2))
    paid = await Payments(stripe).pay(shop.of(ann), order.id, card, "key")
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    return paid, payment


async def status(shop: Shop, order: Order) -> str:
    return (await shop.repositories.orders.get_by_id(order.id)).status


async def test_a_card_is_charged_once(shop: Shop, stripe: StripeProvider, server: StripeServer) -> None:
    paid, payment = await pay(shop, stripe)
    [intent] = server.intents.values()
    assert (paid.order.status, payment.status, payment.transaction_id) == ("COMPLETED", "COMPLETED", intent["id"])
    assert (intent["amount_received"], intent["currency"], intent["metadata"]) == (2500, "usd", {"payment_id": str(payment.id)})
    unknown = Payments(stripe).pay(shop.repositories, paid.order.id, "pm_bogus")
    assert await refused(unknown) == (ErrorCode.PAYMENT_TOKEN_UNKNOWN, "payment_token")


@pytest.mark.parametrize(
    ("card", "code"),
    [("pm_card_visa_chargeDeclined", ErrorCode.PAYMENT_DECLINED), ("pm_card_insufficient", ErrorCode.PAYMENT_INSUFFICIENT_FUNDS)],
)
async def test_a_declined_card_is_an_answer(shop: Shop, stripe: StripeProvider, card: str, code: ErrorCode) -> None:
    paid, payment = await pay(shop, stripe, card)
    assert paid.refusal is not None
    assert (paid.order.status, payment.status, paid.refusal.code) == ("FAILED", "FAILED", code)


@pytest.mark.parametrize(("lost", "ended"), [("confirm", "COMPLETED"), ("payment_intents", "FAILED")])
async def test_a_lost_answer_is_settled_by_the_sweep(
    shop: Shop, stripe: StripeProvider, server: StripeServer, lost: str, ended: str
) -> None:
    server.lost = {lost}
    paid, _ = await pay(shop, stripe)
    assert paid.refusal is not None
    assert (paid.order.status, paid.refusal.code) == ("PENDING", ErrorCode.PAYMENT_TIMEOUT)
    server.lost = set()
    later = replace(shop.repositories, now=lambda: shop.repositories.now() + 2 * MINUTE)
    await Sweep(later, stripe, MINUTE, HOUR).run()
    [intent] = server.intents.values()
    assert (await status(shop, paid.order), intent["status"]) == (ended, "succeeded" if ended == "COMPLETED" else "canceled")


async def test_money_is_set_aside_taken_in_part_and_given_back(shop: Shop, stripe: StripeProvider, server: StripeServer) -> None:
    await shop.repositories.store_settings.update_many({"store_id": shop.store.id}, {"config": {"paymentCapture": "MANUAL"}})
    paid, payment = await pay(shop, stripe)
    assert (paid.order.status, payment.authorized_at is not None) == ("PENDING", True)
    await capture(Payments(stripe), shop.repositories, payment, Decimal(20))
    payment = await shop.repositories.payments.get_by_id(payment.id)
    assert (payment.status, payment.captured_amount) == ("COMPLETED", Decimal(20))
    for key in ("1", "1", "2"):
        await refund(Payments(stripe), shop.repositories, payment, RefundRequest(amount=Decimal("7.5"), idempotency_key=key))
    assert [made["amount"] for made in server.refunds.values()] == [750, 750]


@pytest.mark.parametrize(
    ("amount", "currency", "units"), [("12.50", "USD", 1250), ("500", "JPY", 500), ("1.250", "KWD", 1250), ("5", "ISK", 500)]
)
def test_amounts_are_counted_as_stripe_counts(amount: str, currency: str, units: int) -> None:
    assert minor(Decimal(amount), currency) == units
    assert major(units, currency) == Decimal(amount)


async def test_events_say_where_to_look(shop: Shop, stripe: StripeProvider, server: StripeServer) -> None:
    server.lost = {"confirm"}
    paid, payment = await pay(shop, stripe)
    server.lost = set()
    [intent] = server.intents.values()
    incoming = IncomingPayments(shop.repositories, stripe)
    app = Starlette(routes=[Route("/webhooks/payments/{provider}", incoming.receive, methods=["POST"])])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as http:

        async def tell(body: bytes, headers: dict[str, str], provider: str = "stripe") -> int:
            return (await http.post(f"/webhooks/payments/{provider}", content=body, headers=headers)).status_code

        old = {**intent, "status": "requires_payment_method", "amount_received": 0}
        forged = server.event("evt_0", "payment_intent.succeeded", intent, "whsec_other")
        assert [await tell(*forged), await tell(b"{}", {}), await tell(b"x" * (MOST_BYTES + 1), {})] == [400, 400, 413]
        assert await tell(*server.event("evt_0", "payment_intent.succeeded", intent), "test") == 404
        assert await status(shop, paid.order) == "PENDING"
        for id, kind, told in (("evt_2", "payment_intent.succeeded", intent), ("evt_1", "payment_intent.created", old)):
            assert [await tell(*server.event(id, kind, told)) for _ in range(2)] == [200, 200]
    assert await status(shop, paid.order) == "COMPLETED"
    assert (await shop.repositories.payments.get_by_id(payment.id)).transaction_id == intent["id"]


def test_stripe_needs_its_secrets() -> None:
    with pytest.raises(ValidationError, match="STRIPE_API_KEY must be set"):
        settings_for("postgresql://localhost/shop", payment_provider="stripe")
