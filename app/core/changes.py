"""Which rows have changed: told to every process once the change is committed, and from there to whoever waits for such rows.

A message names rows by their ids and says nothing else. Each process looks up whom the rows concern, and a subscriber reads them again
with rights of its own: nobody is shown what a publisher believed, and no row is too large for a message.

A subscriber that falls behind misses no row, only states in between: a row that waits already is not put in a second time. What cannot be
promised is said: a subscription ends with `Fallen` when too many rows wait, and when messages may have been lost on their way here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

import structlog
from redis.exceptions import RedisError

from app.core.errors import RepositoryError
from app.core.metrics import Metrics
from app.core.pubsub import PubSub

MOST_NAMED = 150
"""Rows named by one message: each takes 37 bytes, and its entity's name once."""

MOST_WAITING = 20_000
"""Changes that wait to be sent, or to be looked up. Beyond, they are lost, and every subscription here ends."""

MOST_BEHIND = 1_000
"""Rows that may wait for one subscriber."""

AGAIN_SECONDS = 1.0
LAST_SECONDS = 2.0
"""What sending the last changes of a process may take."""

log = structlog.get_logger(__name__)


class Kind(StrEnum):
    """What a statement does to its rows; the values are SQLAlchemy's names."""

    INSERT = "insert"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True)
class Announced:
    """Which rows a repository's changes are changes of: those of `entity` whose ids are in `column`, after statements of these kinds."""

    entity: str
    column: str = "id"
    kinds: frozenset[Kind] = frozenset({Kind.INSERT, Kind.UPDATE})


class Topic(NamedTuple):
    """The rows of an entity that have this value in a column; all of them where there is no column."""

    entity: str
    column: str | None = None
    value: UUID | str | None = None


COLUMNS = ("id", "user_id", "store_id", "cart_token_hash")
"""Columns that topics are made of, of entities that have them."""

Change = tuple[str, UUID]
Find = Callable[[str, Sequence[UUID]], Awaitable[Sequence[Any]]]
"""Finds rows of an entity by their ids; None for those that are gone."""


class Reason(StrEnum):
    """Why a subscription ended though nobody left it."""

    BEHIND = "behind"
    INTERRUPTED = "interrupted"


