"""API key management."""

from datetime import timedelta
from uuid import UUID

import pytest

from app.accounts.api_keys import secret_hash
from app.accounts.models import ApiKey, ApiKeyCreate, ApiKeyStatus
from app.core.errors import NotFound
from app.core.paging import NEWEST_FIRST
from app.repositories import Repositories
from tests.serving import Caller
from tests.specification.conftest import World
from tests.specification.contents import GRAPHQL, operation

CREATE = """
    mutation ($input: CreateApiKeyInput!) {
      createApiKey(input: $input) { keySecret apiKey { id keyPreview rateLimit expiresAt createdAt } userErrors { code } } }
"""
REVOKE = "mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { status } userErrors { code } } }"
KEYS = "{ apiKeys { nodes { id status usageCount } } }"
CARTS = "{ carts { totalCount } }"


async def create_api_key(factory: Repositories, user_id: UUID, name: str, scopes: list[str], number: int) -> tuple[ApiKey, str]:
    identifier, secret = f"identifier{number:06}", "s" * 32
    key = ApiKeyCreate(
        name=name,
        key_hash=secret_hash(identifier, secret),
        key_identifier=identifier,
        key_preview=f"{identifier}...",
        user_id=user_id,
        scopes=scopes,
        expires_at=factory.now() + timedelta(days=365),
        rate_limit=1000,
    )
    return await factory.api_keys.create(key), f"{identifier}.{secret}"


async def validate_api_key(factory: Repositories, key_hash: str) -> ApiKey | None:
    return await factory.api_keys.find_by_hash(key_hash)


async def revoke_api_key(factory: Repositories, api_key_id: UUID, user_id: UUID) -> ApiKey:
    key = await factory.api_keys.find_by_id(api_key_id)
    if key is None or key.user_id != user_id:
        raise NotFound("API key not found or access denied")
    return await factory.api_keys.update_status(api_key_id, ApiKeyStatus.REVOKED)


async def get_user_api_keys(factory: Repositories, user_id: UUID) -> list[ApiKey]:
    return await factory.api_keys.find_many({"user_id": user_id}, NEWEST_FIRST)


async def _key(world: World, user_id: UUID) -> ApiKey:
    return (await create_api_key(world.factory, user_id, "Till", ["carts:read"], world.number()))[0]


async def _made(caller: Caller) -> tuple[str, Caller]:
    """The id of a new key, and who calls with it."""
    made = (await caller.ask(CREATE, input={"name": "Till", "scopes": ["carts:read"]}))["createApiKey"]
    return made["apiKey"]["id"], Caller(caller.http, made["keySecret"])


@operation("createApiKey")
async def test_create_api_key(world: World) -> None:
    user = await world.user()
    key, secret = await create_api_key(world.factory, user.id, "Till", ["carts:read"], world.number())
    row = await world.row("api_keys", key.id)
    assert (row["user_id"], row["name"], row["scopes"], row["rate_limit"]) == (user.id, "Till", ["carts:read"], 1000)
    assert (row["is_active"], row["usage_count"], row["last_used_at"]) == (True, 0, None)
    assert secret.partition(".")[2] not in str(dict(row))


@operation("createApiKey", GRAPHQL)
async def test_create_api_key_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    made = (await caller.ask(CREATE, input={"name": "Till", "scopes": ["carts:read"]}))["createApiKey"]
    row = await world.shown("api_keys", "ApiKey", made["apiKey"]["id"])
    identifier, _, secret = made["keySecret"].partition(".")
    assert (row["user_id"], row["key_identifier"], row["key_preview"]) == (user.id, identifier, f"{identifier}...")
    assert row["key_hash"] == secret_hash(identifier, secret)
    assert secret not in str(dict(row))
    assert timedelta(days=364) < row["expires_at"] - row["created_at"] < timedelta(days=366)
    assert made["apiKey"]["rateLimit"] == 1000


