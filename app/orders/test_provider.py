"""The payment provider that is built in for development and tests. No money moves."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Annotated, ClassVar, Final

from pydantic import ValidationError

from app.core.factory import RepositoryFactory
from app.core.inputs import Input, Line
from app.orders.models.ledger import TestCharge
from app.orders.provider import (
    ABANDONED,
    ANSWER_SECONDS,
    Charge,
    ChargeRequest,
    ChargeState,
    ForgedEvent,
    ProviderNews,
    Repayment,
    RepaymentRequest,
    UnknownToken,
)
from app.orders.repository.ledger import TestLedger

BANK_SECONDS: Final = timedelta(seconds=5)
"""How long the bank behind `tok_async` takes."""


@dataclass(frozen=True)
class Outcome:
    """What a token leads to: a state, why it failed, and whether the first question or its answer gets lost."""

    state: ChargeState = ChargeState.SUCCEEDED
    failure_code: str = ""
    failure_message: str = ""
    loses_question: bool = False
    loses_answer: bool = False

    @property
    def failure(self) -> dict[str, str]:
        return {"failure_code": self.failure_code, "failure_message": self.failure_message} if self.failure_code else {}


class News(Input):
    """An event as the test provider would send it."""

    id: Annotated[str, Line(255)]
    type: Annotated[str, Line(255)]
    payment_id: Annotated[str, Line(64)] | None = None


class TestPaymentProvider:
    """Decides by the token alone, so that every outcome can be tried. What it did is kept in tables of its own, as a bank would keep it:
    killed or started elsewhere, it gives the same answers."""

    __test__: ClassVar[bool] = False  # pytest takes classes named so for tests

    OUTCOMES: ClassVar[Mapping[str, Outcome]] = MappingProxyType(
        {
            "tok_success": Outcome(),
            "tok_declined": Outcome(ChargeState.FAILED, "card_declined", "The card was declined."),
            "tok_insufficient_funds": Outcome(ChargeState.FAILED, "insufficient_funds", "The card has insufficient funds."),
            "tok_timeout": Outcome(loses_question=True),
            "tok_response_lost": Outcome(loses_answer=True),
            "tok_async": Outcome(ChargeState.PENDING),
        }
    )

    def __init__(self, repositories: RepositoryFactory, timeout: float = ANSWER_SECONDS) -> None:
        self.name = "test"
        self.timeout = timeout
        self.ledger = repositories.unscoped.of(TestLedger)

    async def verify(self, token: str) -> None:
        if token not in self.OUTCOMES:
            raise UnknownToken

    async def charge(self, request: ChargeRequest, token: str) -> Charge:
        await self.verify(token)
        outcome = self.OUTCOMES[token]
        state = ChargeState.AUTHORIZED if outcome.state == ChargeState.SUCCEEDED and not request.capture else outcome.state
        if outcome.loses_question:
            _, first = await self.ledger.enter(request, ChargeState.OPEN)
            if first:
                raise TimeoutError
            return _charge(await self.ledger.settle(request.idempotency_key, ChargeState.OPEN, state))
        line, first = await self.ledger.enter(request, state, **outcome.failure)
        if first and outcome.loses_answer:
            raise TimeoutError
        return _charge(line)

    async def find(self, request: ChargeRequest) -> Charge:
        line = await self.ledger.find_by_key(request.idempotency_key)
        if line is None:
            return Charge(None, ChargeState.OPEN, request.amount, request.currency)
        if line.state == ChargeState.PENDING and line.created_at + BANK_SECONDS <= self.ledger.repositories.now():
            return await self.confirm(request)
        return _charge(line)

    async def cancel(self, request: ChargeRequest) -> Charge:
        failure = {"failure_code": ABANDONED, "failure_message": "The charge was given up before it was made."}
        line, first = await self.ledger.enter(request, ChargeState.FAILED, **failure)
        if not first and line.state in (ChargeState.OPEN, ChargeState.AUTHORIZED):
            line = await self.ledger.settle(request.idempotency_key, ChargeState(line.state), ChargeState.FAILED, **failure)
        return _charge(line)

    async def capture(self, request: ChargeRequest, amount: Decimal) -> Charge:
        return _charge(await self.ledger.capture(request.idempotency_key, amount))

    async def refund(self, request: RepaymentRequest) -> Repayment:
        name = await self.ledger.give_back(request)
        return Repayment(name) if name else Repayment(None, "charge_exceeded")

    def read_news(self, body: bytes, headers: Mapping[str, str]) -> ProviderNews:
        """A JSON object with `id`, `type` and `payment_id`. It bears no signature, since there is no secret that both sides share."""
        try:
            event = News.model_validate_json(body)
        except ValidationError as error:
            raise ForgedEvent from error
        return ProviderNews(event.id, event.type, event.payment_id)

    async def close(self) -> None:
        """There are no connections."""

    async def confirm(self, request: ChargeRequest) -> Charge:
        """The bank's answer to a charge that it took time for."""
        state = ChargeState.SUCCEEDED if request.capture else ChargeState.AUTHORIZED
        return _charge(await self.ledger.settle(request.idempotency_key, ChargeState.PENDING, state))


def _charge(line: TestCharge) -> Charge:
    amount = line.captured if line.state == ChargeState.SUCCEEDED else line.amount
    return Charge(line.transaction_id, ChargeState(line.state), amount, line.currency, line.failure_code, line.failure_message)
