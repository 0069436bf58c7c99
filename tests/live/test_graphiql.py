"""A subscription in GraphiQL, in a real browser, against a running gateway."""

import asyncio

import pytest
from selenium import webdriver

from app.api.graphiql import GraphiQLPage
from tests.api.test_graphiql import ANSWER, GraphiQL, chromium
from tests.live.conftest import Gateway
from tests.live.shopping import Shopper, metric
from tests.serving import eventually

__all__ = ["chromium"]


async def test_graphiql_shows_what_happens(live: Gateway, shopper: Shopper, chromium: webdriver.Chrome) -> None:
    if not GraphiQLPage().built:
        pytest.skip("GraphiQL is not built: run `make graphiql`")
    page = await asyncio.to_thread(GraphiQL, chromium, f"{live.url}/graphql")
    headers = f'{{ "Authorization": "{shopper.headers["Authorization"]}" }}'
    await asyncio.to_thread(page.paste, "subscription Carts { cartUpdated { itemCount total } }", headers)
    await asyncio.to_thread(page.run)

    async def begun() -> bool:
        return await metric(live.http, "live_subscriptions") == 1

    await eventually(begun, 30)
    await shopper.fill_cart(live.product_id, 7)
    await asyncio.to_thread(page.wait_for, ANSWER, '"itemCount": 7')
    await shopper.fill_cart(live.product_id, 2)
    await asyncio.to_thread(page.wait_for, ANSWER, '"itemCount": 9')
    page.assert_clean()
