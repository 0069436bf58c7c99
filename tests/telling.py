"""What a store's own systems are told, as the log of deliveries to its webhooks has it."""

from typing import Any
from uuid import UUID

import orjson
from pydantic import SecretStr

from app.api.scalars import decode_any_id
from app.engagement.happenings import Happenings
from app.engagement.models import WebhookCreate
from app.stores.events import HAPPENED_JOB, StoreEvent
from app.stores.models import Store
from tests.shop import Shop


async def listen(shop: Shop, *events: StoreEvent, store: Store | None = None) -> None:
    """Webhooks of a store, whose log of deliveries tells what was told."""
    for event in events:
        hook: dict[str, Any] = {"store_id": (store or shop.store).id, "url": "https://hooks.example.com/", "secret": SecretStr("s" * 32)}
        await shop.repositories.webhooks.create(WebhookCreate(**hook, event_type=event))


async def told(shop: Shop, event: StoreEvent) -> list[dict[str, Any]]:
    """What the log has of an event, oldest first, once all that has happened is told."""
    async with shop.database.connection() as connection:
        jobs = await connection.fetch("delete from pgqueuer where entrypoint = $1 returning id, payload", HAPPENED_JOB)
    for job in sorted(jobs, key=lambda job: int(job["id"])):
        await Happenings(shop.repositories).tell(orjson.loads(job["payload"]))
    rows = await shop.repositories.webhook_deliveries.find_many({"event_type": event.value})
    return [row.payload for row in reversed(rows)]


def subject(payload: dict[str, Any], name: str) -> UUID:
    return decode_any_id(payload["data"][name], name)[1]
