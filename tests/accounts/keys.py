"""API keys for tests: how one is made, and somebody who calls with it."""

from dataclasses import dataclass
from itertools import count
from typing import Any

from tests.serving import SIGN_UP, Caller

CREATE = """
    mutation ($input: CreateApiKeyInput!) {
      createApiKey(input: $input) {
        keySecret
        apiKey { id name keyIdentifier keyPreview scopes status isActive rateLimit usageCount lastUsedAt expiresAt createdAt }
        userErrors { field message code }
      }
    }
"""
REVOKE = "mutation ($id: ID!) { revokeApiKey(input: { id: $id }) { apiKey { status isActive revokedAt } keySecret userErrors { code } } }"
PASSWORD = "correct horse battery"

_numbers = count(1)


@dataclass(frozen=True)
class Key:
    """A key that was made: its id, its text, and a caller that uses it."""

    id: str
    text: str
    caller: Caller


async def new_user(caller: Caller) -> tuple[Caller, str]:
    """A new account and its email."""
    name = f"keyholder{next(_numbers)}"
    account = {"email": f"{name}@example.com", "username": name, "password": PASSWORD}
    answer = await caller.ask(SIGN_UP, input=account)
    assert answer["signUp"]["userErrors"] == []
    return Caller(caller.http, answer["signUp"]["session"]["token"]), account["email"]


async def create_key(owner: Caller, *scopes: str, **given: Any) -> dict[str, Any]:
    """The payload of making a key."""
    payload: dict[str, Any] = (await owner.ask(CREATE, input={"name": "robot", "scopes": list(scopes), **given}))["createApiKey"]
    return payload


async def new_key(owner: Caller, *scopes: str, **given: Any) -> Key:
    payload = await create_key(owner, *scopes, **given)
    assert payload["userErrors"] == []
    return Key(payload["apiKey"]["id"], payload["keySecret"], Caller(owner.http, payload["keySecret"]))
