"""Paying for an order: the use case that leaves the process.

No row lock and no open transaction outlives a call to the provider. One transaction opens a PENDING payment, the provider is charged
with that payment's id as its idempotency key, and a second transaction settles payment, order and stock together. What ends between them
leaves the payment PENDING; asking again with the same key asks the provider again, which charges once per key.
"""

import asyncio
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog

from app.core.errors import ErrorCode, NotFound, UserError
from app.orders.models import Order, OrderStatus, Payment, PaymentStatus
from app.orders.provider import CHARGE_SECONDS, Charge, ChargeResult, PaymentProvider

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Paid:
    """How a payment ended: the order as it is now, and what its buyer can mend."""

    order: Order
    refusal: UserError | None = None


async def process_payment(
    repositories: Any, provider: PaymentProvider, order_id: UUID, token: str, idempotency_key: str | None = None
) -> Paid:
    """Charge for a pending order. `repositories` are the viewer's: a foreign order does not exist.

    Raises `UserError`: no such order, not payable, a payment under way, or an unknown token (then nothing changed).
    """
    if await repositories.orders.find_by_id(order_id) is None:
        raise UserError(ErrorCode.NOT_FOUND, "no order has this id", "order_id")
    trusted = repositories.unscoped
    payment = await _open(trusted, provider, order_id, idempotency_key)
    if payment.status != PaymentStatus.PENDING:
        return await _known_outcome(trusted, payment)
    try:
        result = await _charge(provider, payment, token)
    except TimeoutError:
        log.warning("payment_unanswered", payment=str(payment.id), provider=provider.name)
        order = await trusted.orders.get_by_id(order_id)
        return Paid(order, UserError(ErrorCode.PAYMENT_TIMEOUT, "the payment provider did not answer; try again with the same key"))
    except UserError:
        # The provider refused to try: there was no charge, and the order can still be paid.
        await trusted.payments.delete_by_id(payment.id)
        raise
    return await _settle(trusted, payment, result)


async def _open(repositories: Any, provider: PaymentProvider, order_id: UUID, idempotency_key: str | None) -> Payment:
    """The payment to charge, or the one that the key has made before; without a key, the one whose outcome is not known yet."""
    async with repositories.transaction() as tx:
        order = await tx.orders.lock_by_id(order_id)
        if order is None:
            raise NotFound("no Order has this id")
        if idempotency_key is not None:
            known = await tx.payments.find_first({"order_id": order_id, "idempotency_key": idempotency_key})
            if known is not None:
                return known  # type: ignore[no-any-return]
        pending = await tx.payments.find_pending(order_id)
        if pending is not None and idempotency_key is None:
            return pending  # type: ignore[no-any-return]
        if pending is not None:
            raise UserError(ErrorCode.PAYMENT_IN_PROGRESS, "a payment of this order is under way; ask again with its key", "order_id")
        if order.status == OrderStatus.FAILED:
            order = await tx.orders.reopen(order_id)
        if order.status != OrderStatus.PENDING:
            raise UserError(ErrorCode.INVALID_TRANSITION, f"an order that is {order.status} cannot be paid", "order_id")
        payment = {"amount": order.total, "currency": order.currency, "provider": provider.name, "method": order.payment_method}
        return await tx.orders.create_payment(order_id, {**payment, "idempotency_key": idempotency_key})  # type: ignore[no-any-return]


async def _charge(provider: PaymentProvider, payment: Payment, token: str) -> ChargeResult:
    charge = Charge(payment.amount, payment.currency, token, idempotency_key=str(payment.id))
    async with asyncio.timeout(CHARGE_SECONDS):
        return await provider.charge(charge)


async def _settle(repositories: Any, payment: Payment, result: ChargeResult) -> Paid:
    """Write the outcome: payment, order and stock in one transaction. The first of concurrent settlements counts."""
    async with repositories.transaction() as tx:
        await tx.orders.lock_by_id(payment.order_id)
        current = await tx.payments.get_by_id(payment.id)
        if current.status == PaymentStatus.PENDING:
            await _write(tx, payment, result)
    return await _known_outcome(repositories, await repositories.payments.get_by_id(payment.id))


async def _write(tx: Any, payment: Payment, result: ChargeResult) -> None:
    quantities = await tx.orders.quantities(payment.order_id)
    if result.succeeded:
        await tx.payments.update_status(payment.id, PaymentStatus.COMPLETED, transaction_id=result.transaction_id)
        await tx.orders.update_status(payment.order_id, OrderStatus.COMPLETED)
        await tx.orders.update_by_id(payment.order_id, {"payment_id": payment.id})
        await tx.inventory.commit(quantities)
    else:
        failure = {"failure_code": result.failure_code, "failure_message": result.failure_message}
        await tx.payments.update_status(payment.id, PaymentStatus.FAILED, transaction_id=result.transaction_id or None, **failure)
        await tx.orders.update_status(payment.order_id, OrderStatus.FAILED)
        await tx.inventory.release(quantities)


async def _known_outcome(repositories: Any, payment: Payment) -> Paid:
    order = await repositories.orders.get_by_id(payment.order_id)
    if payment.status != PaymentStatus.FAILED:
        return Paid(order)
    code = ErrorCode(payment.failure_code or ErrorCode.PAYMENT_DECLINED)
    return Paid(order, UserError(code, payment.failure_message or "the payment failed", "payment_token"))
