"""When permissions are held: windows of time, and roles that end."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from app.accounts.conditions import WEEKDAYS, Conditions, Window, as_json, held
from tests.accounts.keys import new_user
from tests.serving import Caller, gateway, new_administrator, settings_for

OFFICE = {"days": ["MON", "TUE", "WED", "THU", "FRI"], "opens": "08:00", "closes": "18:00", "timezone": "Europe/Berlin"}
CONDITIONS: TypeAdapter[list[Window]] = TypeAdapter(Conditions)
ROLES = "{ roles { totalCount } }"
ASSIGN = "mutation ($input: AssignRoleInput!) { assignRole(input: $input) { user { role { name } } userErrors { message } } }"


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}Z")


@pytest.mark.parametrize(
    ("conditions", "now", "is_held"),
    [
        (OFFICE, "2026-06-01T06:00", True),
        (OFFICE, "2026-06-01T05:59", False),
        (OFFICE, "2026-06-01T15:59", True),
        (OFFICE, "2026-06-01T16:00", False),
        (OFFICE, "2026-12-01T06:30", False),
        (OFFICE, "2026-06-06T10:00", False),
        ({"opens": "22:00"}, "2026-06-01T23:59", True),
        ({"closes": "06:00"}, "2026-06-01T05:59", True),
        ({"closes": "06:00"}, "2026-06-01T06:00", False),
        ({"days": ["SUN"], "timezone": "Asia/Tokyo"}, "2026-06-06T15:00", True),
        ({"not_before": "2026-06-01T00:00:00Z"}, "2026-05-31T23:59", False),
        ({"not_before": "2026-06-01T00:00:00Z"}, "2026-06-01T00:00", True),
        ({"not_after": "2026-06-01T02:00:00+02:00"}, "2026-05-31T23:59", True),
        ({"not_after": "2026-06-01T02:00:00+02:00"}, "2026-06-01T00:00", False),
        ([OFFICE, {"days": ["SAT"]}], "2026-06-06T10:00", True),
        ({"own": True}, "2026-06-01T10:00", False),
        ([{"days": ["SAT"]}, {"store": "own"}], "2026-06-06T10:00", False),
        ([], "2026-06-01T10:00", False),
        (True, "2026-06-01T10:00", False),
    ],
)
def test_a_permission_is_held_while_a_window_is_open(conditions: Any, now: str, is_held: bool) -> None:
    found = held(["carts:read"], [("orders:read", conditions)], at(now))
    assert found.permissions == ({"carts:read", "orders:read"} if is_held else {"carts:read"})


@pytest.mark.parametrize(
    ("conditions", "place"),
    [
        ({}, "0"),
        ([], ""),
        ({"timezone": "UTC"}, "0"),
        ({"own": True}, "0.own"),
        ({"store": "own", "days": ["MON"]}, "0.store"),
        ({"days": []}, "0.days"),
        ({"days": ["MONDAY"]}, "0.days.0"),
        ({"days": ["MON"], "timezone": "Mars/Olympus"}, "0.timezone"),
        ({"opens": "18:00", "closes": "08:00"}, "0"),
        ({"opens": "08:00+02:00"}, "0"),
        ({"opens": "25:00"}, "0.opens"),
        ({"not_before": "2026-06-01T00:00:00"}, "0.not_before"),
        ({"not_before": "2026-06-02T00:00:00Z", "not_after": "2026-06-01T00:00:00Z"}, "0"),
        ([{"days": ["MON"]}] * 11, ""),
        ("always", ""),
    ],
)
def test_unknown_conditions_are_refused(conditions: Any, place: str) -> None:
    with pytest.raises(ValidationError) as error:
        CONDITIONS.validate_python(conditions)
    assert ".".join(str(part) for part in error.value.errors()[0]["loc"]) == place


instants = st.datetimes(datetime(2026, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC))  # noqa: DTZ001 - bounds of hypothesis
clocks = st.times().map(lambda clock: clock.replace(microsecond=0))


@st.composite
def windows(draw: st.DrawFn) -> dict[str, Any]:
    opens, closes = sorted(draw(st.lists(clocks, min_size=2, max_size=2, unique=True)))
    dates = sorted(draw(st.lists(instants, min_size=2, max_size=2, unique=True)))
    whole = {
        "opens": opens.isoformat(),
        "closes": closes.isoformat(),
        "days": sorted(draw(st.sets(st.sampled_from(WEEKDAYS), min_size=1))),
        "not_before": dates[0].isoformat(),
        "not_after": dates[1].isoformat(),
    }
    names = draw(st.sets(st.sampled_from(sorted(whole)), min_size=1))
    return {name: whole[name] for name in names} | {"timezone": draw(st.sampled_from(["UTC", "Asia/Kolkata", "Pacific/Honolulu"]))}


@settings(max_examples=200, deadline=None)
@given(window=windows(), now=instants, share=st.floats(0, 0.999))
def test_nothing_changes_before_the_next_turn(window: dict[str, Any], now: datetime, share: float) -> None:
    (read,) = CONDITIONS.validate_python(orjson.loads(orjson.dumps(as_json(CONDITIONS.validate_python(window)))))
    turn = read.next_turn(now)
    assert timedelta(0) < turn - now < timedelta(days=2)
    assert read.is_open(now) == read.is_open(now + (turn - now) * share)


async def granted(dsn: str, email: str, conditions: Any) -> None:
    """A role of the user's own, whose one permission has these conditions."""
    connection = await asyncpg.connect(dsn)
    role = await connection.fetchval("insert into roles (name, display_name) values ($1, 'Role') returning id", f"OF_{email.upper()}")
    await connection.execute(
        "insert into role_permissions (role_id, resource, action, conditions) values ($1, 'roles', 'read', $2)",
        role,
        orjson.dumps(conditions).decode(),
    )
    await connection.execute("update users set role_id = $1, role_assigned_at = now() where email = $2", role, email)
    await connection.close()


