"""What follows on failed sign-ins, over HTTP from many places."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count
from typing import Any

import asyncpg
import httpx
import pytest

from app.accounts.delays import ACCOUNT, NETWORK
from tests.accounts.mailing import PASSWORD, Shop, beside, found
from tests.serving import SIGN_IN, eventually

HOME, AWAY = "192.0.2.10", "198.51.100.20"
WRONG = "not the password"
CHANGE = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { code } } }"
RESET = "mutation ($input: ResetPasswordInput!) { resetPassword(input: $input) { passwordReset } }"
REQUEST = "mutation ($email: String!) { requestPasswordReset(input: { email: $email }) { requested } }"
PROXIES = "127.0.0.1/32"

_numbers = count(1)


class Doors:
    """A gateway, and everybody who comes to it from somewhere."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop

    async def sign_up(self, address: str = HOME) -> str:
        name = f"doors{next(_numbers)}"
        input = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
        document = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } } }"
        answer = (await self.shop.caller.post(document, {"input": input}, X_Forwarded_For=address)).json()
        assert answer["data"]["signUp"]["session"], answer
        return input["email"]

    async def ask(self, email: str, password: str = WRONG, address: str = AWAY) -> httpx.Response:
        return await self.shop.caller.post(SIGN_IN, {"input": {"email": email, "password": password}}, X_Forwarded_For=address)

    async def sign_in(self, email: str, password: str = WRONG, address: str = AWAY) -> str:
        return outcome(await self.ask(email, password, address))

    async def outcomes(self, number: int, email: str, password: str = WRONG, address: str = AWAY) -> list[str]:
        return [await self.sign_in(email, password, address) for _ in range(number)]

    async def pass_time(self) -> None:
        """Let every delay be over."""
        await self.shop.sql("update sign_in_delays set blocked_until = now() - interval '1 ms'")


def outcome(response: httpx.Response) -> str:
    body: dict[str, Any] = response.json()
    if "errors" in body:
        (error,) = body["errors"]
        assert 1 <= error["extensions"]["retryAfter"] <= ACCOUNT.longest
        return str(error["extensions"]["code"])
    answer = body["data"]["signIn"]
    return "IN" if answer["session"] else str(answer["userErrors"][0]["code"])


@pytest.fixture(scope="module")
async def doors(shop: Shop) -> AsyncIterator[Doors]:
    async with beside(shop, trusted_proxies=PROXIES) as gateway:
        yield Doors(gateway)


@pytest.fixture(autouse=True)
async def afresh(shop: Shop) -> None:
    await shop.sql("delete from sign_in_delays")


FREE = ["INVALID_CREDENTIALS"] * ACCOUNT.free
NEXT = ["INVALID_CREDENTIALS", "RATE_LIMITED"]


async def test_failures_of_an_account_delay_the_next_try_whatever_is_tried(doors: Doors) -> None:
    email = await doors.sign_up()
    assert await doors.outcomes(ACCOUNT.free + 2, email) == FREE + NEXT
    assert await doors.sign_in(email.upper(), PASSWORD) == "RATE_LIMITED"
    await doors.pass_time()
    assert await doors.sign_in(email, PASSWORD) == "IN"


async def test_a_delay_tells_nothing_of_accounts(doors: Doors) -> None:
    closed = await doors.sign_up()
    await doors.shop.sql("update users set status = 'BANNED' where email = $1", closed)
    for email in (await doors.sign_up(), f"nobody{next(_numbers)}@example.com", closed, "no address at all"):
        assert await doors.outcomes(ACCOUNT.free + 2, email) == FREE + NEXT, email
    stored = str(await doors.shop.sql("select array_agg(row_to_json(sign_in_delays)) from sign_in_delays"))
    assert "example" not in stored
    assert AWAY not in stored


async def test_each_failure_doubles_the_delay_up_to_a_bound(doors: Doors) -> None:
    email = f"nobody{next(_numbers)}@example.com"
    await doors.outcomes(ACCOUNT.free, email)
    delay = (
        "select round(extract(epoch from blocked_until - updated_at)) from sign_in_delays where failures > 1 order by failures desc limit 1"
    )
    delays = []
    for _ in range(4):
        await doors.pass_time()
        await doors.sign_in(email, address=f"203.0.113.{next(_numbers)}")
        delays.append(int(await doors.shop.sql(delay)))
    assert delays == [1, 2, 4, 8]
    await doors.shop.sql("update sign_in_delays set failures = 5000 where failures > 5")
    await doors.pass_time()
    await doors.sign_in(email, address=f"203.0.113.{next(_numbers)}")
    assert int(await doors.shop.sql(delay)) == ACCOUNT.longest


async def test_trying_while_delayed_makes_it_no_longer(doors: Doors) -> None:
    email = await doors.sign_up()
    await doors.outcomes(ACCOUNT.free + 1, email)
    before = await doors.shop.sql("select max(blocked_until) from sign_in_delays")
    assert await doors.outcomes(5, email) == ["RATE_LIMITED"] * 5
    assert await doors.shop.sql("select max(blocked_until) from sign_in_delays") == before


