"""Rows that change slowly, kept for a while: aiocache in memory, or in Redis when it is configured.

A write invalidates after commit, on every process. A reader that began before an invalidation does not store what it read (`generation`).
A cache that fails is a miss: it is logged and counted, and never fails a request.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import orjson
import structlog
from aiocache.backends.memory import SimpleMemoryCache
from aiocache.backends.redis import RedisCache
from aiocache.base import BaseCache
from aiocache.serializers import BaseSerializer
from redis.asyncio import Redis
from redis.exceptions import RedisError
from uuid_utils.compat import uuid7

from app.core.metrics import Metrics
from app.core.pubsub import MAX_PAYLOAD, PubSub
from app.core.tags import SharedTags, Tags

MAX_ENTRIES = 50_000
SEPARATOR = "\n"
NAMESPACE = "neurotracker:"
KEYS, TAGS, ALL = "keys", "tags", "all"
"""What a message between processes speaks of, in its first line."""

EVERYTHING = "*"

log = structlog.get_logger(__name__)


class OrjsonSerializer(BaseSerializer):
    """Rows as JSON: nothing read from a shared cache can run code."""

    DEFAULT_ENCODING = None

    def dumps(self, value: Any) -> Any:
        return orjson.dumps(value, default=str)

    def loads(self, value: Any) -> Any:
        return None if value is None else orjson.loads(value)


class BoundedMemoryCache(SimpleMemoryCache):
    """aiocache's memory cache with a limit: the oldest entries go first."""

    async def _set(self, key: Any, value: Any, ttl: Any = None, _cas_token: Any = None, _conn: Any = None) -> Any:
        while len(self._cache) >= MAX_ENTRIES:
            await self._delete(next(iter(self._cache)))
        return await super()._set(key, value, ttl=ttl, _cas_token=_cas_token, _conn=_conn)


