"""Connections on loan: none is lost, none is lent twice, whatever becomes of those who wait."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from app.core.lending import Lender


@pytest.fixture
async def lender(migrated: str) -> AsyncIterator[Lender]:
    pool = await asyncpg.create_pool(migrated, min_size=0, max_size=2, timeout=5)
    lender = Lender(pool, 2, 0.3)
    yield lender
    await asyncio.wait_for(lender.close(), 5)


async def test_what_comes_back_is_lent_again_the_last_one_first(lender: Lender) -> None:
    first, second = await lender.take(), await lender.take()
    lender.give(first)
    lender.give(second)
    assert await lender.take() is second
    assert await lender.take() is first
    lender.give(first)
    lender.give(second)


async def test_who_waits_gets_the_next_that_comes_back_in_turn(lender: Lender) -> None:
    first, second = await lender.take(), await lender.take()
    waiting = [asyncio.create_task(lender.take()) for _ in range(2)]
    await asyncio.sleep(0)
    lender.give(second)
    lender.give(first)
    assert await asyncio.gather(*waiting) == [second, first]
    lender.give(first)
    lender.give(second)


async def test_waiting_ends_in_time(lender: Lender) -> None:
    taken = [await lender.take(), await lender.take()]
    with pytest.raises(TimeoutError, match="no connection came free in time"):
        await lender.take()
    for connection in taken:
        lender.give(connection)
    assert await lender.take() is taken[1]
    lender.give(taken[1])


@pytest.mark.parametrize("served", [False, True])
async def test_a_cancelled_wait_loses_no_connection(lender: Lender, served: bool) -> None:
    first, second = await lender.take(), await lender.take()
    waiting = asyncio.create_task(lender.take())
    await asyncio.sleep(0)
    if served:
        lender.give(first)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    if not served:
        lender.give(first)
    assert await lender.take() is first
    lender.give(first)
    lender.give(second)


async def test_a_connection_in_doubt_makes_room_for_a_new_one(lender: Lender) -> None:
    first, second = await lender.take(), await lender.take()
    waiting = asyncio.create_task(lender.take())
    await asyncio.sleep(0)
    await first.close()
    await lender.replace(first)
    fresh = await waiting
    assert await fresh.fetchval("select 1") == 1
    lender.give(fresh)
    lender.give(second)


async def test_a_connection_that_was_closed_meanwhile_is_not_lent(lender: Lender) -> None:
    first = await lender.take()
    lender.give(first)
    await first.close()
    fresh = await lender.take()
    assert await fresh.fetchval("select 1") == 1
    lender.give(fresh)


async def test_many_at_once_never_share_a_connection(lender: Lender) -> None:
    busy: set[Any] = set()

    async def work() -> None:
        connection = await lender.take()
        assert connection not in busy
        busy.add(connection)
        await connection.fetchval("select pg_sleep(0.001)")
        busy.remove(connection)
        lender.give(connection)

    await asyncio.gather(*(work() for _ in range(50)))
    assert not busy


async def test_what_is_at_hand_is_idle_and_good(lender: Lender) -> None:
    assert lender.at_hand() is None
    first = await lender.take()
    assert lender.at_hand() is None
    lender.give(first)
    assert lender.at_hand() is first
    lender.give(first)
    await first.close()
    assert lender.at_hand() is None
