"""A gateway over the demo shop, on a socket, for tests of connections that stay open."""

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

import asyncpg
import httpx
import pytest

from app.resources import Resources, open_resources
from tests.conftest import fresh_database
from tests.live.shopping import Shopper, some_product
from tests.serving import listening, running_app, settings_for

MakeShopper = Callable[[], Awaitable[Shopper]]


@dataclass(frozen=True)
class Gateway:
    """Where a gateway is, and the database that it serves."""

    url: str
    dsn: str
    http: httpx.AsyncClient
    product_id: str


@pytest.fixture(scope="module")
async def live(postgres: str, demo: str) -> AsyncIterator[Gateway]:
    async with (
        fresh_database(postgres, demo) as dsn,
        running_app(settings_for(dsn, run_jobs=False)) as app,
        listening(app) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield Gateway(url, dsn, http, await some_product(Shopper(http)))


@pytest.fixture
async def shopper(live: Gateway) -> Shopper:
    """Somebody new with an account."""
    return await Shopper(live.http).join()


@pytest.fixture
async def stranger(live: Gateway) -> Shopper:
    return await Shopper(live.http).join()


@pytest.fixture
async def elsewhere(live: Gateway) -> AsyncIterator[Resources]:
    """What another process has over the same database."""
    async with open_resources(settings_for(live.dsn)) as resources:
        yield resources


@pytest.fixture
async def database(live: Gateway) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the gateway's."""
    connection = await asyncpg.connect(live.dsn, timeout=10)
    yield connection
    await connection.close()
