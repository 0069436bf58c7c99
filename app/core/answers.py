"""Answers kept until what they were made of changes (`core.tags`), or their time is over: in memory, or in a cache that processes share.

`find` gives the answer that is kept, and a mark of the present moment; what was read after `find` is kept with that mark, and is worth
nothing if anything has changed in between. A shared cache that fails is a miss, never an error.
"""

import time
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from cachetools import TLRUCache
from redis.exceptions import RedisError

from app.core.cache import Cache

ENTRY_BYTES = 600
"""What an answer takes in memory beside its own bytes."""

MOST_OF_ALL = 8
"""One answer may take this part of the memory, an eighth."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where an answer is kept, of what it is made, and for how many seconds it is good at most."""

    key: str
    tags: tuple[str, ...]
    seconds: int


class Answers(Protocol):
    """Keeps answers."""

    async def find(self, place: Place) -> tuple[bytes | None, Any]: ...

    async def keep(self, place: Place, answer: bytes, mark: Any) -> None: ...


@dataclass(frozen=True, slots=True)
class Kept:
    answer: bytes
    seconds: int
    mark: int


class MemoryAnswers:
    """In this process, bounded in bytes. While changes made elsewhere are not heard of, nothing is found."""

    def __init__(self, cache: Cache, most_bytes: int) -> None:
        self._cache = cache
        self._most = most_bytes // MOST_OF_ALL
        self._kept: TLRUCache[str, Kept] = TLRUCache(
            most_bytes,
            ttu=lambda _key, kept, now: now + kept.seconds,
            timer=time.monotonic,
            getsizeof=lambda kept: len(kept.answer) + ENTRY_BYTES,
        )

    async def find(self, place: Place) -> tuple[bytes | None, int]:
        tags, kept = self._cache.tags, self._kept.get(place.key)
        good = kept is not None and self._cache.hears and tags.unchanged(place.tags, kept.mark)
        return (kept.answer if kept and good else None), tags.now

    async def keep(self, place: Place, answer: bytes, mark: int) -> None:
        if self._cache.hears and len(answer) + ENTRY_BYTES <= self._most:
            self._kept[place.key] = Kept(answer, place.seconds, mark)


class SharedAnswers:
    """In the cache that the processes share. What one of them keeps, all of them find."""

    def __init__(self, cache: Cache) -> None:
        assert cache.shared_tags is not None
        self._cache, self._tags = cache, cache.shared_tags

    async def find(self, place: Place) -> tuple[bytes | None, list[str] | None]:
        try:
            kept, versions = await self._tags.look_up(_name(place), place.tags)
        except (OSError, TimeoutError, RedisError) as error:
            log.warning("cache_failed", operation="find", error=type(error).__name__)
            return None, None
        good = kept is not None and kept["versions"] == versions
        return (kept["answer"].encode() if good else None), versions

    async def keep(self, place: Place, answer: bytes, mark: list[str] | None) -> None:
        if mark is not None:
            kept = {"versions": mark, "answer": answer.decode()}
            await self._cache.set(_name(place), kept, self._cache.generation(_name(place)), ttl=place.seconds)


def _name(place: Place) -> str:
    return f"answer:{place.key}"
