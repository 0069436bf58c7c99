"""When what was changed: what is kept must not outlive a change, whatever else happens."""

from collections.abc import AsyncIterator

import pytest
from aiocache.base import BaseCache
from hypothesis import given
from hypothesis import strategies as st

from app.core.cache import redis_backend
from app.core.tags import SharedTags, Tags
from tests.redis_server import RedisServer

NAMES = st.sampled_from([f"products:{n}" for n in range(6)])
STEPS = st.lists(st.one_of(st.lists(NAMES, min_size=1, max_size=3), st.just("note"), st.just("all")), max_size=40)


@given(STEPS, st.lists(NAMES, min_size=1, max_size=2), st.integers(1, 8))
def test_nothing_outlives_a_change(steps: list[list[str] | str], watched: list[str], most: int) -> None:
    """With few tags remembered, more may seem changed than are, and never less."""
    tags, noted, changed = Tags(most), 0, False
    for step in steps:
        if step == "note":
            noted, changed = tags.now, False
        elif step == "all":
            tags.touch_all()
            changed = True
        else:
            tags.touch(step)
            changed = changed or not set(watched).isdisjoint(step)
        assert not (changed and tags.unchanged(watched, noted))
        if most >= 6:
            assert changed or tags.unchanged(watched, noted)


@pytest.fixture
async def backends(redis: RedisServer) -> AsyncIterator[list[BaseCache]]:
    """Two processes' ways to one Redis."""
    found = [redis_backend(redis.url) for _ in range(2)]
    yield found
    for backend in found:
        await backend.close()


async def test_versions_in_a_shared_cache_change_with_their_tags(backends: list[BaseCache]) -> None:
    one, other = map(SharedTags, backends)
    _, versions = await one.look_up("answer", ["products", "stores"])
    assert (await other.look_up("answer", ["products", "stores"])) == (None, versions)
    await backends[0].set("answer", "tea")
    assert (await other.look_up("answer", ["products"])) == ("tea", versions[:1])

    await other.touch(["products"])
    _, later = await one.look_up("answer", ["products", "stores"])
    assert later[0] != versions[0]
    assert later[1] == versions[1]


async def test_a_version_that_was_dropped_is_never_the_same_again(backends: list[BaseCache]) -> None:
    tags = SharedTags(backends[0])
    _, before = await tags.look_up("answer", ["products"])
    await backends[1].clear()
    _, after = await tags.look_up("answer", ["products"])
    assert before != after