async def test_a_success_or_a_quiet_day_is_a_new_beginning(doors: Doors) -> None:
    email = await doors.sign_up()
    await doors.outcomes(ACCOUNT.free, email)
    assert await doors.sign_in(email, PASSWORD, AWAY) == "IN"
    assert await doors.outcomes(ACCOUNT.free + 2, email) == FREE + NEXT
    await doors.pass_time()
    await doors.shop.sql("update sign_in_delays set updated_at = now() - interval '25 hours'")
    assert await doors.outcomes(ACCOUNT.free + 2, email) == FREE + NEXT


async def test_nobody_is_locked_out_at_home_by_strangers(doors: Doors) -> None:
    email = await doors.sign_up(HOME)
    await doors.outcomes(ACCOUNT.free + 1, email, address=AWAY)
    assert await doors.sign_in(email, PASSWORD, "198.51.100.77") == "RATE_LIMITED"
    assert await doors.sign_in(email, PASSWORD, HOME) == "IN"
    assert await doors.outcomes(ACCOUNT.free + 2, email, address=HOME) == FREE + NEXT
    assert await doors.sign_in(email, PASSWORD, AWAY) == "RATE_LIMITED"


async def test_a_new_password_by_mail_opens_at_once_even_under_attack(doors: Doors, shop: Shop) -> None:
    email, hotel, new = await doors.sign_up(HOME), "198.51.100.88", "a quite different one"
    await doors.outcomes(ACCOUNT.free + 1, email)
    await shop.caller.ask(REQUEST, email=email)
    token = found(await shop.mailbox.last_to(email, "Your new password"))["token"]
    input = {"token": token, "password": new}
    assert (await doors.shop.caller.post(RESET, {"input": input}, X_Forwarded_For=hotel)).json()["data"]["resetPassword"]["passwordReset"]
    await doors.outcomes(ACCOUNT.free + 1, email)
    assert await doors.sign_in(email, new, hotel) == "IN"


async def test_failures_at_many_accounts_delay_their_network(doors: Doors) -> None:
    own = await doors.sign_up(HOME)
    address = f"203.0.113.{next(_numbers)}"
    for number in range(NETWORK.free + 1):
        assert await doors.sign_in(f"victim{number}@example.com", address=address) == "INVALID_CREDENTIALS"
        if number == 10:
            assert await doors.sign_in(own, PASSWORD, address) == "IN"
    assert await doors.sign_in("another@example.com", address=address) == "RATE_LIMITED"
    assert await doors.sign_in("another@example.com", address="203.0.113.250") == "INVALID_CREDENTIALS"


async def test_processes_share_what_they_count(doors: Doors, shop: Shop) -> None:
    email = await doors.sign_up()
    async with beside(shop, trusted_proxies=PROXIES) as second:
        other = Doors(second)
        outcomes = [await each.sign_in(email) for _ in range(4) for each in (doors, other)]
    assert outcomes[: ACCOUNT.free + 1] == ["INVALID_CREDENTIALS"] * (ACCOUNT.free + 1)
    assert set(outcomes[ACCOUNT.free + 1 :]) == {"RATE_LIMITED"}


async def test_guesses_side_by_side_are_no_more_than_guesses_in_a_row(shop: Shop) -> None:
    """Hashing takes some time here, so that what fails first is counted before the right guess, the last of many, is looked at."""
    async with beside(shop, trusted_proxies=PROXIES, argon2_memory_kib=8_192, argon2_time_cost=4) as slow:
        doors = Doors(slow)
        email = await doors.sign_up()
        guesses = [WRONG] * 30 + [PASSWORD]
        outcomes = await asyncio.gather(*(doors.sign_in(email, guess) for guess in guesses))
    assert outcomes[-1] == "RATE_LIMITED"
    assert "IN" not in outcomes


async def test_a_wrong_present_password_counts(doors: Doors) -> None:
    email = await doors.sign_up()
    token = (await doors.ask(email, PASSWORD)).json()["data"]["signIn"]["session"]["token"]
    given = {"Authorization": f"Bearer {token}", "X_Forwarded_For": AWAY}
    input = {"currentPassword": WRONG, "password": "a quite different one"}
    answers = [(await doors.shop.caller.post(CHANGE, {"input": input}, **given)).json() for _ in range(ACCOUNT.free + 2)]
    codes = [answer["data"]["changePassword"]["userErrors"][0]["code"] for answer in answers[:-1]]
    assert codes == ["INVALID_CREDENTIALS"] * (ACCOUNT.free + 1)
    assert answers[-1]["errors"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_a_password_that_changes_under_a_sign_in_opens_nothing(doors: Doors) -> None:
    email = await doors.sign_up()
    connection = await asyncpg.connect(doors.shop.dsn)
    async with connection.transaction():
        await connection.execute("update users set password_hash = 'another' where email = $1", email)
        waiting = asyncio.create_task(doors.sign_in(email, PASSWORD))
        blocked = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"

        async def waits() -> bool:
            return bool(await doors.shop.sql(blocked))

        await eventually(waits)
    await connection.close()
    assert await waiting == "INVALID_CREDENTIALS"
    assert await doors.shop.sql("select count(*) from user_sessions s join users u on u.id = s.user_id where u.email = $1", email) == 1
