"""What an API key may be made for: a closed list of scopes, each written like a permission, `resource:action`.

A scope grants nothing by itself. It says for which of its owner's rights a key may be used: a shopper's key with `orders:read` reads the
shopper's orders, a key of staff those that its owner sees. What decides over accounts has no scope, so no key can do it: a stolen key
must not become a session, a password or a role.
"""

from pydantic_core import PydanticCustomError

READ, WRITE = "read", "write"

READ_AND_WRITE = (
    "carts",
    "events",
    "features",
    "inventory",
    "notifications",
    "orders",
    "payments",
    "products",
    "quality",
    "reconciliation",
    "recovery",
    "reports",
    "stores",
    "vouchers",
    "webhooks",
)
READ_ONLY = ("analytics", "roles", "security", "users")
MONEY = ("payments:capture", "payments:refund")
"""What moves money is named by itself: a key that may write payments may not yet give any back."""

SCOPES = frozenset(
    {
        *(f"{name}:{action}" for name in READ_AND_WRITE for action in (READ, WRITE)),
        *(f"{name}:{READ}" for name in READ_ONLY),
        *MONEY,
    }
)

LONGEST_SCOPE = 50
MOST_NAMED = 5


def known_scopes(given: list[str]) -> list[str]:
    """The scopes in order, each once. Raises `PydanticCustomError` that names those which there are not."""
    unknown = sorted(set(given) - SCOPES)
    if unknown:
        details = {"unknown": ", ".join(f"{name[:LONGEST_SCOPE]!a}" for name in unknown[:MOST_NAMED]), "known": ", ".join(sorted(SCOPES))}
        raise PydanticCustomError("scopes", "there is no scope {unknown}; the scopes are {known}", details)
    return sorted(set(given))
