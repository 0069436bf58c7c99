"""Quotas over HTTP. Each test comes from addresses of its own, through a proxy that the gateway trusts."""

import asyncio
import time
from collections.abc import AsyncIterator
from itertools import count

import httpx
import pytest
from limits import RateLimitItemPerMinute
from starlette.applications import Starlette

from app.api.context import RequestInfo
from app.api.errors import RateLimited
from app.api.rate_limit import Per, Quota, Rate, RateLimiter, network
from app.core.metrics import Metrics
from app.core.quotas import Quotas
from app.core.security import ANONYMOUS
from tests.conftest import fresh_database
from tests.redis_server import RedisServer
from tests.serving import Caller, gateway, reached, running_app, settings_for

PER_ADDRESS = 6
PER_USER = 4
HELLO = "{ __typename }"
WRONG = {"email": "nobody@example.com", "password": "a wrong password"}
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { code } } }"
SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } userErrors { field code } } }"

_hosts = count(1)


@pytest.fixture(scope="module")
async def app(postgres: str, migrated: str) -> AsyncIterator[Starlette]:
    async with fresh_database(postgres, migrated) as dsn:
        limits = {"rate_limit_per_address": PER_ADDRESS, "rate_limit_per_user": PER_USER}
        async with running_app(settings_for(dsn, rate_limits=True, trusted_proxies="127.0.0.1/32", **limits)) as app:
            yield app


@pytest.fixture
async def caller(app: Starlette) -> AsyncIterator[Caller]:
    await early_in_a_minute()
    async with reached(app) as caller:
        yield caller


async def early_in_a_minute() -> None:
    """Windows begin with the minute; a test that ran into the next one would find more than it asks for."""
    if (left := 60 - time.time() % 60) < 5:
        await asyncio.sleep(left)


@pytest.fixture
def address() -> str:
    return f"198.51.100.{next(_hosts)}"


async def hello(caller: Caller, address: str, times: int = 1) -> list[httpx.Response]:
    return [await caller.post(HELLO, X_Forwarded_For=address) for _ in range(times)]


def tries(number: int) -> str:
    """One document of as many sign-ins, each to another account: failures of one account delay the next by themselves."""
    fields = (
        f'try{n}: signIn(input: {{ email: "nobody{n}@example.com", password: "wrong" }}) {{ userErrors {{ code }} }}' for n in range(number)
    )
    return f"mutation {{ {' '.join(fields)} }}"


async def signed_up(caller: Caller, address: str) -> str:
    account = {"email": f"{address}@example.com", "username": f"user-{address}", "password": "correct horse battery"}
    answer = (await caller.post(SIGN_UP, {"input": account}, X_Forwarded_For=address)).json()
    token: str = answer["data"]["signUp"]["session"]["token"]
    return token


async def test_an_address_beyond_its_quota_is_refused_as_a_whole(caller: Caller, address: str) -> None:
    *served, refused = await hello(caller, address, PER_ADDRESS + 1)

    assert [response.status_code for response in served] == [200] * PER_ADDRESS
    assert refused.status_code == 429
    error = refused.json()["errors"][0]
    assert error["extensions"]["code"] == "RATE_LIMITED"
    assert error["extensions"]["retryAfter"] == int(refused.headers["Retry-After"])
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert f"{PER_ADDRESS} per minute" in error["message"]
    assert "data" not in refused.json()


async def test_every_answer_says_how_the_caller_stands(caller: Caller, address: str) -> None:
    responses = await hello(caller, address, PER_ADDRESS + 1)

    assert {response.headers["RateLimit-Policy"] for response in responses} == {f'"address";q={PER_ADDRESS};w=60'}
    remaining = [response.headers["RateLimit"].split(";")[1] for response in responses]
    assert remaining == [f"r={PER_ADDRESS - number}" for number in range(1, PER_ADDRESS + 1)] + ["r=0"]


async def test_what_is_refused_before_it_is_read_counts_too(caller: Caller, address: str) -> None:
    headers = {"X-Forwarded-For": address, "Content-Type": "text/plain"}
    answers = [await caller.http.post("/graphql", content=b"{}", headers=headers) for _ in range(PER_ADDRESS + 1)]

    assert [answer.status_code for answer in answers] == [415] * PER_ADDRESS + [429]


async def test_addresses_do_not_share_a_quota(caller: Caller, address: str) -> None:
    await hello(caller, address, PER_ADDRESS + 1)

    assert (await hello(caller, "198.51.100.250"))[0].status_code == 200


async def test_a_caller_cannot_choose_its_address(caller: Caller, address: str) -> None:
    answers = [await caller.post(HELLO, X_Forwarded_For=f"203.0.113.{number}, {address}") for number in range(PER_ADDRESS + 1)]

    assert answers[-1].status_code == 429


