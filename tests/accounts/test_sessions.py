"""How many sessions an account has, and how little they write."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from tests.accounts.mailing import PASSWORD, Shop, beside
from tests.serving import SIGN_IN, Caller

MOST = 3
STAMP = "update user_sessions s set last_accessed_at = now() - interval '{age}' from users u where u.id = s.user_id and u.email = $1"
ME = "{ me { username } }"
SESSIONS = "{ sessions(first: 50) { nodes { isActive endReason } } }"


@pytest.fixture(scope="module")
async def few(shop: Shop) -> AsyncIterator[Shop]:
    async with beside(shop, sessions_per_user=MOST) as few:
        yield few


async def test_of_too_many_sessions_the_one_that_was_not_used_for_longest_ends(few: Shop) -> None:
    first, email = await few.sign_up()
    second, third = [await few.caller.sign_in(email, PASSWORD) for _ in range(2)]
    await few.sql(
        STAMP.format(age="-1 minute") + " and s.id = (select id from user_sessions where user_id = u.id order by id limit 1)", email
    )
    fourth = await few.caller.sign_in(email, PASSWORD)
    assert [(await one.post(ME)).status_code for one in (first, second, third, fourth)] == [200, 401, 200, 200]
    ended = [session for session in (await fourth.ask(SESSIONS))["sessions"]["nodes"] if not session["isActive"]]
    assert ended == [{"isActive": False, "endReason": "CONCURRENT_LIMIT"}]


async def test_the_limit_holds_for_sign_ins_at_once(few: Shop) -> None:
    _, email = await few.sign_up()
    await asyncio.gather(*(few.caller.post(SIGN_IN, {"input": {"email": email, "password": PASSWORD}}) for _ in range(10)))
    live = "select count(*) from user_sessions s join users u on u.id = user_id where email = $1 and is_active"
    assert await few.sql(live, email) == MOST


async def test_a_busy_session_is_stamped_once_a_minute(shop: Shop) -> None:
    """By however many processes: each remembers for a few seconds that it looked, the database decides."""
    anna, email = await shop.sign_up()
    stamps = "select array[last_accessed_at, s.updated_at] from user_sessions s join users u on u.id = user_id where email = $1"
    before = await shop.sql(stamps, email)
    async with beside(shop) as other:
        for gateway in (shop, other, shop, other):
            assert (await Caller(gateway.caller.http, anna.headers["Authorization"][7:]).ask(ME))["me"]
    assert await shop.sql(stamps, email) == before
    await shop.sql(STAMP.format(age="61 seconds"), email)
    async with beside(shop) as third, beside(shop) as fourth:
        both = [Caller(gateway.caller.http, anna.headers["Authorization"][7:]) for gateway in (third, fourth)]
        await asyncio.gather(*(caller.ask(ME) for caller in both for _ in range(5)))
        stamped = await shop.sql(stamps, email)
        await asyncio.gather(*(caller.ask(ME) for caller in both for _ in range(5)))
        assert await shop.sql(stamps, email) == stamped
    assert stamped[0] > before[0]
