"""Proving an address and setting a new password by mail, over HTTP and a real SMTP server."""

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import count
from typing import Any

import asyncpg
import pytest
from sqlalchemy import make_url

from tests.accounts.keys import create_key
from tests.conftest import fresh_database
from tests.mail_server import Mailbox, mail_server
from tests.serving import SIGN_IN, SIGN_UP, Caller, eventually, gateway, settings_for

PASSWORD = "correct horse battery"
NEW = "a quite different one"
RESET = "Your new password"
PROVE = "Is this your address?"
LINK = re.compile(r"https://shop\.example/(?P<page>[\w-]+)#token=(?P<token>[\w-]{43})\s")
ME = "{ me { emailVerified } }"

REQUEST = "mutation ($email: String!) { requestPasswordReset(input: { email: $email }) { requested userErrors { field code } } }"
RESET_PASSWORD = """
    mutation ($token: String!, $password: String!) {
      resetPassword(input: { token: $token, password: $password }) { passwordReset userErrors { field code } }
    }
"""
VERIFY = "mutation ($token: String!) { verifyEmail(input: { token: $token }) { emailVerified userErrors { field code } } }"
SEND_AGAIN = "mutation { requestEmailVerification { requested userErrors { field code } } }"
REFUSED = {"userErrors": [{"field": ["token"], "code": "INVALID"}]}

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

    async def reset_token(self, email: str, count: int = 1) -> str:
        await self.caller.ask(REQUEST, email=email)
        return await self.token(email, RESET, count)

    async def reset(self, token: str, password: str = NEW) -> Any:
        return (await self.caller.ask(RESET_PASSWORD, token=token, password=password))["resetPassword"]

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


@pytest.fixture(scope="module")
async def shop(postgres: str, migrated: str) -> AsyncIterator[Shop]:
    async with fresh_database(postgres, make_url(migrated).database or "") as dsn, mail_server() as mailbox:
        given = {"mail_url": mailbox.url, "public_url": "https://shop.example", "run_jobs": True}
        async with gateway(settings_for(dsn, **given)) as caller:
            yield Shop(caller, mailbox, dsn)


async def test_an_address_is_proved_once(shop: Shop) -> None:
    anna, email = await shop.sign_up()
    assert (await anna.ask(ME))["me"]["emailVerified"] is False
    text = await shop.mailbox.last_to(email, PROVE)
    assert found(text)["page"] == "verify-email"
    assert "within 24 hours" in text
    token = found(text)["token"]
    answer = await shop.caller.ask(VERIFY, token=token)
    assert answer["verifyEmail"] == {"emailVerified": True, "userErrors": []}
    assert (await anna.ask(ME))["me"]["emailVerified"] is True
    again = await shop.caller.ask(VERIFY, token=token)
    assert again["verifyEmail"] == {"emailVerified": False, **REFUSED}


async def test_the_mail_to_prove_an_address_can_be_sent_again_until_it_is(shop: Shop) -> None:
    anna, email = await shop.sign_up()
    first = await shop.token(email, PROVE)
    assert (await anna.ask(SEND_AGAIN))["requestEmailVerification"]["requested"]
    second = await shop.token(email, PROVE, 2)
    assert (await shop.caller.ask(VERIFY, token=first))["verifyEmail"]["emailVerified"] is False
    assert (await shop.caller.ask(VERIFY, token=second))["verifyEmail"]["emailVerified"] is True
    await anna.ask(SEND_AGAIN)
    await shop.idle()
    assert len(shop.mailbox.to(email, PROVE)) == 2
    refused = await shop.caller.refusals(SEND_AGAIN)
    assert refused[0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_new_password_takes_the_place_of_the_old_and_ends_every_session(shop: Shop) -> None:
    anna, email = await shop.sign_up()
    phone = await shop.caller.sign_in(email, PASSWORD)
    token = await shop.reset_token(email.upper())
    assert await shop.reset(token) == {"passwordReset": True, "userErrors": []}
    assert [(await one.post(ME)).status_code for one in (anna, phone)] == [401, 401]
    assert [await shop.may_sign_in(email, password) for password in (PASSWORD, NEW)] == [False, True]
    assert (await (await shop.caller.sign_in(email, NEW)).ask(ME))["me"]["emailVerified"] is True
    assert "https://shop.example" in await shop.mailbox.last_to(email, "Your password was changed")
    assert await shop.reset(token, PASSWORD) == {"passwordReset": False, **REFUSED}
    assert await shop.may_sign_in(email, NEW)


async def test_a_change_of_password_is_told_by_mail(shop: Shop) -> None:
    anna, email = await shop.sign_up()
    change = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { code } } }"
    await anna.ask(change, input={"currentPassword": PASSWORD, "password": NEW})
    await shop.mailbox.last_to(email, "Your password was changed")


