"""Payments: what was charged for orders, or tried."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, any_, bindparam, case, func, or_, select, update

from app.core.batch import many_by
from app.core.changes import Announced
from app.core.errors import ErrorCode, UserError
from app.core.paging import NEWEST_FIRST, Sort
from app.core.security import ViewerKind
from app.core.status import StatusRepository
from app.orders.models import Capture, Payment, PaymentStatus
from app.orders.repository.scope import of_order

MAX_PAYMENTS_SHOWN = 100
STAMPS = {PaymentStatus.COMPLETED: "completed_at", PaymentStatus.FAILED: "failed_at", PaymentStatus.REFUNDED: "refunded_at"}
SOURCE = "source"
"""Where a payment's metadata hold the fingerprint of what it is charged to."""


@dataclass(frozen=True)
class Attempt:
    """A wish to pay: through which provider, from which source (a fingerprint of the card's token), under which key of the caller.

    Without `capture`, money is taken as the store's setting says.
    """

    provider: str
    source: str
    idempotency_key: str | None = None
    capture: Capture | None = None


class PaymentRepository(StatusRepository[Payment]):
    """Payments are seen through their order."""

    model = Payment
    announces = Announced("orders", "order_id")

    find_by_order_ids = many_by("order_id", sorts=(Sort("created_at"), Sort("id")), limit=MAX_PAYMENTS_SHOWN, scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return of_order(table, viewer, "payments")

    async def find_by_order(self, order_id: UUID) -> list[Payment]:
        return await self.find_many({"order_id": order_id}, NEWEST_FIRST)

    async def find_by_status(self, status: PaymentStatus) -> list[Payment]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def find_by_transaction_id(self, transaction_id: str, provider: str | None = None) -> Payment | None:
        """The payment of a charge; providers may give the same name to different ones."""
        return await self.find_first({"transaction_id": transaction_id, **({"provider": provider} if provider else {})})

    async def find_pending(self, order_id: UUID) -> Payment | None:
        """The charge whose outcome is not known yet: at most one, since a payment is opened under its order's lock."""
        return await self.find_first({"order_id": order_id, "status": PaymentStatus.PENDING.value})

    async def find_attempt(self, order_id: UUID, attempt: Attempt) -> Payment | None:
        """The payment that the attempt made before, in whatever state. An attempt without a key is one only while it is pending.

        Raises `UserError`: the key was used with another source, or another attempt is under way.
        """
        if attempt.idempotency_key is not None:
            known = await self.find_first({"order_id": order_id, "idempotency_key": attempt.idempotency_key})
            if known is not None and _source(known) != attempt.source:
                raise UserError(ErrorCode.CONFLICT, "this idempotency key was used with another payment token", "idempotency_key")
            if known is not None:
                return known
        pending = await self.find_pending(order_id)
        if pending is None or (pending.idempotency_key, _source(pending)) == (attempt.idempotency_key, attempt.source):
            return pending
        message = "another payment of this order is under way; repeat it with its own key, or try again when it has ended"
        raise UserError(ErrorCode.PAYMENT_IN_PROGRESS, message, "order_id")

    async def update_status(self, id: UUID, status: PaymentStatus, **details: Any) -> Payment:
        """Say how a charge ended, with its other columns, and stamp the time.

        Raises `UserError` INVALID_TRANSITION naming both statuses, `NotFound`.
        """
        stamp = {STAMPS[status]: self.repositories.now()} if status in STAMPS else {}
        return await self._become(id, status, status.sources, **stamp, **{**await self._amounts(id, status), **details})

    async def take_unsettled(self, before: datetime, authorized_before: datetime, limit: int) -> list[Payment]:
        """Pending payments that nobody has looked at for long, for one caller to look at now: others get other ones.

        Those set aside wait for staff, and are looked at more seldom; those held for staff, not at all.
        """
        statement = self.statement("take_unsettled", self._taking_unsettled)
        times = {"before": before, "authorized_before": authorized_before, "now": self.repositories.now()}
        return await self.rows(statement, **times, row_limit=limit)

    async def _amounts(self, id: UUID, status: PaymentStatus) -> dict[str, Any]:
        """A payment is captured, and refunded, as a whole unless it is told otherwise."""
        if status not in (PaymentStatus.COMPLETED, PaymentStatus.REFUNDED):
            return {}
        payment = await self.get_by_id(id)
        if status is PaymentStatus.COMPLETED:
            return {"captured_amount": payment.amount}
        return {"refunded_amount": payment.captured_amount}

    def _taking_unsettled(self) -> Any:
        columns = self.table.c
        time = columns.updated_at.type
        soon = or_(columns.authorized_at.is_(None), columns.voiding_at.is_not(None))
        limit = case((soon, bindparam("before", type_=time)), else_=bindparam("authorized_before", type_=time))
        waiting = (columns.status == PaymentStatus.PENDING.value, columns.held_reason.is_(None), columns.updated_at < limit)
        oldest = (
            select(columns.id).where(*waiting).order_by(columns.updated_at).limit(bindparam("row_limit")).with_for_update(skip_locked=True)
        )
        chosen = func.array(oldest.scalar_subquery())
        return update(self.table).where(columns.id == any_(chosen)).values(updated_at=bindparam("now", type_=time)).returning(*columns)

    async def get_payment_stats(self) -> dict[str, int]:
        """How many payments there are of each status."""
        return await self.count_by_status(PaymentStatus)


def _source(payment: Payment) -> Any:
    details: dict[str, Any] = payment["metadata"] or {}  # type: ignore[index]
    return details.get(SOURCE)
