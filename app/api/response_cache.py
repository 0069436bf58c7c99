"""Answers to public queries, kept for everybody who asks the same and is nobody in particular.

Only what compiled execution composed is kept: it has no errors, and says which tables it was made of. The policy of the operation
(`cache_control`) says for how long; what changes those tables ends it at once. Whoever asks while an answer is being made waits for it.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from hashlib import sha256
from typing import Any

import orjson
from graphql import OperationDefinitionNode

from app.api.cache_control import NEVER, CachePolicies, Policy
from app.api.documents import Document
from app.core.answers import Answers, Place
from app.core.metrics import Metrics
from app.core.security import Viewer, ViewerKind
from app.core.tagging import TAGGED
from app.core.tags import ANY, tag
from app.execution.running import Bound, Run

Make = Callable[[], Awaitable[bytes | None]]


class ResponseCache:
    """Finds kept answers, and makes each that is missing once, however many ask for it."""

    def __init__(self, policies: CachePolicies, answers: Answers, metrics: Metrics) -> None:
        self._policies = policies
        self._answers = answers
        self._making: dict[str, asyncio.Future[bytes | None]] = {}
        self._hits, self._misses, self._joined = (metrics.response_cache.labels(result) for result in ("hit", "miss", "joined"))

    def policy(self, document: Document, operation: OperationDefinitionNode, viewer: Viewer) -> Policy:
        """Whether and how long an answer may be kept. What somebody gets who is known may be meant for nobody else.

        A guest is told apart by its carts alone, of which no answer is kept: their changes are told to nobody.
        """
        return self._policies.policy(document, operation) if viewer.kind is ViewerKind.ANONYMOUS else NEVER

    async def answer(self, place: Place, make: Make) -> bytes | None:
        """The answer of a place, kept or made; what `make` gives and raises where it cannot be kept."""
        while True:
            found, mark = await self._answers.find(place)
            if found is not None:
                self._hits.inc()
                return found
            making = self._making.get(place.key)
            if making is None:
                self._misses.inc()
                return await self._make(place, mark, make)
            self._joined.inc()
            try:
                return await asyncio.shield(making)
            except asyncio.CancelledError:
                # Its maker was cancelled, and another one is needed: unless it is this request that is to stop.
                if not making.cancelled() or asyncio.current_task().cancelling():  # type: ignore[union-attr]
                    raise

    async def _make(self, place: Place, mark: Any, make: Make) -> bytes | None:
        making = self._making[place.key] = asyncio.get_running_loop().create_future()
        try:
            answer = await make()
            if answer is not None:
                await self._answers.keep(place, answer, mark)
            making.set_result(answer)
        except asyncio.CancelledError:
            making.cancel()
            raise
        except Exception as error:
            making.set_exception(error)
            making.exception()  # Where nobody waited for it, it has been told all the same.
            raise
        finally:
            del self._making[place.key]
        return answer


def place_of(bound: Bound, policy: Policy, text: str, name: str | None, variables: Mapping[str, Any]) -> Place | None:
    """Where the answer to a query is kept for everybody; None where it is private, or made of tables whose changes nobody tells."""
    if policy.max_age == 0 or policy.private or not TAGGED.issuperset(_tables(bound.runs)):
        return None
    asked = orjson.dumps([text, name, variables], option=orjson.OPT_SORT_KEYS)
    tags = sorted({found for run in bound.runs for found in tags_of(run)})
    return Place(sha256(asked).hexdigest(), tuple(tags), policy.max_age)


def _tables(runs: Iterable[Run]) -> set[str]:
    return {table for run in runs for table in run.prepared.statement.reads}


def tags_of(run: Run) -> Iterator[str]:
    """What an answer depends on: whole tables, but of a table that is only looked into for one row by its id, that row."""
    for table, times in Counter(run.prepared.statement.reads).items():
        if run.id is not None and times == 1 and table == run.prepared.root.body.repository:
            yield from (tag(table, run.id), tag(table, ANY))
        else:
            yield tag(table)
