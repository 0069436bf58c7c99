"""Who a key stands for over HTTP: which are good, what the others are told, how often one may be used, and when it ends."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest

from tests.accounts.keys import REVOKE, Key, new_key, new_user
from tests.conftest import fresh_database
from tests.serving import Caller, eventually, gateway, settings_for

ME = "{ me { email } }"
PER_HOUR = 3


@pytest.fixture(scope="module")
async def dsn(postgres: str, migrated: str) -> AsyncIterator[str]:
    async with fresh_database(postgres, migrated) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def anybody(dsn: str) -> AsyncIterator[Caller]:
    async with gateway(settings_for(dsn)) as caller:
        yield caller


async def execute(dsn: str, statement: str, *values: Any) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement, *values)
    await connection.close()


def identifier(key: Key) -> str:
    return key.text.partition(".")[0]


async def looked_up(caller: Caller) -> float:
    lines = (await caller.http.get("/metrics")).text.splitlines()
    name = 'repository_operation_seconds_count{entity="api_keys",operation="find_holder",result="success"}'
    return next((float(line.split()[-1]) for line in lines if line.startswith(name)), 0.0)


async def test_a_key_acts_as_its_owner(anybody: Caller) -> None:
    owner, email = await new_user(anybody)
    key = await new_key(owner, "users:read")
    assert (await key.caller.ask(ME))["me"] == {"email": email}
    lower = {"Authorization": f"bearer {key.text}"}
    assert (await anybody.http.post("/graphql", json={"query": ME}, headers=lower)).json()["data"]["me"] == {"email": email}


async def test_a_busy_key_costs_no_statement(anybody: Caller) -> None:
    owner, _ = await new_user(anybody)
    key = await new_key(owner, "users:read")
    before = await looked_up(anybody)
    for _ in range(5):
        await key.caller.ask(ME)
    assert await looked_up(anybody) - before == 1


async def test_whatever_is_wrong_with_a_key_is_answered_alike_and_after_the_same_work(anybody: Caller, dsn: str) -> None:
    owner, _ = await new_user(anybody)
    revoked, expired, closed, swapped, other = [await new_key(owner, "users:read") for _ in range(5)]
    await owner.ask(REVOKE, id=revoked.id)
    past = "update api_keys set expires_at = now() - interval '1 second' where key_identifier = $1"
    await execute(dsn, past, identifier(expired))
    await execute(dsn, "update api_keys set status = 'EXPIRED' where key_identifier = $1", identifier(closed))
    banned, email = await new_user(anybody)
    of_banned = await new_key(banned, "users:read")
    await execute(dsn, "update users set status = 'BANNED' where email = $1", email)
    # A hash copied from one row into another opens nothing.
    copied = "update api_keys set key_hash = reverse(key_hash) where key_identifier = $1 returning reverse(key_hash)"
    connection = await asyncpg.connect(dsn)
    stolen = await connection.fetchval(copied, identifier(other))
    await connection.execute("update api_keys set key_hash = $2 where key_identifier = $1", identifier(swapped), stolen)
    await connection.close()

    wrong = [key.text for key in (revoked, expired, closed, of_banned)]
    wrong += [f"{identifier(swapped)}.{other.text.partition('.')[2]}", swapped.text, f"{'x' * 22}.{'y' * 43}"]
    wrong += [
        identifier(other),
        f"{identifier(other)}.",
        ".",
        "..",
        f".{'y' * 43}",
        f"{other.text}.{other.text}",
        f"{'x' * 2000}.{'y' * 2000}",
    ]
    answers: list[tuple[httpx.Response, float]] = []
    for text in wrong:
        before = await looked_up(anybody)
        response = await anybody.post(ME, Authorization=f"Bearer {text}")
        answers.append((response, await looked_up(anybody) - before))
    with_dot = [answer for answer, text in zip(answers, wrong, strict=True) if "." in text]
    assert {response.status_code for response, _ in answers} == {401}
    assert {response.headers["WWW-Authenticate"] for response, _ in answers} == {"Bearer"}
    assert len({response.text for response, _ in with_dot}) == 1
    assert {work for _, work in with_dot} == {1}
    error = with_dot[0][0].json()["errors"][0]
    assert (error["extensions"]["code"], "revoked" in error["message"]) == ("UNAUTHENTICATED", False)


async def test_a_key_ends_at_its_time_also_where_it_is_known(anybody: Caller) -> None:
    owner, _ = await new_user(anybody)
    ends = datetime.now(UTC) + timedelta(seconds=1.5)
    key = await new_key(owner, "users:read", expiresAt=ends.isoformat())
    assert (await key.caller.post(ME)).status_code == 200
    assert datetime.now(UTC) < ends, "the machine is too busy for this test"
    await asyncio.sleep((ends - datetime.now(UTC)).total_seconds() + 0.01)
    assert (await key.caller.post(ME)).status_code == 401
    assert (await owner.post(ME)).status_code == 200


async def test_a_revoked_key_opens_nothing_in_any_process(anybody: Caller, dsn: str) -> None:
    async with gateway(settings_for(dsn)) as elsewhere:
        owner, _ = await new_user(anybody)
        key, kept = await new_key(owner, "users:read"), await new_key(owner, "users:read")
        there = Caller(elsewhere.http, key.text)
        assert [(await caller.post(ME)).status_code for caller in (key.caller, there)] == [200, 200]
        await owner.ask(REVOKE, id=key.id)
        assert (await key.caller.post(ME)).status_code == 401

        async def forgotten() -> bool:
            return (await there.post(ME)).status_code == 401

        await eventually(forgotten, 2)
        assert (await kept.caller.post(ME)).status_code == 200


async def test_a_key_is_in_no_log_and_no_error(dsn: str, capsys: pytest.CaptureFixture[str]) -> None:
    async with gateway(settings_for(dsn, log_level="debug")) as caller:
        owner, _ = await new_user(caller)
        key = await new_key(owner, "users:read")
        await key.caller.ask(ME)
        await key.caller.post("{ orders { totalCount } }")
        await owner.ask(REVOKE, id=key.id)
        response = await key.caller.post(ME)
    secret = key.text.partition(".")[2]
    said = capsys.readouterr()
    assert "request" in said.out + said.err
    assert secret not in said.out + said.err + response.text


# --- Quotas


async def test_a_key_has_an_hourly_quota_of_its_own(dsn: str) -> None:
    async with gateway(settings_for(dsn, rate_limits=True, rate_limit_per_user=10)) as caller:
        owner, _ = await new_user(caller)
        key, other = await new_key(owner, "users:read"), await new_key(owner, "users:read")
        await execute(dsn, "update api_keys set rate_limit = $2 where key_identifier = $1", identifier(key), PER_HOUR)
        if (left := 3600 - datetime.now(UTC).timestamp() % 3600) < 5:
            await asyncio.sleep(left)
        *served, refused = [await key.caller.post(ME) for _ in range(PER_HOUR + 1)]
        others = [await caller.post(ME) for caller in (other.caller, owner)]
        mutated = await key.caller.post("mutation { signOut { signedOut } }")

    assert [response.status_code for response in served] == [200] * PER_HOUR
    assert {f'"key";q={PER_HOUR};w=3600' in response.headers["RateLimit-Policy"] for response in (*served, refused)} == {True}
    assert [f'"key";r={PER_HOUR - n}' in served[n - 1].headers["RateLimit"] for n in range(1, PER_HOUR + 1)] == [True] * PER_HOUR
    assert "user" not in served[0].headers["RateLimit-Policy"]
    assert refused.status_code == mutated.status_code == 429
    error = refused.json()["errors"][0]
    assert error["extensions"] == {"code": "RATE_LIMITED", "retryAfter": int(refused.headers["Retry-After"])}
    assert f"{PER_HOUR} per hour" in error["message"]
    assert [response.status_code for response in others] == [200, 200]
    assert '"key";q=1000;w=3600' in others[0].headers["RateLimit-Policy"]
