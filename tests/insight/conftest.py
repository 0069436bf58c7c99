"""A gateway over the demo shop with its events, and a browser at its insight page."""

from collections.abc import AsyncIterator

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


@pytest.fixture(scope="module")
async def shop(postgres: str, demo: str) -> AsyncIterator[httpx.AsyncClient]:
    async with (
        fresh_database(postgres, demo) as dsn,
        running_app(settings_for(dsn, demo_data=True)) as app,
        listening(app) as url,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        yield http


@pytest.fixture(scope="module")
async def administrator(shop: httpx.AsyncClient) -> Caller:
    return await Caller(shop).sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)


@pytest.fixture
async def insight(shop: httpx.AsyncClient, chromium: webdriver.Chrome) -> AsyncIterator[Insight]:
    """The page, which nobody has signed in at."""
    if not InsightPage().built:
        pytest.skip("the insight page is not built: run `make graphiql`")
    page = Insight(chromium, str(shop.base_url))
    await page.look()
    await page.start()
    yield page
    await page.online(True)
    await page.leave()
