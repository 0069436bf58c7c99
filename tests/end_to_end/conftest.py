"""The gateway as everybody starts it, with the demo shop on its embedded PostgreSQL."""

from collections.abc import AsyncIterator

import pytest

from tests.serving import Served, served


@pytest.fixture(scope="session")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    async with served(tmp_path_factory.mktemp("shop")) as server:
        yield server
