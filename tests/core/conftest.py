"""Repositories of the system on a database of the test's own."""

from collections.abc import AsyncIterator

import pytest

from app.core.cache import Cache, memory_backend
from app.core.database import Database, DatabaseOptions
from app.core.metrics import Metrics
from app.repositories import Repositories, create_repository_factory


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    database = Database(database_url, DatabaseOptions(statement_timeout_ms=3_000, lock_timeout_ms=2_000, connect_timeout=2))
    await database.open()
    yield database
    await database.close()


@pytest.fixture
async def repositories(database: Database) -> AsyncIterator[Repositories]:
    metrics = Metrics()
    cache = Cache(memory_backend(), metrics)
    await cache.open()
    yield create_repository_factory(database, cache, metrics)
    await cache.close()
