"""What becomes of personal data when an account is deleted, and what of it is handed out: said once, table by table.

The row of the user itself stays without anything personal in it, so that what must be kept, such as orders for the accounts of a store,
still refers to somebody, but to nobody in particular. A reference to it is therefore no personal data and is left alone.

Every text, JSON, array and byte column of a row that is kept must be named here, as cleared or as kept with a reason: a table or a column
that is not fails a test.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from app.analytics.models import PERSONAL
from app.orders.models.mirror import MIRROR


class By(StrEnum):
    """How a column says whose a row is."""

    USER = "user_id"
    EMAIL = "email"
    ADDRESS_HASH = "address_hash"


@dataclass(frozen=True)
class Match:
    """Rows whose `column` is the person's id, address, or hash of the address."""

    column: str
    by: By = By.USER


@dataclass(frozen=True)
class Through:
    """Rows whose `column` refers to a row of `parent` that is the person's own."""

    column: str
    parent: str


@dataclass(frozen=True)
class Erase:
    """The rows go; but not those that a row of another table (table, column) refers to."""

    match: Match | Through
    unless: tuple[str, str] | None = None


@dataclass(frozen=True)
class Clear:
    """The rows stay without these columns."""

    match: Match | Through
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """What is done with the rows of a table.

    `own` are the person's rows, which an archive hands out, as what it `says` they are, without the columns `secret`. References to other
    accounts do not go out either, nor `others`: what tells of whoever did it, where that was somebody else (`performed_by`). `kept` are
    the texts of kept rows that stay, `why` says why they may. Where `mentions` are named, what mentions the person in them goes.
    """

    rules: tuple[Erase | Clear, ...] = ()
    own: Match | Through | None = None
    says: str = ""
    secret: tuple[str, ...] = ()
    others: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    mentions: tuple[str, ...] = ()
    why: str = ""


USER = Match("user_id")
OF_CART, OF_ORDER, OF_PAYMENT = Through("cart_id", "carts"), Through("order_id", "orders"), Through("payment_id", "payments")
STORES_OWN = "what stores and the platform say of themselves"


def erased(says: str, own: Match | Through = USER, *more: Match, secret: tuple[str, ...] = ()) -> Policy:
    """A table whose rows go with the person."""
    return Policy((Erase(own), *map(Erase, more)), own, says, secret)


def nobodys(*kept: str, why: str = STORES_OWN, mentions: tuple[str, ...] = ()) -> Policy:
    """A table that is about no person."""
    return Policy(kept=kept, why=why, mentions=mentions)


