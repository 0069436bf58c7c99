"""Proving an address and setting a new password by mail, over HTTP and a real SMTP server."""

import asyncio
import json
from typing import Any

import asyncpg
import pytest

from tests.accounts.keys import create_key
from tests.accounts.mailing import PASSWORD, PROVE, Shop, found
from tests.serving import SIGN_UP, gateway, settings_for

NEW = "a quite different one"
RESET = "Your new password"
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


async def reset_token(shop: Shop, email: str, count: int = 1) -> str:
    await shop.caller.ask(REQUEST, email=email)
    return await shop.token(email, RESET, count)


async def reset(shop: Shop, token: str, password: str = NEW) -> Any:
    return (await shop.caller.ask(RESET_PASSWORD, token=token, password=password))["resetPassword"]


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
    token = await reset_token(shop, email.upper())
    assert await reset(shop, token) == {"passwordReset": True, "userErrors": []}
    assert [(await one.post(ME)).status_code for one in (anna, phone)] == [401, 401]
    assert [await shop.may_sign_in(email, password) for password in (PASSWORD, NEW)] == [False, True]
    assert (await (await shop.caller.sign_in(email, NEW)).ask(ME))["me"]["emailVerified"] is True
    assert "https://shop.example" in await shop.mailbox.last_to(email, "Your password was changed")
    assert await reset(shop, token, PASSWORD) == {"passwordReset": False, **REFUSED}
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
        queued = await connection.fetch(
            "select entrypoint, convert_from(payload, 'utf8')::jsonb - 'event_id' as job from pgqueuer order by id"
        )
        made = await connection.fetchval("select count(*) from verifications")
        await connection.close()
    assert {job["entrypoint"] for job in queued} == {"accounts.mail"}
    place = {"ip_address": "127.0.0.1", "user_agent": caller.http.headers["User-Agent"]}
    assert [json.loads(job["job"]) for job in queued] == [
        {"kind": "PASSWORD_RESET", "email": email, **place} for email in ("anna@example.com", "nobody@example.com")
    ]
    assert made == 0


async def test_only_the_last_token_is_good(shop: Shop) -> None:
    _, email = await shop.sign_up()
    first, second = await reset_token(shop, email), await reset_token(shop, email, 2)
    assert await reset(shop, first) == {"passwordReset": False, **REFUSED}
    assert (await reset(shop, second))["passwordReset"]


async def test_a_token_is_good_for_one_purpose(shop: Shop) -> None:
    _, email = await shop.sign_up()
    proof, renewal = await shop.token(email, PROVE), await reset_token(shop, email)
    assert await reset(shop, proof) == {"passwordReset": False, **REFUSED}
    assert (await shop.caller.ask(VERIFY, token=renewal))["verifyEmail"]["emailVerified"] is False


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
    token = await reset_token(shop, email)
    await shop.sql(change, email)
    assert await reset(shop, token) == {"passwordReset": False, **REFUSED}


async def test_of_many_uses_at_once_one_counts(shop: Shop) -> None:
    _, email = await shop.sign_up()
    token = await reset_token(shop, email)
    answers = await asyncio.gather(*(reset(shop, token, f"{NEW} {number}") for number in range(6)))
    (winner,) = [number for number, answer in enumerate(answers) if answer["passwordReset"]]
    assert await shop.may_sign_in(email, f"{NEW} {winner}")


async def test_what_no_password_or_token_can_be_is_refused_and_the_token_kept(shop: Shop) -> None:
    _, email = await shop.sign_up()
    token = await reset_token(shop, email)
    for given, password, field in ((token, "short", "password"), ("x" * 201, NEW, "token")):
        assert await reset(shop, given, password) == {"passwordReset": False, "userErrors": [{"field": [field], "code": "INVALID"}]}
    assert (await shop.caller.ask(REQUEST, email="no address"))["requestPasswordReset"]["userErrors"][0]["field"] == ["email"]
    assert (await reset(shop, token))["passwordReset"]


async def test_nobody_can_fill_a_mailbox_or_void_what_is_in_it(shop: Shop) -> None:
    _, email = await shop.sign_up()
    for number in range(5):
        token = await reset_token(shop, email, number + 1)
    for _ in range(3):
        await shop.caller.ask(REQUEST, email=email)
    await shop.idle()
    assert len(shop.mailbox.to(email, RESET)) == 5
    assert (await reset(shop, token))["passwordReset"]
    await shop.sql("update verifications set mails_since = mails_since - interval '61 minutes' where email = $1", email)
    await reset_token(shop, email, 6)


async def test_a_mail_that_fails_is_sent_later_and_one_that_is_refused_never(shop: Shop) -> None:
    _, email = await shop.sign_up()
    await shop.idle()
    shop.mailbox.replies.append("451 try again later")
    assert (await reset(shop, await reset_token(shop, email)))["passwordReset"]
    await shop.idle()
    shop.mailbox.replies.append("550 no such mailbox")
    await shop.caller.ask(REQUEST, email=email)
    await shop.idle()
    assert len(shop.mailbox.to(email, RESET)) == 1


async def test_no_token_can_be_read_from_the_database(shop: Shop) -> None:
    _, email = await shop.sign_up()
    shop.mailbox.replies.append("451 try again later")
    tokens = [await reset_token(shop, email), await shop.token(email, PROVE)]
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
    await reset(shop, await reset_token(shop, email))
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
