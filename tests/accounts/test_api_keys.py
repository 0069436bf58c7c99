"""API keys over HTTP: how they are made and how they end."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from app.accounts.api_keys import secret_hash
from tests.accounts.keys import REVOKE, create_key, new_key, new_user
from tests.conftest import fresh_database
from tests.serving import Caller, gateway, settings_for

KEYS = "{ apiKeys { nodes { id name status keyIdentifier scopes } } }"
PER_USER = 4


@pytest.fixture(scope="module")
async def dsn(postgres: str, migrated: str) -> AsyncIterator[str]:
    async with fresh_database(postgres, migrated) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def anybody(dsn: str) -> AsyncIterator[Caller]:
    async with gateway(settings_for(dsn, api_keys_per_user=PER_USER, api_key_max_lifetime=400 * 86_400)) as caller:
        yield caller


@pytest.fixture
async def owner(anybody: Caller) -> Caller:
    owner, _ = await new_user(anybody)
    return owner


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


async def test_a_key_is_shown_once(owner: Caller, dsn: str) -> None:
    payload = await create_key(owner, "orders:write", "orders:read", name="  shipping robot ")
    key = payload["apiKey"]
    identifier, _, secret = payload["keySecret"].partition(".")

    assert (len(identifier), len(secret)) == (22, 43)
    assert (key["keyIdentifier"], key["keyPreview"]) == (identifier, f"{identifier}...")
    assert (key["name"], key["scopes"]) == ("shipping robot", ["orders:read", "orders:write"])
    assert (key["status"], key["isActive"], key["rateLimit"], key["usageCount"], key["lastUsedAt"]) == ("ACTIVE", True, 1000, 0, None)
    lifetime = datetime.fromisoformat(key["expiresAt"]) - datetime.fromisoformat(key["createdAt"])
    assert abs(lifetime - timedelta(days=365)) < timedelta(minutes=1)

    connection = await asyncpg.connect(dsn)
    stored = await connection.fetch("select * from api_keys")
    await connection.close()
    assert secret not in str([tuple(row) for row in stored])
    assert secret_hash(identifier, secret) in {row["key_hash"] for row in stored}
    assert secret not in str((await owner.ask(KEYS))["apiKeys"])


@pytest.mark.parametrize(
    ("given", "field", "says"),
    [
        ({"name": " "}, "name", ""),
        ({"name": "x" * 201}, "name", "200"),
        ({"scopes": []}, "scopes", "1"),
        ({"scopes": ["orders:read", "orders:fly", "moon:read"]}, "scopes", "'moon:read', 'orders:fly'; the scopes are analytics:read, "),
        ({"scopes": ["*:*"]}, "scopes", "'*:*'"),
        ({"scopes": ["sessions:read"]}, "scopes", "'sessions:read'"),
        ({"scopes": ["x" * 5000]}, "scopes", "'xxx"),
        ({"scopes": ["orders:read"] * 21}, "scopes", "20"),
        ({"expiresAt": in_days(-1)}, "expiresAt", "future"),
        ({"expiresAt": in_days(401)}, "expiresAt", "not be later than"),
    ],
)
async def test_what_no_key_can_be_is_named(owner: Caller, given: dict[str, object], field: str, says: str) -> None:
    payload = await create_key(owner, **{"scopes": ["orders:read"], **given})
    (error,) = payload["userErrors"]
    assert (payload["apiKey"], payload["keySecret"]) == (None, None)
    assert (error["field"], error["code"]) == ([field], "INVALID")
    assert says in error["message"]
    assert len(error["message"]) < 1000
    assert (await owner.ask(KEYS))["apiKeys"]["nodes"] == []


async def test_a_key_may_live_as_long_as_the_settings_say(owner: Caller, database_url: str) -> None:
    payload = await create_key(owner, "orders:read", expiresAt=in_days(399))
    assert datetime.fromisoformat(payload["apiKey"]["expiresAt"]) > datetime.now(UTC) + timedelta(days=398)
    async with gateway(settings_for(database_url, api_key_max_lifetime=3600)) as caller:
        short = await create_key((await new_user(caller))[0], "orders:read")
    assert datetime.fromisoformat(short["apiKey"]["expiresAt"]) < datetime.now(UTC) + timedelta(hours=1)


async def test_an_account_has_a_limited_number_of_live_keys(owner: Caller, dsn: str) -> None:
    payloads = await asyncio.gather(*(create_key(owner, "orders:read") for _ in range(PER_USER + 3)))
    made = [payload["apiKey"] for payload in payloads if payload["apiKey"]]
    errors = {(error["code"], error["field"]) for payload in payloads for error in payload["userErrors"]}
    assert (len(made), errors) == (PER_USER, {("LIMIT_EXCEEDED", None)})

    await owner.ask(REVOKE, id=made[0]["id"])
    assert (await create_key(owner, "orders:read"))["apiKey"] is not None
    connection = await asyncpg.connect(dsn)
    past = "update api_keys set expires_at = now() - interval '1 second' where key_identifier = $1"
    await connection.execute(past, made[1]["keyIdentifier"])
    await connection.close()
    assert (await create_key(owner, "orders:read"))["apiKey"] is not None
    assert (await create_key(owner, "orders:read"))["apiKey"] is None


async def test_a_key_is_revoked_once_and_by_its_owner(anybody: Caller, owner: Caller) -> None:
    key = await new_key(owner, "orders:read")
    stranger, _ = await new_user(anybody)
    assert (await stranger.refusals(REVOKE, id=key.id))[0]["extensions"]["code"] == "NOT_FOUND"
    assert (await anybody.refusals(REVOKE, id=key.id))[0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert (await stranger.ask(KEYS))["apiKeys"]["nodes"] == []
    assert [node["status"] for node in (await owner.ask(KEYS))["apiKeys"]["nodes"]] == ["ACTIVE"]

    first = (await owner.ask(REVOKE, id=key.id))["revokeApiKey"]
    again = (await owner.ask(REVOKE, id=key.id))["revokeApiKey"]
    assert (first["apiKey"]["status"], first["apiKey"]["isActive"], first["keySecret"]) == ("REVOKED", False, None)
    assert again == first


async def test_only_who_is_signed_in_makes_keys(anybody: Caller) -> None:
    create = 'mutation { createApiKey(input: { name: "robot", scopes: ["orders:read"] }) { keySecret } }'
    assert (await anybody.refusals(create))[0]["extensions"]["code"] == "UNAUTHENTICATED"
