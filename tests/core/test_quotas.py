"""Quotas: exact in one process, shared through a real Redis, and still there when Redis is not."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from limits import RateLimitItemPerMinute
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from redis.asyncio import Redis

from app.core import quotas as module
from app.core.quotas import LocalCounters, Quotas, SharedCounters
from tests.redis_server import RedisServer


class Clock:
    """Seconds that pass only when told."""

    def __init__(self) -> None:
        self.now = 60_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def granted(limiter: SlidingWindowCounterRateLimiter, who: str, times: int, limit: int = 10) -> int:
    item = RateLimitItemPerMinute(limit)
    return sum([await limiter.hit(item, who) for _ in range(times)])


async def test_nobody_gets_more_than_the_limit_in_a_window(clock: Clock) -> None:
    limiter = SlidingWindowCounterRateLimiter(LocalCounters(clock=clock))

    assert await granted(limiter, "a", 15) == 10
    assert await granted(limiter, "b", 15) == 10


async def test_the_turn_of_a_window_does_not_give_the_limit_twice(clock: Clock) -> None:
    limiter = SlidingWindowCounterRateLimiter(LocalCounters(clock=clock))
    clock.now += 59
    await granted(limiter, "a", 10)

    clock.now += 2

    assert await granted(limiter, "a", 10) == 1
    clock.now += 30
    assert await granted(limiter, "a", 10) == 5


async def test_a_window_without_requests_wipes_the_slate(clock: Clock) -> None:
    limiter = SlidingWindowCounterRateLimiter(LocalCounters(clock=clock))
    await granted(limiter, "a", 10)

    clock.now += 120

    assert await granted(limiter, "a", 15) == 10


async def test_memory_is_bounded_and_the_quietest_are_forgotten(clock: Clock) -> None:
    counters = LocalCounters(most=100, clock=clock)
    limiter = SlidingWindowCounterRateLimiter(counters)
    await granted(limiter, "busy", 10)
    await granted(limiter, "quiet", 10)
    clock.now += 60
    await granted(limiter, "busy", 1)

    for number in range(99):
        await granted(limiter, str(number), 1)

    assert len(counters) == 100
    assert await granted(limiter, "busy", 10) == 0
    assert await granted(limiter, "quiet", 15) == 10


async def test_a_standing_tells_what_is_left_and_when_there_is_more() -> None:
    quotas = Quotas()
    item = RateLimitItemPerMinute(2)

    first, second, third = [await quotas.take(item, "a") for _ in range(3)]

    assert (first.granted, first.remaining) == (True, 1)
    assert (second.granted, second.remaining) == (True, 0)
    assert (third.granted, third.remaining) == (False, 0)
    assert 1 <= third.resets <= 60


@pytest.fixture
async def two_processes(redis: RedisServer) -> AsyncIterator[tuple[Quotas, Quotas]]:
    pair = Quotas(redis.url), Quotas(redis.url)
    yield pair
    for quotas in pair:
        await quotas.close()


async def test_processes_share_a_small_quota_exactly(two_processes: tuple[Quotas, Quotas]) -> None:
    item = RateLimitItemPerMinute(10)

    standings = [await quotas.take(item, "a") for _ in range(10) for quotas in two_processes]

    assert [standing.granted for standing in standings] == [True] * 10 + [False] * 10


async def test_processes_share_a_large_quota_in_lots(two_processes: tuple[Quotas, Quotas]) -> None:
    item = RateLimitItemPerMinute(1000)

    standings = await asyncio.gather(*(quotas.take(item, "a") for _ in range(600) for quotas in two_processes))

    assert sum(standing.granted for standing in standings) == 1000


async def test_a_lot_spares_redis_most_of_the_calls(redis: RedisServer) -> None:
    counters = SharedCounters(redis.url)
    item = RateLimitItemPerMinute(1000)
    await counters.take(item, "a")
    async with Redis.from_url(redis.url) as client:
        before = (await client.info("stats"))["total_commands_processed"]
        for _ in range(200):
            await counters.take(item, "a")
        after = (await client.info("stats"))["total_commands_processed"]
    await counters.close()

    assert after - before < 200


async def test_who_is_out_of_units_costs_redis_nothing(redis: RedisServer) -> None:
    counters = SharedCounters(redis.url)
    item = RateLimitItemPerMinute(2)
    for _ in range(3):
        await counters.take(item, "a")
    async with Redis.from_url(redis.url) as client:
        before = (await client.info("stats"))["total_commands_processed"]
        standings = [await counters.take(item, "a") for _ in range(50)]
        after = (await client.info("stats"))["total_commands_processed"]
    await counters.close()

    assert not any(standing and standing.granted for standing in standings)
    assert None not in standings
    assert after - before <= 1


async def test_without_redis_each_process_counts_for_itself_and_goes_back(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REDIS_PAUSE", 0.2)
    failures: list[None] = []
    quotas = Quotas(redis.url, lambda: failures.append(None))
    item = RateLimitItemPerMinute(3)
    assert (await quotas.take(item, "a")).remaining == 2
    await redis.stop()

    without = [(await quotas.take(item, "a")).granted for _ in range(4)]

    assert without == [True, True, True, False]
    assert len(failures) == 1
    await redis.start()
    await asyncio.sleep(0.25)
    assert (await quotas.take(item, "a")).granted
    await quotas.close()
