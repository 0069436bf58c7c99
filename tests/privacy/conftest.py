"""A gateway that sends mails and does its own jobs, and the repositories over its databases."""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import asyncpg
import pytest

from app.core.storage import Storage
from app.repositories import Repositories
from app.resources import open_resources
from tests.mail_server import Mailbox, mail_server
from tests.serving import Caller, gateway, new_administrator, settings_for


@dataclass
class Premises:
    """One gateway, its administrator, and what is behind it."""

    visitor: Caller
    administrator: Caller
    repositories: Repositories
    mailbox: Mailbox
    connection: asyncpg.Connection
    dsn: str
    storage: Storage


@pytest.fixture
async def premises(database_url: str) -> AsyncIterator[Premises]:
    async with mail_server() as mailbox:
        settings = settings_for(
            database_url, mail_url=mailbox.url, run_jobs=True, trusted_proxies="127.0.0.0/8", clickhouse_timeout=60, webhook_loopback=True
        )
        async with gateway(settings) as visitor, open_resources(settings) as resources:
            connection = await asyncpg.connect(database_url, timeout=10)
            administrator = await new_administrator(visitor, database_url)
            yield Premises(visitor, administrator, resources.repositories, mailbox, connection, database_url, resources.storage)
            await connection.close()
