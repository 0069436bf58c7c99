"""Messages to stores' own systems, as Standard Webhooks has them: signed, tried again for a day, and logged.

The body of a message is JSON:

    {"type": "order.created", "timestamp": "2026-01-31T12:00:00Z", "data": {"storeId": "...", "orderId": "..."}}

`data` names what it is about by the ids of the GraphQL API, where its receiver reads the rest with rights of its own. The headers are
`webhook-id` (the same for every attempt at a message: a receiver that has seen it drops it), `webhook-timestamp` (of the attempt, in
seconds) and `webhook-signature`: `v1,` and the HMAC-SHA-256 of id, timestamp and body; two of them while a secret is replaced.
"""

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self
from uuid import UUID

import orjson
import structlog
from standardwebhooks import Webhook as Signer

from app.core.clock import Clock
from app.engagement.models import Webhook, WebhookDelivery
from app.engagement.outbound import AddressRules, Answer, Sender
from app.engagement.repository import Attempted
from app.settings import Settings

DELIVER_JOB = "webhooks.deliver"
GONE: Final = 410
KEPT: Final = timedelta(days=30)
"""How long the log of deliveries is kept."""

LATE: Final = timedelta(minutes=15)
"""After which a delivery whose job was lost is taken up again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Backoff:
    """When to try again: ever later, up to `longest`, each time by chance between half and the whole of it, so that those who failed
    together do not come back together. Ten attempts take a day at most."""

    attempts: int = 10
    first: timedelta = timedelta(seconds=5)
    factor: int = 4
    longest: timedelta = timedelta(hours=6)
    chance: Callable[[], float] = random.random

    def after(self, attempts: int) -> timedelta | None:
        """How long to wait after so many attempts; None where there were enough."""
        if attempts >= self.attempts:
            return None
        whole: timedelta = min(self.first * self.factor ** (attempts - 1), self.longest)
        return whole * (0.5 + self.chance() / 2)


class Deliveries:
    """Delivers what is in the log. Repositories are the system's; `failures` in a row make a webhook inactive."""

    def __init__(self, repositories: Any, sender: Sender, failures: int, backoff: Backoff | None = None) -> None:
        self._repositories = repositories
        self._sender = sender
        self._failures = failures
        self._backoff = backoff or Backoff()

    @classmethod
    def from_settings(cls, settings: Settings, repositories: Any) -> Self:
        sender = Sender(AddressRules(settings.webhook_loopback), settings.webhook_timeout)
        return cls(repositories, sender, settings.webhook_failures)

    async def deliver(self, arguments: Mapping[str, Any]) -> None:
        """The work of a job: one attempt, which enqueues the next where there is one."""
        deliveries, webhooks = self._repositories.webhook_deliveries, self._repositories.webhooks
        delivery = await deliveries.find_waiting(UUID(arguments["id"]), arguments["attempts"])
        webhook = None if delivery is None else await webhooks.find_by_id(delivery.webhook_id)
        if delivery is None or webhook is None:
            return
        if not webhook.is_active:
            await deliveries.settle(delivery, Attempted(False, self._now(), error="the webhook is inactive"))
            return
        body = orjson.dumps(delivery.payload)
        answer = await self._sender.post(webhook.url, _headers(webhook, delivery, body, self._repositories.now), body)
        await self._settle(webhook, delivery, answer)

    async def take_up_lost(self) -> None:
        """Enqueue deliveries again whose job was lost."""
        now = self._now()
        for delivery in await self._repositories.webhook_deliveries.find_overdue(now - LATE):
            async with self._repositories.transaction() as tx:
                await tx.webhook_deliveries.update_by_id(delivery.id, {"next_attempt_at": now})
                await enqueue_delivery(tx, delivery.id, delivery.attempts)

    async def remove_old(self) -> None:
        await self._repositories.webhook_deliveries.delete_before(self._now() - KEPT)

    async def _settle(self, webhook: Webhook, delivery: WebhookDelivery, answer: Answer) -> None:
        now = self._now()
        succeeded = answer.status is not None and 200 <= answer.status < 300
        hopeless = answer.refused or answer.status == GONE
        wait = None if succeeded or hopeless else self._backoff.after(delivery.attempts + 1)
        attempted = Attempted(succeeded, now, now + wait if wait else None, answer.status, answer.duration_ms, _complaint(answer))
        async with self._repositories.transaction() as tx:
            if not await tx.webhook_deliveries.settle(delivery, attempted):
                return
            await tx.webhooks.update_last_triggered(webhook.id, now)
            if wait is not None:
                await enqueue_delivery(tx, delivery.id, delivery.attempts + 1, wait)
            elif succeeded:
                await tx.webhooks.update_many({"id": webhook.id, "failure_count": {"gt": 0}}, {"failure_count": 0})
            else:
                await self._count_failure(tx, webhook, 1 if answer.status == GONE else self._failures)

    async def _count_failure(self, tx: Any, webhook: Webhook, most: int) -> None:
        now = await tx.webhooks.count_failure(webhook.id, most)
        if now is not None and webhook.is_active and not now.is_active:
            log.warning("webhook_disabled", webhook=str(webhook.id), store=str(webhook.store_id), failures=now.failure_count)

    def _now(self) -> datetime:
        now: datetime = self._repositories.now()
        return now


async def enqueue_delivery(repositories: Any, id: UUID, attempts: int = 0, delay: timedelta | None = None) -> None:
    """Have the attempt after so many made if the open transaction commits."""
    await repositories.enqueue_later(delay, DELIVER_JOB, id=id, attempts=attempts)


def _headers(webhook: Webhook, delivery: WebhookDelivery, body: bytes, now: Clock) -> dict[str, str]:
    moment, id = now().astimezone(UTC), str(delivery.event_id)
    secrets = [webhook.secret]
    if webhook.previous_secret and webhook.previous_secret_expires_at and webhook.previous_secret_expires_at > moment:
        secrets.append(webhook.previous_secret)
    return {
        "content-type": "application/json",
        "user-agent": "Neurotracker-Webhooks/1",
        "webhook-id": id,
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": " ".join(Signer(secret).sign(id, moment, body.decode()) for secret in secrets),
    }


def _complaint(answer: Answer) -> str | None:
    if answer.error is not None or answer.status is None or answer.status < 300:
        return answer.error
    return f"answered {answer.status}" + ("; redirects are not followed" if answer.status < 400 else "")
