"""Signing up, in and out over HTTP, and whose sessions are whose."""

import asyncio

import asyncpg
import pytest

from tests.serving import Caller, gateway, settings_for

SIGN_UP = """
    mutation SignUp($input: SignUpInput!) {
      signUp(input: $input) { session { token user { id username email role { name } } } userErrors { field code } }
    }
"""
SIGN_IN = """
    mutation SignIn($input: SignInInput!) {
      signIn(input: $input) { session { token user { id loginCount } } userErrors { field message code } }
    }
"""
REVOKE = "mutation Revoke($id: ID!) { revokeSession(input: { id: $id }) { session { id isActive endReason } userErrors { code } } }"
SESSIONS = "{ sessions { nodes { id isActive endReason userAgent } } }"
PASSWORD = "correct horse battery"


async def sign_up(caller: Caller, name: str) -> Caller:
    answer = await caller.ask(SIGN_UP, input={"email": f"{name}@example.com", "username": name, "password": PASSWORD})
    assert answer["signUp"]["userErrors"] == []
    return Caller(caller.http, answer["signUp"]["session"]["token"])


async def test_a_new_account_is_signed_in_and_nobody_else(caller: Caller) -> None:
    anna = await sign_up(caller, "anna")
    assert (await anna.ask("{ me { username email status loginCount role { name } } }"))["me"] == {
        "username": "anna",
        "email": "anna@example.com",
        "status": "ACTIVE",
        "loginCount": 1,
        "role": None,
    }
    assert (await caller.ask("{ me { username } }"))["me"] is None


@pytest.mark.parametrize(
    ("change", "field", "code"),
    [
        ({"email": "ANNA@EXAMPLE.COM"}, "email", "CONFIRMATION_REQUIRED"),
        ({"username": "Anna"}, "username", "TAKEN"),
        ({"email": "no address"}, "email", "INVALID"),
        ({"username": "a"}, "username", "INVALID"),
        ({"username": "a b c"}, "username", "INVALID"),
        ({"password": "short"}, "password", "INVALID"),
        ({"password": "x" * 200}, "password", "INVALID"),
        ({"firstName": " "}, "firstName", "INVALID"),
    ],
)
async def test_what_no_account_can_have_is_named(caller: Caller, change: dict[str, str], field: str, code: str) -> None:
    await sign_up(caller, "anna")
    given = {"email": "bert@example.com", "username": "bert", "password": PASSWORD, **change}
    answer = await caller.ask(SIGN_UP, input=given)
    assert answer["signUp"] == {"session": None, "userErrors": [{"field": [field], "code": code}]}


async def test_sign_ups_with_one_email_at_once_make_one_account(caller: Caller) -> None:
    given = [{"email": "Anna@example.com", "username": f"anna{n}", "password": PASSWORD} for n in range(10)]
    answers = await asyncio.gather(*(caller.ask(SIGN_UP, input=input) for input in given))
    assert sum(answer["signUp"]["session"] is not None for answer in answers) == 1


async def test_wrong_credentials_get_one_answer(caller: Caller, database_url: str) -> None:
    await sign_up(caller, "anna")
    await sign_up(caller, "banned")
    connection = await asyncpg.connect(database_url)
    await connection.execute("update users set status = 'BANNED' where username = 'banned'")
    await connection.close()
    answers = [
        await caller.ask(SIGN_IN, input={"email": email, "password": password})
        for email, password in (("anna@example.com", "wrong"), ("nobody@example.com", PASSWORD), ("banned@example.com", PASSWORD))
    ]
    assert answers[0] == answers[1] == answers[2]
    assert [error["code"] for error in answers[0]["signIn"]["userErrors"]] == ["INVALID_CREDENTIALS"]


async def test_signing_in_ignores_the_case_of_the_email_and_counts(caller: Caller) -> None:
    await sign_up(caller, "anna")
    for count in (2, 3):
        answer = await caller.ask(SIGN_IN, input={"email": "Anna@Example.com", "password": PASSWORD})
        assert answer["signIn"]["session"]["user"]["loginCount"] == count


