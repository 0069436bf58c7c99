"""Keeps the mirror of orders in ClickHouse up to date, and mends it.

Every turn ships what has changed since the last one, by `updated_at`, and some minutes more: a transaction may commit later than one that
began after it, but not so much later. What has been shipped before is not inserted again, since its token is made of its content. What
escapes all the same is found by reconciliation.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from uuid import UUID

import orjson
import structlog

from app.orders.repository.mirror import OrderMirrorRepository

WATERMARK: Final = "orders_mirror"
DESCRIPTION: Final = "Up to which change orders were mirrored in ClickHouse."
OVERLAP: Final = timedelta(minutes=10)
"""Longer than a transaction may last."""

PAGE: Final = 5_000
BEGINNING: Final = datetime(1970, 1, 1, tzinfo=UTC)
LEAST: Final = UUID(int=0)

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class OrderMirror:
    """Repositories are the system's. Several processes may ship at once: the version that was read last counts."""

    repositories: Any

    async def sync(self) -> int:
        """Ship what has changed; gives how many orders were looked at. Raises `Unavailable`."""
        rows = self.repositories.of(OrderMirrorRepository)
        moment, id, count = await self._start(rows), LEAST, 0
        while True:
            changed = await rows.changed_since(moment, id, PAGE)
            if changed:
                await rows.ship(changed, await asyncio.to_thread(content_token, changed))
                moment, id, count = changed[-1].updated_at, changed[-1].id, count + len(changed)
                await self.repositories.config.raise_value(WATERMARK, moment.isoformat(timespec="microseconds"), DESCRIPTION)
            if len(changed) < PAGE:
                return count

    async def ship(self, ids: Sequence[UUID], token: str) -> None:
        """Make the mirror hold what orders say now, and hide those of them that are gone. Raises `Unavailable`."""
        rows = self.repositories.of(OrderMirrorRepository)
        found = await rows.by_ids(ids)
        await rows.ship(found, token, set(ids) - {row.id for row in found})

    async def run(self) -> None:
        """A turn of the schedule."""
        await self.sync()

    async def _start(self, rows: OrderMirrorRepository) -> datetime:
        """From where to look on. A mirror that was lost is filled anew, and what is known of the former one forgotten."""
        config = self.repositories.config
        if await rows.is_empty():
            await config.delete_many({"key": WATERMARK})
        known = await config.get_value(WATERMARK)
        return BEGINNING if known is None else datetime.fromisoformat(known) - OVERLAP


def content_token(rows: Sequence[Any]) -> str:
    """The same for the same orders in the same state, whenever they were read."""
    content = [{name: value for name, value in row.items() if name != "synced_at"} for row in rows]
    return f"orders-{sha256(orjson.dumps(content, default=str)).hexdigest()}"
