"""Queries that were asked before: what the same body means to the same viewer need not be worked out again, only run.

Nothing of an answer is kept here; that is for `response_cache`. What a document asks for, whether it may run, what it costs and which
statement gives it depend on the body and the viewer alone; a viewer whose permissions change is another one.
"""

from collections.abc import Awaitable
from dataclasses import dataclass
from functools import partial
from typing import Any

from cachetools import LRUCache

from app.api.cache_control import NEVER, Policy
from app.api.response_cache import ResponseCache
from app.core.answers import Place
from app.core.security import Viewer
from app.execution.running import Bound
from app.execution.runtime import CompiledExecution

CACHE_BYTES = 8 * 1024 * 1024
ENTRY_BYTES = 2000
BYTES_PER_BYTE = 5
"""What a query takes: so much, and so much for each byte of its body."""

MAX_BODY = 16 * 1024
"""Longest body that is kept; there are few of them, and they would push out many."""


@dataclass(frozen=True, slots=True)
class ReadyQuery:
    """A query that is ready to run for one viewer.

    `end`: what its answer ends with after the data, closing brace included. `size`: about how many bytes it takes. `policy` says
    for how long the answer may be kept, `place` where it is, if it is kept at all.
    """

    compiled: CompiledExecution
    bound: Bound
    end: bytes
    size: int
    policy: Policy = NEVER
    place: Place | None = None
    cache: ResponseCache | None = None

    def answer(self, repositories: Any) -> Awaitable[bytes | None]:
        """The response's body; None where resolvers must give it. Raises `Unavailable`."""
        if self.cache is None or self.place is None:
            return self.compiled.run(self.bound, repositories, self.end)
        return self.cache.answer(self.place, partial(self.compiled.run, self.bound, repositories, self.end))


class RepeatedQueries:
    """The queries asked most recently, by request body and viewer; bounded in bytes."""

    def __init__(self) -> None:
        self._known: LRUCache[tuple[bytes, Viewer], ReadyQuery] = LRUCache(CACHE_BYTES, getsizeof=lambda query: query.size)

    def find(self, body: bytes, viewer: Viewer) -> ReadyQuery | None:
        return self._known.get((body, viewer))

    def keep(self, body: bytes, viewer: Viewer, query: ReadyQuery) -> None:
        if len(body) <= MAX_BODY:
            self._known[body, viewer] = query