@operation("validateApiKey")
async def test_validate_api_key(world: World) -> None:
    key = await _key(world, (await world.user()).id)
    found = await validate_api_key(world.factory, key.key_hash)
    assert found is not None
    assert found.id == key.id
    assert await validate_api_key(world.factory, "0" * 64) is None
    await world.factory.api_keys.update_by_id(key.id, {"expires_at": world.factory.now() - timedelta(seconds=1)})
    assert await validate_api_key(world.factory, key.key_hash) is None
    await world.factory.api_keys.update_by_id(key.id, {"expires_at": None})
    assert await validate_api_key(world.factory, key.key_hash) is not None
    await world.factory.api_keys.update_status(key.id, ApiKeyStatus.REVOKED)
    assert await validate_api_key(world.factory, key.key_hash) is None


@operation("validateApiKey", GRAPHQL)
async def test_validate_api_key_over_http(world: World) -> None:
    caller, user = await world.caller()
    _, program = await _made(caller)
    await world.factory.carts.create({"user_id": user.id})
    assert (await program.ask(CARTS))["carts"]["totalCount"] == 1
    forged = Caller(caller.http, program.headers["Authorization"].removeprefix("Bearer ")[:-4] + "AAAA")
    assert (await forged.post(CARTS)).json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@operation("revokeApiKey")
async def test_revoke_api_key(world: World) -> None:
    user, other = await world.user(), await world.user()
    key = await _key(world, user.id)
    with pytest.raises(NotFound):
        await revoke_api_key(world.factory, key.id, other.id)
    assert (await world.row("api_keys", key.id))["is_active"]
    await revoke_api_key(world.factory, key.id, user.id)
    row = await world.row("api_keys", key.id)
    assert (row["status"], row["is_active"], row["revoked_at"] is not None) == ("REVOKED", False, True)


@operation("revokeApiKey", GRAPHQL)
async def test_revoke_api_key_over_graphql(world: World) -> None:
    (caller, _), (other, _) = await world.caller(), await world.caller()
    id, program = await _made(caller)
    refused = await other.refusals(REVOKE, id=id)
    assert refused[0]["extensions"]["code"] == "NOT_FOUND"
    assert (await caller.ask(REVOKE, id=id))["revokeApiKey"] == {"apiKey": {"status": "REVOKED"}, "userErrors": []}
    assert (await world.shown("api_keys", "ApiKey", id))["status"] == "REVOKED"
    assert (await program.post(CARTS)).json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@operation("getUserApiKeys")
async def test_get_user_api_keys(world: World) -> None:
    user, other = await world.user(), await world.user()
    made = [await _key(world, user.id) for _ in range(2)]
    await _key(world, other.id)
    assert [key.id for key in await get_user_api_keys(world.factory, user.id)] == [made[1].id, made[0].id]


@operation("getUserApiKeys", GRAPHQL)
async def test_get_user_api_keys_over_graphql(world: World) -> None:
    (caller, _), (other, _) = await world.caller(), await world.caller()
    made = [(await _made(caller))[0] for _ in range(2)]
    await _made(other)
    assert [node["id"] for node in (await caller.ask(KEYS))["apiKeys"]["nodes"]] == made[::-1]


@operation("updateApiKeyUsage")
async def test_update_api_key_usage(world: World) -> None:
    key = await _key(world, (await world.user()).id)
    for uses in (1, 2):
        await world.factory.api_keys.increment_usage(key.id)
        row = await world.row("api_keys", key.id)
        assert (row["usage_count"], row["last_used_at"] is not None) == (uses, True)


@operation("updateApiKeyUsage", GRAPHQL)
async def test_uses_over_http_are_counted(world: World) -> None:
    """Uses are written down from time to time, and when a gateway ends."""
    caller, _ = await world.caller()
    id, program = await _made(caller)
    async with world.another_gateway() as other:
        for _ in range(3):
            await Caller(other.http, program.headers["Authorization"].removeprefix("Bearer ")).ask(CARTS)
    assert (await world.shown("api_keys", "ApiKey", id))["usage_count"] == 3
    [node] = (await caller.ask(KEYS))["apiKeys"]["nodes"]
    assert node["usageCount"] == 3