async def test_an_address_without_an_account_gets_the_same_answer_and_no_mail(shop: Shop) -> None:
    _, email = await shop.sign_up()
    _, closed = await shop.sign_up()
    await shop.idle()
    await shop.sql("update users set status = 'BANNED' where email = $1", closed)
    answers = [await shop.caller.post(REQUEST, {"email": address}) for address in (email, "nobody@example.com", closed)]
    assert len({answer.text for answer in answers}) == 1
    assert answers[0].json()["data"]["requestPasswordReset"] == {"requested": True, "userErrors": []}
    await shop.mailbox.last_to(email, RESET)
    await shop.idle()
    assert shop.mailbox.to("nobody@example.com") == shop.mailbox.to(closed, RESET) == []


async def test_the_work_is_the_same_with_and_without_an_account(database_url: str) -> None:
    """What an answer waits for is one job, which says nothing but what was asked."""
    async with gateway(settings_for(database_url)) as caller:
        await caller.ask(SIGN_UP, input={"email": "anna@example.com", "username": "anna", "password": PASSWORD})
        connection = await asyncpg.connect(database_url)
        await connection.execute("delete from pgqueuer")
        for email in ("anna@example.com", "nobody@example.com"):
            await caller.ask(REQUEST, email=email)
        queued = await connection.fetch("select entrypoint, convert_from(payload, 'utf8') as payload from pgqueuer order by id")
        made = await connection.fetchval("select count(*) from verifications")
        await connection.close()
    assert [tuple(job) for job in queued] == [
        ("accounts.mail", f'{{"kind":"PASSWORD_RESET","email":"{email}"}}') for email in ("anna@example.com", "nobody@example.com")
    ]
    assert made == 0


async def test_only_the_last_token_is_good(shop: Shop) -> None:
    _, email = await shop.sign_up()
    first, second = await shop.reset_token(email), await shop.reset_token(email, 2)
    assert await shop.reset(first) == {"passwordReset": False, **REFUSED}
    assert (await shop.reset(second))["passwordReset"]


async def test_a_token_is_good_for_one_purpose(shop: Shop) -> None:
    _, email = await shop.sign_up()
    proof, reset = await shop.token(email, PROVE), await shop.reset_token(email)
    assert await shop.reset(proof) == {"passwordReset": False, **REFUSED}
    assert (await shop.caller.ask(VERIFY, token=reset))["verifyEmail"]["emailVerified"] is False


@pytest.mark.parametrize(
    "change",
    [
        "update verifications set expires_at = now() where email = $1",
        "update users set status = 'INACTIVE' where email = $1",
        "update users set email = 'other.' || email where email = $1",
    ],
)
async def test_a_token_ends_with_its_time_its_account_and_its_address(shop: Shop, change: str) -> None:
    _, email = await shop.sign_up()
    token = await shop.reset_token(email)
    await shop.sql(change, email)
    assert await shop.reset(token) == {"passwordReset": False, **REFUSED}