POLICIES: Final[Mapping[str, Policy]] = {
    # Of the account itself
    "user_sessions": erased("Your devices: where and when you signed in.", secret=("token_hash",)),
    "api_keys": erased("Your API keys, without what is secret.", secret=("key_hash",)),
    "verifications": erased(
        "Links we sent you to prove your address or set a password.", USER, Match("email", By.EMAIL), secret=("token_hash",)
    ),
    "security_events": Policy(
        (Erase(USER), Clear(Match("performed_by"), ("ip_address", "user_agent"))),
        USER,
        "What happened to the security of your account.",
        others=("ip_address", "user_agent"),
        kept=("details",),
    ),
    "idempotency_keys": erased("Requests that your programs marked, so as to be carried out once.", secret=("input_hash",)),
    "mail_opt_outs": erased("Whether you want no reminders; your address stands there as a hash.", Match("address_hash", By.ADDRESS_HASH)),
    "notifications": erased("Messages to you."),
    "data_exports": erased("Archives such as this one that you asked for."),
    "account_erasures": nobodys(why="says that an account was deleted, not whose it was"),
    # Of the shopper
    "feature_history": erased("What was computed of your carts earlier.", Through("feature_id", "features")),
    "feature_requests": erased("Carts of yours of which something is to be computed.", OF_CART),
    "features": erased("What is computed of your carts, to foresee what shoppers will do.", OF_CART),
    "user_features": erased("What is computed of you as a shopper, to foresee what shoppers will do."),
    "recovery_events": Policy(
        (
            Clear(USER, ("recipient_hash", "outcome", "metadata")),
            Clear(Match("recipient_hash", By.ADDRESS_HASH), ("recipient_hash", "outcome", "metadata")),
        ),
        USER,
        "Reminders of carts that you left, and what came of them.",
        kept=("event_type",),
        why="what came of an attempt is counted",
    ),
    "cart_items": Policy(own=OF_CART, says="What is in your carts."),
    "carts": Policy(
        (
            Erase(USER, unless=("orders", "cart_id")),
            Erase(Match("email", By.EMAIL), unless=("orders", "cart_id")),
            Clear(USER, ("cart_token_hash", "email", "metadata")),
        ),
        USER,
        "Your carts.",
        secret=("cart_token_hash",),
        kept=("voucher_code",),
        why="an ordered cart goes with its order",
    ),
    "order_items": Policy(own=OF_ORDER, says="What you ordered.", kept=("name", "sku"), why="the store's accounts: what was sold"),
    "order_events": Policy(
        own=OF_ORDER,
        says="What happened to your orders.",
        kept=("data",),
        why="the store's accounts; codes and names of the payment provider",
    ),
    "refunds": Policy(
        (Clear(OF_PAYMENT, ("reason",)),),
        OF_PAYMENT,
        "Money that was given back to you.",
        secret=("idempotency_key",),
        kept=("idempotency_key", "transaction_id", "failure_code"),
        why="the store's accounts; the key is its staff's",
    ),
    "payments": Policy(
        (Clear(OF_ORDER, ("idempotency_key", "metadata")),),
        OF_ORDER,
        "Your payments.",
        secret=("metadata",),
        kept=("provider", "method", "transaction_id", "failure_code", "failure_message", "held_reason"),
        why="the store's accounts, in the payment provider's words",
    ),
    "voucher_redemptions": Policy(own=USER, says="Vouchers that you used.", why="the limits of vouchers go on to hold"),
    "orders": Policy(
        (Clear(USER, ("idempotency_key", "metadata")),),
        USER,
        "Your orders.",
        kept=("payment_method", "voucher_code"),
        why="the store's accounts",
    ),
    # Of nobody
    "stores": nobodys("name", "domain", "url"),
    "store_settings": nobodys("timezone", "language", "config"),
    "product_features": nobodys("name", "value", "version"),
    "reports": nobodys("type", "parameters", "data", "url", "error"),
    "config": nobodys("key", "value", "description"),
    "roles": nobodys("name", "display_name", "description", "category"),
    "role_permissions": nobodys("resource", "action", "description", "conditions"),
    "products": nobodys("name", "description", "sku", "image_url", "category", "metadata"),
    "product_stores": nobodys(),
    "inventory": nobodys(),
    "inventory_movements": nobodys("reason"),
    "vouchers": nobodys("code"),
    "order_counters": nobodys(),
    "webhooks": nobodys("url", "secret", "previous_secret", "metadata"),
    "webhook_deliveries": nobodys("payload", "error", why="messages hold ids alone"),
    "provider_events": nobodys("provider", "event_id", "type", why="names of the payment provider's"),
    "test_charges": nobodys("key", "transaction_id", "failure_code", "failure_message", why="the test provider's own book"),
    "test_refunds": nobodys("key", why="the test provider's own book"),
    "sign_in_delays": nobodys("key", why="hashes; the account's are removed, those of networks go after a day"),
    "event_spool": nobodys("lines", why="rewritten without the person, as in ClickHouse"),
    "quality_validations": nobodys("table_name", "column_name", "check_name", mentions=("details",)),
    "quality_anomalies": Policy(
        own=Match("record_id"),
        says="What checks of our data found wrong with your account.",
        secret=("details", "sample_data"),
        kept=("table_name", "column_name"),
        mentions=("record_id", "details", "sample_data"),
        why=STORES_OWN,
    ),
    "quality_schedules": nobodys("table_name", "column_name", "parameters"),
    "reconciliation_rules": nobodys("name", "source_table", "target_table", "join_key", "source_columns", "target_columns"),
    "reconciliation_executions": nobodys("cursor", mentions=("details", "error_message")),
    "repair_operations": nobodys("operation_id", "type", mentions=("error", "details")),
    # Last, since the others' rows are found by it
    "users": Policy(
        (
            Clear(
                Match("id"),
                (
                    "email",
                    "username",
                    "password_hash",
                    "first_name",
                    "last_name",
                    "name",
                    "image_url",
                    "phone",
                    "metadata",
                    "last_login_at",
                    "role_id",
                    "store_id",
                ),
            ),
        ),
        Match("id"),
        "Your account.",
        secret=("password_hash",),
    ),
}
"""By table of PostgreSQL, in the order in which they are gone through."""

CLICKHOUSE: Final[Mapping[str, frozenset[str]]] = {"user_events": frozenset((*PERSONAL, "metadata")), MIRROR: frozenset()}
"""By table of ClickHouse, what is taken off the events of the account, and of nobody in the same visits. Type, time and store stay."""
