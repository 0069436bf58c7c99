"""Giving money back, and taking what was set aside: by staff, through the provider, outside of any transaction as charging is (`payments`).

A refund's own id is its key at the provider, so that one whose answer was lost can be asked again, by its maker or by the sweep.
"""

from decimal import Decimal

import structlog

from app.core.errors import ErrorCode, UserError
from app.core.factory import RepositoryFactory
from app.core.money import InvalidAmount, exact, format_amount
from app.orders.models import HeldResolution, Order, Payment, PaymentStatus, Refund, RefundRequest, RefundStatus
from app.orders.payments import UNANSWERED, Moment, Paid, Payments, answer, request_of
from app.orders.provider import ChargeRequest, ChargeState, PaymentProvider, Repayment, RepaymentRequest
from app.orders.repository import RefundingRepository, RefundRepository

log = structlog.get_logger(__name__)


async def refund(payments: Payments, repositories: RepositoryFactory, payment: Payment, request: RefundRequest) -> Paid:
    """Give back of a payment. The same key of a payment never gives back twice.

    Raises `UserError`, and then nothing has changed: not paid, more than is left, pieces put back twice, a key of another refund, money
    that lies with another provider.
    """
    charged = request_of(payment, payments.provider)
    opened = await repositories.of(RefundingRepository).open_refund(payment.id, request)
    payments.passed(Moment.REFUND_OPENED)
    if opened.status == RefundStatus.PENDING:
        try:
            repayment = await ask(payments.provider, charged, opened)
        except UNANSWERED as error:
            log.warning("refund_unanswered", refund=str(opened.id), error=type(error).__name__)
            return Paid(await _order(repositories, payment), _unanswered())
        payments.passed(Moment.REFUND_ANSWERED)
        await repositories.unscoped.of(RefundingRepository).settle_refund(opened, repayment, repositories.viewer)
    settled = await repositories.unscoped.of(RefundRepository).get_by_id(opened.id)
    return Paid(await _order(repositories, payment), _refused(settled) if settled.status == RefundStatus.FAILED else None)


async def ask(provider: PaymentProvider, charged: ChargeRequest, opened: Refund) -> Repayment:
    """What the provider says to a refund; asked again it says the same."""
    return await answer(provider, provider.refund(RepaymentRequest(charged, opened.amount, str(opened.id))))


async def capture(payments: Payments, repositories: RepositoryFactory, payment: Payment, amount: Decimal | None) -> Paid:
    """Take what was set aside, or a part of it, once: the rest is let go, and the order is COMPLETED.

    Raises `UserError`: nothing is set aside, more than that is wanted, another provider set it aside.
    """
    if payment.status != PaymentStatus.PENDING or payment.authorized_at is None or payment.voiding_at is not None:
        raise UserError(ErrorCode.INVALID_TRANSITION, f"the payment is {payment.status}, and nothing is set aside for it", "payment_id")
    wanted, request = _wanted(payment, amount), request_of(payment, payments.provider)
    try:
        charge = await answer(payments.provider, payments.provider.capture(request, wanted))
    except UNANSWERED as error:
        log.warning("capture_unanswered", payment=str(payment.id), error=type(error).__name__)
        return Paid(await _order(repositories, payment), _unanswered())
    payments.passed(Moment.ANSWERED)
    await repositories.unscoped.of(RefundingRepository).settle_payment(payment, charge, repositories.viewer)
    return Paid(await _order(repositories, payment))


async def void(payments: Payments, repositories: RepositoryFactory, payment: Payment) -> Paid:
    """Let go of what was set aside: the order is CANCELLED and its stock released. The sweep ends what is cut off.

    Raises `UserError`: nothing is set aside, it was taken meanwhile, or another provider set it aside.
    """
    request = request_of(payment, payments.provider)
    opened = await repositories.of(RefundingRepository).open_void(payment.id)
    try:
        charge = await answer(payments.provider, payments.provider.cancel(request))
    except UNANSWERED as error:
        log.warning("void_unanswered", payment=str(payment.id), error=type(error).__name__)
        return Paid(await _order(repositories, payment), _unanswered())
    payments.passed(Moment.ANSWERED)
    await repositories.unscoped.of(RefundingRepository).settle_payment(opened, charge, repositories.viewer)
    taken = UserError(ErrorCode.INVALID_TRANSITION, "the money was taken meanwhile; refund it", "payment_id") if charge.succeeded else None
    return Paid(await _order(repositories, payment), taken)


async def resolve(payments: Payments, repositories: RepositoryFactory, payment: Payment, resolution: HeldResolution) -> Paid:
    """Bring a held payment to its end as staff decide, over the money that the provider says now.

    ACCEPT settles the order with it. REJECT gives it back, and the order is FAILED, so that its buyer can pay again.

    Raises `UserError`: not held, the provider does not know yet, or it is another one's.
    """
    if payment.held_reason is None:
        raise UserError(ErrorCode.INVALID_TRANSITION, f"the payment is {payment.status}, and not held", "payment_id")
    rejects, request = resolution is HeldResolution.REJECT, request_of(payment, payments.provider)
    try:
        charge = await answer(payments.provider, payments.provider.find(request))
        if rejects and charge.state in (ChargeState.OPEN, ChargeState.AUTHORIZED):
            charge = await answer(payments.provider, payments.provider.cancel(request))
    except UNANSWERED as error:
        log.warning("resolution_unanswered", payment=str(payment.id), error=type(error).__name__)
        return Paid(await _order(repositories, payment), _unanswered())
    resolved = await repositories.unscoped.of(RefundingRepository).resolve_held(payment.id, charge, resolution, repositories.viewer)
    if rejects and resolved.status == PaymentStatus.COMPLETED:
        return await refund(payments, repositories, resolved, RefundRequest(reason="rejected", idempotency_key=f"held:{payment.id}"))
    return Paid(await _order(repositories, payment))


def _wanted(payment: Payment, amount: Decimal | None) -> Decimal:
    if amount is None:
        return payment.amount
    try:
        wanted = exact(amount, payment.currency)
    except InvalidAmount as error:
        raise UserError(ErrorCode.INVALID, str(error), "amount") from error
    if not 0 < wanted <= payment.amount:
        most = f"{format_amount(payment.amount, payment.currency)} {payment.currency}"
        raise UserError(ErrorCode.INVALID, f"must be more than 0 and at most {most}, which is set aside", "amount")
    return wanted


async def _order(repositories: RepositoryFactory, payment: Payment) -> Order:
    """The order as it is now, for staff who may give money back without reading orders."""
    return await repositories.unscoped.of(RefundingRepository).get_by_id(payment.order_id)


def _refused(refund: Refund) -> UserError:
    return UserError(ErrorCode.PAYMENT_DECLINED, f"the payment provider gave nothing back: {refund.failure_code}", "payment_id")


def _unanswered() -> UserError:
    return UserError(
        ErrorCode.PAYMENT_TIMEOUT, "the payment provider has not answered; ask again with the same idempotencyKey", "payment_id"
    )
