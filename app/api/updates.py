"""Subscription fields that show rows whenever they change, declared rather than written.

    def _order(_viewer: Viewer, order_id: strawberry.ID | None = None) -> UUID | None:
        return decode_id(order_id, "Order", "orderId") if order_id else None

    order_updated: Order = updates("orders", _order, access=own("orders:read"))

The finder takes the field's arguments and gives the id of the one row that is meant, or None for all that are the viewer's to see.
"""

from collections.abc import AsyncIterator, Callable
from typing import Any
from uuid import UUID

import strawberry

from app.api.context import Context
from app.api.lookup import annotate
from app.api.permissions import Access, protected
from app.core.changes import Subscription, Topic
from app.core.errors import NotFound
from app.core.security import Viewer

Finder = Callable[..., UUID | None]


def updates(repository: str, find: Finder, *, access: Access, only_own: bool = False, description: str | None = None) -> Any:
    """A subscription field that shows each row of a repository when it has changed, as far as the viewer sees it.

    `only_own`: those whose `user_id` is the viewer, also where the viewer could see more.
    """

    async def resolve(info, **arguments):  # type: ignore[no-untyped-def]
        context: Context = info.context
        id = find(context.viewer, **arguments)
        rows = getattr(context.repositories, repository)
        if id is not None and await rows.find_by_id(id) is None:
            raise NotFound(f"there is no {rows.model.__name__} with this id")
        topics = _topics(repository, context.viewer, id, only_own=only_own)
        return ChangedRows(context.services.changes.subscribers.join(topics), rows)

    annotate(resolve, find)
    return strawberry.subscription(resolver=resolve, description=description, **protected(access))


def _topics(entity: str, viewer: Viewer, id: UUID | None, *, only_own: bool) -> list[Topic]:
    """The narrowest topics that have every row in it which the viewer means."""
    if id is not None:
        return [Topic(entity, "id", id)]
    if viewer.sees_everything and not only_own:
        return [Topic(entity)]
    if viewer.user_id is None:
        return [Topic(entity, "cart_token_hash", viewer.cart_token_hash)]
    own = [Topic(entity, "user_id", viewer.user_id)]
    store = viewer.store_id if viewer.is_staff and not only_own else None
    return own if store is None else [*own, Topic(entity, "store_id", store)]


class ChangedRows:
    """The rows of a subscription, each as it is when it is asked for, by repositories of the subscriber."""

    def __init__(self, subscription: Subscription, rows: Any) -> None:
        self._subscription = subscription
        self._rows = rows

    def __aiter__(self) -> AsyncIterator[Any]:
        return self

    async def __anext__(self) -> Any:
        row = None
        while row is None:
            row = await self._rows.find_by_id(await self._subscription.next())
        return row

    async def aclose(self) -> None:
        self._subscription.close()
