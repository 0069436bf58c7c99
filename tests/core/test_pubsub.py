"""Messages between processes, over a real PostgreSQL and a real Redis."""

import asyncio
from collections.abc import Callable

import pytest

from app.core.pubsub import PostgresPubSub, PubSub, RedisPubSub
from tests.redis_server import RedisServer

CHANNEL = "messages"


@pytest.fixture(params=["postgresql", "redis"])
def make(request: pytest.FixtureRequest, postgres: str, redis: RedisServer) -> Callable[[], PubSub]:
    if request.param == "redis":
        return lambda: RedisPubSub(redis.url, CHANNEL)
    return lambda: PostgresPubSub(postgres, CHANNEL)


async def test_a_message_reaches_the_other_process(make: Callable[[], PubSub]) -> None:
    sender, receiver = make(), make()
    heard: asyncio.Queue[str] = asyncio.Queue()
    await sender.open(lambda _: asyncio.sleep(0))
    await receiver.open(heard.put)

    await sender.publish("products:1")

    assert await asyncio.wait_for(heard.get(), 5) == "products:1"
    await sender.close()
    await receiver.close()


async def test_closing_ends_though_a_listener_swallows_the_cancellation(make: Callable[[], PubSub]) -> None:
    pubsub = make()
    listening = asyncio.Event()

    async def stubborn(_: str) -> None:
        listening.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await asyncio.sleep(0)

    await pubsub.open(stubborn)
    await pubsub.publish("products:1")
    await asyncio.wait_for(listening.wait(), 5)

    await asyncio.wait_for(pubsub.close(), 5)
