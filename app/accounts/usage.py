"""How often API keys are used: counted in memory, written down together, so that a request costs no statement.

Uses are written every few seconds, sooner when many keys are in use, and at the end. What could not be written is kept and written the next
time; where that may not last, since too many keys have been used meanwhile, it is dropped and counted as such.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog

from app.core.errors import RepositoryError
from app.core.metrics import Metrics

EVERY_SECONDS = 5.0
BATCH = 1_000
"""Keys that are written down with one statement, and whose use is written down at once."""

MOST_KEYS = 20_000
"""Keys whose uses are kept while they cannot be written."""

Write = Callable[[Mapping[UUID, int]], Awaitable[object]]

log = structlog.get_logger(__name__)


class KeyUsage:
    """Counts the uses of keys; `write` adds them to what is stored, and raises `RepositoryError` where it cannot. `every` in seconds."""

    def __init__(self, write: Write, metrics: Metrics, *, every: float = EVERY_SECONDS, batch: int = BATCH, most: int = MOST_KEYS) -> None:
        self._write = write
        self._lost = metrics.lost_key_uses
        self._every = every
        self._batch = batch
        self._most = most
        self._uses: Counter[UUID] = Counter()
        self._due = asyncio.Event()
        self._ended = asyncio.Event()

    def count(self, key_id: UUID) -> None:
        """One use of a key."""
        if key_id not in self._uses and len(self._uses) >= self._most:
            self._lost.inc()
            return
        self._uses[key_id] += 1
        if len(self._uses) >= self._batch:
            self._due.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write down what is counted while the block runs, and the rest when it ends."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            self._ended.set()
            self._due.set()
            await task

    async def _run(self) -> None:
        while not self._ended.is_set():
            await _set_within(self._due, self._every)
            self._due.clear()
            if not await self.flush():
                await _set_within(self._ended, self._every)
        await self.flush()

    async def flush(self) -> bool:
        """Write down what has been counted; whether that went well."""
        while self._uses:
            batch = dict(self._uses.most_common(self._batch))
            for key_id in batch:
                del self._uses[key_id]
            try:
                await self._write(batch)
            except RepositoryError as error:
                self._uses.update(batch)
                log.warning("key_uses_not_written", keys=len(self._uses), error=type(error).__name__)
                return False
        return True


async def _set_within(event: asyncio.Event, seconds: float) -> None:
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
