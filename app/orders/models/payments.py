"""Payments: what was charged for orders, or tried."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from app.core import model
from app.core.inputs import Amount, CurrencyCode, Input, JsonObject, Line, Passage
from app.core.model import Timestamped
from app.orders.models.orders import IdempotencyKey, PaymentMethod


class PaymentStatus(StrEnum):
    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    REFUNDED = "REFUNDED"

    @property
    def sources(self) -> frozenset["PaymentStatus"]:
        """The statuses that may become this one; FAILED and REFUNDED are final."""
        return _PAYMENT_SOURCES[self]


_PAYMENT_SOURCES: Final[Mapping[PaymentStatus, frozenset[PaymentStatus]]] = MappingProxyType(
    {
        PaymentStatus.PENDING: frozenset(),
        PaymentStatus.COMPLETED: frozenset({PaymentStatus.PENDING}),
        PaymentStatus.FAILED: frozenset({PaymentStatus.PENDING}),
        PaymentStatus.REFUNDED: frozenset({PaymentStatus.COMPLETED}),
    }
)


class Capture(StrEnum):
    """When money is taken: with the charge, or later, by staff."""

    AUTOMATIC = "AUTOMATIC"
    MANUAL = "MANUAL"


class HeldResolution(StrEnum):
    """What staff make of a payment over other money than the order's: take it as payment of the order, or give it back."""

    ACCEPT = "ACCEPT"
    REJECT = "REJECT"


class Payment(Timestamped, table=True):
    """A charge for an order, tried or done: at most one COMPLETED per order.

    A REFUNDED payment keeps its `completed_at`. `transaction_id` is the provider's name for the charge, unique with it. A PENDING one may
    be authorized: its amount is set aside until it is captured. One whose provider says what does not fit the order is held for staff,
    and `held_reason` says why. `refunded_amount` is what was given back or is on its way. What was set aside is let go of from `voiding_at`
    on, whoever brings it to an end.
    """

    __tablename__ = "payments"
    __table_args__ = (
        UniqueConstraint("order_id", "idempotency_key"),
        model.one_of("status", PaymentStatus),
        model.stamped("completed_at", "status in ('COMPLETED', 'REFUNDED')"),
        model.stamped("failed_at", "status = 'FAILED'"),
        model.stamped("refunded_at", "status = 'REFUNDED'"),
        CheckConstraint("(failure_code is null and failure_message is null) or status = 'FAILED'", name="failure_of_failed"),
        model.one_of("capture", Capture),
        CheckConstraint("authorized_at is null or capture = 'MANUAL'", name="authorized_by_hand"),
        CheckConstraint("held_reason is null or status = 'PENDING'", name="held_pending"),
        CheckConstraint("voiding_at is null or capture = 'MANUAL'", name="voided_by_hand"),
        *model.not_negative("amount", "captured_amount", "refunded_amount"),
        CheckConstraint("captured_amount <= amount", name="captured_amount"),
        CheckConstraint("captured_amount = 0 or status in ('COMPLETED', 'REFUNDED')", name="captured_of_completed"),
        CheckConstraint("refunded_amount <= captured_amount", name="refunded_amount"),
        CheckConstraint("status <> 'REFUNDED' or refunded_amount = captured_amount", name="refunded_whole"),
        model.is_currency(),
        *model.is_object("metadata"),
        Index(
            "uq_payments_transaction_id_provider",
            "transaction_id",
            "provider",
            unique=True,
            postgresql_where=text("transaction_id is not null"),
            postgresql_nulls_not_distinct=True,
        ),
        Index("uq_payments_completed", "order_id", unique=True, postgresql_where=text("status = 'COMPLETED'")),
        model.newest_first("payments"),
        model.newest_first("payments", "order_id"),
        model.newest_first("payments", "status"),
        Index("ix_payments_unsettled", "updated_at", postgresql_where=text("status = 'PENDING'")),
    )

    order_id: UUID = model.reference("orders.id", "RESTRICT")
    amount: Decimal = model.amount()
    currency: str = model.currency_code()
    status: PaymentStatus = model.choice(PaymentStatus.PENDING)
    provider: str | None = model.column(None, max_length=50)
    method: str | None = model.column(None, max_length=64)
    transaction_id: str | None = model.column(None, max_length=255)
    idempotency_key: str | None = model.column(None, max_length=255)
    failure_code: str | None = model.column(None, max_length=64)
    failure_message: str | None = model.column(None, max_length=500)
    completed_at: datetime | None = model.moment()
    failed_at: datetime | None = model.moment()
    refunded_at: datetime | None = model.moment()
    metadata_: dict[str, Any] | None = model.metadata_column()
    captured_amount: Decimal = model.amount(0)
    refunded_amount: Decimal = model.amount(0)
    capture: Capture = model.choice(Capture.AUTOMATIC)
    held_reason: str | None = model.column(None, max_length=255)
    authorized_at: datetime | None = model.moment()
    voiding_at: datetime | None = model.moment()


class PaymentRequest(Input):
    """What an order is paid with: the provider's token of a card. The same `idempotency_key` of an order never charges twice."""

    payment_token: Annotated[str, Line(255)]
    idempotency_key: IdempotencyKey | None = None


class PaymentCreate(Input):
    """A charge for an order, tried or done."""

    currency: CurrencyCode = "USD"
    amount: Amount
    status: PaymentStatus = PaymentStatus.PENDING
    capture: Capture = Capture.AUTOMATIC
    provider: Annotated[str, Line(50)] | None = None
    method: PaymentMethod | None = None
    transaction_id: Annotated[str, Line(255)] | None = None
    idempotency_key: IdempotencyKey | None = None
    failure_code: Annotated[str, Passage(64)] | None = None
    failure_message: Annotated[str, Passage(500)] | None = None
    metadata: JsonObject | None = None
