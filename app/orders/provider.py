"""What the shop asks of a payment provider, in Stripe's words. `test_provider` and `stripe_provider` answer."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Final, Protocol

ANSWER_SECONDS: Final = 10.0
"""How long a provider may take to answer, unless it is told otherwise: less than a request may take."""

ABANDONED: Final = "abandoned"
"""Why a charge failed that was cancelled before the provider made it."""


class UnknownToken(Exception):
    """The provider knows no such payment token."""


class ForgedEvent(Exception):
    """What pretends to be an event of the provider, and is none."""


@dataclass(frozen=True)
class ProviderNews:
    """An event of a provider: its name, its kind, and which payment of ours it is about, if of any."""

    id: str
    type: str
    payment_id: str | None


class ChargeState(StrEnum):
    """OPEN: announced, not tried. PENDING: tried, and the bank has not answered. AUTHORIZED: set aside, to be captured."""

    OPEN = "OPEN"
    PENDING = "PENDING"
    AUTHORIZED = "AUTHORIZED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"


@dataclass(frozen=True)
class ChargeRequest:
    """What a provider is asked for: an amount in major units, once per idempotency key. Without `capture` it is only set aside.

    `charge_id` is the provider's name for the charge, where it has told one.
    """

    amount: Decimal
    currency: str
    idempotency_key: str
    capture: bool = True
    charge_id: str | None = None


@dataclass(frozen=True)
class Charge:
    """What a provider answers: its name for the charge, if it made one, how it stands, and the money that it took or set aside.

    Why it failed is in the provider's words.
    """

    id: str | None
    state: ChargeState
    amount: Decimal
    currency: str
    failure_code: str | None = None
    failure_message: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.state == ChargeState.SUCCEEDED

    def failed(self, code: str, message: str) -> "Charge":
        return replace(self, state=ChargeState.FAILED, failure_code=code, failure_message=message)


@dataclass(frozen=True)
class RepaymentRequest:
    """Money to give back of a charge, once per idempotency key."""

    charge: ChargeRequest
    amount: Decimal
    idempotency_key: str


@dataclass(frozen=True)
class Repayment:
    """What a provider answers: its name for the refund, or why it refused."""

    id: str | None
    failure_code: str | None = None


class PaymentProvider(Protocol):
    """Charges cards. It is asked outside of any transaction, and given `timeout` seconds.

    Nothing is done twice for one idempotency key: asked again, a provider gives the answer that it gave or was about to give. Every method
    raises TimeoutError or ConnectionError where the answer is not known; those that take a token raise `UnknownToken`.
    """

    name: str
    timeout: float

    async def verify(self, token: str) -> None:
        """See whether a token stands for a card, without charging it."""

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        """Charge, or set aside. A declined card is an answer, not an error."""
        ...

    async def find(self, request: ChargeRequest) -> Charge:
        """How a charge stands; OPEN where it was never made."""
        ...

    async def cancel(self, request: ChargeRequest) -> Charge:
        """Make sure that a charge which has not taken money never will, and say how it stands now."""
        ...

    async def capture(self, request: ChargeRequest, amount: Decimal) -> Charge:
        """Take what was set aside, or a part of it; the rest is let go. Once: captured before, it stands as it does."""
        ...

    async def refund(self, request: RepaymentRequest) -> Repayment:
        """Give money back. A refusal is an answer, not an error."""
        ...

    def read_news(self, body: bytes, headers: Mapping[str, str]) -> ProviderNews:
        """What a request that claims to come from the provider tells. Raises `ForgedEvent`."""
        ...

    async def close(self) -> None:
        """End all connections."""