async def test_of_many_uses_at_once_one_counts(shop: Shop) -> None:
    _, email = await shop.sign_up()
    token = await shop.reset_token(email)
    answers = await asyncio.gather(*(shop.reset(token, f"{NEW} {number}") for number in range(6)))
    (winner,) = [number for number, answer in enumerate(answers) if answer["passwordReset"]]
    assert await shop.may_sign_in(email, f"{NEW} {winner}")


async def test_what_no_password_or_token_can_be_is_refused_and_the_token_kept(shop: Shop) -> None:
    _, email = await shop.sign_up()
    token = await shop.reset_token(email)
    for given, password, field in ((token, "short", "password"), ("x" * 201, NEW, "token")):
        assert await shop.reset(given, password) == {"passwordReset": False, "userErrors": [{"field": [field], "code": "INVALID"}]}
    assert (await shop.caller.ask(REQUEST, email="no address"))["requestPasswordReset"]["userErrors"][0]["field"] == ["email"]
    assert (await shop.reset(token))["passwordReset"]


async def test_nobody_can_fill_a_mailbox_or_void_what_is_in_it(shop: Shop) -> None:
    _, email = await shop.sign_up()
    for number in range(5):
        token = await shop.reset_token(email, number + 1)
    for _ in range(3):
        await shop.caller.ask(REQUEST, email=email)
    await shop.idle()
    assert len(shop.mailbox.to(email, RESET)) == 5
    assert (await shop.reset(token))["passwordReset"]
    await shop.sql("update verifications set mails_since = mails_since - interval '61 minutes' where email = $1", email)
    await shop.reset_token(email, 6)


async def test_a_mail_that_fails_is_sent_later_and_one_that_is_refused_never(shop: Shop) -> None:
    _, email = await shop.sign_up()
    await shop.idle()
    shop.mailbox.replies.append("451 try again later")
    assert (await shop.reset(await shop.reset_token(email)))["passwordReset"]
    await shop.idle()
    shop.mailbox.replies.append("550 no such mailbox")
    await shop.caller.ask(REQUEST, email=email)
    await shop.idle()
    assert len(shop.mailbox.to(email, RESET)) == 1


async def test_no_token_can_be_read_from_the_database(shop: Shop) -> None:
    _, email = await shop.sign_up()
    shop.mailbox.replies.append("451 try again later")
    tokens = [await shop.reset_token(email), await shop.token(email, PROVE)]
    everything = ""
    connection = await asyncpg.connect(shop.dsn)
    for table in ("verifications", "pgqueuer", "pgqueuer_log", "users", "user_sessions"):
        everything += str([tuple(row) for row in await connection.fetch(f"select * from {table}")])
    await connection.close()
    assert email in everything
    assert not any(token in everything for token in tokens)


@pytest.mark.parametrize("proved", [False, True])
async def test_who_had_not_proved_the_address_may_be_a_stranger_with_keys(shop: Shop, proved: bool) -> None:
    squatter, email = await shop.sign_up()
    key = await create_key(squatter, "orders:read")
    if proved:
        await shop.caller.ask(VERIFY, token=await shop.token(email, PROVE))
    await shop.reset(await shop.reset_token(email))
    status = await shop.sql("select status from api_keys where key_identifier = $1", key["apiKey"]["keyIdentifier"])
    assert status == ("ACTIVE" if proved else "REVOKED")


async def test_tokens_that_are_long_expired_are_removed(shop: Shop) -> None:
    from app.core.cache import Cache, memory_backend
    from app.core.database import Database
    from app.core.metrics import Metrics
    from app.repositories import create_repository_factory

    _, email = await shop.sign_up()
    await shop.token(email, PROVE)
    await shop.sql("update verifications set expires_at = now() - interval '25 hours' where email = $1", email)
    database, metrics = Database(shop.dsn), Metrics()
    await database.open()
    assert await create_repository_factory(database, Cache(memory_backend(), metrics), metrics).verifications.delete_expired() == 1
    await database.close()
    assert await shop.sql("select count(*) from verifications where email = $1", email) == 0
