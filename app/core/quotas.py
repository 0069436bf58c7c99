"""How often somebody may do something: sliding window counters, of this process or shared through Redis.

The rule and Redis's side of it are the `limits` library's. Its memory storage walks every counter on each hit and never refuses to grow,
so the counters of this process are our own: bounded, the ones that were quiet longest go first.

Redis is asked for units in lots: a call for each request would cost more than the request. What a process does not use of a lot lapses
with the window. While Redis is away each process counts for itself: nobody is locked out, and nobody gets more than the limit per process.
"""

import asyncio
import math
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import structlog
from cachetools import LRUCache
from limits import RateLimitItem
from limits.aio.storage import RedisStorage, SlidingWindowCounterSupport, Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import BlockingConnectionPool
from redis.exceptions import RedisError

MAX_COUNTERS = 50_000
LOTS = 50
"""A lot is this part of a quota; quotas of fewer units are counted one by one."""

REDIS_TIMEOUT = 0.5
REDIS_CONNECTIONS = 20
REDIS_PAUSE = 5.0
"""Seconds that Redis is left alone after it failed, so that waiting for it does not slow every request."""

KEY_PREFIX = "neurotracker:quota"

log = structlog.get_logger(__name__)


class Standing(NamedTuple):
    """What is left of a quota after a request for one unit; `resets` is in how many seconds there will be more."""

    granted: bool
    remaining: int
    resets: int


@dataclass(slots=True)
class Window:
    """The counts of one key in the window number `number` and in the one before."""

    number: int
    current: int = 0
    previous: int = 0


