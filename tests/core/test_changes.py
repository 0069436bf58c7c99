"""What subscribers are told of changed rows, across processes: over a real PostgreSQL and a real Redis."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import changes as tuning
from app.core.cache import Cache, memory_backend
from app.core.changes import Changes, Fallen, Reason, Subscribers, Topic, Waiting
from app.core.database import Database
from app.core.errors import Unavailable
from app.core.metrics import Metrics
from app.core.pubsub import PostgresPubSub, PubSub, RedisPubSub
from app.repositories import Repositories, create_repository_factory
from tests.redis_server import RedisServer

ID, OWNER, STRANGER = uuid4(), uuid4(), uuid4()
Open = Callable[..., Any]


def row(id: UUID, user_id: UUID = OWNER) -> dict[str, Any]:
    return {"id": id, "user_id": user_id, "store_id": None}


async def find_all(_entity: str, ids: Any) -> list[dict[str, Any]]:
    return [row(id) for id in ids]


@pytest.fixture(params=["postgresql", "redis"])
async def opened(request: pytest.FixtureRequest, postgres: str, redis: RedisServer) -> AsyncIterator[Open]:
    """Opens the changes of one process after another."""
    channel = f"changes_{uuid4().hex}"

    def pubsub() -> PubSub:
        return RedisPubSub(redis.url, channel) if request.param == "redis" else PostgresPubSub(postgres, channel)

    async with AsyncExitStack() as stack:

        async def make(find: Any = find_all) -> Changes:
            process = Changes(pubsub(), Metrics())
            await process.open(find)
            stack.push_async_callback(process.close)
            return process

        yield make


async def heard(subscription: tuning.Subscription, seconds: float = 5) -> UUID:
    return await asyncio.wait_for(subscription.next(), seconds)


async def test_a_change_reaches_those_whom_it_concerns_in_every_process(opened: Open) -> None:
    here, there = await opened(), await opened()
    by_id, by_owner = here.subscribers.join([Topic("orders", "id", ID)]), there.subscribers.join([Topic("orders", "user_id", OWNER)])
    every, stranger = there.subscribers.join([Topic("orders")]), there.subscribers.join([Topic("orders", "user_id", STRANGER)])
    other = here.subscribers.join([Topic("carts", "id", ID)])

    await here.announce("orders", [ID])

    assert [await heard(subscription) for subscription in (by_id, by_owner, every)] == [ID] * 3
    for subscription in (stranger, other):
        with pytest.raises(TimeoutError):
            await heard(subscription, 0.1)


async def test_many_changes_arrive_once_each_and_in_order(opened: Open) -> None:
    here, there = await opened(), await opened()
    every = there.subscribers.join([Topic("orders")])
    ids = [uuid4() for _ in range(3 * tuning.MOST_NAMED)]

    for id in ids:
        await here.announce("orders", [id, id])

    assert [await heard(every) for _ in ids] == ids


async def test_rows_that_cannot_be_looked_up_now_are_looked_up_later(opened: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tuning, "AGAIN_SECONDS", 0.05)
    tries = 0

    async def find(entity: str, ids: Any) -> list[dict[str, Any]]:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise Unavailable("away")
        return await find_all(entity, ids)

    process = await opened(find)
    every = process.subscribers.join([Topic("orders")])

    await process.announce("orders", [ID])

    assert await heard(every) == ID
    assert tries == 3


async def test_what_is_announced_last_is_told_before_the_process_ends(postgres: str) -> None:
    channel = f"changes_{uuid4().hex}"
    ending, there = (Changes(PostgresPubSub(postgres, channel), Metrics()) for _ in range(2))
    await ending.open(find_all)
    await there.open(find_all)
    every = there.subscribers.join([Topic("orders")])

    await ending.announce("orders", [ID])
    await ending.close()

    assert await heard(every) == ID
    await there.close()


async def test_a_gap_ends_subscriptions_instead_of_leaving_changes_out(postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.pubsub.RECONNECT_SECONDS", 0.1)
    process = Changes(PostgresPubSub(postgres, f"changes_{uuid4().hex}"), Metrics())
    await process.open(find_all)
    before = process.subscribers.join([Topic("orders")])
    killer = await asyncpg.connect(postgres, timeout=10)

    await killer.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where query like '%LISTEN%changes_%' and pid <> pg_backend_pid()"
    )

    with pytest.raises(Fallen, match=Reason.INTERRUPTED):
        await heard(before)
    after = process.subscribers.join([Topic("orders")])
    await process.announce("orders", [ID])
    assert await heard(after) == ID
    await killer.close()
    await process.close()


async def test_a_gap_of_redis_ends_subscriptions_as_well(redis: RedisServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.core.pubsub.RECONNECT_SECONDS", 0.1)
    monkeypatch.setattr(tuning, "AGAIN_SECONDS", 0.1)
    process = Changes(RedisPubSub(redis.url, "changes"), Metrics())
    await process.open(find_all)
    before = process.subscribers.join([Topic("orders")])

    await redis.stop()
    await process.announce("orders", [ID])
    await asyncio.sleep(0.3)
    await redis.start()

    with pytest.raises(Fallen, match=Reason.INTERRUPTED):
        await heard(before)
    after = process.subscribers.join([Topic("orders")])
    await process.announce("orders", [ID])
    assert await heard(after) == ID
    await process.close()


async def test_a_message_that_nobody_understands_stops_nothing(postgres: str) -> None:
    channel = f"changes_{uuid4().hex}"
    process, other = Changes(PostgresPubSub(postgres, channel), Metrics()), PostgresPubSub(postgres, channel)
    await process.open(find_all)
    await other.open(lambda _: asyncio.sleep(0))
    before = process.subscribers.join([Topic("orders")])

    await other.publish("orders of yesterday")

    with pytest.raises(Fallen, match=Reason.INTERRUPTED):
        await heard(before)
    after = process.subscribers.join([Topic("orders")])
    await process.announce("orders", [ID])
    assert await heard(after) == ID
    await other.close()
    await process.close()


async def test_a_row_that_waits_already_is_not_put_twice() -> None:
    subscribers = Subscribers()
    slow = subscribers.join([Topic("orders", "user_id", OWNER), Topic("orders", "id", ID)])

    for _ in range(5_000):
        subscribers.tell("orders", row(ID))

    assert await heard(slow) == ID
    with pytest.raises(TimeoutError):
        await heard(slow, 0.05)


async def test_who_falls_too_far_behind_is_told_so() -> None:
    subscribers = Subscribers()
    slow = subscribers.join([Topic("orders")])

    for _ in range(tuning.MOST_BEHIND + 1):
        subscribers.tell("orders", row(uuid4()))

    with pytest.raises(Fallen, match=Reason.BEHIND):
        await heard(slow)
    assert len(subscribers) == 0


@given(st.lists(st.sampled_from(["join", "leave", "leave twice", "interrupt"]), max_size=30))
def test_nothing_is_kept_of_those_who_have_left(steps: list[str]) -> None:
    subscribers = Subscribers()
    joined: list[tuning.Subscription] = []
    for step in steps:
        if step == "join":
            joined.append(subscribers.join([Topic("orders"), Topic("orders", "id", uuid4())]))
        elif step == "interrupt":
            subscribers.interrupt()
            joined.clear()
        elif joined:
            leaving = joined.pop()
            for _ in range(step.count("twice") + 1):
                leaving.close()
    assert len(subscribers) == 2 * len(joined)
    for subscription in joined:
        subscription.close()
    assert len(subscribers) == 0
    assert not subscribers.await_any("orders")


@given(st.lists(st.tuples(st.sampled_from(["orders", "carts"]), st.integers(0, 300)), max_size=500))
def test_every_waiting_change_is_taken_once(given_changes: list[tuple[str, int]]) -> None:
    waiting = Waiting()
    for entity, number in given_changes:
        assert waiting.add(entity, [UUID(int=number)])
    taken = []
    while waiting:
        entity, ids = waiting.take()
        assert 0 < len(ids) <= tuning.MOST_NAMED
        taken += [(entity, id.int) for id in ids]
    assert sorted(taken) == sorted(set(given_changes))


async def test_no_more_changes_wait_than_are_allowed() -> None:
    waiting = Waiting()

    assert not waiting.add("orders", (UUID(int=number) for number in range(tuning.MOST_WAITING + 10)))

    count = 0
    while waiting:
        count += len(waiting.take()[1])
    assert count == tuning.MOST_WAITING


# What repositories announce


@pytest.fixture
async def watched(database: Database, database_url: str) -> AsyncIterator[tuple[Repositories, Changes]]:
    metrics = Metrics()
    changes = Changes(PostgresPubSub(database_url, "changes"), metrics)
    repositories = create_repository_factory(database, Cache(memory_backend(), metrics), metrics, changes=changes)
    await changes.open(repositories.find_changed)
    yield repositories, changes
    await changes.close()


async def test_every_way_to_change_a_row_is_announced_once_it_is_committed(watched: tuple[Repositories, Changes]) -> None:
    repositories, changes = watched
    user = await repositories.users.create({"email": "ann@example.com", "username": "ann"})
    every = changes.subscribers.join([Topic("orders")])

    order = await repositories.orders.create({"user_id": user.id, "items_total": 10, "total": 10})
    assert await heard(every) == order.id
    await repositories.orders.update_many({"user_id": user.id}, {"items_total": 11, "total": 11})
    assert await heard(every) == order.id
    await repositories.orders.update_by_id(order.id, {"items_total": 12, "total": 12})
    assert await heard(every) == order.id
    payment = await repositories.payments.create({"order_id": order.id, "amount": 12})
    assert await heard(every) == order.id
    await repositories.payments.update_many({"id": payment.id}, {"provider": "test"})
    assert await heard(every) == order.id
    async with repositories.transaction() as tx:
        await tx.orders.update_by_id(order.id, {"items_total": 13, "total": 13})
        with pytest.raises(TimeoutError):
            await heard(every, 0.2)
    assert await heard(every) == order.id


async def test_what_is_rolled_back_is_not_announced(watched: tuple[Repositories, Changes]) -> None:
    repositories, changes = watched
    user = await repositories.users.create({"email": "ann@example.com", "username": "ann"})
    every = changes.subscribers.join([Topic("orders")])
    order = await repositories.orders.create({"user_id": user.id, "items_total": 10, "total": 10})
    assert await heard(every) == order.id

    with pytest.raises(ZeroDivisionError):
        async with repositories.transaction() as tx:
            await tx.orders.update_by_id(order.id, {"items_total": 13, "total": 13})
            raise ZeroDivisionError
    async with repositories.transaction() as tx:
        with pytest.raises(ZeroDivisionError):
            async with tx.transaction():
                await tx.orders.update_by_id(order.id, {"items_total": 14, "total": 14})
                raise ZeroDivisionError

    with pytest.raises(TimeoutError):
        await heard(every, 0.3)


async def test_of_notifications_only_new_ones_are_announced(watched: tuple[Repositories, Changes]) -> None:
    repositories, changes = watched
    user = await repositories.users.create({"email": "ann@example.com", "username": "ann"})
    own = changes.subscribers.join([Topic("notifications", "user_id", user.id)])

    sent = await repositories.notifications.create({"user_id": user.id, "type": "order", "message": "Sent."})
    assert await heard(own) == sent.id
    await repositories.notifications.mark_as_read(sent.id)

    with pytest.raises(TimeoutError):
        await heard(own, 0.3)
