"""Vouchers: codes that make a purchase cheaper, and the orders that they were redeemed for."""

import re
from datetime import datetime
from decimal import Decimal
from typing import Annotated, ClassVar
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, StringConstraints
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from app.core import model
from app.core.inputs import Amount, CurrencyCode, Input, Update
from app.core.model import Timestamped

MAX_USES = 1_000_000_000


class Voucher(Timestamped, table=True):
    """A code of a store that takes off a share of what the products cost (`percent`, 10 for a tenth) or an amount, if they cost as much.

    Amounts are in its `currency`. `uses` counts the orders that hold it: those that were paid, and those that wait for it.
    """

    __tablename__ = "vouchers"
    __table_args__ = (
        UniqueConstraint("store_id", "code"),
        model.is_currency(),
        CheckConstraint("code = upper(code)", name="code_upper_case"),
        CheckConstraint("(percent is null) <> (amount is null)", name="percent_or_amount"),
        CheckConstraint("percent > 0 and percent <= 100", name="percent"),
        CheckConstraint("amount > 0", name="amount_positive"),
        CheckConstraint("minimum_amount > 0", name="minimum_amount_positive"),
        CheckConstraint("max_uses > 0", name="max_uses_positive"),
        CheckConstraint("uses between 0 and coalesce(max_uses, uses)", name="uses"),
        CheckConstraint("starts_at < ends_at", name="dates"),
        model.newest_first("vouchers"),
        model.newest_first("vouchers", "store_id"),
        model.sparse_index("vouchers", "created_by"),
    )

    store_id: UUID = model.reference("stores.id", "CASCADE")
    code: str = model.column(max_length=64)
    percent: Decimal | None = model.column(None, sa_type=model.PERCENT)
    amount: Decimal | None = model.column(None, sa_type=model.MONEY)
    currency: str = model.currency_code()
    minimum_amount: Decimal | None = model.column(None, sa_type=model.MONEY)
    max_uses: int | None = model.column(None)
    uses: int = model.column(0)
    once_per_user: bool = model.column(False)
    starts_at: datetime | None = model.moment()
    ends_at: datetime | None = model.moment()
    is_active: bool = model.column(True)
    created_by: UUID | None = model.reference("users.id", "SET NULL", None)


class VoucherRedemption(Timestamped, table=True):
    """That an order holds a voucher; released when the order is cancelled, fails or expires, and taken again when it is tried again."""

    __tablename__ = "voucher_redemptions"
    __table_args__ = (Index("ix_voucher_redemptions_held", "voucher_id", "user_id", postgresql_where=text("released_at is null")),)

    voucher_id: UUID = model.reference("vouchers.id", "CASCADE", index=True)
    order_id: UUID = model.reference("orders.id", "CASCADE", unique=True)
    user_id: UUID = model.reference("users.id", "RESTRICT", index=True)
    released_at: datetime | None = model.moment()


_CODE = re.compile(r"[A-Z0-9][A-Z0-9_-]{2,63}")


def _code(value: str) -> str:
    if not _CODE.fullmatch(value):
        raise PydanticCustomError("voucher_code", "must be 3 to 64 letters (A to Z), digits, - or _, such as SPRING-10")
    return value


VoucherCode = Annotated[str, StringConstraints(strip_whitespace=True, to_upper=True, max_length=64), AfterValidator(_code)]
"""What is typed, in capital letters: codes are the same in either case."""

Percent = Annotated[Decimal, Field(gt=0, le=100, max_digits=7, decimal_places=4)]
PositiveAmount = Annotated[Amount, Field(gt=0)]
Uses = Annotated[int, Field(ge=1, le=MAX_USES)]


class VoucherCreate(Input):
    """A new voucher of a store, over either a percentage or an amount; in the store's currency, unless it says another."""

    store_id: UUID
    code: VoucherCode
    currency: CurrencyCode | None = None
    percent: Percent | None = None
    amount: PositiveAmount | None = None
    minimum_amount: PositiveAmount | None = None
    max_uses: Uses | None = None
    once_per_user: bool = False
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    created_by: UUID | None = None


class VoucherUpdate(Update):
    """What may change about a voucher; its code and currency stay."""

    nullable: ClassVar[frozenset[str]] = frozenset({"percent", "amount", "minimum_amount", "max_uses", "starts_at", "ends_at"})

    percent: Percent | None = None
    amount: PositiveAmount | None = None
    minimum_amount: PositiveAmount | None = None
    max_uses: Uses | None = None
    once_per_user: bool | None = None
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None
    is_active: bool | None = None
