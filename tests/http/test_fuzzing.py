"""Operations that schemathesis generates from the introspected schema: whatever they say, the gateway answers, and never by accident."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable

import httpx
import pytest
import schemathesis
from graphql import StringValueNode, parse_value
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import Case

from app.seed.people import ADMINISTRATOR, Account
from tests.conftest import fresh_database
from tests.serving import SIGN_IN, listening, running_app, settings_for

EXAMPLES = 200
SURPRISES = {"INTERNAL_SERVER_ERROR", "UNAVAILABLE"}

NUMBERS = st.decimals(allow_nan=True, allow_infinity=True).map(str) | st.sampled_from(["12.50", "0", "-1", "99999999999999.9999"])
TIMES = st.datetimes().map(lambda time: time.isoformat() + "Z") | st.text(max_size=30)
JSON = st.sampled_from(['{a: "b", c: [1.5, null, {}]}', "[[]]", '"text"', "5", "true", "{}"])


def text(value: str) -> StringValueNode:
    return StringValueNode(value=value)


schemathesis.graphql.scalar("Decimal", NUMBERS.map(text))
schemathesis.graphql.scalar("DateTime", TIMES.map(text))
schemathesis.graphql.scalar("JSON", JSON.map(parse_value))


@pytest.fixture(scope="module")
async def target(postgres: str, demo: str) -> AsyncIterator[str]:
    """The address of a gateway that may be changed at will."""
    async with (
        fresh_database(postgres, demo) as dsn,
        running_app(settings_for(dsn)) as app,
        listening(app) as url,
    ):
        yield f"{url}/graphql"


class Session:
    """The credentials of an account; operations may end its session at any time."""

    def __init__(self, url: str, account: Account | None) -> None:
        self._url = url
        self._account = account
        self.headers: dict[str, str] = {}
        self.renew()

    def renew(self) -> None:
        if self._account is not None:
            input = {"email": self._account.email, "password": self._account.password}
            answer = httpx.post(self._url, json={"query": SIGN_IN, "variables": {"input": input}}).json()
            self.headers = {"Authorization": f"Bearer {answer['data']['signIn']['session']['token']}"}


def fuzz(url: str, account: Account | None) -> Counter[str]:
    """Send the same operations every time; how often which kind of answer came."""
    session = Session(url, account)
    schema = schemathesis.graphql.from_url(url)
    outcomes: Counter[str] = Counter()

    @settings(max_examples=EXAMPLES, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck))
    @given(case=schema.as_strategy())
    def send(case: Case) -> None:  # type: ignore[type-arg]
        response = case.call(headers=session.headers)
        assert response.status_code < 500, response.text
        found = {error.get("extensions", {}).get("code", "none") for error in response.json().get("errors", [])}
        assert not found & SURPRISES, (case.body, response.text)
        outcomes.update(found or {"answered"})
        if "UNAUTHENTICATED" in found:
            session.renew()

    send()
    return outcomes


# The gateway works in another thread meanwhile, and may use `random` for its own ends.
@pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("account", [None, ADMINISTRATOR], ids=["anonymous", "administrator"])
async def test_no_operation_is_a_surprise(target: str, account: Account | None, record_property: Callable[[str, object], None]) -> None:
    outcomes = await asyncio.to_thread(fuzz, target, account)
    record_property("figures", f"schemathesis as {account.role if account else 'anonymous'}: {dict(outcomes)}")
    assert outcomes["answered"] >= EXAMPLES / 50, "most of the schema is closed to visitors, but not all"
