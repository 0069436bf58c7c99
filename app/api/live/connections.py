"""The open connections of this process: how many there may be, and for how long each is good.

A connection is good for as long as what opened it: a session that ends, an API key that is revoked, an account that may do more or less
than before ends it. Nothing is sent on a connection without a look at what its token stands for, which costs nothing while nobody's rights
have changed; connections on which nothing happens are looked at as soon as anybody's have, and at times anyway.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TypeVar
from uuid import UUID

import structlog

from app.api.context import RequestInfo
from app.api.errors import AccessDenied, RateLimited
from app.api.live.endings import GOING_AWAY, RIGHTS_CHANGED, SIGNED_OUT, TOO_MANY_CONNECTIONS, Ended, Ending
from app.api.rate_limit import network
from app.core.errors import RepositoryError
from app.core.factory import RepositoryFactory
from app.core.metrics import Metrics
from app.core.security import ANONYMOUS, Viewer

LOOK_SECONDS = 1.0
"""How often it is looked whether anybody's rights have changed."""

ANYWAY_SECONDS = 30.0
"""How long a connection may go without a look: sessions and windows of permissions also end by themselves."""

LOOKS_AT_ONCE = 8
RETRY_SECONDS = 10
"""When a client that finds no room should come again."""

K = TypeVar("K")
Recognise = Callable[[RequestInfo], Awaitable[RepositoryFactory]]
"""The repositories of whoever a token stands for now; raises `AccessDenied`."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Room:
    """How many connections there may be: in this process, of one address and of one account."""

    connections: int = 5_000
    per_address: int = 100
    per_account: int = 20


@dataclass(eq=False)
class Connection:
    """One open connection of a subscriber; `ended` tells why it is to end."""

    transport: str
    info: RequestInfo
    viewer: Viewer = ANONYMOUS
    ended: "asyncio.Future[Ending]" = field(default_factory=lambda: asyncio.get_running_loop().create_future())
    generation: int = -1
    looked: float = 0.0

    def end(self, ending: Ending) -> None:
        """Have the connection ended; the first reason counts."""
        if not self.ended.done():
            self.ended.set_result(ending)


class Connections:
    """Admits connections, and ends those whose time has come."""

    def __init__(self, recognise: Recognise, generation: Callable[[], int], metrics: Metrics, room: Room) -> None:
        """`generation` changes whenever anybody's rights may have."""
        self._recognise = recognise
        self._generation = generation
        self._metrics = metrics
        self._room = room
        self._open: set[Connection] = set()
        self._addresses: Counter[str] = Counter()
        self._accounts: Counter[UUID] = Counter()
        self._stopping = False

    def __len__(self) -> int:
        return len(self._open)

    @contextmanager
    def opened(self, transport: str, info: RequestInfo) -> Iterator[Connection]:
        """A connection for as long as the block. Raises `RateLimited` where there is no room for it."""
        address = network(info.ip_address) if info.ip_address else ""
        if self._stopping or len(self._open) >= self._room.connections or self._addresses[address] >= self._room.per_address:
            self._metrics.live_drops.labels(transport, "no_room").inc()
            raise RateLimited("too many connections are open; close some, or try again later", RETRY_SECONDS)
        connection = Connection(transport, info)
        self._open.add(connection)
        self._addresses[address] += 1
        gauge = self._metrics.live_connections.labels(transport)
        gauge.inc()
        try:
            yield connection
        finally:
            gauge.dec()
            self._open.discard(connection)
            _less(self._addresses, address)
            if connection.viewer.user_id is not None:
                _less(self._accounts, connection.viewer.user_id)
            if connection.ended.done():
                self._metrics.live_drops.labels(transport, connection.ended.result().name).inc()

    async def identify(self, connection: Connection) -> None:
        """Find out who opened a connection. Raises `Ended` for a token that is not good, and where its account has too many."""
        connection.generation, connection.looked = self._generation(), time.monotonic()
        try:
            viewer = (await self._recognise(connection.info)).viewer
        except AccessDenied:
            raise Ended(SIGNED_OUT) from None
        if viewer.user_id is not None:
            if self._accounts[viewer.user_id] >= self._room.per_account:
                raise Ended(TOO_MANY_CONNECTIONS)
            self._accounts[viewer.user_id] += 1
        connection.viewer = viewer

    async def verify(self, connection: Connection) -> None:
        """Look whether a connection is still what it was when it was opened; raises `Ended`, and has it ended, where it is not."""
        if connection.info.token is None:
            return
        connection.generation, connection.looked = self._generation(), time.monotonic()
        ending = None
        try:
            if (await self._recognise(connection.info)).viewer != connection.viewer:
                ending = RIGHTS_CHANGED
        except AccessDenied:
            ending = SIGNED_OUT
        if ending is not None:
            connection.end(ending)
            raise Ended(ending)

    def stop(self) -> None:
        """End all connections, and admit no more."""
        self._stopping = True
        for connection in self._open:
            connection.end(GOING_AWAY)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Look at connections while the block runs, and end them with it."""
        task = asyncio.create_task(self._watch())
        try:
            yield
        finally:
            self.stop()
            task.cancel()
            await asyncio.wait({task})

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            generation, late = self._generation(), time.monotonic() - ANYWAY_SECONDS
            due = [found for found in self._open if found.looked and (found.generation != generation or found.looked < late)]
            for start in range(0, len(due), LOOKS_AT_ONCE):
                await asyncio.gather(*map(self._look, due[start : start + LOOKS_AT_ONCE]))

    async def _look(self, connection: Connection) -> None:
        try:
            await self.verify(connection)
        except Ended:
            return
        except RepositoryError as error:
            connection.generation = -1
            log.warning("connection_not_verified", error=type(error).__name__)


def _less(counter: Counter[K], key: K) -> None:
    counter[key] -= 1
    if not counter[key]:
        del counter[key]
