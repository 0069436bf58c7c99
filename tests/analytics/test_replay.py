"""What waits for ClickHouse is sent in few large inserts, each event once however often its sender dies, and forgets whom it must."""

import asyncio
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.analytics.replay import replay
from app.analytics.repository import EventSpoolRepository, encoded
from app.repositories import Repositories
from tests.analytics.conftest import event

ROOM = 1_000_000


async def keep(repositories: Repositories, *events: dict[str, Any]) -> None:
    """Keep each by itself, as the platform's own are."""
    for one in events:
        await repositories.event_spool.keep(one["id"], encoded([one]))


async def stored(repositories: Repositories) -> list[UUID]:
    """All that is in the table, also what FINAL would hide."""
    assert repositories.clickhouse is not None
    return [row["id"] for row in await repositories.clickhouse.fetch("SELECT id FROM user_events")]


async def test_single_events_are_sent_together(repositories: Repositories) -> None:
    made = [event(n) for n in range(60)]
    await keep(repositories, *made)
    before = inserts(repositories)
    assert await replay(repositories) == 60
    assert sorted(await stored(repositories)) == sorted(one["id"] for one in made)
    assert inserts(repositories) - before == 1
    assert await repositories.event_spool.waiting() == 0


def inserts(repositories: Repositories) -> float:
    assert repositories.clickhouse is not None
    name = 'clickhouse_operation_seconds_count{operation="insert",result="success"} '
    lines = repositories.clickhouse._metrics.render().decode().splitlines()
    return sum(float(line.removeprefix(name)) for line in lines if line.startswith(name))


class Died(Exception):
    """A process that sends a batch and does not live to say so."""


async def die_after_sending(repositories: Repositories) -> None:
    with pytest.raises(Died):
        async with repositories.transaction() as tx:
            batch = await tx.event_spool.take()
            assert batch is not None
            await tx.user_events.insert_lines(batch.lines, str(batch.id))
            raise Died


async def test_what_was_sent_is_sent_again_as_it_was(repositories: Repositories) -> None:
    first, second = [event(n) for n in range(5)], [event(n) for n in range(5, 9)]
    await keep(repositories, *first)
    await repositories.event_spool.pack()
    await die_after_sending(repositories)
    tried = event(10)
    await repositories.event_spool.add(uuid7(), 1, encoded([tried]), ROOM)
    await keep(repositories, *second)
    await repositories.event_spool.pack()
    assert await replay(repositories) == 10
    assert sorted(await stored(repositories)) == sorted(one["id"] for one in (*first, tried, *second))


async def sizes(repositories: Repositories) -> Sequence[tuple[int, bool]]:
    return sorted((row.events, row.is_loose) for row in await repositories.event_spool.find_many())


async def test_a_batch_is_packed_up_to_a_size_and_what_was_sent_stays_alone(repositories: Repositories) -> None:
    spool = repositories.event_spool
    for _ in range(3):
        await spool.add(uuid7(), 6_000, b"{}", ROOM, is_loose=True)
    await spool.add(uuid7(), 7, b"{}", ROOM)
    assert await spool.pack()
    assert await sizes(repositories) == [(7, False), (6_000, True), (12_000, False)]
    await spool.add(uuid7(), 1, b"{" + b" " * 8 * 1024 * 1024 + b"}", ROOM, is_loose=True)
    await spool.add(uuid7(), 2, b"{}", ROOM, is_loose=True)
    assert await spool.pack()
    assert await sizes(repositories) == [(2, True), (7, False), (6_001, False), (12_000, False)]
    assert await spool.pack()
    assert not await spool.pack()
    assert await spool.waiting() == 6_000 * 3 + 7 + 3


async def test_events_that_are_being_packed_forget_their_person_as_well(repositories: Repositories) -> None:
    user = uuid7()
    await keep(repositories, event(1, user_id=user), event(2))
    unlinking: asyncio.Task[None] | None = None
    async with repositories.transaction() as tx:
        assert await tx.of(EventSpoolRepository).pack()
        unlinking = asyncio.create_task(repositories.event_spool.unlink(user, []))
        done, _ = await asyncio.wait([unlinking], timeout=0.2)
        assert not done
    await unlinking
    (packed,) = await repositories.event_spool.find_many()
    assert packed.events == 2
    assert str(user).encode() not in packed.lines
