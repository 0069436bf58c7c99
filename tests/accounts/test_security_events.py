"""The security log: what is in it, and who reads it."""

from datetime import timedelta
from typing import Any

import pytest

from tests.accounts.keys import create_key
from tests.accounts.mailing import PASSWORD, PROVE, Shop
from tests.serving import SIGN_IN, Caller

NEW = "a quite different one"
EVENTS = """
    query ($filter: SecurityEventFilter) {
      securityEvents(first: 50, filter: $filter) {
        nodes { id type ipAddress userAgent details user { username } session { id } performedBy { username } }
      }
    }
"""
ID = "{ me { id } }"
ROLE = "query ($name: String!) { roles(filter: { name: { eq: $name } }) { nodes { id } } }"
ASSIGN = "mutation ($input: AssignRoleInput!) { assignRole(input: $input) { userErrors { code } } }"
OUT = "mutation { signOut { signedOut } }"
REVOKE = "mutation ($id: ID!) { revokeSession(input: { id: $id }) { session { endReason } } }"
REVOKE_KEY = "mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { status } } }"
REVOKE_ALL = "mutation { revokeAllSessions { revoked } }"
CHANGE = "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { userErrors { code } } }"
REQUEST = "mutation ($email: String!) { requestPasswordReset(input: { email: $email }) { requested } }"
RESET = "mutation ($input: ResetPasswordInput!) { resetPassword(input: $input) { passwordReset } }"
VERIFY = "mutation ($token: String!) { verifyEmail(input: { token: $token }) { emailVerified } }"


async def events(caller: Caller, **filter: Any) -> list[dict[str, Any]]:
    """Oldest first."""
    nodes: list[dict[str, Any]] = (await caller.ask(EVENTS, filter=filter))["securityEvents"]["nodes"]
    return nodes[::-1]


def types(found: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in found]


async def administrator(shop: Shop) -> Caller:
    _, email = await shop.sign_up()
    await shop.sql(
        "update users set role_id = (select id from roles where name = 'ADMIN'), role_assigned_at = now() where email = $1", email
    )
    return await shop.caller.sign_in(email, PASSWORD)


async def test_everything_that_matters_is_noted_with_its_place(shop: Shop) -> None:
    anna, email = await shop.sign_up()
    await shop.caller.ask(VERIFY, token=await shop.token(email, PROVE))
    await shop.caller.ask(SIGN_IN, input={"email": email, "password": "wrong"})
    phone = await shop.caller.post(SIGN_IN, {"input": {"email": email, "password": PASSWORD}}, User_Agent="phone/1")
    session = phone.json()["data"]["signIn"]["session"]["token"]
    await Caller(shop.caller.http, session).ask(OUT)
    laptop = await shop.caller.sign_in(email, PASSWORD)
    key = (await create_key(anna, "orders:read"))["apiKey"]
    await anna.ask(REVOKE_KEY, id=key["id"])
    await laptop.ask(REVOKE_ALL)
    await laptop.ask(CHANGE, input={"currentPassword": PASSWORD, "password": NEW})
    await shop.caller.ask(REQUEST, email=email)
    await shop.caller.ask(RESET, input={"token": await shop.token(email, "Your new password"), "password": PASSWORD})
    anna = await shop.caller.sign_in(email, PASSWORD)

    found = await events(anna)
    assert types(found) == [
        "SIGNED_UP",
        "EMAIL_VERIFIED",
        "SIGN_IN_FAILED",
        "SIGNED_IN",
        "SIGNED_OUT",
        "SIGNED_IN",
        "API_KEY_CREATED",
        "API_KEY_REVOKED",
        "SESSIONS_REVOKED",
        "PASSWORD_CHANGED",
        "PASSWORD_RESET_REQUESTED",
        "PASSWORD_RESET",
        "SIGNED_IN",
    ]
    assert {event["ipAddress"] for event in found} == {"127.0.0.1"}
    assert {event["user"]["username"] for event in found} == {email.partition("@")[0]}
    assert found[3]["userAgent"] == "phone/1"
    assert found[3]["session"] == found[4]["session"] != None  # noqa: E711
    assert found[6]["details"] == {"name": "robot", "keyIdentifier": key["keyIdentifier"], "scopes": ["orders:read"]}
    assert found[7]["details"] == {"name": "robot", "keyIdentifier": key["keyIdentifier"]}
    assert found[8]["details"] == {"sessions": 1}


