"""The clients of graphql-ws and graphql-sse, as their users run them, told by one gateway of what happens at another one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import fresh_database
from tests.live.shopping import Shopper, some_product
from tests.node import installed, run
from tests.serving import listening, running_app, settings_for

CLIENTS = Path(__file__).parent


@pytest.fixture(scope="module")
async def found(request: pytest.FixtureRequest, postgres: str, demo: str) -> AsyncIterator[dict[str, Any]]:
    folder = installed(CLIENTS, request.config)
    async with (
        fresh_database(postgres, demo) as dsn,
        running_app(settings_for(dsn, run_jobs=False)) as here,
        running_app(settings_for(dsn, run_jobs=False)) as there,
        listening(here) as url,
        listening(there) as other,
        httpx.AsyncClient(base_url=url, timeout=30) as http,
    ):
        shopper = await Shopper(http).join()
        token = shopper.headers["Authorization"].partition(" ")[2]
        yield await run(folder, "subscriptions.js", url, other, token, await some_product(shopper))


@pytest.mark.parametrize("client", ["websocket", "events"])
def test_a_subscription_tells_what_happens_at_another_gateway(found: dict[str, Any], client: str) -> None:
    subscription = found[client]["subscription"]

    assert subscription["problems"] == []
    assert len(subscription["told"]) == 3
    assert subscription["told"] == sorted(subscription["told"])


@pytest.mark.parametrize("client", ["websocket", "events"])
def test_queries_and_refusals(found: dict[str, Any], client: str) -> None:
    assert found[client]["query"] == [2]
    assert found[client]["invalid"] == ["GRAPHQL_VALIDATION_FAILED"]


def test_strangers_are_told_why(found: dict[str, Any]) -> None:
    assert found["eventsStranger"] == ["UNAUTHENTICATED"]
    assert found["websocketStranger"] == ["UNAUTHENTICATED"]
    assert [refusal["closed"] for refusal in found["websocketNobody"]] == [4401]


def test_a_client_whose_connection_breaks_goes_on(found: dict[str, Any]) -> None:
    reconnects = found["reconnects"]

    assert reconnects["broken"] == 1
    assert reconnects["before"] >= 1
    assert reconnects["after"] > reconnects["before"]