async def test_without_trusted_proxies_nothing_that_is_forwarded_counts(database_url: str) -> None:
    await early_in_a_minute()
    async with gateway(settings_for(database_url, rate_limits=True, rate_limit_per_address=2)) as caller:
        answers = [await caller.post(HELLO, X_Forwarded_For=f"203.0.113.{number}") for number in range(3)]

    assert [answer.status_code for answer in answers] == [200, 200, 429]


async def test_an_account_has_one_quota_from_wherever_it_calls(caller: Caller, address: str) -> None:
    token = await signed_up(caller, address)
    authorization = f"Bearer {token}"

    places = [f"192.0.2.{number}" for number in range(PER_USER + 1)]
    answers = [await caller.post(HELLO, Authorization=authorization, X_Forwarded_For=place) for place in places]

    assert [answer.status_code for answer in answers] == [200] * PER_USER + [429]
    assert f'"user";q={PER_USER};w=60' in answers[0].headers["RateLimit-Policy"]
    assert '"user";r=0' in answers[-1].headers["RateLimit"]
    assert (await caller.post(HELLO, X_Forwarded_For=places[-1])).status_code == 200


async def test_aliases_of_a_field_count_one_by_one(caller: Caller, address: str) -> None:
    response = await caller.post(tries(12), X_Forwarded_For=address)

    body = response.json()
    assert response.status_code == 200
    codes = [field["userErrors"][0]["code"] for field in body["data"].values() if field]
    assert codes == ["INVALID_CREDENTIALS"] * 10
    assert [error["path"] for error in body["errors"]] == [["try10"], ["try11"]]
    assert {error["extensions"]["code"] for error in body["errors"]} == {"RATE_LIMITED"}
    assert all(error["extensions"]["retryAfter"] >= 1 for error in body["errors"])
    assert '"signIn";q=10;w=60' in response.headers["RateLimit-Policy"]


async def test_a_session_gives_no_fresh_tries_to_sign_in(caller: Caller, address: str) -> None:
    token = await signed_up(caller, address)
    await caller.post(tries(10), X_Forwarded_For=address)

    response = await caller.post(SIGN_IN, {"input": WRONG}, X_Forwarded_For=address, Authorization=f"Bearer {token}")

    assert response.json()["errors"][0]["extensions"]["code"] == "RATE_LIMITED"


async def test_refusals_are_counted(caller: Caller, address: str) -> None:
    await hello(caller, address, PER_ADDRESS + 2)

    lines = (await caller.http.get("/metrics")).text.splitlines()

    counted = next(line for line in lines if line.startswith('rate_limited_total{quota="address"}'))
    assert float(counted.split()[-1]) >= 2


async def test_health_is_not_limited(caller: Caller, address: str) -> None:
    answers = [await caller.http.get("/healthz", headers={"X-Forwarded-For": address}) for _ in range(PER_ADDRESS + 2)]

    assert {answer.status_code for answer in answers} == {200}


async def test_limits_can_be_switched_off(anonymous: Caller) -> None:
    response = await anonymous.post(HELLO)

    assert "RateLimit" not in response.headers
    assert "RateLimit-Policy" not in response.headers


async def test_gateways_share_quotas_through_redis(database_url: str, redis: RedisServer) -> None:
    await early_in_a_minute()
    settings = settings_for(database_url, rate_limits=True, rate_limit_per_address=4, redis_url=redis.url)
    async with gateway(settings) as one, gateway(settings) as other:
        answers = [await caller.post(HELLO) for _ in range(3) for caller in (one, other)]
        await redis.stop()
        alone = await one.post(HELLO)
        counted = (await one.http.get("/metrics")).text

    assert [answer.status_code for answer in answers] == [200, 200, 200, 200, 429, 429]
    assert alone.status_code in (200, 429)
    assert "quota_store_failures_total" in counted


def limiter() -> RateLimiter:
    return RateLimiter(Quotas(), Metrics(), per_address=1_000, per_user=1_000)


async def test_a_caller_without_account_is_told_apart_by_address() -> None:
    limits = limiter()
    quota = Quota.of("export", RateLimitItemPerMinute(1))

    await limits.admit_field(RequestInfo("one", "192.0.2.1"), ANONYMOUS, quota, Per.CALLER)
    await limits.admit_field(RequestInfo("two", "192.0.2.2"), ANONYMOUS, quota, Per.CALLER)

    with pytest.raises(RateLimited):
        await limits.admit_field(RequestInfo("three", "192.0.2.1"), ANONYMOUS, quota, Per.CALLER)


@pytest.mark.parametrize(
    ("address", "stands_for"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
    ],
)
def test_an_ipv6_customer_is_one_network(address: str, stands_for: str) -> None:
    assert network(address) == stands_for


@pytest.mark.parametrize("limit", ["", "many", "5", "0/fortnight"])
def test_a_rate_that_means_nothing_is_refused_where_it_is_declared(limit: str) -> None:
    with pytest.raises(ValueError, match=r".+"):
        Rate(limit)
