"""How often keys are used: counted in memory, written together, lost neither by a failure nor at the end."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from app.accounts.usage import KeyUsage
from app.core.errors import RepositoryError
from app.core.metrics import Metrics
from app.repositories import Repositories
from tests.accounts.keys import new_key, new_user
from tests.serving import Caller, eventually, gateway, settings_for

USED = "select usage_count from api_keys"
KEYS = "{ apiKeys { nodes { usageCount lastUsedAt } } }"


async def used(dsn: str) -> list[int]:
    connection = await asyncpg.connect(dsn)
    found = await connection.fetch(f"{USED} order by id")
    await connection.close()
    return [row["usage_count"] for row in found]


@pytest.fixture
async def ids(repositories: Repositories) -> list[UUID]:
    """Three keys."""
    user = await repositories.users.create({"email": "a@example.com", "username": "anna"})
    given = {"user_id": user.id, "key_preview": "id...", "scopes": ["orders:read"]}
    keys = [{**given, "name": f"{n}", "key_hash": f"{n:064x}", "key_identifier": f"identifier{n}"} for n in range(3)]
    return [(await repositories.api_keys.create(key)).id for key in keys]


async def counts(repositories: Repositories, ids: list[UUID]) -> list[int]:
    return [key.usage_count for key in await repositories.api_keys.find_by_ids(ids)]


async def test_uses_are_written_when_the_gateway_ends(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as caller:
        owner, _ = await new_user(caller)
        busy, idle = await new_key(owner, "users:read"), await new_key(owner, "users:read")
        for _ in range(7):
            await busy.caller.ask("{ me { id } }")
        assert (await busy.caller.post("{ orders { totalCount } }")).status_code == 200
        await idle.caller.ask("{ __typename }")
        assert await used(database_url) == [0, 0]
    assert await used(database_url) == [8, 1]
    async with gateway(settings_for(database_url)) as caller:
        nodes = (await Caller(caller.http, owner.headers["Authorization"].removeprefix("Bearer ")).ask(KEYS))["apiKeys"]["nodes"]
    assert [(node["usageCount"], node["lastUsedAt"] is not None) for node in nodes] == [(1, True), (8, True)]


@asynccontextmanager
async def running(repositories: Repositories, **options: Any) -> AsyncIterator[KeyUsage]:
    usage = KeyUsage(repositories.api_keys.batch_increment_usage_count, repositories.metrics, **options)
    async with usage.running():
        yield usage


async def test_uses_are_written_after_a_while(repositories: Repositories, ids: list[UUID]) -> None:
    async with running(repositories, every=0.05) as usage:
        usage.count(ids[0])

        async def written() -> bool:
            return await counts(repositories, ids) == [1, 0, 0]

        await eventually(written, 5)


async def test_uses_are_written_at_once_when_many_keys_are_in_use(repositories: Repositories, ids: list[UUID]) -> None:
    async with running(repositories, every=60, batch=3) as usage:
        for key_id in (ids[0], ids[0], ids[1]):
            usage.count(key_id)
        await asyncio.sleep(0.05)
        assert await counts(repositories, ids) == [0, 0, 0]
        usage.count(ids[2])

        async def written() -> bool:
            return await counts(repositories, ids) == [2, 1, 1]

        await eventually(written, 5)


async def test_uses_outlive_a_failure_to_write_them(repositories: Repositories, ids: list[UUID], database_url: str) -> None:
    """Another transaction holds a key's row for longer than statements wait for locks."""
    usage = KeyUsage(repositories.api_keys.batch_increment_usage_count, repositories.metrics)
    holder = await asyncpg.connect(database_url)
    transaction = holder.transaction()
    await transaction.start()
    await holder.execute("select from api_keys where id = $1 for update", ids[0])
    for key_id in (ids[0], ids[0], ids[1]):
        usage.count(key_id)
    writing = asyncio.create_task(usage.flush())
    await asyncio.sleep(0.1)
    usage.count(ids[0])
    assert not await writing
    assert await counts(repositories, ids) == [0, 0, 0]
    await transaction.rollback()
    await holder.close()
    assert await usage.flush()
    assert await counts(repositories, ids) == [3, 1, 0]
    assert await usage.flush()
    assert await counts(repositories, ids) == [3, 1, 0]


async def test_what_is_kept_is_bounded() -> None:
    asked: list[Mapping[UUID, int]] = []

    async def write(uses: Mapping[UUID, int]) -> None:
        asked.append(uses)
        if len(asked) == 1:
            raise RepositoryError("away")

    metrics, ids = Metrics(), [uuid4() for _ in range(6)]
    usage = KeyUsage(write, metrics, batch=2, most=4)
    for key_id in (*ids, ids[0]):
        usage.count(key_id)
    assert metrics.registry.get_sample_value("api_key_uses_lost_total") == 2
    assert not await usage.flush()
    assert await usage.flush()
    assert [len(uses) for uses in asked] == [2, 2, 2]
    written: dict[UUID, int] = {}
    for uses in asked[1:]:
        written |= uses
    assert written == {ids[0]: 2, ids[1]: 1, ids[2]: 1, ids[3]: 1}
