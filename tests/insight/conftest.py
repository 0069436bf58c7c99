"""A gateway over the demo shop with its events, and a browser at its insight page."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import httpx
import pytest
from selenium import webdriver

from app.api.graphiql import InsightPage
from app.seed.people import ADMINISTRATOR
from tests.api.test_graphiql import chromium
from tests.conftest import fresh_database
from tests.insight.browsing import Insight
from tests.serving import Caller, listening, running_app, settings_for

__all__ = ["chromium"]


NOBODY = "http://127.0.0.1:9"
"""Where no ClickHouse is."""

WON_BACK = """
    insert into recovery_events (cart_id, store_id, event_type, status, sent_at, recovered_at, recovered_amount, currency)
    select id, store_id, 'cart_abandoned', 'RECOVERED', now(), now(), 1091.9, currency from carts where status = 'ABANDONED' limit 1
"""


@asynccontextmanager
async def selling(postgres: str, demo: str, **given: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A gateway over the demo shop, one of whose carts has been won back."""
    async with (
        fresh_database(postgres, demo) as dsn,
        connected(dsn) as connection,
        running_app(settings_for(dsn, **given)) as app,
        listening(app) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        await connection.execute(WON_BACK)
        yield http


@asynccontextmanager
async def connected(dsn: str) -> AsyncIterator[asyncpg.Connection]:
    connection = await asyncpg.connect(dsn, timeout=10)
    yield connection
    await connection.close()


@pytest.fixture(scope="module")
async def shop(postgres: str, demo: str) -> AsyncIterator[httpx.AsyncClient]:
    async with selling(postgres, demo, demo_data=True) as http:
        yield http


@pytest.fixture(scope="module")
async def administrator(shop: httpx.AsyncClient) -> Caller:
    return await Caller(shop).sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)


@asynccontextmanager
async def opened(driver: webdriver.Chrome, shop: httpx.AsyncClient) -> AsyncIterator[Insight]:
    if not InsightPage().built:
        pytest.skip("the insight page is not built: run `make graphiql`")
    page = Insight(driver, str(shop.base_url))
    await page.look()
    await page.start()
    yield page
    await page.online(True)
    await page.leave()


@pytest.fixture
async def insight(shop: httpx.AsyncClient, chromium: webdriver.Chrome) -> AsyncIterator[Insight]:
    """The page, which nobody has signed in at."""
    async with opened(chromium, shop) as page:
        yield page


@pytest.fixture
async def insight_without_analytics(postgres: str, demo: str, chromium: webdriver.Chrome) -> AsyncIterator[Insight]:
    """The page of a gateway whose ClickHouse is away."""
    async with selling(postgres, demo, clickhouse_url=NOBODY) as shop, opened(chromium, shop) as page:
        yield page
