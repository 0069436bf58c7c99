"""A time limit for much that runs at once.

`asyncio.timeout` sets a timer for each block, which costs more than all that a small query spends on headers. Blocks with one and the same
limit end in the order in which they began, so a single timer that looks at the oldest of them does for all.
"""

import asyncio
from types import TracebackType

PRECISION = 0.02
"""By which part of the limit a block may be ended late."""


class TimeLimit:
    """Gives each block `seconds`, and a fiftieth more at most. One instance serves one event loop.

    with limit.block():
        await what_may_take_long()
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._running: dict[Block, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def block(self) -> "Block":
        return Block(self)

    def begin(self, block: "Block") -> None:
        loop = asyncio.get_running_loop()
        self._running[block] = loop.time() + self.seconds
        if self._timer is None:
            self._timer = loop.call_later(self.seconds * PRECISION, self._look)

    def end(self, block: "Block") -> None:
        self._running.pop(block, None)

    def _look(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        late = []
        for block, ends in self._running.items():
            if ends > now:
                break
            late.append(block)
        for block in late:
            del self._running[block]
            block.expire()
        self._timer = loop.call_later(self.seconds * PRECISION, self._look) if self._running else None


class Block:
    """One block of a task; raises TimeoutError where it was ended, as `asyncio.timeout` does."""

    __slots__ = ("_cancelling", "_expired", "_limit", "_task")

    def __init__(self, limit: TimeLimit) -> None:
        self._limit = limit
        self._expired = False

    def __enter__(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._task = task
        self._cancelling = task.cancelling()
        self._limit.begin(self)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None) -> None:
        self._limit.end(self)
        if self._expired and self._task.uncancel() <= self._cancelling and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def expire(self) -> None:
        """End the block: its task is cancelled wherever it waits."""
        self._expired = True
        self._task.cancel()