class LocalCounters(Storage, SlidingWindowCounterSupport):
    """The counters of this process, at most `most` of them."""

    STORAGE_SCHEME = None

    def __init__(self, most: int = MAX_COUNTERS, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._windows: dict[Hashable, Window] = {}
        self._most = most
        self._clock = clock

    def __len__(self) -> int:
        return len(self._windows)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        return ()

    def take(self, item: RateLimitItem, who: str) -> Standing:
        """One unit, and how its key stands then: in one step what the library's strategy says in two, for a tenth of the CPU."""
        expiry, amount = item.get_expiry(), item.amount
        number, share = self._moment(expiry)
        key = (item.namespace, amount, expiry, who)
        window = self._windows.get(key)
        if window is None or window.number != number:
            window = self._window(key, number)
        used, resets = window.current, share * expiry
        if window.previous:
            used += int(window.previous * share)
            resets %= expiry / window.previous
        granted = used < amount
        window.current += granted
        return Standing(granted, amount - used - granted if granted else 0, math.ceil(resets) or 1)

    async def acquire_sliding_window_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        number, share = self._moment(expiry)
        window = self._window(key, number)
        granted = int(window.previous * share) + window.current + amount <= limit
        window.current += amount * granted
        return granted

    async def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        number, share = self._moment(expiry)
        window = self._window(key, number)
        return window.previous, share * expiry, window.current, share * expiry + expiry

    async def clear_sliding_window(self, key: str, expiry: int) -> None:
        await self.clear(key)

    async def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        window = self._window(key, self._moment(expiry)[0])
        window.current += amount
        return window.current

    async def get(self, key: str) -> int:
        window = self._windows.get(key)
        return window.current if window else 0

    async def get_expiry(self, key: str) -> float:
        return self._clock()

    async def check(self) -> bool:
        return True

    async def reset(self) -> int | None:
        count = len(self._windows)
        self._windows.clear()
        return count

    async def clear(self, key: str) -> None:
        self._windows.pop(key, None)

    def _moment(self, expiry: int) -> tuple[int, float]:
        """The number of the present window, and how much of it is still to come, from 1 to 0."""
        elapsed = self._clock() / expiry
        number = int(elapsed)
        return number, 1 - (elapsed - number)

    def _window(self, key: Hashable, number: int) -> Window:
        """A key's counts now. The dictionary's order is that of the keys' last windows, so what is dropped was quiet longest."""
        known = self._windows.get(key)
        if known is not None and known.number == number:
            return known
        self._windows.pop(key, None)
        if len(self._windows) >= self._most:
            del self._windows[next(iter(self._windows))]
        previous = known.current if known is not None and number == known.number + 1 else 0
        window = self._windows[key] = Window(number, 0, previous)
        return window


@dataclass
class Lot:
    """Units that this process took from a shared counter, and what it knew of the counter then."""

    ends: float
    left: int = 0
    remaining: int = 0
    resets: float = 0
    refilling: asyncio.Lock = field(default_factory=asyncio.Lock)

    @property
    def is_spent(self) -> bool:
        """Whether there was nothing left anywhere, and cannot be yet."""
        return not self.left and not self.remaining and time.monotonic() < self.resets

    def take(self) -> bool:
        granted = self.left > 0
        self.left -= granted
        return granted

    def standing(self, *, granted: bool) -> Standing:
        return Standing(granted, self.remaining + self.left, _seconds(self.resets - time.monotonic()))


class SharedCounters:
    """Counters in Redis, asked for a lot at a time. `failed` is told of every time that Redis was given up for a while."""

    def __init__(self, url: str, failed: Callable[[], None] = lambda: None) -> None:
        timeouts = dict.fromkeys(("timeout", "socket_timeout", "socket_connect_timeout"), REDIS_TIMEOUT)
        self._pool = BlockingConnectionPool.from_url(url, max_connections=REDIS_CONNECTIONS, **timeouts)
        options: Any = {"connection_pool": self._pool}
        storage = RedisStorage("async+redis://", wrap_exceptions=True, implementation="redispy", key_prefix=KEY_PREFIX, **options)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._lots: LRUCache[str, Lot] = LRUCache(MAX_COUNTERS)
        self._failed = failed
        self._resume = 0.0

    async def close(self) -> None:
        await self._pool.aclose()

    async def take(self, item: RateLimitItem, who: str) -> Standing | None:
        """One unit of a quota; None while Redis is away."""
        lot = self._lot(item, who)
        if lot.take():
            return lot.standing(granted=True)
        if lot.is_spent:
            return lot.standing(granted=False)
        async with lot.refilling:
            if lot.take():
                return lot.standing(granted=True)
            if time.monotonic() < self._resume:
                return None
            try:
                return lot.standing(granted=await self._refill(lot, item, who))
            except (StorageError, RedisError, OSError, TimeoutError) as error:
                self._give_up(error)
                return None

    def _lot(self, item: RateLimitItem, who: str) -> Lot:
        key = item.key_for(who)
        lot = self._lots.get(key)
        now = time.monotonic()
        if lot is None or lot.ends <= now:
            lot = self._lots[key] = Lot(now + item.get_expiry())
        return lot

    async def _refill(self, lot: Lot, item: RateLimitItem, who: str) -> bool:
        """Take a lot and a unit of it; the last units one by one."""
        if lot.is_spent:
            return False
        size = max(1, item.amount // LOTS)
        if not await self._limiter.hit(item, who, cost=size):
            size = int(size > 1 and await self._limiter.hit(item, who))
        resets, lot.remaining = await self._limiter.get_window_stats(item, who)
        lot.resets = time.monotonic() + max(resets - time.time(), 0)
        lot.left = size
        return lot.take()

    def _give_up(self, error: Exception) -> None:
        self._resume = time.monotonic() + REDIS_PAUSE
        self._failed()
        log.warning("quotas_counted_locally", error=type(error.__cause__ or error).__name__, seconds=REDIS_PAUSE)


class Quotas:
    """Takes units from quotas. `failed` is told of every time that Redis was given up for a while."""

    def __init__(self, redis_url: str | None = None, failed: Callable[[], None] = lambda: None) -> None:
        self._local = LocalCounters()
        self._shared = SharedCounters(redis_url, failed) if redis_url else None

    async def close(self) -> None:
        if self._shared:
            await self._shared.close()

    @property
    def own(self) -> LocalCounters | None:
        """This process's counters, where it counts for itself: they need no waiting."""
        return None if self._shared else self._local

    async def take(self, item: RateLimitItem, who: str) -> Standing:
        """One unit of the quota of `who`; `item.namespace` tells apart quotas of equal size."""
        shared = await self._shared.take(item, who) if self._shared else None
        return self._local.take(item, who) if shared is None else shared


def _seconds(duration: float) -> int:
    return max(1, math.ceil(duration))