async def test_a_session_that_is_ended_from_elsewhere_is_named(shop: Shop) -> None:
    anna, email = await shop.sign_up()
    await shop.caller.sign_in(email, PASSWORD)
    newest = (await anna.ask("{ sessions(first: 1) { nodes { id } } }"))["sessions"]["nodes"][0]["id"]
    await anna.ask(REVOKE, id=newest)
    last = (await events(anna))[-1]
    assert (last["type"], last["session"]) == ("SESSION_REVOKED", {"id": newest})


async def test_roles_are_given_by_somebody(shop: Shop) -> None:
    admin, (anna, email) = await administrator(shop), await shop.sign_up()
    anna_id = (await anna.ask(ID))["me"]["id"]
    viewer = (await admin.ask(ROLE, name="VIEWER"))["roles"]["nodes"][0]["id"]
    await admin.ask(ASSIGN, input={"userId": anna_id, "roleId": viewer})
    await admin.ask(ASSIGN, input={"userId": anna_id})
    given, taken = (await events(anna))[-2:]
    name = (await admin.ask("{ me { username } }"))["me"]["username"]
    assert (given["type"], given["details"]["role"], given["performedBy"]) == ("ROLE_ASSIGNED", "VIEWER", {"username": name})
    assert (taken["type"], taken["details"]["role"], taken["performedBy"]) == ("ROLE_REVOKED", "VIEWER", {"username": name})
    assert email


async def test_a_refused_change_of_role_is_not_noted(shop: Shop) -> None:
    admin = await administrator(shop)
    own = (await admin.ask(ID))["me"]["id"]
    assert (await admin.ask(ASSIGN, input={"userId": own}))["assignRole"]["userErrors"][0]["code"] == "FORBIDDEN"
    assert "ROLE_REVOKED" not in types(await events(admin, userId={"eq": own}))


async def test_everybody_reads_the_own_log_and_administrators_all(shop: Shop) -> None:
    (anna, _), (bert, _), admin = await shop.sign_up(), await shop.sign_up(), await administrator(shop)
    anna_id = (await anna.ask(ID))["me"]["id"]
    assert types(await events(anna)) == ["SIGNED_UP"]
    assert await events(bert, userId={"eq": anna_id}) == []
    assert types(await events(admin, userId={"eq": anna_id})) == ["SIGNED_UP"]
    event_id = (await events(anna))[0]["id"]
    node = "query ($id: ID!) { node(id: $id) { ... on SecurityEvent { type userAgent } } }"
    assert (await anna.ask(node, id=event_id))["node"]["type"] == "SIGNED_UP"
    assert (await bert.ask(node, id=event_id))["node"] is None
    refused = await shop.caller.refusals(EVENTS)
    assert refused[0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize(("permission", "sees"), [("security", True), ("users", False)])
async def test_staff_read_of_their_store_with_the_permission(shop: Shop, permission: str, sees: bool) -> None:
    (colleague, mail), (customer, _), (_, staff) = await shop.sign_up(), await shop.sign_up(), await shop.sign_up()
    await shop.sql(
        """with store as (insert into stores (name, domain) values ('Tea', $3 || '.tea.example.com') returning id),
             role as (insert into roles (name, display_name) values ('GUARD_' || upper($3), 'Guard') returning id),
             may as (insert into role_permissions (role_id, resource, action) select id, $3, 'read' from role)
        update users set store_id = store.id, role_id = case email when $2 then role.id end from store, role where email in ($1, $2)""",
        mail,
        staff,
        permission,
    )
    guard = await shop.caller.sign_in(staff, PASSWORD)
    colleague_id, customer_id = [(await one.ask(ID))["me"]["id"] for one in (colleague, customer)]
    assert types(await events(guard, userId={"eq": colleague_id})) == (["SIGNED_UP"] if sees else [])
    assert await events(guard, userId={"eq": customer_id}) == []
    assert "SIGNED_IN" in types(await events(guard))


async def test_old_events_are_removed(shop: Shop) -> None:
    from app.accounts.repository import SecurityEventRepository
    from app.resources import open_resources
    from tests.serving import settings_for

    anna, email = await shop.sign_up()
    await shop.caller.sign_in(email, PASSWORD)
    await shop.sql(
        "update security_events set created_at = now() - interval '400 days' "
        "where type = 'SIGNED_UP' and user_id = (select id from users where email = $1)",
        email,
    )
    async with open_resources(settings_for(shop.dsn)) as resources:
        repository = resources.repositories.of(SecurityEventRepository)
        assert await repository.delete_before(resources.repositories.now() - timedelta(days=365)) == 1
    assert types(await events(anna)) == ["SIGNED_IN"]
