"""Deleted accounts: nothing tells of their person any more, what others need is as it was, and nobody goes who must not."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from app.api.scalars import decode_id, encode_id
from app.core.errors import Unavailable
from app.privacy.erasing import Erasure
from app.privacy.repository import ErasureRepository
from tests.privacy.conftest import Premises
from tests.privacy.person import (
    DELETE,
    EMAIL,
    PASSWORD,
    SIGN_IN,
    TRACK,
    Person,
    buy,
    done,
    found_in_clickhouse,
    found_in_postgres,
    leave_traces,
)
from tests.serving import SIGN_UP, Caller, eventually

EVENTS = "SELECT count() AS n, countIf(user_id IS NOT NULL) AS known FROM user_events FINAL WHERE source = 'client'"
SPOOLED = """select sum(events) from event_spool where convert_from(lines, 'utf8') not like '%"source":"platform"%'"""
"""What the platform tells of orders and carts arrives whenever its jobs have run."""


async def person(premises: Premises) -> Person:
    return await leave_traces(premises.visitor.http, premises.administrator, premises.repositories, premises.mailbox)


async def bystander(premises: Premises, product: str) -> tuple[Caller, str]:
    """Somebody else who has bought and looked around."""
    given = {"email": "sam@example.com", "username": "sam", "password": PASSWORD}
    caller = Caller(premises.visitor.http, (await done(premises.visitor, SIGN_UP, input=given))["session"]["token"])
    await done(caller, TRACK, input={"sessionId": "another", "events": [{"eventType": "PAGE_VIEW", "metadata": {"page": 1}}]})
    return caller, await buy(caller, product, "mine", "tok_success")


ORDER = """query ($id: ID!) { order(id: $id) {
    number status total currency completedAt items { name quantity price } payments { amount status capturedAmount refundedAmount } } }"""
OWN = "{ me { email username } orders { nodes { id total idempotencyKey } } securityEvents { totalCount } sessions { totalCount } }"


async def refusal(caller: Caller, password: str = PASSWORD) -> tuple[str, Any]:
    [error] = (await caller.ask(DELETE, password=password))["deleteAccount"]["userErrors"]
    return error["code"], error["field"]


async def test_nothing_tells_of_a_person_whose_account_is_deleted(premises: Premises, capsys: pytest.CaptureFixture[str]) -> None:
    robin = await person(premises)
    product = encode_id("Product", await premises.connection.fetchval("select id from products"))
    sam, _ = await bystander(premises, product)
    clickhouse = premises.repositories.clickhouse
    assert clickhouse is not None

    async def traces() -> dict[str, set[str]]:
        """Where anything tells of the person; of its account, which is nobody's afterwards, where events do."""
        stored = await found_in_clickhouse(clickhouse, [*robin.words, str(robin.id)])
        known = await found_in_postgres(premises.connection, robin.words)
        known[str(robin.id)] = set()
        return {word: stored[word] | known[word] for word in stored if stored[word] | known[word]}

    before = await traces()
    assert set(before) == {*robin.words, str(robin.id)}, "each word is somewhere"
    assert {place for places in before.values() for place in places} >= {
        "user_events",
        "event_spool.lines",
        "users.email",
        "carts.email",
        "carts.cart_token_hash",
        "orders.idempotency_key",
        "payments.idempotency_key",
        "refunds.reason",
        "notifications.message",
        "api_keys.key_identifier",
        "user_sessions.token_hash",
        "security_events.ip_address",
        "verifications.email",
        "recovery_events.recipient_hash",
        "mail_opt_outs.address_hash",
        "idempotency_keys.key",
        "quality_anomalies.sample_data",
        "pgqueuer.payload",
    }
    order, others = await premises.administrator.ask(ORDER, id=robin.order), await sam.ask(OWN)
    [events] = await clickhouse.fetch(EVENTS)

    assert await refusal(robin.caller, "wrong") == ("INVALID_CREDENTIALS", ["password"])
    assert (await robin.caller.ask("{ me { username } }"))["me"] == {"username": "robinquill"}
    assert await done(robin.caller, DELETE, password=PASSWORD) == {"deleted": True, "userErrors": []}

    # At once: nobody enters any more, and PostgreSQL knows nothing.
    for caller in (robin.caller, robin.key):
        assert (await caller.post("{ me { id } }")).json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    gone = await premises.visitor.ask(SIGN_IN, input={"email": EMAIL, "password": PASSWORD})
    assert [error["code"] for error in gone["signIn"]["userErrors"]] == ["INVALID_CREDENTIALS"]
    known = await found_in_postgres(premises.connection, robin.words)
    assert {place for places in known.values() for place in places} <= {"event_spool.lines"}

    await Erasure(premises.repositories, premises.storage).erase({"user_id": str(robin.id), "last": True})
    assert await traces() == {}
    assert await premises.connection.fetchval("select finished_at from account_erasures where user_id = $1", robin.id)

    # What is not the person's is as it was.
    assert await premises.administrator.ask(ORDER, id=robin.order) == order
    assert await sam.ask(OWN) == others
    [after] = await clickhouse.fetch(EVENTS)
    assert (after["n"], after["known"]) == (events["n"], events["known"] - 2)
    assert await premises.connection.fetchval(SPOOLED) == 2
    said = capsys.readouterr().out.lower()
    assert not [word for word in robin.words if word.lower() in said]

    # The address is free, and the new account knows nothing of the old one.
    new = await done(premises.visitor, SIGN_UP, input={"email": EMAIL, "username": "robinquill", "password": PASSWORD})
    seen = await Caller(premises.visitor.http, new["session"]["token"]).ask(OWN)
    assert (seen["orders"]["nodes"], seen["securityEvents"]["totalCount"]) == ([], 1)


