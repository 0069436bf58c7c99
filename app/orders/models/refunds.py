"""Refunds: what was given back of payments, or is on its way."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from app.core import model
from app.core.inputs import Amount, Input, Line
from app.core.model import Timestamped
from app.orders.models.orders import IdempotencyKey


class RefundStatus(StrEnum):
    """PENDING ones are asked of the provider; COMPLETED and FAILED are final."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"

    @property
    def sources(self) -> frozenset["RefundStatus"]:
        """The statuses that may become this one."""
        return frozenset() if self is RefundStatus.PENDING else frozenset({RefundStatus.PENDING})


class Refund(Timestamped, table=True):
    """Money given back of a payment, or on its way; all of a payment's refunds together never exceed what was captured.

    With `restock`, the order's pieces go back on the shelf when it is COMPLETED.
    """

    __tablename__ = "refunds"
    __table_args__ = (
        UniqueConstraint("payment_id", "idempotency_key"),
        model.one_of("status", RefundStatus),
        model.stamped("completed_at", "status = 'COMPLETED'"),
        model.stamped("failed_at", "status = 'FAILED'"),
        CheckConstraint("failure_code is null or status = 'FAILED'", name="failure_of_failed"),
        CheckConstraint("amount > 0", name="amount_positive"),
        model.is_currency(),
        model.newest_first("refunds"),
        model.newest_first("refunds", "payment_id"),
        model.sparse_index("refunds", "created_by"),
        Index("ix_refunds_unsettled", "updated_at", postgresql_where=text("status = 'PENDING'")),
    )

    payment_id: UUID = model.reference("payments.id", "RESTRICT")
    amount: Decimal = model.amount()
    currency: str = model.currency_code()
    status: RefundStatus = model.choice(RefundStatus.PENDING)
    reason: str | None = model.column(None, max_length=255)
    restock: bool = model.column(False)
    idempotency_key: str = model.column(max_length=255)
    created_by: UUID | None = model.reference("users.id", "SET NULL", None)
    transaction_id: str | None = model.column(None, max_length=255)
    failure_code: str | None = model.column(None, max_length=64)
    completed_at: datetime | None = model.moment()
    failed_at: datetime | None = model.moment()


class RefundRequest(Input):
    """What is to be given back: all that is left unless an amount says less."""

    amount: Annotated[Amount, Field(gt=0)] | None = None
    reason: Annotated[str, Line(255)] | None = None
    restock: bool = False
    idempotency_key: IdempotencyKey
