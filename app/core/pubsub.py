"""Messages between processes: Redis when it is configured, else PostgreSQL's LISTEN/NOTIFY.

A subscriber hears what is published on its channel by any process after the subscription began. Nothing is stored.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import asyncpg
import structlog
from redis.asyncio import Redis
from redis.exceptions import RedisError

log = structlog.get_logger(__name__)

Listener = Callable[[str], Awaitable[None]]
OnGap = Callable[[], Awaitable[None]]
AGAIN_SECONDS = 0.2
RECONNECT_SECONDS = 1.0
MAX_PAYLOAD = 7000
"""Bytes of one message: PostgreSQL refuses notifications of 8000 bytes and more."""

BROKEN = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError)
"""What a connection raises that the server has ended; the last one while it is at work."""


class PubSub(Protocol):
    """Publish to, and listen on, one channel. `listens` tells whether messages arrive at present."""

    listens: bool

    async def publish(self, message: str) -> None: ...

    async def open(self, listener: Listener, on_gap: OnGap | None = None) -> None:
        """Give every message to the listener. `on_gap` is told whenever messages may have been missed."""
        ...

    async def close(self) -> None: ...


class PostgresPubSub:
    """LISTEN on a connection of its own, reopened when it breaks."""

    def __init__(self, dsn: str, channel: str) -> None:
        self._dsn = dsn
        self._channel = channel
        self._on_gap: OnGap | None = None
        self.listens = False
        self._task: asyncio.Task[None] | None = None
        self._connection: asyncpg.Connection[Any] | None = None
        self._publishing = asyncio.Lock()
        self._queue: asyncio.Queue[str] = asyncio.Queue(maxsize=10_000)

    async def publish(self, message: str) -> None:
        """Raises `ConnectionError` while the connection is away. A connection does one thing at a time, so publishers queue."""
        async with self._publishing:
            if self._connection is None or self._connection.is_closed():
                raise ConnectionError("the notification connection is away")
            try:
                await self._connection.execute("select pg_notify($1, $2)", self._channel, message, timeout=5)
            except BROKEN as error:
                # A connection that breaks at work may tell nobody else.
                self._queue_put("")
                raise ConnectionError("the notification connection broke") from error

    async def open(self, listener: Listener, on_gap: OnGap | None = None) -> None:
        self._on_gap = on_gap
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._listen(listener, ready))
        try:
            await asyncio.wait_for(ready.wait(), 5)
        except TimeoutError:
            log.warning("notifications_unavailable")

    async def close(self) -> None:
        if self._task:
            await _ended(self._task)

    async def _listen(self, listener: Listener, ready: asyncio.Event) -> None:
        while True:
            try:
                await self._listen_once(listener, ready)
            except (OSError, *BROKEN) as error:
                log.warning("notifications_lost", error=type(error).__name__)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _listen_once(self, listener: Listener, ready: asyncio.Event) -> None:
        connection = await asyncpg.connect(self._dsn, timeout=5)
        try:
            await connection.add_listener(self._channel, self._received)
            connection.add_termination_listener(lambda _: self._queue_put(""))
            self._connection = connection
            if ready.is_set() and self._on_gap:
                await self._on_gap()
            self.listens = True
            ready.set()
            while message := await self._queue.get():
                await listener(message)
        finally:
            self.listens = False
            self._connection = None
            await asyncio.shield(self._closed(connection))

    async def _closed(self, connection: Any) -> None:
        """Close a connection once whoever publishes over it is done: it does one thing at a time, closing included."""
        async with self._publishing:
            await _closed(connection)

    def _received(self, _connection: Any, _pid: int, _channel: str, payload: object) -> None:
        self._queue_put(str(payload))

    def _queue_put(self, message: str) -> None:
        try:
            self._queue.put_nowait(message)
        except asyncio.QueueFull:
            log.error("notification_dropped", channel=self._channel)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel a task until it ends: `asyncio.wait_for` of Python 3.11, which listeners use, may swallow a cancellation."""
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=AGAIN_SECONDS)


async def _closed(connection: Any) -> None:
    try:
        await connection.close(timeout=2)
    except (OSError, *BROKEN):
        connection.terminate()


class RedisPubSub:
    """PUBLISH and SUBSCRIBE on Redis or Valkey."""

    def __init__(self, url: str, channel: str) -> None:
        self._redis: Redis = Redis.from_url(url, socket_timeout=None, socket_connect_timeout=5, health_check_interval=15)
        self._channel = channel
        self._on_gap: OnGap | None = None
        self.listens = False
        self._task: asyncio.Task[None] | None = None

    async def publish(self, message: str) -> None:
        await asyncio.wait_for(self._redis.publish(self._channel, message), 5)

    async def open(self, listener: Listener, on_gap: OnGap | None = None) -> None:
        self._on_gap = on_gap
        ready = asyncio.Event()
        self._task = asyncio.create_task(self._listen(listener, ready))
        try:
            await asyncio.wait_for(ready.wait(), 5)
        except TimeoutError:
            log.warning("notifications_unavailable")

    async def close(self) -> None:
        if self._task:
            await _ended(self._task)
        await self._redis.aclose()

    async def _listen(self, listener: Listener, ready: asyncio.Event) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(self._channel)
                    if ready.is_set() and self._on_gap:
                        await self._on_gap()
                    self.listens = True
                    ready.set()
                    async for message in subscription.listen():
                        await listener(message["data"].decode())
            except (OSError, RedisError) as error:
                log.warning("notifications_lost", error=type(error).__name__)
            finally:
                self.listens = False
            await asyncio.sleep(RECONNECT_SECONDS)
