"""What happens in a store, told to the floors above: an outbox in the queue of jobs.

    await happened(self.repositories, StoreEvent.ORDER_CREATED, [order.store_id], Order=order.id)

The job is part of the transaction that makes it so: what was rolled back is told to nobody, and what was committed to everybody who
listens (`engagement.happenings`). It carries ids alone.
"""

from collections.abc import Iterable
from enum import StrEnum
from uuid import UUID

from uuid_utils.compat import uuid7

from app.core.factory import RepositoryFactory

HAPPENED_JOB = "STORES_HAPPENED"
COUNTED_JOB = "STORES_COUNTED"
CART_CREATED = "CART_CREATED"
"""What is counted (`analytics.happenings`) and told to nobody."""


class StoreEvent(StrEnum):
    """All that a store's own systems can be told of."""

    ORDER_CREATED = "ORDER_CREATED"
    ORDER_COMPLETED = "ORDER_COMPLETED"
    ORDER_CANCELLED = "ORDER_CANCELLED"
    ORDER_REFUNDED = "ORDER_REFUNDED"
    CART_ABANDONED = "CART_ABANDONED"
    CART_RECOVERED = "CART_RECOVERED"
    PRODUCT_UPDATED = "PRODUCT_UPDATED"
    INVENTORY_LOW = "INVENTORY_LOW"

    @property
    def topic(self) -> str:
        """Its name in messages, such as `order.created`."""
        return self.value.lower().replace("_", ".")


async def happened(repositories: RepositoryFactory, event: StoreEvent, store_ids: Iterable[UUID | None], **subjects: UUID) -> None:
    """Tell of an event in stores if the open transaction commits. `subjects` are ids by the name of their GraphQL type."""
    stores = [id for id in store_ids if id is not None]
    if stores:
        place = {"store_ids": stores, "subjects": subjects}
        await repositories.enqueue(HAPPENED_JOB, id=uuid7(), event=event.value, at=repositories.now(), **place)


async def counted(repositories: RepositoryFactory, event: str, store_id: UUID | None, **subjects: UUID) -> None:
    """Have an event counted if the open transaction commits, as `happened` has one told."""
    if store_id is not None:
        place = {"store_ids": [store_id], "subjects": subjects}
        await repositories.enqueue(COUNTED_JOB, id=uuid7(), event=event, at=repositories.now(), **place)
