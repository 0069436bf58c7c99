"""Gateways: one of the test's own, and one for all tests that read mails."""

from collections.abc import AsyncIterator

import pytest

from tests.accounts.mailing import Shop, mailing
from tests.conftest import fresh_database
from tests.serving import Caller, gateway, settings_for


@pytest.fixture
async def caller(database_url: str) -> AsyncIterator[Caller]:
    """Somebody without an account who reaches a gateway on an empty database."""
    async with gateway(settings_for(database_url)) as caller:
        yield caller


@pytest.fixture(scope="session")
async def shop(postgres: str, migrated: str) -> AsyncIterator[Shop]:
    """A gateway that sends mails; everybody in it is of a test's own."""
    async with fresh_database(postgres, migrated) as dsn, mailing(dsn) as shop:
        yield shop
