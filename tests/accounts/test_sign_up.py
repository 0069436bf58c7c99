"""New accounts, and how little strangers learn from asking for one."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from argon2 import PasswordHasher as Argon2

from app.accounts.api_keys import ApiKeys
from app.accounts.authentication import Authenticator
from app.accounts.models import SignUpRequest
from app.accounts.passwords import PasswordHasher
from app.accounts.sessions import Sessions
from app.accounts.sign_up import SignUp
from app.api.context import RequestInfo
from app.api.rate_limit import RateLimiter
from app.core import jobs
from app.core.errors import UserError
from app.core.metrics import Metrics
from app.core.quotas import Quotas
from app.repositories import Repositories
from tests.accounts.mailing import PASSWORD, PROVE, Shop, beside, found

AT_ONCE = 2
SUBJECT = "Your sign-up"
SIGN_UP = """
    mutation ($input: SignUpInput!) {
      signUp(input: $input) { session { user { username emailVerified } } userErrors { field message code } }
    }
"""
ELSEWHERE = "192.0.2.1"
MANY = "192.0.2.2"


@pytest.fixture(scope="module")
async def strict(shop: Shop) -> AsyncIterator[Shop]:
    """A gateway over the same database that soon wants mails to be answered; callers say where they are."""
    given = {"rate_limits": True, "sign_ups_at_once": AT_ONCE, "trusted_proxies": "127.0.0.1/32", "rate_limit_per_address": 10_000}
    async with beside(shop, **given) as strict:
        yield strict


async def sign_up(shop: Shop, email: str, username: str, address: str = ELSEWHERE, **given: Any) -> dict[str, Any]:
    input = {"email": email, "username": username, "password": PASSWORD, **given}
    response = await shop.caller.post(SIGN_UP, {"input": input}, X_Forwarded_For=address)
    answer: dict[str, Any] = response.json()["data"]["signUp"]
    return answer


def code(answer: dict[str, Any]) -> tuple[str, str]:
    assert answer["session"] is None
    (error,) = answer["userErrors"]
    return error["field"][0], error["code"]


async def users(shop: Shop, email: str) -> int:
    return int(await shop.sql("select count(*) from users where lower(email) = lower($1)", email))


async def test_that_an_address_is_taken_is_told_to_its_owner_only(shop: Shop) -> None:
    _, email = await shop.sign_up()
    answer = await sign_up(shop, email.upper(), "somebody-else")
    assert code(answer) == ("email", "CONFIRMATION_REQUIRED")
    assert "taken" not in answer["userErrors"][0]["message"]
    assert "exist" not in answer["userErrors"][0]["message"]
    text = await shop.mailbox.last_to(email, SUBJECT)
    assert "It has one already." in text
    assert "token" not in text
    assert await users(shop, email) == 1


async def test_beyond_a_few_an_hour_new_and_taken_addresses_get_one_answer(strict: Shop, shop: Shop) -> None:
    _, taken = await shop.sign_up()
    for number in range(AT_ONCE):
        assert (await sign_up(strict, f"early{number}@example.com", f"early{number}", MANY))["session"]
    answers = [await sign_up(strict, email, "latecomer", MANY) for email in (taken, "free@example.com")]
    assert code(answers[0]) == ("email", "CONFIRMATION_REQUIRED")
    assert answers[0] == answers[1]
    assert await users(strict, "free@example.com") == 0
    text = await strict.mailbox.last_to("free@example.com", SUBJECT)
    assert found(text)["page"] == "sign-up"
    assert (await sign_up(strict, "else@example.com", "elsewhere", "192.0.2.77"))["session"]


async def test_who_answers_the_mail_has_proved_the_address(strict: Shop) -> None:
    for number in range(AT_ONCE + 1):
        await sign_up(strict, f"crowd{number}@example.com", f"crowd{number}", "192.0.2.3")
    email = f"crowd{AT_ONCE}@example.com"
    token = await strict.token(email, SUBJECT)
    other = await sign_up(strict, "another@example.com", "another", "192.0.2.3", emailToken=token)
    assert code(other) == ("emailToken", "INVALID")
    answer = await sign_up(strict, email, "proved", "192.0.2.3", emailToken=token)
    assert answer == {"session": {"user": {"username": "proved", "emailVerified": True}}, "userErrors": []}
    again = await sign_up(strict, email, "again", "192.0.2.3", emailToken=token)
    assert code(again) == ("emailToken", "INVALID")
    await strict.idle()
    assert strict.mailbox.to(email, PROVE) == []


async def test_an_owner_may_know_of_the_account(strict: Shop) -> None:
    for number in range(AT_ONCE + 1):
        await sign_up(strict, f"owner{number}@example.com", f"owner{number}", "192.0.2.4")
    email = f"owner{AT_ONCE}@example.com"
    token = await strict.token(email, SUBJECT)
    assert (await sign_up(strict, email, "meanwhile", "192.0.2.5"))["session"]
    assert code(await sign_up(strict, email, "too-late", emailToken=token)) == ("email", "TAKEN")


async def test_an_installation_can_ask_everybody_to_answer_a_mail(shop: Shop) -> None:
    async with beside(shop, sign_ups_at_once=0) as careful:
        answer = await sign_up(careful, "careful@example.com", "careful")
        assert code(answer) == ("email", "CONFIRMATION_REQUIRED")
        token = await careful.token("careful@example.com", SUBJECT)
        assert (await sign_up(careful, "careful@example.com", "careful", emailToken=token))["session"]


async def test_a_taken_name_says_nothing_of_the_address(shop: Shop) -> None:
    """Else a name that is known to be taken would tell, without a trace, which addresses are."""
    _, taken = await shop.sign_up()
    name = taken.partition("@")[0]
    answers = [await sign_up(shop, email, name.upper()) for email in (taken, "nameless@example.com")]
    assert code(answers[0]) == ("username", "TAKEN")
    assert answers[0] == answers[1]
    await shop.idle()
    assert shop.mailbox.to(taken, SUBJECT) == shop.mailbox.to("nameless@example.com") == []


async def test_an_account_without_its_session_is_not_made(shop: Shop) -> None:
    await shop.sql("alter table user_sessions add constraint refused check (user_agent <> 'doomed') not valid")
    input = {"email": "half@example.com", "username": "half", "password": PASSWORD}
    response = await shop.caller.post(SIGN_UP, {"input": input}, User_Agent="doomed")
    assert response.json()["errors"][0]["extensions"]["code"] == "INTERNAL_SERVER_ERROR"
    assert await users(shop, "half@example.com") == 0
    await shop.idle()
    assert shop.mailbox.to("half@example.com") == []
    assert (await sign_up(shop, "half@example.com", "half"))["session"]


async def test_sign_ups_with_one_address_at_once_make_one_account(shop: Shop) -> None:
    answers = await asyncio.gather(*(sign_up(shop, "Rush@example.com", f"rush{number}") for number in range(8)))
    assert sum(answer["session"] is not None for answer in answers) == 1
    assert await users(shop, "rush@example.com") == 1


class Counting(Argon2):
    """argon2 that counts the hashes it makes, which are what an answer waits for."""

    made = 0

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        self.made += 1
        return super().hash(password, salt=salt)


async def test_a_taken_address_takes_as_much_work(repositories: Repositories) -> None:
    await jobs.install(repositories.database.dsn)
    argon2 = Counting(time_cost=1, memory_cost=64, parallelism=1)
    passwords = PasswordHasher(argon2)
    limiter = RateLimiter(Quotas(), Metrics(), per_address=1, per_user=1)
    authenticator = Authenticator(ApiKeys(max_lifetime=600, per_user=1), idle=600)
    maker = SignUp(passwords, Sessions(lifetime=600, per_user=5), authenticator, limiter, at_once=AT_ONCE)
    made = []
    for name, email in (("new", "a@example.com"), ("taken", "a@example.com"), ("late", "b@example.com")):
        before = argon2.made
        account = SignUpRequest(email=email, username=name, password=PASSWORD)  # type: ignore[arg-type]
        with suppress(UserError):
            await maker.sign_up(repositories, account, RequestInfo("request", "192.0.2.9"))
        made.append(argon2.made - before)
    passwords.close()
    assert made == [1, 1, 1]
