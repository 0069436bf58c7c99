"""Refunds, and the transactions before and after a provider is asked to give money back or to take what it has set aside."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement, any_, bindparam, exists, func, select, update

from app.catalog.repository.inventory import Cause
from app.core.batch import many_by
from app.core.errors import ErrorCode, UserError
from app.core.money import InvalidAmount, exact, format_amount
from app.core.paging import Sort
from app.core.repository import as_values, transactional
from app.core.scope import own_or_of_store
from app.core.security import SYSTEM, Viewer, ViewerKind
from app.core.status import StatusRepository, invalid_transition
from app.orders.models import Order, OrderEventKind, OrderStatus, Payment, PaymentStatus, Refund, RefundRequest, RefundStatus
from app.orders.provider import Repayment
from app.orders.repository.events import Note
from app.orders.repository.settlement import SettlementRepository

ORDERS = Order.__table__  # type: ignore[attr-defined]
PAYMENTS = Payment.__table__  # type: ignore[attr-defined]
MAX_REFUNDS_SHOWN = 100
STAMPS = {RefundStatus.COMPLETED: "completed_at", RefundStatus.FAILED: "failed_at"}

log = structlog.get_logger(__name__)


class RefundRepository(StatusRepository[Refund]):
    """Refunds are seen through their payment's order."""

    model = Refund

    find_by_payment_ids = many_by("payment_id", sorts=(Sort("created_at"), Sort("id")), limit=MAX_REFUNDS_SHOWN, scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        of_payment = (PAYMENTS.c.id == table.c.payment_id, ORDERS.c.id == PAYMENTS.c.order_id)
        return exists().where(*of_payment, own_or_of_store(ORDERS, viewer, "payments"))

    async def update_status(self, id: UUID, status: RefundStatus, **details: Any) -> Refund:
        """Say how a refund ended, and stamp the time. Raises `UserError` INVALID_TRANSITION, `NotFound`."""
        return await self._become(id, status, status.sources, **{STAMPS[status]: self.repositories.now()}, **details)

    async def take_unsettled(self, before: datetime, limit: int) -> list[Refund]:
        """Pending refunds that nobody has looked at for long, for one caller to look at now: others get other ones."""
        statement = self.statement("take_unsettled", self._taking_unsettled)
        return await self.rows(statement, before=before, now=self.repositories.now(), row_limit=limit)

    def _taking_unsettled(self) -> Any:
        columns = self.table.c
        time = columns.updated_at.type
        waiting = (columns.status == RefundStatus.PENDING.value, columns.updated_at < bindparam("before", type_=time))
        oldest = select(columns.id).where(*waiting).order_by(columns.updated_at).limit(bindparam("row_limit"))
        chosen = func.array(oldest.with_for_update(skip_locked=True).scalar_subquery())
        return update(self.table).where(columns.id == any_(chosen)).values(updated_at=bindparam("now", type_=time)).returning(*columns)


class RefundingRepository(SettlementRepository):
    """Orders as those see them who give money back: staff of the store that sold, and administrators."""

    async def find_payment(self, *, payment_id: UUID | None = None, order_id: UUID | None = None) -> Payment:
        """A payment of the viewer's store, by its id or as the one that settled an order. Raises `UserError` where there is none."""
        field = "order_id" if payment_id is None else "payment_id"
        order = await self._orders().find_by_id(order_id) if order_id else None
        wanted = order.payment_id if order else payment_id
        payment = await self._payments().find_by_id(wanted) if wanted else None
        found = order or (await self._orders().find_by_id(payment.order_id) if payment else None)
        if payment is None or found is None or not self._is_of_own_store(found):
            raise UserError(ErrorCode.NOT_FOUND, "your store has no such payment", field)
        return payment

    @transactional
    async def open_void(self, payment_id: UUID) -> Payment:
        """A payment whose money is let go of from now on. Raises `UserError`: nothing is set aside for it, or it is held."""
        payment = await self._payments().get_by_id(payment_id)
        await self._orders().lock_by_id(payment.order_id)
        payment = await self._payments().get_by_id(payment_id)
        if payment.status != PaymentStatus.PENDING or payment.authorized_at is None or payment.held_reason is not None:
            raise UserError(ErrorCode.INVALID_TRANSITION, f"the payment is {payment.status}, and nothing is set aside for it", "payment_id")
        if payment.voiding_at is not None:
            return payment
        return await self._payments().update_by_id(payment_id, {"voiding_at": self.repositories.now()})

    @transactional
    async def open_refund(self, payment_id: UUID, request: RefundRequest) -> Refund:
        """A new PENDING refund whose amount is set apart, or the one that the same key made before, in whatever state.

        Raises `UserError`: not paid, more than is left, pieces put back twice, a key of another refund.
        """
        payment = await self._payments().get_by_id(payment_id)
        order = await self._orders().lock_by_id(payment.order_id)
        payment = await self._payments().get_by_id(payment_id)
        assert order is not None, "a payment has an order"
        known = await self._refunds().find_first({"payment_id": payment_id, "idempotency_key": request.idempotency_key})
        if known is not None:
            return _same(known, request)
        if payment.status != PaymentStatus.COMPLETED:
            raise invalid_transition("payment", payment.status, PaymentStatus.REFUNDED)
        if request.restock:
            await self._check_restock(order)
        amount = _amount(payment, request.amount)
        await self._payments().update_by_id(payment_id, {"refunded_amount": payment.refunded_amount + amount})
        values = {**as_values(request), "amount": amount, "currency": payment.currency, "payment_id": payment_id}
        return await self._refunds().create({**values, "created_by": self.viewer.user_id})

    @transactional
    async def settle_refund(self, refund: Refund, repayment: Repayment, by: Viewer = SYSTEM) -> None:
        """Write what became of a refund. Of several callers the first one counts."""
        payment = await self._payments().get_by_id(refund.payment_id)
        order = await self._orders().lock_by_id(payment.order_id)
        payment, current = await self._payments().get_by_id(payment.id), await self._refunds().get_by_id(refund.id)
        if order is None or current.status != RefundStatus.PENDING:
            return
        if repayment.failure_code is not None:
            await self._give_up(order, payment, current, repayment, by)
            return
        await self._refunds().update_status(refund.id, RefundStatus.COMPLETED, transaction_id=repayment.id)
        await self.log_of(order, Note.of(OrderEventKind.REFUNDED, payment, refund.amount, transaction_id=repayment.id), by=by)
        if await self._is_whole(payment):
            await self._payments().update_status(payment.id, PaymentStatus.REFUNDED)
        if refund.restock:
            await self._restock(order, refund, by)

    async def _give_up(self, order: Order, payment: Payment, refund: Refund, repayment: Repayment, by: Viewer) -> None:
        await self._refunds().update_status(refund.id, RefundStatus.FAILED, failure_code=repayment.failure_code)
        await self._payments().update_by_id(payment.id, {"refunded_amount": payment.refunded_amount - refund.amount})
        await self.log_of(order, Note.of(OrderEventKind.REFUND_FAILED, payment, refund.amount, code=repayment.failure_code), by=by)

    async def _is_whole(self, payment: Payment) -> bool:
        if payment.refunded_amount != payment.captured_amount:
            return False
        return not await self._refunds().exists({"payment_id": payment.id, "status": RefundStatus.PENDING.value})

    async def _check_restock(self, order: Order) -> None:
        if order.status != OrderStatus.COMPLETED:
            raise UserError(ErrorCode.INVALID, f"the order is {order.status}, so that none of its pieces was sold", "restock")
        payments: Sequence[Payment] = await self._payments().find_by_order(order.id)
        others = {"payment_id": {"in": [payment.id for payment in payments]}, "restock": True, "status": {"in": ["PENDING", "COMPLETED"]}}
        if await self._refunds().exists(others):
            raise UserError(ErrorCode.INVALID, "the order's pieces have been put back with another refund", "restock")

    async def _restock(self, order: Order, refund: Refund, by: Viewer) -> None:
        pieces = {item.product_id: item.quantity for item in await self._items().find_by_order(order.id)}
        await self._stock().take_back(pieces, Cause(order.id, by.user_id), refund.reason)
        await self.log_of(order, Note(OrderEventKind.RESTOCKED), by=by)

    def _is_of_own_store(self, order: Order) -> bool:
        return self.viewer.sees_everything or (order.store_id is not None and order.store_id == self.viewer.store_id)

    def _orders(self) -> SettlementRepository:
        return self.repositories.unscoped.of(SettlementRepository)

    def _refunds(self) -> RefundRepository:
        return self.repositories.unscoped.of(RefundRepository)


def _same(known: Refund, request: RefundRequest) -> Refund:
    """The refund that a key made, if it was for the same."""
    if request.amount not in (None, known.amount) or (known.restock, known.reason) != (request.restock, request.reason):
        raise UserError(ErrorCode.CONFLICT, "this idempotency key has made another refund; use a new key for each", "idempotency_key")
    return known


def _amount(payment: Payment, wanted: Decimal | None) -> Decimal:
    """How much is given back: all that is left unless less is wanted."""
    left = payment.captured_amount - payment.refunded_amount
    try:
        amount = left if wanted is None else exact(wanted, payment.currency)
    except InvalidAmount as error:
        raise UserError(ErrorCode.INVALID, str(error), "amount") from error
    if not 0 < amount <= left:
        most = f"{format_amount(left, payment.currency)} {payment.currency}"
        raise UserError(ErrorCode.REFUND_TOO_LARGE, f"at most {most} can be given back of this payment", "amount")
    return amount
