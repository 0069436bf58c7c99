"""What takes too long is ended, and nothing else; a task that others cancel stays cancelled."""

import asyncio
import time

import pytest

from app.core.deadline import TimeLimit


async def test_what_takes_too_long_is_ended() -> None:
    limit = TimeLimit(0.05)
    started = time.monotonic()
    with pytest.raises(TimeoutError), limit.block():
        await asyncio.sleep(30)
    assert time.monotonic() - started < 10


async def test_what_ends_in_time_is_left_alone_afterwards() -> None:
    limit = TimeLimit(0.05)
    with limit.block():
        await asyncio.sleep(0)
    await asyncio.sleep(0.1)


async def test_each_block_has_a_time_of_its_own() -> None:
    limit = TimeLimit(0.2)

    async def takes(seconds: float) -> str:
        try:
            with limit.block():
                await asyncio.sleep(seconds)
        except TimeoutError:
            return "late"
        return "done"

    first = asyncio.gather(*(takes(seconds) for seconds in (30, 0, 30, 0)))
    await asyncio.sleep(0.1)
    second = asyncio.gather(*(takes(seconds) for seconds in (0, 30)))
    assert await first == ["late", "done", "late", "done"]
    assert await second == ["done", "late"]
    assert await takes(0) == "done"


async def test_a_task_that_is_cancelled_by_others_is_cancelled() -> None:
    limit = TimeLimit(30)

    async def block() -> None:
        with limit.block():
            await asyncio.sleep(30)

    task = asyncio.create_task(block())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_cancellation_that_comes_with_the_timeout_is_not_swallowed() -> None:
    limit = TimeLimit(0.02)

    async def block() -> None:
        with limit.block():
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                task.cancel()
                raise

    task = asyncio.create_task(block())
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()


async def test_an_error_of_the_block_is_its_own() -> None:
    with pytest.raises(ValueError, match="own"), TimeLimit(1).block():
        raise ValueError("own")
