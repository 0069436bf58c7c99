"""Looks rows up for several requests at once.

While a statement that looks a row up by its id is at work, whoever asks the same of other rows waits for it, and then they go as one: the
busier the database, the fewer statements a row costs. Who comes alone waits for nobody, and whoever waited reads what was committed when
the common statement began, which is after the request came.

A statement for many rows that could not be run says nothing of any one of them, so each is then looked up by itself.
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextvars import Context
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.errors import Unavailable

MOST_ROWS: Final = 100
MOST_SECONDS: Final = 10.0
"""What one statement for many may bring and take: nobody who waits for it can say when it is enough."""

Found = Sequence[Any] | None
Waiting = list[tuple[UUID, asyncio.Future[Found]]]
Many = Callable[[Sequence[UUID]], Awaitable[Sequence[Sequence[Any]]]]

log = structlog.get_logger(__name__)


class Lookups:
    """Who waits for which statement; `key` tells what it asks of its rows, and for whom."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, Waiting] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def find(self, key: Hashable, id: UUID, one: Callable[[], Awaitable[Sequence[Any]]], many: Many) -> Sequence[Any]:
        """What `one` gives, or its part of what `many` gives for the ids of several; raises what `one` raises, and `Unavailable`."""
        waiting = self._waiting.get(key)
        if waiting is None:
            self._waiting[key] = []
            try:
                return await one()
            finally:
                self._go_on(key, many)
        turn: asyncio.Future[Found] = asyncio.get_running_loop().create_future()
        waiting.append((id, turn))
        found = await turn
        return await one() if found is None else found

    def _go_on(self, key: Hashable, many: Many) -> None:
        waiting = [(id, turn) for id, turn in self._waiting[key] if not turn.done()]
        if not waiting:
            del self._waiting[key]
            return
        self._waiting[key] = waiting[MOST_ROWS:]
        # The statement is no part of the request that happens to start it.
        task = asyncio.get_running_loop().create_task(self._look_up(key, waiting[:MOST_ROWS], many), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _look_up(self, key: Hashable, waiting: Waiting, many: Many) -> None:
        try:
            async with asyncio.timeout(MOST_SECONDS):
                found: Sequence[Found] = await many([id for id, _ in waiting])
        except (Unavailable, TimeoutError):
            _tell(waiting, Unavailable("the database did not answer in time"))
        except Exception as error:
            log.warning("rows_not_looked_up_together", rows=len(waiting), exc_info=error)
            _tell(waiting, None)
        else:
            for (_, turn), row in zip(waiting, found, strict=True):
                if not turn.done():
                    turn.set_result((row,))
        finally:
            self._go_on(key, many)


def _tell(waiting: Waiting, error: Exception | None) -> None:
    for _, turn in waiting:
        if turn.done():
            continue
        if error is None:
            turn.set_result(None)
        else:
            turn.set_exception(error)
