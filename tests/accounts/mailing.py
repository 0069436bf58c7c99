"""A gateway that sends its mails to a server of the tests, and what is read in them."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import asyncpg

from tests.mail_server import Mailbox, mail_server
from tests.serving import SIGN_IN, SIGN_UP, Caller, eventually, gateway, settings_for

PASSWORD = "correct horse battery"
PROVE = "Is this your address?"
LINK = re.compile(r"https://shop\.example/(?P<page>[\w-]+)#token=(?P<token>[\w-]{43})\s")

_numbers = count(1)


@dataclass
class Shop:
    """A gateway that sends its mails to a server of ours, and does its own background work."""

    caller: Caller
    mailbox: Mailbox
    dsn: str

    async def sign_up(self) -> tuple[Caller, str]:
        name = f"person{next(_numbers)}"
        email = f"{name}@example.com"
        answer = await self.caller.ask(SIGN_UP, input={"email": email, "username": name, "password": PASSWORD})
        return Caller(self.caller.http, answer["signUp"]["session"]["token"]), email

    async def token(self, email: str, subject: str, count: int = 1) -> str:
        """The token in the last mail to an address."""
        return found(await self.mailbox.last_to(email, subject, count=count))["token"]

    async def may_sign_in(self, email: str, password: str) -> bool:
        answer = await self.caller.ask(SIGN_IN, input={"email": email, "password": password})
        return bool(answer["signIn"]["session"])

    async def sql(self, statement: str, *values: Any) -> Any:
        connection = await asyncpg.connect(self.dsn, timeout=10)
        try:
            return await connection.fetchval(statement, *values)
        finally:
            await connection.close()

    async def idle(self) -> None:
        """Wait until every job is done."""

        async def done() -> bool:
            return bool(await self.sql("select count(*) from pgqueuer") == 0)

        await eventually(done)


def found(text: str) -> dict[str, str]:
    match = LINK.search(text)
    assert match is not None, text
    return match.groupdict()


@asynccontextmanager
async def mailing(dsn: str) -> AsyncIterator[Shop]:
    """A gateway over this database with a mail server of its own."""
    async with mail_server() as mailbox:
        settings = settings_for(dsn, mail_url=mailbox.url, public_url="https://shop.example", run_jobs=True)
        async with gateway(settings) as caller:
            yield Shop(caller, mailbox, dsn)


@asynccontextmanager
async def beside(shop: Shop, **given: Any) -> AsyncIterator[Shop]:
    """Another gateway over the same database, whose mails the first one sends."""
    async with gateway(settings_for(shop.dsn, **given)) as caller:
        yield Shop(caller, shop.mailbox, shop.dsn)