class Cache:
    """Get, set and invalidate by key; `ttl` in seconds bounds how long a missed invalidation could matter."""

    def __init__(self, backend: BaseCache, metrics: Metrics, ttl: float = 60, pubsub: PubSub | None = None) -> None:
        self._backend = backend
        self._metrics = metrics
        self._ttl = ttl
        self._pubsub = pubsub
        self._generations: Counter[str] = Counter()
        self._untold = False
        self.shares_objects = isinstance(backend, SimpleMemoryCache)
        self.tags = Tags()
        self.shared_tags = None if self.shares_objects else SharedTags(backend)

    @property
    def hears(self) -> bool:
        """Whether changes made by other processes are heard of at present."""
        return self._pubsub is None or self._pubsub.listens

    async def open(self) -> None:
        if self._pubsub:
            await self._pubsub.open(self._heard, self._missed)

    async def close(self) -> None:
        if self._pubsub:
            await self._pubsub.close()
        await self._backend.close()

    async def ping(self) -> None:
        """Raise unless the backend keeps and gives back a probe."""
        probe = f"ping:{uuid7()}"
        await self._backend.set(probe, 1, ttl=5)
        if await self._backend.get(probe) is None:
            raise ConnectionError("the cache lost its probe")
        await self._backend.delete(probe)

    async def get(self, key: str) -> Any | None:
        try:
            value = await self._backend.get(key)
        except (OSError, TimeoutError, RedisError) as error:
            log.warning("cache_failed", operation="get", error=type(error).__name__)
            value = None
        self._metrics.cache.labels("miss" if value is None else "hit").inc()
        return value

    def generation(self, key: str) -> int:
        """How often anything of the key's kind (`products` of `products:ID`) was invalidated: ask before reading what `set` will store."""
        count = self._generations.get
        return count(_kind(key), 0) + count(EVERYTHING, 0)

    async def set(self, key: str, value: Any, generation: int, ttl: float | None = None) -> None:
        """Store what was read while `generation` was current; dropped if anything of its kind was invalidated since."""
        if generation != self.generation(key):
            return
        try:
            await self._backend.set(key, value, ttl=self._ttl if ttl is None else ttl)
        except (OSError, TimeoutError, RedisError) as error:
            log.warning("cache_failed", operation="set", error=type(error).__name__)

    async def invalidate(self, keys: Sequence[str]) -> None:
        """Forget keys here and on every other process."""
        await self._forget(keys)
        await self._tell(_messages(KEYS, keys))

    async def touch(self, tags: Sequence[str]) -> None:
        """Something behind these tags has changed: here, on every other process, and in the shared cache."""
        self.tags.touch(tags)
        if self.shared_tags:
            try:
                await self.shared_tags.touch(tags)
            except (OSError, TimeoutError, RedisError) as error:
                log.warning("cache_failed", operation="touch", error=type(error).__name__)
        await self._tell(_messages(TAGS, tags))

    async def _missed(self) -> None:
        """After a gap in the messages nothing in memory can be trusted; where something was to be told meanwhile, nor can it elsewhere."""
        await self.clear()
        if self._untold:
            await self._tell(())

    async def clear(self) -> None:
        """Forget everything here."""
        self._generations[EVERYTHING] += 1
        self.tags.touch_all()
        if self.shares_objects:
            await self._backend.clear()

    async def _tell(self, messages: Iterable[str]) -> None:
        """Publish messages. What cannot be told is made up for as soon as anything can: then everybody forgets everything."""
        if self._pubsub is None:
            return
        try:
            if self._untold:
                await self._pubsub.publish(ALL)
                self._untold = False
            for message in messages:
                await self._pubsub.publish(message)
        except (OSError, TimeoutError, RedisError) as error:
            self._untold = True
            log.warning("cache_failed", operation="publish", error=type(error).__name__)

    async def _heard(self, message: str) -> None:
        kind, *keys = message.split(SEPARATOR)
        if kind == ALL:
            await self.clear()
        elif kind == TAGS:
            self.tags.touch(keys)
        else:
            await self._forget(keys)

    async def _forget(self, keys: Sequence[str]) -> None:
        self._generations.update(_kind(key) for key in keys)
        try:
            for key in keys:
                await self._backend.delete(key)
        except (OSError, TimeoutError, RedisError) as error:
            log.warning("cache_failed", operation="delete", error=type(error).__name__)


def _kind(key: str) -> str:
    return key.partition(":")[0]


def _messages(kind: str, keys: Sequence[str]) -> Iterator[str]:
    """Keys in as many messages as they need."""
    part, size = [kind], len(kind)
    for key in keys:
        if size + len(key) + 1 > MAX_PAYLOAD and len(part) > 1:
            yield SEPARATOR.join(part)
            part, size = [kind], len(kind)
        part.append(key)
        size += len(key) + 1
    yield SEPARATOR.join(part)


def memory_backend() -> BaseCache:
    return BoundedMemoryCache(timeout=1)


def redis_backend(url: str) -> BaseCache:
    """A cache in Redis or Valkey; `url` as redis://user:password@host:port/database."""
    client = Redis.from_url(url, socket_timeout=1, socket_connect_timeout=1, max_connections=50)
    return SharedRedisCache(client, serializer=OrjsonSerializer(), namespace=NAMESPACE, timeout=1)


class SharedRedisCache(RedisCache):
    """aiocache's Redis cache on a client made from a whole URL, so that TLS, users and sockets work."""

    def __init__(self, client: Redis, **options: Any) -> None:
        super().__init__(**options)
        self.client = client

    async def _set(self, key: Any, value: Any, ttl: Any = None, _cas_token: Any = None, _conn: Any = None) -> Any:
        """aiocache's own calls commands that redis-py no longer wants, here and in `_close`."""
        return await self.client.set(key, value, px=None if ttl is None else max(1, int(ttl * 1000)))

    async def _close(self, *_: Any, _conn: Any = None, **__: Any) -> None:
        await self.client.aclose()
