"""A gateway of the test's own."""

from collections.abc import AsyncIterator

import pytest

from tests.serving import Caller, gateway, settings_for


@pytest.fixture
async def caller(database_url: str) -> AsyncIterator[Caller]:
    """Somebody without an account who reaches a gateway on an empty database."""
    async with gateway(settings_for(database_url)) as caller:
        yield caller
