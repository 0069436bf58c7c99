"""What follows from events in stores: messages to the stores' own systems. Worked off from the outbox (`stores.events`)."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from app.api.scalars import encode_id
from app.engagement.delivery import enqueue_delivery
from app.stores.events import StoreEvent


class Happenings:
    """Has every event told to whom it concerns. Repositories are the system's."""

    def __init__(self, repositories: Any) -> None:
        self._repositories = repositories

    async def tell(self, arguments: Mapping[str, Any]) -> None:
        """The work of a job: what it makes, it makes once, however often it runs."""
        event = StoreEvent(arguments["event"])
        subjects = {name: UUID(id) for name, id in arguments["subjects"].items()}
        async with self._repositories.transaction() as tx:
            for store_id in map(UUID, arguments["store_ids"]):
                payload = {"type": event.topic, "timestamp": arguments["at"], "data": _ids({"Store": store_id, **subjects})}
                for id in await tx.webhook_deliveries.open_for(store_id, event, UUID(arguments["id"]), payload):
                    await enqueue_delivery(tx, id)


def _ids(subjects: Mapping[str, UUID]) -> dict[str, str]:
    """Global ids under the names that arguments of the API have: `orderId`."""
    return {f"{name[0].lower()}{name[1:]}Id": encode_id(name, id) for name, id in subjects.items()}
