"""Takes events in: gathers them, stores each batch durably, and only then lets their senders be told.

A batch goes to ClickHouse under a token of its own. When ClickHouse does not take it, it goes to the spool in PostgreSQL under the same
token, since it may have arrived all the same, and is replayed from there (`app.analytics.replay`); while ClickHouse is left alone, batches
go there as loose ones, which may be sent together. What neither takes was never
acknowledged. So nothing that was is lost, and nothing counts twice: ClickHouse knows the tokens of late, and an event that is sent again
has the same id.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Self
from uuid import UUID

import structlog
from cachetools import LRUCache
from uuid_utils.compat import uuid7

from app.analytics.repository import EventSpoolRepository, UserEventRepository
from app.core.errors import RepositoryError, Unavailable
from app.core.factory import RepositoryFactory
from app.settings import Settings

AWAY_SECONDS: Final = 5.0
"""How long ClickHouse is left alone after it did not take a batch."""

DRAIN_SECONDS: Final = 12.0
KNOWN_EVENTS: Final = 100_000
OVERHEAD_BYTES: Final = 250
"""What an event takes in memory beside its text."""

log = structlog.get_logger(__name__)


class TooManyEvents(Exception):
    """There is no room for more events now; trying again makes sense after `retry_after` seconds."""

    def __init__(self, retry_after: int) -> None:
        super().__init__("more events arrive than can be stored")
        self.retry_after = retry_after


@dataclass(frozen=True)
class TrackingOptions:
    """A batch is stored when it has `batch` events or its first one has waited `linger` seconds.

    `buffer` bounds the bytes that wait in this process, `spool` the events that wait in PostgreSQL.
    """

    batch: int = 10_000
    linger: float = 0.05
    buffer: int = 32 * 1024 * 1024
    spool: int = 10_000_000

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        return cls(settings.events_batch, settings.events_linger_ms / 1000, settings.events_buffer_bytes, settings.events_spool)


@dataclass
class Batch:
    """Events that are stored together, by id; `stored` is done when they are."""

    lines: dict[UUID, bytes] = field(default_factory=dict)
    size: int = 0
    full: asyncio.Event = field(default_factory=asyncio.Event)
    stored: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class EventWriter:
    """Stores events in batches, one after the other: while one is stored, the next one gathers."""

    def __init__(self, repositories: RepositoryFactory, options: TrackingOptions | None = None) -> None:
        self._repositories = repositories.unscoped
        self._metrics = repositories.metrics
        self._options = options or TrackingOptions()
        self._batches: deque[Batch] = deque()
        self._known: LRUCache[UUID, asyncio.Future[None]] = LRUCache(KNOWN_EVENTS)
        self._held = 0
        self._arrived = asyncio.Event()
        self._closing = False
        self._away_until = 0.0

    async def add(self, events: Mapping[UUID, bytes]) -> None:
        """Return when all these events, encoded lines by id, are durable. One that was added of late is not stored again.

        Raises `TooManyEvents`, then none of them is taken; `Unavailable` where they could not be stored.
        """
        waits = {self._known[id] for id in events if id in self._known}
        new = {id: line for id, line in events.items() if id not in self._known}
        size = sum(len(line) + OVERHEAD_BYTES for line in new.values())
        if self._closing or self._held + size > self._options.buffer:
            raise TooManyEvents(1)
        self._held += size
        waits |= {self._gather(id, line) for id, line in new.items()}
        # A sender that goes away takes nothing from the others of its batch.
        await asyncio.gather(*map(asyncio.shield, waits))

    def _gather(self, id: UUID, line: bytes) -> asyncio.Future[None]:
        if not self._batches or self._batches[-1].full.is_set():
            self._batches.append(Batch())
            self._arrived.set()
        batch = self._batches[-1]
        batch.lines[id] = line
        batch.size += len(line) + OVERHEAD_BYTES
        if len(batch.lines) >= self._options.batch:
            batch.full.set()
        self._known[id] = batch.stored
        return batch.stored

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Store what arrives during the block; at its end, first what has arrived, for at most 12 seconds."""
        storing = asyncio.create_task(self._store_all())
        try:
            yield
        finally:
            self._closing = True
            self._arrived.set()
            for batch in self._batches:
                batch.full.set()
            with suppress(TimeoutError):
                await asyncio.wait_for(storing, DRAIN_SECONDS)

    async def _store_all(self) -> None:
        while self._batches or not self._closing:
            await self._arrived.wait()
            self._arrived.clear()
            while self._batches:
                batch = self._batches[0]
                with suppress(TimeoutError):
                    await asyncio.wait_for(batch.full.wait(), self._options.linger)
                batch.full.set()
                self._batches.popleft()
                await self._settle(batch)

    async def _settle(self, batch: Batch) -> None:
        """Store a batch and tell its senders."""
        try:
            await self._store(batch)
        except Exception as error:
            if not isinstance(error, RepositoryError | TooManyEvents):
                log.exception("events_not_stored", events=len(batch.lines))
                error = Unavailable("the events could not be stored")
            for id in batch.lines:
                self._known.pop(id, None)
            batch.stored.set_exception(error)
            # Perhaps nobody waits any more.
            batch.stored.exception()
        else:
            batch.stored.set_result(None)
        finally:
            self._held -= batch.size
            batch.lines.clear()

    async def _store(self, batch: Batch) -> None:
        token, lines, count = uuid7(), b"\n".join(batch.lines.values()), len(batch.lines)
        is_away = asyncio.get_running_loop().time() < self._away_until
        if is_away or not await self._take_to_clickhouse(token, lines):
            spool = self._repositories.of(EventSpoolRepository)
            if not await spool.add(token, count, lines, self._options.spool, is_loose=is_away):
                raise TooManyEvents(60)
            self._metrics.events.labels("spooled").inc(count)
        self._metrics.events.labels("stored").inc(count)

    async def _take_to_clickhouse(self, token: UUID, lines: bytes) -> bool:
        try:
            await self._repositories.of(UserEventRepository).insert_lines(lines, str(token))
        except Unavailable:
            self._away_until = asyncio.get_running_loop().time() + AWAY_SECONDS
            log.warning("events_spooled", seconds=AWAY_SECONDS)
            return False
        return True
