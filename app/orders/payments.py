"""Paying for an order: the use case that leaves the process.

No row lock and no open transaction outlives a call to the provider. One transaction opens a PENDING payment; the provider is charged with
that payment's id as its idempotency key; a second transaction settles payment, order and stock together. What ends between them leaves the
payment PENDING: asking again with the same key asks the provider again, which charges once per key. While a payment is PENDING, the order
can be neither cancelled nor paid otherwise.
"""

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Final, TypeVar
from uuid import UUID

import structlog

from app.core.errors import ErrorCode, UserError
from app.core.factory import RepositoryFactory
from app.core.security import token_hash
from app.orders.models import Order, Payment, PaymentRequest, PaymentStatus
from app.orders.provider import Charge, ChargeRequest, PaymentProvider, UnknownToken
from app.orders.repository import Attempt, OrderRepository, PaymentRepository

T = TypeVar("T")
DECLINES: Final = {"insufficient_funds": ErrorCode.PAYMENT_INSUFFICIENT_FUNDS}
"""What a provider's reasons mean to a buyer; whatever else it says is a declined card."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Paid:
    """How paying ended: the order as it is now, and what its buyer can mend."""

    order: Order
    refusal: UserError | None = None


async def process_payment(
    repositories: RepositoryFactory, provider: PaymentProvider, order_id: UUID, payment_token: str, idempotency_key: str | None = None
) -> Paid:
    """Charge for a PENDING order, or try a FAILED one again. `repositories` are the viewer's: a foreign order does not exist.

    Raises `UserError`, and then nothing has changed: no such order, a status that cannot be paid, out of stock again, another payment
    under way, an unknown token, a key of another payment. Raises pydantic's `ValidationError` for texts that are too long.
    """
    request = PaymentRequest(payment_token=payment_token, idempotency_key=idempotency_key)
    await _verify(provider, request.payment_token)
    attempt = Attempt(provider.name, token_hash(request.payment_token), request.idempotency_key)
    payment = await repositories.of(OrderRepository).open_payment(order_id, attempt)
    if payment.status == PaymentStatus.PENDING:
        charge = await _charge(provider, payment, request.payment_token)
        if charge is None:
            return Paid(await repositories.of(OrderRepository).get_by_id(order_id), _unanswered())
        await repositories.unscoped.of(OrderRepository).settle_payment(payment, charge)
    return await _outcome(repositories, payment)


async def _verify(provider: PaymentProvider, token: str) -> None:
    try:
        await _answer(provider, provider.verify(token))
    except UnknownToken as error:
        message = "the payment provider knows no such token; make a new one from the card"
        raise UserError(ErrorCode.PAYMENT_TOKEN_UNKNOWN, message, "payment_token") from error
    except (TimeoutError, ConnectionError) as error:
        raise _unanswered() from error


async def _charge(provider: PaymentProvider, payment: Payment, token: str) -> Charge | None:
    """The provider's answer; None where it is not known whether it has charged."""
    request = ChargeRequest(payment.amount, payment.currency, token, idempotency_key=str(payment.id))
    try:
        return await _answer(provider, provider.charge(request))
    except UnknownToken:
        return Charge(None, "unknown_token", "The card is no longer known.")
    except (TimeoutError, ConnectionError) as error:
        log.warning("payment_unanswered", payment=str(payment.id), provider=provider.name, error=type(error).__name__)
        return None


async def _answer(provider: PaymentProvider, asked: Awaitable[T]) -> T:
    async with asyncio.timeout(provider.timeout):
        return await asked


def _unanswered() -> UserError:
    message = "the payment provider has not answered; ask again with the same idempotencyKey and paymentToken to learn the outcome"
    return UserError(ErrorCode.PAYMENT_TIMEOUT, message, "payment_token")


async def _outcome(repositories: RepositoryFactory, payment: Payment) -> Paid:
    """The order now, and what the payment's failure means to its buyer."""
    order = await repositories.of(OrderRepository).get_by_id(payment.order_id)
    settled = await repositories.of(PaymentRepository).get_by_id(payment.id)
    if settled.status != PaymentStatus.FAILED:
        return Paid(order)
    code = DECLINES.get(settled.failure_code or "", ErrorCode.PAYMENT_DECLINED)
    return Paid(order, UserError(code, f"{settled.failure_message or 'The card was declined.'} Pay with another one.", "payment_token"))