async def test_an_erasure_that_was_interrupted_is_taken_up(premises: Premises) -> None:
    """The job died after its first step, once while ClickHouse was away and once in its midst; a schedule finds what was given up."""
    robin = await person(premises)
    repositories = premises.repositories
    assert repositories.clickhouse is not None
    async with repositories.transaction() as tx:
        user = await tx.users.get_by_id(robin.id)
        await tx.of(ErasureRepository).close_account(robin.id, user.password_hash)

    job, events = {"user_id": str(robin.id), "last": True}, repositories.user_events
    with pytest.raises(Unavailable):
        await Erasure(replace(repositories, clickhouse=None), premises.storage).erase(job)
    await events.unlink_visits(await events.find_visits(robin.id))
    assert (await found_in_clickhouse(repositories.clickhouse, [EMAIL]))[EMAIL], "the account's own events are the last"

    await premises.connection.execute("update account_erasures set created_at = now() - interval '1 hour'")
    await Erasure(repositories, premises.storage).take_up_left()

    async def finished() -> bool:
        return bool(await premises.connection.fetchval("select finished_at is not null from account_erasures"))

    await eventually(finished, 60)
    for _ in range(2):
        assert not any((await found_in_clickhouse(repositories.clickhouse, [*robin.words, str(robin.id)])).values())
        assert not any((await found_in_postgres(premises.connection, robin.words)).values())
        await Erasure(repositories, premises.storage).erase(job)


async def test_who_must_settle_something_first(premises: Premises) -> None:
    robin = await person(premises)
    product = encode_id("Product", await premises.connection.fetchval("select id from products"))
    order = await buy(robin.caller, product, "open", None)
    assert await refusal(robin.caller) == ("CONFLICT", None)
    key = decode_id(order, "Order", "id")
    await premises.connection.execute("update orders set status = 'CANCELLED', cancelled_at = now() where id = $1", key)
    await premises.connection.execute("update stores set owner_id = $1", robin.id)
    assert await refusal(robin.caller) == ("FORBIDDEN", None)
    await premises.connection.execute("update stores set owner_id = null")
    assert await premises.connection.fetchval("select count(*) from account_erasures") == 0
    assert (await robin.caller.ask("{ me { username } }"))["me"] == {"username": "robinquill"}
    await done(robin.caller, DELETE, password=PASSWORD)
    assert (await premises.visitor.post(DELETE, {"password": PASSWORD})).json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    refused = (await robin.key.post(DELETE, {"password": PASSWORD})).json()
    assert refused["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


async def test_the_last_administrator_stays(premises: Premises) -> None:
    """Of two who go at the same time, one does."""
    callers = [premises.administrator]
    assert await refusal(premises.administrator, "owner-password-1") == ("FORBIDDEN", None)
    given = {"email": "second@example.com", "username": "second", "password": "owner-password-1"}
    await done(premises.visitor, SIGN_UP, input=given)
    await premises.connection.execute("update users set role_id = (select id from roles where name = 'ADMIN'), role_assigned_at = now()")
    callers.append(await premises.visitor.sign_in("second@example.com", "owner-password-1"))
    answers = await asyncio.gather(*(caller.ask(DELETE, password="owner-password-1") for caller in callers))
    assert sorted(answer["deleteAccount"]["deleted"] for answer in answers) == [False, True]
    left = "select count(*) from users where status = 'ACTIVE' and role_id is not null"
    assert await premises.connection.fetchval(left) == 1
