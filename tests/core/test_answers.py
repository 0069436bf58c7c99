"""Answers are kept as long as what they were made of stays the same, in memory and in a shared cache alike."""

from collections.abc import AsyncIterator, Callable

import asyncpg
import pytest

from app.core.answers import ENTRY_BYTES, Answers, MemoryAnswers, Place, SharedAnswers
from app.core.cache import Cache, memory_backend, redis_backend
from app.core.metrics import Metrics
from app.core.pubsub import PostgresPubSub, RedisPubSub
from tests.redis_server import RedisServer
from tests.serving import eventually

PLACE = Place("list", ("products", "stores"), 60)
OTHER = Place("one", ("products:1", "products:*"), 60)

Process = tuple[Answers, Cache]


@pytest.fixture(params=["memory", "redis"])
async def processes(request: pytest.FixtureRequest, redis: RedisServer) -> AsyncIterator[tuple[Process, Process]]:
    """Two processes with one Redis between them."""

    def process() -> Process:
        backend = memory_backend() if request.param == "memory" else redis_backend(redis.url)
        cache = Cache(backend, Metrics(), 60, RedisPubSub(redis.url, "invalidations"))
        return MemoryAnswers(cache, 100_000) if request.param == "memory" else SharedAnswers(cache), cache

    found = process(), process()
    for _, cache in found:
        await cache.open()
    yield found
    for _, cache in found:
        await cache.close()


async def kept(answers: Answers, place: Place, answer: bytes = b'{"data":1}') -> None:
    found, mark = await answers.find(place)
    assert found is None
    await answers.keep(place, answer, mark)
    assert (await answers.find(place))[0] == answer


def gone(answers: Answers, place: Place) -> Callable[[], object]:
    async def is_gone() -> bool:
        return (await answers.find(place))[0] is None

    return is_gone


async def test_a_change_ends_what_it_touches_and_nothing_else(processes: tuple[Process, Process]) -> None:
    (answers, cache), _ = processes
    await kept(answers, PLACE)
    await kept(answers, OTHER)
    await cache.touch(["stores", "stores:7"])
    assert (await answers.find(PLACE))[0] is None
    assert (await answers.find(OTHER))[0] is not None
    await cache.touch(["products", "products:*"])
    assert (await answers.find(OTHER))[0] is None


async def test_a_change_made_by_another_process_is_heard(processes: tuple[Process, Process]) -> None:
    (answers, _), (_, elsewhere) = processes
    await kept(answers, PLACE)
    await elsewhere.touch(["products"])
    await eventually(gone(answers, PLACE), 5)  # type: ignore[arg-type]


async def test_what_was_read_before_a_change_is_not_kept_after_it(processes: tuple[Process, Process]) -> None:
    (answers, cache), _ = processes
    _, mark = await answers.find(PLACE)
    await cache.touch(["products", "products:1"])
    await answers.keep(PLACE, b"old", mark)
    assert (await answers.find(PLACE))[0] is None


async def test_answers_end_with_their_time(processes: tuple[Process, Process]) -> None:
    (answers, _), _ = processes
    await kept(answers, Place("short", ("products",), 1))
    await eventually(gone(answers, Place("short", ("products",), 1)), 5)  # type: ignore[arg-type]


async def test_memory_is_bounded() -> None:
    answers = MemoryAnswers(Cache(memory_backend(), Metrics()), 80_000)
    places = [Place(str(n), ("products",), 60) for n in range(200)]
    for place in places:
        await kept(answers, place, b"x" * 1000)
    left = [place for place in places if (await answers.find(place))[0] is not None]
    assert left == places[-(80_000 // (1000 + ENTRY_BYTES)) :]
    _, mark = await answers.find(PLACE)
    await answers.keep(PLACE, b"x" * 20_000, mark)
    assert (await answers.find(PLACE))[0] is None


async def test_nothing_is_found_in_memory_while_changes_are_not_heard(redis: RedisServer) -> None:
    cache = Cache(memory_backend(), Metrics(), 60, RedisPubSub(redis.url, "invalidations"))
    await cache.open()
    answers = MemoryAnswers(cache, 100_000)
    await kept(answers, PLACE)
    await redis.stop()
    await eventually(gone(answers, PLACE), 5)  # type: ignore[arg-type]
    await redis.start()

    async def hears() -> bool:
        return cache.hears

    await eventually(hears, 10)
    assert (await answers.find(PLACE))[0] is None
    await cache.close()


async def test_what_could_not_be_told_is_made_up_for(empty_database_url: str) -> None:
    """While a process cannot speak, the others go on to hear each other, and know nothing of what they miss."""
    speaker, hearer = (Cache(memory_backend(), Metrics(), 60, PostgresPubSub(empty_database_url, "invalidations")) for _ in range(2))
    connection = await asyncpg.connect(empty_database_url, timeout=10)
    await speaker.open()
    listening = "select pid from pg_stat_activity where query ilike 'listen %' and datname = current_database()"
    (pid,) = [row["pid"] for row in await connection.fetch(listening)]
    await hearer.open()
    answers = MemoryAnswers(hearer, 100_000)
    await kept(answers, PLACE)

    await connection.execute("select pg_terminate_backend($1)", pid)
    await speaker.touch(["products"])
    assert hearer.hears
    await eventually(gone(answers, PLACE), 10)  # type: ignore[arg-type]
    for part in (speaker, hearer, connection):
        await part.close()


async def test_a_shared_cache_that_is_away_is_a_miss(redis: RedisServer) -> None:
    cache = Cache(redis_backend(redis.url), Metrics())
    answers = SharedAnswers(cache)
    await redis.stop()
    found, mark = await answers.find(PLACE)
    assert found is None
    await answers.keep(PLACE, b"{}", mark)
    await cache.close()
