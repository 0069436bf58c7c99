"""Payment providers, in Stripe's words, and the one that is built in for development and tests."""

import asyncio
import hashlib
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Protocol

from app.core.errors import ErrorCode, UserError

CHARGE_SECONDS = 10.0
"""How long a provider may take to answer."""


@dataclass(frozen=True)
class Charge:
    """What a provider is asked: an amount in major units, in a currency, of the card behind a token."""

    amount: Decimal
    currency: str
    token: str
    idempotency_key: str


@dataclass(frozen=True)
class ChargeResult:
    """What a provider answers: the charge's id, or why it was declined."""

    transaction_id: str
    succeeded: bool
    failure_code: ErrorCode | None = None
    failure_message: str | None = None


class PaymentProvider(Protocol):
    """Charges cards. The same idempotency key gives the same answer and never a second charge. Raises TimeoutError when it does not answer."""

    name: ClassVar[str]

    async def charge(self, charge: Charge) -> ChargeResult: ...


class TestPaymentProvider:
    """Decides by the token alone, so every outcome can be tried; no money moves."""

    __test__ = False
    name: ClassVar[str] = "test"

    DECLINES: ClassVar[dict[str, tuple[ErrorCode, str]]] = {
        "tok_declined": (ErrorCode.PAYMENT_DECLINED, "the card was declined; use another one"),
        "tok_insufficient_funds": (ErrorCode.PAYMENT_INSUFFICIENT_FUNDS, "the card has insufficient funds; use another one"),
    }

    async def charge(self, charge: Charge) -> ChargeResult:
        """Raises `UserError` for a token that it does not know."""
        transaction_id = f"test_{hashlib.sha256(charge.idempotency_key.encode()).hexdigest()[:32]}"
        if charge.token == "tok_success":  # noqa: S105 - a token of the test provider
            return ChargeResult(transaction_id, succeeded=True)
        if charge.token == "tok_timeout":  # noqa: S105 - a token of the test provider
            await asyncio.sleep(0.05)
            raise TimeoutError
        if charge.token not in self.DECLINES:
            raise UserError(ErrorCode.PAYMENT_TOKEN_UNKNOWN, "the provider knows no such payment token", "payment_token")
        code, message = self.DECLINES[charge.token]
        return ChargeResult(transaction_id, succeeded=False, failure_code=code, failure_message=message)
