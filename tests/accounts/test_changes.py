"""What changes about an account over HTTP, and that every process goes by it at once."""

import asyncio
import os
import sys
import threading
from typing import Any, Literal

import asyncpg
import pytest
from argon2 import Parameters, extract_parameters
from argon2 import PasswordHasher as Argon2

from app.accounts.passwords import MAX_WAITING, NICENESS, THREADS, PasswordHasher
from app.core.errors import Unavailable
from tests.accounts.test_accounts import PASSWORD, SIGN_IN, sign_up
from tests.serving import Caller, gateway, settings_for

ME = "{ me { id username } }"
ASSIGN = "mutation ($input: AssignRoleInput!) { assignRole(input: $input) { user { role { name } } userErrors { field code } } }"
CHANGE_PASSWORD = (
    "mutation ($input: ChangePasswordInput!) { changePassword(input: $input) { user { username } userErrors { field code } } }"
)
UPDATE = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { user { username firstName } userErrors { field code } } }"


async def execute(dsn: str, statement: str) -> Any:
    connection = await asyncpg.connect(dsn)
    try:
        return await connection.fetchval(statement)
    finally:
        await connection.close()


async def administrator(caller: Caller, dsn: str) -> Caller:
    await sign_up(caller, "root")
    await execute(dsn, "update users set role_id = (select id from roles where name = 'ADMIN') where username = 'root'")
    return await caller.sign_in("root@example.com", PASSWORD)


async def role_id(admin: Caller, name: str) -> str:
    found = await admin.ask("query ($name: String!) { roles(filter: { name: { eq: $name } }) { nodes { id } } }", name=name)
    return str(found["roles"]["nodes"][0]["id"])


