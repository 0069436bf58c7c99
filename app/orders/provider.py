"""Payment providers, in Stripe's words, and the one that is built in for development and tests."""

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from types import MappingProxyType
from typing import ClassVar, Final, Protocol

from cachetools import LRUCache

ANSWER_SECONDS: Final = 10.0
"""How long a provider may take to answer, unless it is told otherwise: less than a request may take."""


class UnknownToken(Exception):
    """The provider knows no such payment token."""


@dataclass(frozen=True)
class ChargeRequest:
    """What a provider is asked: an amount in major units, in a currency, of the card behind a token."""

    amount: Decimal
    currency: str
    token: str
    idempotency_key: str


@dataclass(frozen=True)
class Charge:
    """What a provider answers: its name for the charge, if it made one, and why it failed, in the provider's words."""

    id: str | None
    failure_code: str | None = None
    failure_message: str | None = None

    @property
    def succeeded(self) -> bool:
        return self.failure_code is None


class PaymentProvider(Protocol):
    """Charges cards. It is asked outside of any transaction, and given `timeout` seconds.

    `charge` never charges twice for one idempotency key: asked again it gives the answer that it gave or was about to give. Both methods
    raise `UnknownToken`, and TimeoutError or ConnectionError where the answer is not known.
    """

    name: str
    timeout: float

    async def verify(self, token: str) -> None:
        """See whether a token stands for a card, without charging it."""

    async def charge(self, request: ChargeRequest) -> Charge:
        """Charge once per idempotency key. A declined card is an answer, not an error."""
        ...


class TestPaymentProvider:
    """Decides by the token alone, so that every outcome can be tried. No money moves.

    `tok_timeout` charges, but its first answer is lost: asking again with the same key gives it.
    """

    __test__: ClassVar[bool] = False  # pytest takes classes named so for tests

    DECLINES: ClassVar[Mapping[str, tuple[str, str]]] = MappingProxyType(
        {
            "tok_declined": ("card_declined", "The card was declined."),
            "tok_insufficient_funds": ("insufficient_funds", "The card has insufficient funds."),
        }
    )
    LOSES_ANSWER: ClassVar[str] = "tok_timeout"
    TOKENS: ClassVar[frozenset[str]] = frozenset({"tok_success", LOSES_ANSWER, *DECLINES})

    def __init__(self, timeout: float = ANSWER_SECONDS, most_charges: int = 10_000) -> None:
        self.name = "test"
        self.timeout = timeout
        self.charges: LRUCache[str, Charge] = LRUCache(most_charges)
        """The newest charges by idempotency key."""

    async def verify(self, token: str) -> None:
        if token not in self.TOKENS:
            raise UnknownToken

    async def charge(self, request: ChargeRequest) -> Charge:
        known = self.charges.get(request.idempotency_key)
        if known is not None:
            return known
        await self.verify(request.token)
        made = self.charges[request.idempotency_key] = self._decide(request)
        await asyncio.sleep(0)
        if request.token == self.LOSES_ANSWER:
            raise TimeoutError
        return made

    def _decide(self, request: ChargeRequest) -> Charge:
        """The id follows from the key alone, so that another process, or this one after a restart, gives the same answer."""
        charge = Charge(f"test_{hashlib.sha256(request.idempotency_key.encode()).hexdigest()[:32]}")
        if request.token not in self.DECLINES:
            return charge
        code, message = self.DECLINES[request.token]
        return replace(charge, failure_code=code, failure_message=message)
