"""The memory of the test provider, which stands for a bank's: nothing else reads or writes it."""

from decimal import Decimal
from uuid import UUID

from sqlalchemy import CheckConstraint

from app.core import model
from app.core.model import Timestamped
from app.orders.provider import ChargeState


class TestCharge(Timestamped, table=True):
    """What the test provider did for one idempotency key; `amount` was asked for, `captured` was taken, `refunded` given back."""

    __test__ = False  # pytest takes classes named so for tests
    __tablename__ = "test_charges"
    __table_args__ = (
        model.one_of("state", ChargeState),
        *model.not_negative("amount", "captured", "refunded"),
        model.is_currency(),
        CheckConstraint("captured <= amount", name="captured_amount"),
        CheckConstraint("refunded <= captured", name="refunded_amount"),
    )

    key: str = model.column(max_length=255, unique=True)
    transaction_id: str = model.column(max_length=255, unique=True)
    amount: Decimal = model.amount()
    captured: Decimal = model.amount(0)
    refunded: Decimal = model.amount(0)
    currency: str = model.currency_code()
    state: ChargeState = model.choice()
    failure_code: str | None = model.column(None, max_length=64)
    failure_message: str | None = model.column(None, max_length=500)


class TestRefund(Timestamped, table=True):
    """Money that the test provider gave back, once per idempotency key."""

    __test__ = False
    __tablename__ = "test_refunds"
    __table_args__ = (*model.not_negative("amount"), model.is_currency())

    key: str = model.column(max_length=255, unique=True)
    charge_id: UUID = model.reference("test_charges.id", "CASCADE", index=True)
    amount: Decimal = model.amount()
    currency: str = model.currency_code()