async def test_a_sign_out_is_known_to_every_process(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as here, gateway(settings_for(database_url)) as there:
        anna = await sign_up(here, "anna")
        elsewhere = Caller(there.http)
        elsewhere.headers = anna.headers
        assert (await elsewhere.ask(ME))["me"]["username"] == "anna"
        await anna.ask("mutation { signOut { signedOut } }")
        for _ in range(250):
            if (await elsewhere.post(ME)).status_code == 401:
                return
            await asyncio.sleep(0.02)
        pytest.fail("the other process still knows the session after 5 s")


async def test_a_role_is_in_force_at_once_and_gone_at_once(caller: Caller, database_url: str) -> None:
    admin, anna = await administrator(caller, database_url), await sign_up(caller, "anna")
    anna_id = (await anna.ask(ME))["me"]["id"]
    users = "{ users { totalCount } }"
    assert (await anna.refusals(users))[0]["extensions"]["code"] == "FORBIDDEN"
    viewer = await role_id(admin, "VIEWER")
    refused = await anna.refusals(ASSIGN, input={"userId": anna_id, "roleId": viewer})
    assert refused[0]["extensions"]["code"] == "FORBIDDEN"

    given = await admin.ask(ASSIGN, input={"userId": anna_id, "roleId": viewer})
    assert given["assignRole"] == {"user": {"role": {"name": "VIEWER"}}, "userErrors": []}
    assert (await anna.ask(users))["users"]["totalCount"] == 1
    await admin.ask(ASSIGN, input={"userId": anna_id})
    assert (await anna.refusals(users))[0]["extensions"]["code"] == "FORBIDDEN"


async def test_a_role_that_cannot_be_given_is_named(caller: Caller, database_url: str) -> None:
    admin, anna = await administrator(caller, database_url), await sign_up(caller, "anna")
    anna_id, own_id = (await anna.ask(ME))["me"]["id"], (await admin.ask(ME))["me"]["id"]
    viewer = await role_id(admin, "VIEWER")
    await execute(database_url, "update roles set is_active = false where name = 'ANALYST'")
    for input, field, code in (
        ({"userId": own_id, "roleId": viewer}, "userId", "FORBIDDEN"),
        ({"userId": anna_id, "roleId": await role_id(admin, "ANALYST")}, "roleId", "NOT_FOUND"),
        ({"userId": anna_id, "roleId": viewer, "expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt", "INVALID"),
    ):
        assert (await admin.ask(ASSIGN, input=input))["assignRole"] == {"user": None, "userErrors": [{"field": [field], "code": code}]}
    assert (await admin.refusals(ASSIGN, input={"userId": viewer}))[0]["extensions"]["code"] == "BAD_USER_INPUT"
    assert await execute(database_url, "select count(*) from users where role_id is not null") == 1


async def test_there_is_always_an_administrator(caller: Caller, database_url: str) -> None:
    """Of two who demote each other at the same time, one stays; and no administrator for a time stands in for one without end."""
    admin = await administrator(caller, database_url)
    ben = await sign_up(caller, "ben")
    own_id, ben_id = (await admin.ask(ME))["me"]["id"], (await ben.ask(ME))["me"]["id"]
    all_powerful, viewer = await role_id(admin, "ADMIN"), await role_id(admin, "VIEWER")
    refused = {"user": None, "userErrors": [{"field": ["userId"], "code": "FORBIDDEN"}]}

    await admin.ask(ASSIGN, input={"userId": ben_id, "roleId": all_powerful, "expiresAt": "2100-01-01T00:00:00Z"})
    later = {"roleId": all_powerful, "expiresAt": "2100-01-01T00:00:00Z"}
    for input in ({}, {"roleId": viewer}, later):
        assert (await ben.ask(ASSIGN, input={"userId": own_id, **input}))["assignRole"] == refused
    assert await execute(database_url, "select role_revoked_at is null and role_expires_at is null from users where username = 'root'")
    again = await ben.ask(ASSIGN, input={"userId": own_id, "roleId": all_powerful})
    assert again["assignRole"]["userErrors"] == [], "it changes nothing"

    for _ in range(3):
        await execute(database_url, "update users set role_id = (select id from roles where name = 'ADMIN'), role_expires_at = null")
        await execute(database_url, "update users set role_revoked_at = null, role_revoked_by = null, role_assigned_at = now()")
        await execute(database_url, "delete from user_sessions")
        admin, ben = [await caller.sign_in(f"{name}@example.com", PASSWORD) for name in ("root", "ben")]
        answers = await asyncio.gather(
            admin.post(ASSIGN, {"input": {"userId": ben_id}}), ben.post(ASSIGN, {"input": {"userId": own_id, "roleId": viewer}})
        )
        assert sum(_took_effect(answer.json()) for answer in answers) == 1, [answer.text for answer in answers]
        left = "select count(*) from users join roles on roles.id = role_id where roles.name = 'ADMIN' and role_revoked_at is null"
        assert await execute(database_url, left) == 1


def _took_effect(answer: dict[str, Any]) -> bool:
    """Whoever was no administrator any more when it came is told so otherwise than who was one still."""
    if "errors" in answer:
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN", answer
        return False
    return bool(answer["data"]["assignRole"]["userErrors"] == [])


async def test_a_new_password_ends_every_session(caller: Caller) -> None:
    anna, new = await sign_up(caller, "anna"), "a new password"
    phone = await caller.sign_in("anna@example.com", PASSWORD)
    for input, field, code in (
        ({"currentPassword": "wrong", "password": new}, "currentPassword", "INVALID_CREDENTIALS"),
        ({"currentPassword": PASSWORD, "password": "short"}, "password", "INVALID"),
    ):
        answer = (await anna.ask(CHANGE_PASSWORD, input=input))["changePassword"]
        assert answer == {"user": None, "userErrors": [{"field": [field], "code": code}]}
    answer = (await anna.ask(CHANGE_PASSWORD, input={"currentPassword": PASSWORD, "password": new}))["changePassword"]
    assert answer == {"user": {"username": "anna"}, "userErrors": []}
    assert [(await one.post(ME)).status_code for one in (anna, phone)] == [401, 401]
    old = await caller.ask(SIGN_IN, input={"email": "anna@example.com", "password": PASSWORD})
    assert old["signIn"]["userErrors"][0]["code"] == "INVALID_CREDENTIALS"
    assert (await (await caller.sign_in("anna@example.com", new)).ask(ME))["me"]["username"] == "anna"


async def test_all_other_sessions_end_together(caller: Caller) -> None:
    anna, bert = await sign_up(caller, "anna"), await sign_up(caller, "bert")
    others = [await caller.sign_in("anna@example.com", PASSWORD) for _ in range(2)]
    assert (await anna.ask("mutation { revokeAllSessions { revoked } }"))["revokeAllSessions"]["revoked"] == 2
    assert [(await one.post(ME)).status_code for one in (*others, anna, bert)] == [401, 401, 200, 200]


async def test_a_profile_changes_within_the_rules_of_sign_up(caller: Caller) -> None:
    anna = await sign_up(caller, "anna")
    await sign_up(caller, "bert")
    answer = (await anna.ask(UPDATE, input={"username": "anna.b", "firstName": "Anna"}))["updateProfile"]
    assert answer == {"user": {"username": "anna.b", "firstName": "Anna"}, "userErrors": []}
    assert (await anna.ask(UPDATE, input={"firstName": None}))["updateProfile"]["user"] == {"username": "anna.b", "firstName": None}
    for input, field, code in (
        ({"username": "BERT"}, "username", "TAKEN"),
        ({"username": None}, "username", "INVALID"),
        ({"phone": "call me"}, "phone", "INVALID"),
        ({"imageUrl": "javascript:alert(1)"}, "imageUrl", "INVALID"),
    ):
        assert (await anna.ask(UPDATE, input=input))["updateProfile"] == {"user": None, "userErrors": [{"field": [field], "code": code}]}


@pytest.mark.parametrize("execution", ["compiled", "standard"])
async def test_an_email_is_for_its_owner_and_for_who_may_read_users(database_url: str, execution: str) -> None:
    async with gateway(settings_for(database_url, execution=execution)) as caller:
        admin = await administrator(caller, database_url)
        anna, bert = await sign_up(caller, "anna"), await sign_up(caller, "bert")
        await execute(
            database_url,
            """with store as (insert into stores (name, domain) values ('Tea', 'tea.example.com') returning id),
                 role as (insert into roles (name, display_name) values ('PACKER', 'Packer') returning id),
                 may as (insert into role_permissions (role_id, resource, action) select id, 'orders', 'read' from role)
            update users set store_id = store.id, role_id = case username when 'bert' then role.id end
            from store, role where username in ('anna', 'bert')""",
        )
        bert = await caller.sign_in("bert@example.com", PASSWORD)
        anna_id = (await anna.ask(ME))["me"]["id"]
        await execute(
            database_url,
            "insert into orders (user_id, store_id, items_total, total) select id, store_id, 10, 10 from users where username = 'anna'",
        )
        asked = "query ($id: ID!) { node(id: $id) { ... on User { username email } } orders { nodes { user { username email } } } }"

        body = (await bert.post(asked, {"id": anna_id})).json()
        assert body["data"] == {"node": None, "orders": {"nodes": [{"user": {"username": "anna", "email": None}}]}}
        assert [(error["path"][-1], error["extensions"]["code"]) for error in body["errors"]] == [("email", "FORBIDDEN")]
        for reader in (admin, anna):
            shown = {"username": "anna", "email": "anna@example.com"}
            assert await reader.ask(asked, id=anna_id) == {"node": shown, "orders": {"nodes": [{"user": shown}]}}


async def test_a_hash_of_older_parameters_is_renewed_at_sign_in(database_url: str) -> None:
    stored = "select password_hash from users"
    async with gateway(settings_for(database_url)) as caller:
        await sign_up(caller, "anna")
    old = await execute(database_url, stored)
    async with gateway(settings_for(database_url, argon2_time_cost=2)) as caller:
        await caller.ask(SIGN_IN, input={"email": "anna@example.com", "password": "wrong"})
        assert await execute(database_url, stored) == old
        anna = await caller.sign_in("anna@example.com", PASSWORD)
        new = await execute(database_url, stored)
        assert "t=1" in old
        assert "t=2" in new
        await caller.sign_in("anna@example.com", PASSWORD)
        assert await execute(database_url, stored) == new
        assert (await anna.ask(ME))["me"]["username"] == "anna"


class Recording(Argon2):
    """argon2 that keeps the parameters of each hash it verifies against: they alone decide how long that takes."""

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.verified: list[Parameters] = []

    def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
        self.verified.append(extract_parameters(str(hash)))
        return super().verify(hash, password)


async def test_an_account_that_does_not_exist_takes_as_much_work() -> None:
    argon2 = Recording(time_cost=2, memory_cost=64, parallelism=1)
    passwords = PasswordHasher(argon2)
    stored = await passwords.hash("a password")
    for hashed in (stored, None):
        assert not await passwords.verify("another", hashed)
    passwords.close()
    known, unknown = argon2.verified
    assert known == unknown


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has a priority per thread")
async def test_threads_that_hash_give_way_to_the_one_that_answers() -> None:
    passwords = PasswordHasher(Argon2(time_cost=1, memory_cost=64, parallelism=1), threads=2)
    await asyncio.gather(*(passwords.hash("a password") for _ in range(20)))
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    hashing = [thread.native_id for thread in threading.enumerate() if thread.name.startswith(THREADS) and thread.native_id]
    passwords.close()
    assert {os.getpriority(os.PRIO_PROCESS, thread) for thread in hashing} == {min(own + NICENESS, 19)}
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == own


async def test_passwords_wait_in_a_bounded_queue() -> None:
    passwords = PasswordHasher(Argon2(time_cost=1, memory_cost=64, parallelism=1), threads=1)
    results = await asyncio.gather(*(passwords.hash("a password") for _ in range(MAX_WAITING + 3)), return_exceptions=True)
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert (len(refused), len(results) - len(refused)) == (2, MAX_WAITING + 1)
    assert await passwords.verify("a password", results[0])  # type: ignore[arg-type]
    assert not await passwords.verify("another", results[0])  # type: ignore[arg-type]
    assert not await passwords.verify("a password that nobody has", None)
    assert not await passwords.verify("a password", "no hash at all")
    passwords.close()
