"""Paying for an order: the use case that leaves the process.

No row lock and no open transaction outlives a call to the provider. One transaction opens a PENDING payment; the provider is charged with
that payment's id as its idempotency key; a second transaction settles payment, order and stock together. What ends between them leaves the
payment PENDING: asking again with the same key asks the provider again, which charges once per key, and if nobody asks, the sweep does
(`sweep`). While a payment is PENDING, the order can be neither cancelled nor paid otherwise.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, TypeVar
from uuid import UUID

import structlog

from app.core.errors import ErrorCode, UserError
from app.core.factory import RepositoryFactory
from app.core.security import token_hash
from app.orders.agreement import Agreement
from app.orders.models import Capture, Order, Payment, PaymentRequest, PaymentStatus
from app.orders.provider import Charge, ChargeRequest, PaymentProvider, UnknownToken
from app.orders.repository import Attempt, PaymentRepository, SettlementRepository

T = TypeVar("T")
DECLINES: Final = {"insufficient_funds": ErrorCode.PAYMENT_INSUFFICIENT_FUNDS}
"""What a provider's reasons mean to a buyer; whatever else it says is a declined card."""

UNANSWERED: Final = (TimeoutError, ConnectionError)
"""What leaves it open whether a provider has done what it was asked."""

log = structlog.get_logger(__name__)


class OtherProvider(UserError):
    """The money lies with a provider that the shop no longer works with: only there can it be taken, given back or let go of."""

    def __init__(self, payment: Payment) -> None:
        message = f"the payment was made with the provider {payment.provider!r}, which the shop no longer uses; change it there"
        super().__init__(ErrorCode.PAYMENT_PROVIDER_CHANGED, message, "payment_id")


class Moment(StrEnum):
    """The points between which a process may die: each has something committed that the next one builds on."""

    ORDERED = "ORDERED"
    OPENED = "OPENED"
    ANSWERED = "ANSWERED"
    SETTLED = "SETTLED"
    REFUND_OPENED = "REFUND_OPENED"
    REFUND_ANSWERED = "REFUND_ANSWERED"


@dataclass(frozen=True)
class Paid:
    """How paying ended: the order as it is now, and what its buyer can mend."""

    order: Order
    refusal: UserError | None = None


@dataclass(frozen=True)
class Placing:
    """What is to be ordered, how, and what its buyer agrees to."""

    cart_id: UUID
    payment_method: str
    agreement: Agreement
    capture: Capture | None = None


