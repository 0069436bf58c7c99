"""One gateway over the demo shop for all tests of a process that change nothing others look at, and callers of every kind."""

from collections.abc import AsyncIterator

import asyncpg
import pytest
from starlette.applications import Starlette

from app.seed.people import ADMINISTRATOR, SHOPPER
from tests.conftest import fresh_database
from tests.serving import Caller, listening, reached, running_app, settings_for


@pytest.fixture(scope="session")
async def demo_app(postgres: str, demo: str) -> AsyncIterator[Starlette]:
    """A running gateway over the demo shop."""
    async with fresh_database(postgres, demo) as dsn, running_app(settings_for(dsn, demo_data=True)) as app:
        yield app


@pytest.fixture(scope="session")
async def anonymous(demo_app: Starlette) -> AsyncIterator[Caller]:
    async with reached(demo_app) as caller:
        yield caller


@pytest.fixture(scope="session")
async def shopper(anonymous: Caller) -> Caller:
    return await anonymous.sign_in(SHOPPER.email, SHOPPER.password)


@pytest.fixture(scope="session")
async def administrator(anonymous: Caller) -> Caller:
    return await anonymous.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)


@pytest.fixture(scope="session")
async def address(demo_app: Starlette) -> AsyncIterator[str]:
    """Where the gateway over the demo shop listens."""
    async with listening(demo_app) as url:
        yield url


@pytest.fixture
async def watcher(database_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection beside the gateway's, to stand in its way and to look at what it does."""
    connection = await asyncpg.connect(database_url, timeout=10)
    yield connection
    await connection.close()
