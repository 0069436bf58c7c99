"""What a voucher takes off, and why it may not."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Protocol

from app.core.money import format_amount, quantize


class VoucherTerms(Protocol):
    """What of a voucher decides over a discount."""

    @property
    def percent(self) -> Decimal | None: ...
    @property
    def amount(self) -> Decimal | None: ...
    @property
    def currency(self) -> str: ...
    @property
    def minimum_amount(self) -> Decimal | None: ...
    @property
    def max_uses(self) -> int | None: ...
    @property
    def uses(self) -> int: ...
    @property
    def once_per_user(self) -> bool: ...
    @property
    def starts_at(self) -> datetime | None: ...
    @property
    def ends_at(self) -> datetime | None: ...
    @property
    def is_active(self) -> bool: ...


@dataclass(frozen=True)
class VoucherDiscount:
    """The discount of a voucher at a time, for a shopper who has used it before or not: nothing, where there is a problem."""

    voucher: VoucherTerms
    now: datetime
    used_before: bool = False

    def discount(self, items_total: Decimal, currency: str) -> Decimal:
        voucher = self.voucher
        if self.problem(items_total, currency) is not None:
            return Decimal(0)
        if voucher.amount is not None:
            return min(voucher.amount, items_total)
        return quantize(items_total * (voucher.percent or Decimal(0)) / 100, currency)

    def problem(self, items_total: Decimal, currency: str) -> str | None:
        """Why the voucher takes nothing off, for its user to read."""
        return self._problem_of_time() or self._problem_of_uses() or self._problem_of_amount(items_total, currency)

    def _problem_of_time(self) -> str | None:
        voucher = self.voucher
        if not voucher.is_active:
            return "it is no longer valid"
        if voucher.starts_at is not None and self.now < voucher.starts_at:
            return f"it is valid from {voucher.starts_at:%Y-%m-%d %H:%M} UTC on"
        if voucher.ends_at is not None and self.now >= voucher.ends_at:
            return f"it was valid until {voucher.ends_at:%Y-%m-%d %H:%M} UTC"
        return None

    def _problem_of_uses(self) -> str | None:
        voucher = self.voucher
        if voucher.max_uses is not None and voucher.uses >= voucher.max_uses:
            return "it has been used up"
        return "you have used it before" if voucher.once_per_user and self.used_before else None

    def _problem_of_amount(self, items_total: Decimal, currency: str) -> str | None:
        voucher = self.voucher
        has_amount = voucher.amount is not None or voucher.minimum_amount is not None
        if has_amount and voucher.currency != currency:
            return f"it is for purchases in {voucher.currency}"
        if voucher.minimum_amount is not None and items_total < voucher.minimum_amount:
            return f"it is for purchases from {format_amount(voucher.minimum_amount, currency)} {currency} on"
        return None