async def may_read_roles(caller: Caller) -> bool:
    body = (await caller.post(ROLES)).json()
    codes = {error["extensions"]["code"] for error in body.get("errors", [])}
    assert codes <= {"FORBIDDEN"}, body
    return not codes


async def test_permissions_come_and_go_with_the_time_and_the_role(database_url: str) -> None:
    """Each is asked before and after its turn, well within the time for which a token's viewer is remembered."""
    async with gateway(settings_for(database_url)) as caller:
        administrator = await new_administrator(caller, database_url)
        (ending, ending_email), (coming, coming_email), (unknown, unknown_email), (assigned, _) = [await new_user(caller) for _ in range(4)]
        roles = (await administrator.ask('{ roles(filter: { name: { eq: "VIEWER" } }) { nodes { id } } }'))["roles"]["nodes"]
        user = (await assigned.ask("{ me { id } }"))["me"]["id"]
        turn = datetime.now(UTC) + timedelta(seconds=2)
        await granted(database_url, ending_email, [{"not_after": turn.isoformat()}])
        await granted(database_url, coming_email, [{"not_before": turn.isoformat()}])
        await granted(database_url, unknown_email, {"store": "own"})
        # Who was known before their rows were changed behind the gateway's back is forgotten with this change.
        assignment = {"userId": user, "roleId": roles[0]["id"], "expiresAt": turn.isoformat()}
        assert (await administrator.ask(ASSIGN, input=assignment))["assignRole"]["userErrors"] == []

        callers = (ending, coming, unknown, assigned)
        before = [await may_read_roles(caller) for caller in callers]
        assert datetime.now(UTC) < turn, "the machine is too busy for this test"
        await asyncio.sleep((turn - datetime.now(UTC)).total_seconds() + 0.01)
        after = [await may_read_roles(caller) for caller in callers]
    assert (before, after) == ([True, False, False, True], [False, True, False, False])
