"""Gateways as processes of their own behind one database: what one changes the other tells, and neither holds its end up."""

import asyncio
from pathlib import Path

import httpx
import pytest

from tests.live.shopping import Shopper, some_product
from tests.live.speaking import CARTS, acquainted, streaming
from tests.redis_server import RedisServer
from tests.serving import served


@pytest.mark.parametrize("pubsub", ["postgresql", "redis"])
async def test_one_process_tells_what_another_one_changes_and_ends_its_connections_when_it_stops(
    database_url: str, redis: RedisServer, tmp_path: Path, pubsub: str
) -> None:
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
    common = {"DATABASE_URL": database_url, **({"REDIS_URL": redis.url} if pubsub == "redis" else {})}
    async with (
        served(folders[0], **common, DEMO_DATA="true") as here,
        served(folders[1], **common, DEMO_DATA="false") as there,
        httpx.AsyncClient(base_url=there.url, timeout=30) as http,
    ):
        shopper = await Shopper(http).join()
        product = await some_product(shopper)
        async with acquainted(here.url, shopper) as speaker, streaming(here.url, shopper, CARTS) as listener:
            await speaker.subscribe(CARTS)
            await asyncio.sleep(0.5)
            await shopper.fill_cart(product)
            assert (await speaker.next())["cartUpdated"]["itemCount"] == 1
            assert (await listener.event())[1]["data"]["cartUpdated"]["itemCount"] == 1

            stopping = asyncio.create_task(here.stop())
            assert await speaker.closed() == (1001, "The gateway is stopping; connect again.")
            assert (await listener.event())[0] == "end"
            await asyncio.wait_for(stopping, 8)