@dataclass(frozen=True)
class Payments:
    """Takes money through a provider. `passed` is told of each moment, so that tests can end the process there."""

    provider: PaymentProvider
    passed: Callable[[Moment], object] = lambda _moment: None

    async def pay(
        self,
        repositories: RepositoryFactory,
        order_id: UUID,
        payment_token: str,
        idempotency_key: str | None = None,
        capture: Capture | None = None,
    ) -> Paid:
        """Charge for a PENDING order, or try a FAILED one again. `repositories` are the viewer's: a foreign order does not exist.

        Money is taken, or set aside, as `capture` says, or else as the store's setting does.

        Raises `UserError`, and then nothing has changed: no such order, a status that cannot be paid, out of stock again, another payment
        under way, an unknown token, a key of another payment. Raises pydantic's `ValidationError` for texts that are too long.
        """
        request = PaymentRequest(payment_token=payment_token, idempotency_key=idempotency_key)
        await self.verify(request.payment_token)
        return await self._pay(repositories, order_id, request, capture)

    async def place(
        self, repositories: RepositoryFactory, placing: Placing, payment_token: str, idempotency_key: str | None = None
    ) -> Paid:
        """Order a cart and charge for it. A declined card leaves an order that is FAILED and a stock that is released.

        Raises `UserError` as ordering and paying do; where the token is unknown or the cart cannot be ordered, nothing has changed.
        """
        request = PaymentRequest(payment_token=payment_token, idempotency_key=idempotency_key)
        await self.verify(request.payment_token)
        orders = repositories.of(SettlementRepository)
        order = await orders.create_from_cart(placing.cart_id, placing.payment_method, request.idempotency_key, placing.agreement)
        self.passed(Moment.ORDERED)
        return await self._pay(repositories, order.id, request, placing.capture)

    async def _pay(self, repositories: RepositoryFactory, order_id: UUID, request: PaymentRequest, capture: Capture | None) -> Paid:
        attempt = Attempt(self.provider.name, token_hash(request.payment_token), request.idempotency_key, capture)
        payment = await repositories.of(SettlementRepository).open_payment(order_id, attempt)
        self.passed(Moment.OPENED)
        if payment.status == PaymentStatus.PENDING:
            charge = await self._charge(payment, request.payment_token)
            self.passed(Moment.ANSWERED)
            if charge is None:
                return Paid(await repositories.of(SettlementRepository).get_by_id(order_id), _unanswered())
            await repositories.unscoped.of(SettlementRepository).settle_payment(payment, charge, repositories.viewer)
            self.passed(Moment.SETTLED)
        return await _outcome(repositories, payment)

    async def verify(self, token: str) -> None:
        """See whether a token stands for a card. Raises `UserError`: it does not, or the provider does not say."""
        try:
            await answer(self.provider, self.provider.verify(token))
        except UnknownToken as error:
            message = "the payment provider knows no such token; make a new one from the card"
            raise UserError(ErrorCode.PAYMENT_TOKEN_UNKNOWN, message, "payment_token") from error
        except UNANSWERED as error:
            raise _unanswered() from error

    async def _charge(self, payment: Payment, token: str) -> Charge | None:
        """The provider's answer; None where it is not known whether it has charged."""
        try:
            return await answer(self.provider, self.provider.charge(request_of(payment, self.provider), token))
        except UnknownToken:
            return await self._given_up(payment)
        except UNANSWERED as error:
            log.warning("payment_unanswered", payment=str(payment.id), provider=self.provider.name, error=type(error).__name__)
            return None

    async def _given_up(self, payment: Payment) -> Charge | None:
        """A card that the provider no longer knows is never charged, also not by who asked at the same time."""
        try:
            charge = await answer(self.provider, self.provider.cancel(request_of(payment, self.provider)))
        except UNANSWERED:
            return None
        return charge.failed("unknown_token", "The card is no longer known.") if charge.failure_code else charge


def request_of(payment: Payment, provider: PaymentProvider) -> ChargeRequest:
    """What a payment asks of the provider that it was opened with: its own id is the key. Raises `OtherProvider`."""
    if payment.provider != provider.name:
        raise OtherProvider(payment)
    automatic = payment.capture == Capture.AUTOMATIC
    return ChargeRequest(payment.amount, payment.currency, str(payment.id), automatic, payment.transaction_id)


async def answer(provider: PaymentProvider, asked: Awaitable[T]) -> T:
    """What a provider says, within its time. Raises TimeoutError."""
    async with asyncio.timeout(provider.timeout):
        return await asked


def _unanswered() -> UserError:
    message = "the payment provider has not answered; ask again with the same idempotencyKey and paymentToken to learn the outcome"
    return UserError(ErrorCode.PAYMENT_TIMEOUT, message, "payment_token")


async def _outcome(repositories: RepositoryFactory, payment: Payment) -> Paid:
    """The order now, and what the payment's failure means to its buyer."""
    order = await repositories.of(SettlementRepository).get_by_id(payment.order_id)
    settled = await repositories.of(PaymentRepository).get_by_id(payment.id)
    if settled.status != PaymentStatus.FAILED:
        return Paid(order)
    code = DECLINES.get(settled.failure_code or "", ErrorCode.PAYMENT_DECLINED)
    return Paid(order, UserError(code, f"{settled.failure_message or 'The card was declined.'} Pay with another one.", "payment_token"))