class Fallen(Exception):
    """A subscription that cannot go on without leaving out changes."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Subscription:
    """The rows that changed since its subscriber last looked: each once, those that have waited longest first."""

    def __init__(self, leave: Callable[["Subscription"], None], most: int = MOST_BEHIND) -> None:
        self._leave = leave
        self._most = most
        self._waiting: dict[UUID, None] = {}
        self._awake = asyncio.Event()
        self._fallen: Reason | None = None

    def put(self, id: UUID) -> None:
        if id not in self._waiting and len(self._waiting) >= self._most:
            self.fall(Reason.BEHIND)
            return
        self._waiting[id] = None
        self._awake.set()

    def fall(self, reason: Reason) -> None:
        self.close()
        self._fallen = reason
        self._waiting.clear()
        self._awake.set()

    async def next(self) -> UUID:
        """The id of the next row. Raises `Fallen`."""
        await self._awake.wait()
        if self._fallen is not None:
            raise Fallen(self._fallen)
        id = next(iter(self._waiting))
        del self._waiting[id]
        if not self._waiting:
            self._awake.clear()
        return id

    def close(self) -> None:
        """Hear of nothing any more."""
        self._leave(self)


class Subscribers:
    """Who waits for which rows, in this process."""

    def __init__(self) -> None:
        self._by_topic: dict[Topic, set[Subscription]] = {}
        self._entities: dict[str, int] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_topic.values()))

    def await_any(self, entity: str) -> bool:
        return entity in self._entities

    def join(self, topics: Iterable[Topic]) -> Subscription:
        """A subscription to the rows of several topics of one entity."""
        given = tuple(topics)
        joined = Subscription(lambda leaving: self._leave(leaving, given))
        for topic in given:
            self._by_topic.setdefault(topic, set()).add(joined)
            self._entities[topic.entity] = self._entities.get(topic.entity, 0) + 1
        return joined

    def tell(self, entity: str, row: Any) -> None:
        """Put a row before everybody whom it concerns."""
        columns: Mapping[str, Any] = dict(row)
        topics = (Topic(entity), *(Topic(entity, name, columns[name]) for name in COLUMNS if columns.get(name)))
        for subscription in {found for topic in topics for found in self._by_topic.get(topic, ())}:
            subscription.put(columns["id"])

    def interrupt(self) -> None:
        for subscription in {found for subscriptions in self._by_topic.values() for found in subscriptions}:
            subscription.fall(Reason.INTERRUPTED)

    def _leave(self, leaving: Subscription, topics: tuple[Topic, ...]) -> None:
        for topic in topics:
            found = self._by_topic.get(topic, set())
            if leaving not in found:
                continue
            found.remove(leaving)
            if not found:
                del self._by_topic[topic]
            self._entities[topic.entity] -= 1
            if not self._entities[topic.entity]:
                del self._entities[topic.entity]


class Waiting:
    """Changes that wait for their turn, each once; bounded."""

    def __init__(self) -> None:
        self._changes: dict[Change, None] = {}
        self._some = asyncio.Event()

    def __bool__(self) -> bool:
        return bool(self._changes)

    def add(self, entity: str, ids: Iterable[UUID]) -> bool:
        """Whether there was room for all of them."""
        self._changes.update(((entity, id), None) for id in ids)
        self._some.set()
        if len(self._changes) <= MOST_WAITING:
            return True
        self._changes = dict.fromkeys(islice(self._changes, MOST_WAITING))
        return False

    async def some(self) -> None:
        await self._some.wait()

    def take(self) -> tuple[str, list[UUID]]:
        """Some changes of one entity; there must be some."""
        entity, _ = next(iter(self._changes))
        taken = list(islice((change for change in self._changes if change[0] == entity), MOST_NAMED))
        for change in taken:
            del self._changes[change]
        if not self._changes:
            self._some.clear()
        return entity, [id for _, id in taken]


class Changes:
    """Tells every process of changes, and the subscribers of this one of those that concern them."""

    def __init__(self, pubsub: PubSub, metrics: Metrics) -> None:
        self._pubsub = pubsub
        self._metrics = metrics
        self._outgoing = Waiting()
        self._arrived = Waiting()
        self._tasks: list[asyncio.Task[None]] = []
        self.subscribers = Subscribers()

    async def announce(self, entity: str, ids: Iterable[UUID]) -> None:
        """Rows have changed, and the change is committed. Returns at once."""
        if not self._outgoing.add(entity, ids):
            self._metrics.lost_changes.inc()

    async def open(self, find: Find) -> None:
        await self._pubsub.open(self._heard, self._missed)
        self._tasks = [asyncio.create_task(self._send()), asyncio.create_task(self._look_up(find))]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        try:
            async with asyncio.timeout(LAST_SECONDS):
                while self._outgoing:
                    await self._publish()
        except (OSError, TimeoutError, RedisError):
            self._metrics.lost_changes.inc()
        await self._pubsub.close()

    async def _send(self) -> None:
        while True:
            await self._outgoing.some()
            try:
                await self._publish()
            except (OSError, TimeoutError, RedisError) as error:
                log.warning("changes_not_told", error=type(error).__name__)
                await asyncio.sleep(AGAIN_SECONDS)

    async def _publish(self) -> None:
        entity, ids = self._outgoing.take()
        try:
            await self._pubsub.publish(f"{entity} {' '.join(map(str, ids))}")
        except BaseException:
            self._outgoing.add(entity, ids)
            raise
        self._metrics.changes.labels(entity).inc(len(ids))

    async def _heard(self, message: str) -> None:
        entity, *texts = message.split()
        try:
            ids = [UUID(text) for text in texts]
        except ValueError:
            log.error("changes_not_understood", entity=entity)
            await self._missed()
            return
        if self.subscribers.await_any(entity) and not self._arrived.add(entity, ids):
            await self._missed()

    async def _missed(self) -> None:
        """Nobody knows what was in the messages that did not arrive."""
        log.warning("changes_missed", subscriptions=len(self.subscribers))
        self._metrics.lost_changes.inc()
        self.subscribers.interrupt()

    async def _look_up(self, find: Find) -> None:
        while True:
            await self._arrived.some()
            entity, ids = self._arrived.take()
            try:
                rows = await find(entity, ids)
            except RepositoryError as error:
                log.warning("changes_not_looked_up", error=type(error).__name__)
                self._arrived.add(entity, ids)
                await asyncio.sleep(AGAIN_SECONDS)
                continue
            for row in rows:
                if row is not None:
                    self.subscribers.tell(entity, row)
