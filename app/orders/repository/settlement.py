"""What becomes of orders when they are paid, or not: the transactions before and after a provider is asked.

Each locks the order first, so that one payment of it is under way at a time, and of several callers who bring an answer the first counts.
"""

from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

import structlog
from sqlalchemy import bindparam, exists, select

from app.core.errors import ErrorCode, UserError
from app.core.repository import transactional
from app.core.security import SYSTEM, Viewer
from app.orders.models import Capture, HeldResolution, Order, OrderEventKind, OrderStatus, Payment, PaymentCreate, PaymentStatus
from app.orders.provider import Charge, ChargeState
from app.orders.repository.events import Note
from app.orders.repository.orders import OrderRepository
from app.orders.repository.payments import SOURCE, Attempt
from app.stores.repository import StoreSettingsRepository

VOIDED = "voided"
"""Why a payment failed whose money was let go of."""

PAYMENTS = Payment.__table__  # type: ignore[attr-defined]

log = structlog.get_logger(__name__)


class SettlementRepository(OrderRepository):
    """Orders as those see them who settle them."""

    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = OrderRepository.constraints

    @transactional
    async def open_payment(self, id: UUID, attempt: Attempt) -> Payment:
        """The payment of an attempt: a new PENDING one, or the one that the same attempt made before, in whatever state.

        A FAILED order becomes PENDING again and reserves its pieces again. Raises `UserError`: no such order, not payable, out of stock,
        another payment under way, a key of another payment.
        """
        order = await self.lock_own(id, "order_id")
        known = await self._payments().find_attempt(id, attempt)
        if known is not None:
            return known
        if order.status == OrderStatus.FAILED:
            order = await self.move_to(id, OrderStatus.PENDING)
        if order.status != OrderStatus.PENDING:
            raise UserError(ErrorCode.INVALID_TRANSITION, f"the order is {order.status} and cannot be paid", "order_id")
        payment = PaymentCreate(
            amount=order.total,
            currency=order.currency,
            provider=attempt.provider,
            method=order.payment_method,
            idempotency_key=attempt.idempotency_key,
            capture=attempt.capture or await self._capture_of(order),
            metadata={SOURCE: attempt.source},
        )
        return await self.create_payment(id, payment)

    @transactional
    async def settle_payment(self, payment: Payment, charge: Charge, by: Viewer = SYSTEM) -> None:
        """Write what became of a charge: payment, order and stock together, in the log under the name of `by`.

        A charge over another amount or currency than the order's completes nothing: it is held for staff.
        """
        order = await self.lock_by_id(payment.order_id)
        current = await self._payments().get_by_id(payment.id)
        if order is None or current.status != PaymentStatus.PENDING or current.held_reason is not None:
            return
        fits = charge.currency == current.currency == order.currency and _suffices(charge, current)
        if charge.state == ChargeState.FAILED:
            await (self._fail if current.voiding_at is None else self._void)(order, current, charge, by)
        elif not fits:
            await self._hold(order, current, charge, by)
        elif charge.state == ChargeState.SUCCEEDED:
            await self._complete(order, current, charge, by)
        elif charge.state == ChargeState.AUTHORIZED:
            await self._authorize(order, current, charge, by)
        elif current.transaction_id is None and charge.id is not None:
            await self._payments().update_by_id(current.id, {"transaction_id": charge.id})

    @transactional
    async def resolve_held(self, payment_id: UUID, charge: Charge, resolution: HeldResolution, by: Viewer) -> Payment:
        """Let a held payment be one over the money that its provider says, and its order settled with it, or FAILED where it is rejected.

        Raises `UserError`: not held, or the provider does not know yet.
        """
        payment = await self._payments().get_by_id(payment_id)
        order = await self.lock_by_id(payment.order_id)
        payment = await self._payments().get_by_id(payment_id)
        if order is None or payment.held_reason is None:
            raise UserError(ErrorCode.INVALID_TRANSITION, f"the payment is {payment.status}, and not held", "payment_id")
        if charge.state in (ChargeState.OPEN, ChargeState.PENDING):
            raise UserError(
                ErrorCode.PAYMENT_IN_PROGRESS, "the payment provider does not know the outcome yet; try again later", "payment_id"
            )
        told = {"resolution": resolution.value, "reason": payment.held_reason, "amount": str(charge.amount), "currency": charge.currency}
        await self.log_of(order, Note(OrderEventKind.RESOLVED, payment.id, data=told), by=by)
        real = {"amount": charge.amount, "currency": charge.currency} if charge.state != ChargeState.FAILED else {}
        payment = await self._payments().update_by_id(payment_id, {"held_reason": None, **real})
        await self._settle_resolved(order, payment, charge, resolution, by)
        return await self._payments().get_by_id(payment_id)

    async def _settle_resolved(self, order: Order, payment: Payment, charge: Charge, resolution: HeldResolution, by: Viewer) -> None:
        if charge.state == ChargeState.FAILED:
            await self._fail(order, payment, charge, by)
        elif charge.state == ChargeState.AUTHORIZED:
            await self._authorize(order, payment, charge, by)
        elif resolution is HeldResolution.ACCEPT:
            await self._complete(order, payment, charge, by)
        else:
            await self._take(order, payment, charge, by)
            if self._is_open(order, payment, charge):
                await self.move_to(order.id, OrderStatus.FAILED, by=by)

    @transactional
    async def expire(self, id: UUID, before: datetime) -> bool:
        """Give up an order that has waited for its payment since before a time, and give its stock back; whether it was so."""
        order = await self.lock_by_id(id)
        if order is None or order.status != OrderStatus.PENDING or order.updated_at >= before:
            return False
        if await self._payments().find_pending(id) is not None:
            return False
        await self.move_to(id, OrderStatus.FAILED, Note(OrderEventKind.EXPIRED))
        return True

    async def find_expired(self, before: datetime, limit: int) -> list[UUID]:
        """The orders that have waited for their payment since before a time, none of which is under way."""
        statement = self.statement("find_expired", self._finding_expired)
        return [row.id for row in await self.rows(statement, before=before, row_limit=limit)]

    # --- What an answer means

    async def _capture_of(self, order: Order) -> Capture:
        """How the store takes money, as its setting `paymentCapture` says."""
        settings = await self.repositories.unscoped.of(StoreSettingsRepository).find_first({"store_id": order.store_id})
        by_hand = settings is not None and settings.config.get("paymentCapture") == Capture.MANUAL
        return Capture.MANUAL if by_hand else Capture.AUTOMATIC

    async def _fail(self, order: Order, payment: Payment, charge: Charge, by: Viewer) -> None:
        failure = {"failure_code": charge.failure_code, "failure_message": charge.failure_message}
        await self._payments().update_status(payment.id, PaymentStatus.FAILED, transaction_id=charge.id, authorized_at=None, **failure)
        await self.log_of(order, Note.of(OrderEventKind.DECLINED, payment, code=charge.failure_code), by=by)
        if self._is_open(order, payment, charge):
            await self.move_to(order.id, OrderStatus.FAILED, by=by)

    async def _void(self, order: Order, payment: Payment, charge: Charge, by: Viewer) -> None:
        let_go = {"failure_code": VOIDED, "failure_message": "The money that was set aside has been let go of.", "authorized_at": None}
        await self._payments().update_status(payment.id, PaymentStatus.FAILED, transaction_id=charge.id, **let_go)
        await self.log_of(order, Note.of(OrderEventKind.VOIDED, payment), by=by)
        if self._is_open(order, payment, charge):
            await self.move_to(order.id, OrderStatus.CANCELLED, by=by)

    async def _take(self, order: Order, payment: Payment, charge: Charge, by: Viewer) -> None:
        taken = {"transaction_id": charge.id, "captured_amount": charge.amount}
        await self._payments().update_status(payment.id, PaymentStatus.COMPLETED, **taken)
        await self.log_of(order, Note.of(OrderEventKind.CHARGED, payment, charge.amount, transaction_id=charge.id), by=by)

    async def _complete(self, order: Order, payment: Payment, charge: Charge, by: Viewer) -> None:
        await self._take(order, payment, charge, by)
        if self._is_open(order, payment, charge):
            await self.move_to(order.id, OrderStatus.COMPLETED, by=by, payment_id=payment.id)

    async def _authorize(self, order: Order, payment: Payment, charge: Charge, by: Viewer) -> None:
        if payment.authorized_at is None:
            await self._payments().update_by_id(payment.id, {"transaction_id": charge.id, "authorized_at": self.repositories.now()})
            await self.log_of(order, Note.of(OrderEventKind.AUTHORIZED, payment, transaction_id=charge.id), by=by)

    async def _hold(self, order: Order, payment: Payment, charge: Charge, by: Viewer) -> None:
        reason = f"the provider says {charge.amount} {charge.currency} where the order says {order.total} {order.currency}"
        await self._payments().update_by_id(payment.id, {"transaction_id": charge.id, "held_reason": reason[:255]})
        await self.log_of(order, Note.of(OrderEventKind.HELD, payment, transaction_id=charge.id, reason=reason), by=by)
        log.error("payment_held", order=str(order.id), payment=str(payment.id), reason=reason)

    def _is_open(self, order: Order, payment: Payment, charge: Charge) -> bool:
        """Whether the order still waits; money for one that does not is for staff to give back."""
        if order.status == OrderStatus.PENDING:
            return True
        log.error("payment_of_closed_order", order=str(order.id), status=order.status, payment=str(payment.id), charged=charge.succeeded)
        return False

    def _finding_expired(self) -> Any:
        columns = self.table.c
        under_way = exists().where(PAYMENTS.c.order_id == columns.id, PAYMENTS.c.status == PaymentStatus.PENDING.value)
        late = bindparam("before", type_=columns.updated_at.type)
        waiting = (columns.status == OrderStatus.PENDING.value, columns.created_at < late, columns.updated_at < late, ~under_way)
        return select(columns.id).where(self.visible(self.table), *waiting).order_by(columns.created_at).limit(bindparam("row_limit"))


def _suffices(charge: Charge, payment: Payment) -> bool:
    """Whether the provider took what it was asked for; what was set aside may be captured in part."""
    if payment.capture == Capture.MANUAL and charge.state == ChargeState.SUCCEEDED:
        return charge.amount <= payment.amount
    return charge.amount == payment.amount