async def test_signing_out_ends_the_session_at_once(caller: Caller) -> None:
    anna = await sign_up(caller, "anna")
    assert (await anna.ask("{ me { username } }"))["me"] is not None
    assert (await anna.ask("mutation { signOut { signedOut userErrors { code } } }"))["signOut"]["signedOut"]
    response = await anna.post("{ me { username } }")
    assert response.status_code == 401
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_nobody_sees_or_ends_the_session_of_another(caller: Caller) -> None:
    anna, bert = await sign_up(caller, "anna"), await sign_up(caller, "bert")
    phone = await caller.sign_in("anna@example.com", PASSWORD)
    sessions = (await anna.ask(SESSIONS))["sessions"]["nodes"]
    assert len(sessions) == 2
    refused = await bert.refusals(REVOKE, id=sessions[0]["id"])
    assert refused[0]["extensions"]["code"] == "NOT_FOUND"
    assert len((await bert.ask(SESSIONS))["sessions"]["nodes"]) == 1

    newest = sessions[0]["id"]
    ended = (await anna.ask(REVOKE, id=newest))["revokeSession"]["session"]
    assert (ended["isActive"], ended["endReason"]) == (False, "REVOKED")
    assert (await phone.post("{ me { username } }")).status_code == 401
    assert (await anna.ask("{ me { username } }"))["me"] is not None


@pytest.mark.parametrize(
    "change",
    [
        "update user_sessions set expires_at = now() - interval '1 second'",
        "update user_sessions set last_accessed_at = now() - interval '5 hours'",
        "update users set status = 'INACTIVE'",
        "update users set is_deleted = true, deleted_at = now(), status = 'DELETED'",
    ],
)
async def test_a_session_ends_with_its_time_and_its_account(database_url: str, change: str) -> None:
    async with gateway(settings_for(database_url)) as caller:
        token = (await sign_up(caller, "anna")).headers
    connection = await asyncpg.connect(database_url)
    await connection.execute(change)
    await connection.close()
    async with gateway(settings_for(database_url)) as caller:
        caller.headers = token
        assert (await caller.post("{ me { username } }")).status_code == 401


async def test_a_role_counts_only_while_it_is_in_force(database_url: str) -> None:
    allowed = "{ users { totalCount } }"
    connection = await asyncpg.connect(database_url)
    try:
        async with gateway(settings_for(database_url)) as caller:
            anna = await sign_up(caller, "anna")
            assert (await anna.refusals(allowed))[0]["extensions"]["code"] == "FORBIDDEN"
        for change, may in (
            ("role_id = (select id from roles where name = 'ANALYST'), role_assigned_at = now()", True),
            ("role_expires_at = now() - interval '1 minute'", False),
            ("role_expires_at = null, role_revoked_at = now()", False),
            ("role_revoked_at = null", True),
        ):
            await connection.execute(f"update users set {change}")
            async with gateway(settings_for(database_url)) as caller:
                caller.headers = anna.headers
                body = (await caller.post(allowed)).json()
                assert ("errors" not in body) is may, body
    finally:
        await connection.close()


async def test_nothing_secret_is_stored_or_shown(caller: Caller, database_url: str) -> None:
    anna = await sign_up(caller, "anna")
    token = anna.headers["Authorization"].removeprefix("Bearer ")
    connection = await asyncpg.connect(database_url)
    stored = str([tuple(row) for table in ("users", "user_sessions") for row in await connection.fetch(f"select * from {table}")])
    await connection.close()
    assert token not in stored
    assert PASSWORD not in stored
    assert "$argon2id$" in stored
    types = await anna.ask("{ __schema { types { name fields { name } } } }")
    fields = [field["name"].lower() for kind in types["__schema"]["types"] if kind["name"] != "Mutation" for field in kind["fields"] or []]
    # A webhook's secret stands in the answer that makes it, and in no object.
    assert [name for name in fields if "hash" in name or "password" in name or name == "secret"] == ["passwordreset", "secret"]


async def test_hashing_does_not_hold_up_others(database_url: str) -> None:
    slow = settings_for(database_url, argon2_time_cost=6, argon2_memory_kib=65_536, response_cache="off")
    async with gateway(slow) as caller:
        hashing = asyncio.create_task(caller.ask(SIGN_IN, input={"email": "nobody@example.com", "password": PASSWORD}))
        await asyncio.sleep(0.01)
        answered = 0
        while not hashing.done():
            await caller.ask("{ products(first: 1) { nodes { id } } }")
            answered += 1
        await hashing
    assert answered >= 3
