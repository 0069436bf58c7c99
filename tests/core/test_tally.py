"""Counts and times that are told in lots are those that were given one by one."""

import asyncio
import random

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from app.core.metrics import BUCKETS
from app.core.tally import SOON, Tally

SECONDS = [*BUCKETS, 0.0, 99.0, *(random.Random(7).expovariate(20) for _ in range(500))]


def samples(registry: CollectorRegistry, name: str) -> dict[str, float]:
    found = {}
    for metric in registry.collect():
        for sample in metric.samples:
            if sample.name.startswith(name) and not sample.name.endswith("_created"):
                found[f"{sample.name.removeprefix(name)}{sample.labels}"] = round(sample.value, 9)
    return found


async def test_times_fall_into_the_buckets_of_the_library() -> None:
    registry, tally = CollectorRegistry(), Tally()
    registry.register(tally)
    own, theirs = (Histogram(name, "Times", buckets=BUCKETS, registry=registry) for name in ("own", "theirs"))
    for seconds in SECONDS:
        tally.time(own, seconds)
        theirs.observe(seconds)
    assert samples(registry, "own") == samples(registry, "theirs")


async def test_whoever_reads_the_registry_sees_all_of_it_once() -> None:
    registry, tally = CollectorRegistry(), Tally()
    registry.register(tally)
    counter, gauge = Counter("asked", "Times asked", registry=registry), Gauge("open", "What is open", registry=registry)
    for _ in range(3):
        tally.count(counter)
        tally.count(gauge)
    tally.count(gauge, -2)
    for _ in range(2):
        assert registry.get_sample_value("asked_total") == 3
        assert registry.get_sample_value("open") == 1


async def test_what_nobody_asks_for_is_told_soon_and_again() -> None:
    tally, counter = Tally(), Counter("asked", "Times asked", registry=None)
    for expected in (1, 2):
        tally.count(counter)
        await asyncio.sleep(2 * SOON)
        assert next(iter(counter.collect())).samples[0].value == expected


def test_without_an_event_loop_nothing_waits() -> None:
    tally, counter = Tally(), Counter("asked", "Times asked", registry=None)
    tally.count(counter)
    assert next(iter(counter.collect())).samples[0].value == 1
