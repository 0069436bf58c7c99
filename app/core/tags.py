"""When what was last changed: `products` for any product, `products:ID` for one of them.

Time here is a count of changes. Whoever keeps something made of rows notes the time before reading them, and holds it for good as long as
none of its tags has changed since: so what was being read while a change came is never kept.
"""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from aiocache.base import BaseCache
from uuid_utils import uuid7

MOST_TAGS = 10_000
"""Tags whose last change is remembered; of all others only a bound is known."""

VERSION_SECONDS = 86_400
"""How long a shared cache keeps a version at most; longer than anything is kept that names it."""

ANY = "*"


def tag(table: str, id: object = None) -> str:
    """The tag of a whole table, or of one row; with `ANY`, that of rows which changed without being named."""
    return table if id is None else f"{table}:{id}"


class Tags:
    """The last change of each tag, in one process."""

    def __init__(self, most: int = MOST_TAGS) -> None:
        self.now = 0
        self._most = most
        self._changed: dict[str, int] = {}
        self._floor = 0

    def touch(self, tags: Iterable[str]) -> None:
        """Something behind these tags has changed."""
        self.now += 1
        for one in tags:
            self._changed.pop(one, None)
            self._changed[one] = self.now
        while len(self._changed) > self._most:
            self._floor = max(self._floor, self._changed.pop(next(iter(self._changed))))

    def touch_all(self) -> None:
        """Anything may have changed."""
        self.now += 1
        self._floor = self.now

    def unchanged(self, tags: Iterable[str], since: int) -> bool:
        """Whether nothing behind any of the tags has changed since a time."""
        return since >= self._floor and all(self._changed.get(one, 0) <= since for one in tags)


class SharedTags:
    """The same in a cache that processes share: each tag has a version, which is another one after each change.

    What is kept names the versions that its tags had before its rows were read, and is good while they are the same. A version that the
    cache has dropped is like none that ever was. Raises what the cache raises when it is away.
    """

    def __init__(self, backend: BaseCache) -> None:
        self._backend = backend

    async def touch(self, tags: Iterable[str]) -> None:
        """Something behind these tags has changed."""
        await self._backend.multi_set([(_place(one), _version()) for one in tags], ttl=VERSION_SECONDS)

    async def look_up(self, key: str, tags: Sequence[str]) -> tuple[Any, list[str]]:
        """What is under a key, and the present versions of its tags."""
        found, *versions = await self._backend.multi_get([key, *map(_place, tags)])
        if None not in versions:
            return found, versions
        for one, version in zip(tags, versions, strict=True):
            if version is None:
                with suppress(ValueError):  # Another process was quicker, and its version is the one.
                    await self._backend.add(_place(one), _version(), ttl=VERSION_SECONDS)
        return None, await self._backend.multi_get([_place(one) for one in tags])


def _place(one: str) -> str:
    return f"version:{one}"


def _version() -> str:
    return str(uuid7())
