"""What happens in a shop right now: figures of the last minutes, again and again. Carts, orders and revenue are those of PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from app.analytics.insights import Revenue
from app.core.errors import RepositoryError
from app.orders.models import OrderStatus

MINUTES: Final = 5
EVERY_SECONDS: Final = 5.0
MOST_ORDERS: Final = 1_000
"""Completed orders whose amounts are added up; a store that sells more in five minutes is told the newest ones'."""


@dataclass(frozen=True)
class LiveFigures:
    """What happened from `since` until `at`; `events` is None while ClickHouse is away."""

    since: datetime
    at: datetime
    events: int | None
    carts: int
    orders: int
    revenue: list[Revenue]


class Ticker:
    """The figures at once, and then every five seconds, by repositories of the subscriber."""

    def __init__(self, repositories: Any, store_id: UUID | None, every: float = EVERY_SECONDS) -> None:
        self._repositories = repositories
        self._store = {} if store_id is None else {"store_id": store_id}
        self._every = every
        self._pause = 0.0

    def __aiter__(self) -> AsyncIterator[LiveFigures]:
        return self

    async def __anext__(self) -> LiveFigures:
        await asyncio.sleep(self._pause)
        self._pause = self._every
        return await self.figures()

    async def aclose(self) -> None:
        """Nothing is held between two turns."""

    async def figures(self) -> LiveFigures:
        """What happened in the last minutes."""
        rows, at = self._repositories, self._repositories.now()
        since = at - timedelta(minutes=MINUTES)
        made = {**self._store, "created_at": {"gte": since}}
        sold = await rows.orders.find_many(
            {**self._store, "status": OrderStatus.COMPLETED.value, "completed_at": {"gte": since}}, limit=MOST_ORDERS
        )
        return LiveFigures(
            since, at, await self._events(since), await rows.carts.count(made), await rows.orders.count(made), added_up(sold)
        )

    async def _events(self, since: datetime) -> int | None:
        try:
            return int(await self._repositories.user_events.count({**self._store, "timestamp": {"gte": since}}))
        except RepositoryError:
            return None


def added_up(orders: list[Any]) -> list[Revenue]:
    """What orders brought, by currency."""
    by_currency: dict[str, list[Any]] = {}
    for order in orders:
        by_currency.setdefault(order.currency, []).append(order.total)
    return [Revenue(currency, sum(amounts), len(amounts)) for currency, amounts in sorted(by_currency.items())]
