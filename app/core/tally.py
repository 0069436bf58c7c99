"""Counts and times on their way to Prometheus's objects, which take a lock and a walk over buckets for each: in lots, that costs nothing.

What waits is told when the registry is asked, and otherwise soon: other processes of the gateway read what this one has told.
"""

import asyncio
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable

from prometheus_client import Counter, Gauge, Histogram, Metric
from prometheus_client.registry import Collector

SOON = 0.1
"""Seconds that anything waits at most, while an event loop runs; without one nothing waits."""


class Tally(Collector):
    """Counts for children of metrics. Registered before the metrics themselves, it tells them all before they are read."""

    def __init__(self) -> None:
        self._counts: defaultdict[Counter | Gauge, float] = defaultdict(float)
        self._times: defaultdict[Histogram, list[float]] = defaultdict(list)
        self._waits = False

    def count(self, what: Counter | Gauge, amount: float = 1) -> None:
        self._counts[what] += amount
        if not self._waits:
            self._wait()

    def time(self, what: Histogram, seconds: float) -> None:
        self._times[what].append(seconds)
        if not self._waits:
            self._wait()

    def tell(self) -> None:
        """Tell what waits."""
        counts, times = self._counts, self._times
        self._counts, self._times, self._waits = defaultdict(float), defaultdict(list), False
        for what, amount in counts.items():
            what.inc(amount)
        for histogram, seconds in times.items():
            observe(histogram, seconds)

    def collect(self) -> Iterable[Metric]:
        self.tell()
        return ()

    def _wait(self) -> None:
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            self.tell()
        else:
            self._waits = True
            loop.call_later(SOON, self.tell)


def observe(histogram: Histogram, seconds: list[float]) -> None:
    """What `histogram.observe` does for each."""
    seconds.sort()
    done = 0
    for bound, bucket in zip(histogram._upper_bounds, histogram._buckets, strict=True):  # noqa: SLF001 - there is no way to add several
        found = bisect_right(seconds, bound, done)
        if found > done:
            bucket.inc(found - done)
            done = found
    histogram._sum.inc(sum(seconds))  # noqa: SLF001
