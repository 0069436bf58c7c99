"""Lends the connections of a pool, and keeps those that come back in order at hand.

asyncpg's pool spends about 0.1 ms of CPU on a loan: a task for the timeout, another one for the return, checks in between. A loan from here
costs a hundredth of it, which matters where the statement itself takes 0.1 ms. Whatever did not come back in order goes through the pool,
which cleans up or replaces it: a statement that was cancelled after it was parsed leaves the server waiting for the rest, and its timeout
would hit whoever comes next.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Awaitable, Sequence
from typing import Any

from asyncpg import InterfaceError, Pool
from asyncpg.pool import PoolConnectionProxy
from asyncpg.prepared_stmt import PreparedStatement
from asyncpg.protocol import NO_TIMEOUT


class Prepared:
    """A statement that is prepared on one connection.

    asyncpg's own methods go through three coroutines and two checks that have no say here, which takes a fifth of the CPU of a small query;
    this is the call that all of them end in.
    """

    __slots__ = ("_run", "_state", "_statement")

    def __init__(self, statement: PreparedStatement[Any]) -> None:
        self._statement = statement
        """Kept, because with it the statement would end on the server as well."""
        self._state = statement._state  # type: ignore[attr-defined]  # noqa: SLF001
        self._run = statement._connection._protocol.bind_execute  # type: ignore[attr-defined]  # noqa: SLF001

    def fetch(self, arguments: Sequence[Any]) -> Awaitable[list[Any]]:
        """The statement's rows, without a time limit other than the server's and the caller's."""
        return self._run(self._state, arguments, "", 0, False, NO_TIMEOUT)  # type: ignore[no-any-return]


class Lender:
    """Lends at most `most` connections at a time, the one last used first; who finds none waits its turn, at most `timeout` seconds."""

    def __init__(self, pool: Pool[Any], most: int, timeout: float) -> None:
        self._pool = pool
        self._most = most
        self._timeout = timeout
        self._taken = 0
        self._idle: list[PoolConnectionProxy[Any]] = []
        self.prepared: defaultdict[PoolConnectionProxy[Any], dict[str, Prepared]] = defaultdict(dict)
        """The statements that were prepared on each connection, by their text."""
        self._waiting: deque[asyncio.Future[PoolConnectionProxy[Any] | None]] = deque()

    def at_hand(self) -> PoolConnectionProxy[Any] | None:
        """A connection, as `take` gives it, where that needs no waiting."""
        if self._idle and _is_good(self._idle[-1]):
            return self._idle.pop()
        return None

    async def take(self) -> PoolConnectionProxy[Any]:
        """A connection; raises TimeoutError when none comes free in time, and what the pool raises when it cannot connect."""
        while True:
            if self._idle:
                connection = self._idle.pop()
                if _is_good(connection):
                    return connection
                await self.replace(connection)
            elif self._taken < self._most:
                return await self._from_pool()
            elif (found := await self._turn()) is not None:
                return found

    def give(self, connection: PoolConnectionProxy[Any]) -> None:
        """Take back a connection that is as it was lent: its statement is done, no transaction is open."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append(connection)

    async def replace(self, connection: PoolConnectionProxy[Any]) -> None:
        """Take back a connection whose state is not known: the pool cleans up or closes it, and the next in line opens another."""
        self.prepared.pop(connection, None)
        try:
            await self._pool.release(connection)
        finally:
            self._freed()

    async def close(self) -> None:
        """Close every connection, those at work when they are done."""
        self.prepared.clear()
        while self._idle:
            await self._pool.release(self._idle.pop())
        await self._pool.close()

    def terminate(self) -> None:
        """Close every connection at once."""
        self._pool.terminate()

    async def _from_pool(self) -> PoolConnectionProxy[Any]:
        self._taken += 1
        try:
            return await self._pool.acquire(timeout=self._timeout)
        except BaseException:
            self._freed()
            raise

    async def _turn(self) -> PoolConnectionProxy[Any] | None:
        """The connection that somebody gives back, or None when there is room for a new one."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[PoolConnectionProxy[Any] | None] = loop.create_future()
        self._waiting.append(waiter)
        alarm = loop.call_later(self._timeout, _expire, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            self._pass_on(waiter)
            raise
        finally:
            alarm.cancel()

    def _pass_on(self, waiter: asyncio.Future[PoolConnectionProxy[Any] | None]) -> None:
        """What a cancelled waiter was given already is for the next one."""
        if not waiter.done() or waiter.cancelled() or waiter.exception() is not None:
            return
        connection = waiter.result()
        if connection is None:
            self._wake()
        else:
            self.give(connection)

    def _freed(self) -> None:
        self._taken -= 1
        self._wake()

    def _wake(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return


def _is_good(connection: PoolConnectionProxy[Any]) -> bool:
    """Whether nothing ended the connection while nobody used it; the pool takes one that the server closed out of its proxy."""
    try:
        return not connection.is_closed()
    except InterfaceError:
        return False


def _expire(waiter: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError("no connection came free in time"))
