"""What payment providers tell us by themselves, at `/webhooks/payments/<provider>`.

An event only says which payment to look at: how it stands, its provider is asked. So events may come twice, late, or in any order, and a
forged one could at most make us look. Whatever cannot be done now is answered 503, for the provider to tell it again.
"""

from typing import Final
from uuid import UUID

import structlog
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from app.core.errors import RepositoryError
from app.core.factory import RepositoryFactory
from app.orders.payments import UNANSWERED, answer, request_of
from app.orders.provider import ForgedEvent, PaymentProvider, ProviderNews
from app.orders.repository import PaymentRepository, SettlementRepository
from app.orders.repository.news import ProviderEventRepository

MOST_BYTES: Final = 256 * 1024

log = structlog.get_logger(__name__)


class TooLong(Exception):
    """A body that no provider sends."""


class IncomingPayments:
    """Takes in the events of the provider that is in use."""

    def __init__(self, repositories: RepositoryFactory, provider: PaymentProvider) -> None:
        self._repositories = repositories
        self._provider = provider

    async def receive(self, request: Request) -> Response:
        """200 once an event is taken in, or is none of ours; 400 forged, 404 another provider's, 413 too long, 503 not now."""
        if request.path_params["provider"] != self._provider.name:
            return PlainTextResponse("no such payment provider here", 404)
        try:
            news = self._provider.read_news(await _body(request), request.headers)
            await self.take_in(news)
        except TooLong:
            return PlainTextResponse(f"at most {MOST_BYTES} bytes", 413)
        except ForgedEvent:
            log.warning("provider_event_forged", provider=self._provider.name)
            return PlainTextResponse("this is no event of the payment provider", 400)
        except (*UNANSWERED, RepositoryError) as error:
            log.warning("provider_event_postponed", provider=self._provider.name, error=type(error).__name__)
            return PlainTextResponse("not now", 503)
        return PlainTextResponse("ok")

    async def take_in(self, news: ProviderNews) -> None:
        """Look at the payment that an event is about, unless that has been done."""
        events = self._repositories.of(ProviderEventRepository)
        if await events.knows(self._provider.name, news):
            return
        if news.payment_id is not None:
            await self._look_at(news.payment_id)
        await events.remember(self._provider.name, news)

    async def _look_at(self, payment_id: str) -> None:
        try:
            id = UUID(payment_id)
        except ValueError:
            return
        payment = await self._repositories.of(PaymentRepository).find_by_id(id)
        if payment is None or payment.provider != self._provider.name:
            return
        charge = await answer(self._provider, self._provider.find(request_of(payment, self._provider)))
        await self._repositories.of(SettlementRepository).settle_payment(payment, charge)


async def _body(request: Request) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLong
    return bytes(body)
