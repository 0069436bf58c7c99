"""Carts: what a shopper means to buy, and the attempts to win back the carts that were left."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Any, Final, Self
from uuid import UUID

from pydantic import AwareDatetime, Field, StringConstraints, model_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, text

from app.accounts.models import Email
from app.carts.models.charges import adds_up
from app.core import model
from app.core.inputs import CurrencyCode, Input, JsonObject, Line, Passage
from app.core.model import MONEY, Created, SoftDeletable, Timestamped

MAX_LINE_QUANTITY = 1000
"""The most pieces of one product in one cart or order."""

MAX_LINES = 200
"""The most different products in one cart."""

MAX_RECOVERY_ATTEMPTS = 3

QUANTITY_RANGE = f"quantity between 1 and {MAX_LINE_QUANTITY}"
"""The check of a line's quantity, in SQL."""


class CartStatus(StrEnum):
    """ACTIVE carts can change; an abandoned one becomes ACTIVE again when it does. CONVERTED carts have an order."""

    ACTIVE = "ACTIVE"
    ABANDONED = "ABANDONED"
    CONVERTED = "CONVERTED"
    EXPIRED = "EXPIRED"

    @property
    def sources(self) -> frozenset["CartStatus"]:
        """The statuses that may become this one; CONVERTED and EXPIRED are final."""
        return _SOURCES[self]


OPEN_STATUSES: Final = (CartStatus.ACTIVE, CartStatus.ABANDONED)
"""Those of the carts that a shopper can go on with."""

OPEN_CART: Final = f"status in {tuple(status.value for status in OPEN_STATUSES)} and not is_deleted"
"""The carts that a shopper can go on with, in SQL."""

_SOURCES: Final[Mapping[CartStatus, frozenset[CartStatus]]] = MappingProxyType(
    {
        CartStatus.ACTIVE: frozenset({CartStatus.ABANDONED}),
        CartStatus.ABANDONED: frozenset({CartStatus.ACTIVE}),
        CartStatus.CONVERTED: frozenset(OPEN_STATUSES),
        CartStatus.EXPIRED: frozenset(OPEN_STATUSES),
    }
)


class RecoveryStatus(StrEnum):
    """How an attempt to win a cart back stands.

    PENDING: the shopper is to be reminded. SENT: that was done. OPENED: the shopper came back by the link. RECOVERED: the cart became an
    order in time. EXPIRED: it did not. SUPPRESSED: nobody was written to, for the reason in `outcome`. FAILED: no mail could be delivered.
    """

    PENDING = "PENDING"
    SENT = "SENT"
    OPENED = "OPENED"
    RECOVERED = "RECOVERED"
    EXPIRED = "EXPIRED"
    SUPPRESSED = "SUPPRESSED"
    FAILED = "FAILED"

    @property
    def sources(self) -> frozenset["RecoveryStatus"]:
        """The statuses that may become this one; the last four are final."""
        return _RECOVERY_SOURCES[self]


_RECOVERY_SOURCES: Final[Mapping[RecoveryStatus, frozenset[RecoveryStatus]]] = MappingProxyType(
    {
        RecoveryStatus.PENDING: frozenset(),
        RecoveryStatus.SENT: frozenset({RecoveryStatus.PENDING}),
        RecoveryStatus.OPENED: frozenset({RecoveryStatus.SENT}),
        RecoveryStatus.RECOVERED: frozenset({RecoveryStatus.SENT, RecoveryStatus.OPENED}),
        RecoveryStatus.EXPIRED: frozenset({RecoveryStatus.PENDING, RecoveryStatus.SENT, RecoveryStatus.OPENED}),
        RecoveryStatus.SUPPRESSED: frozenset({RecoveryStatus.PENDING}),
        RecoveryStatus.FAILED: frozenset({RecoveryStatus.PENDING}),
    }
)
OPEN_RECOVERIES = RecoveryStatus.EXPIRED.sources
"""Attempts that may still win their cart back: a shopper has one at a store."""


class Cart(SoftDeletable, table=True):
    """A cart of a user, or of a guest who holds the token whose SHA-256 (hex) is stored: at most one ACTIVE per store.

    `items_total` is the sum of the lines; `total` is what the cart would cost if it were ordered as it was when it last changed. `version`
    counts the changes, for optimistic locking. The code of the voucher is kept with it, for whoever may not read vouchers. `email`
    is where a guest may be written to.
    """

    __tablename__ = "carts"
    __table_args__ = (
        model.one_of("status", CartStatus),
        model.deletion_is_dated(),
        model.stamped("converted_at", "status = 'CONVERTED'"),
        *adds_up(),
        model.is_currency(),
        CheckConstraint("voucher_id is null or voucher_code is not null", name="voucher_code_of_voucher"),
        CheckConstraint("version > 0", name="version_positive"),
        CheckConstraint("user_id is not null or cart_token_hash is not null", name="owner"),
        CheckConstraint("cart_token_hash ~ '^[0-9a-f]{64}$'", name="cart_token_hash"),
        *model.is_object("metadata"),
        Index(
            "uq_carts_active_of_user",
            "user_id",
            "store_id",
            unique=True,
            postgresql_where=text("status = 'ACTIVE' and not is_deleted and user_id is not null"),
            postgresql_nulls_not_distinct=True,
        ),
        Index(
            "uq_carts_active_of_guest",
            "cart_token_hash",
            "store_id",
            unique=True,
            postgresql_where=text("status = 'ACTIVE' and not is_deleted and cart_token_hash is not null"),
            postgresql_nulls_not_distinct=True,
        ),
        model.newest_first("carts"),
        model.newest_first("carts", "user_id"),
        model.newest_first("carts", "store_id"),
        model.newest_first("carts", "status"),
        model.sparse_index("carts", "voucher_id"),
        Index("ix_carts_open_of_user", "user_id", "store_id", postgresql_where=text(f"{OPEN_CART} and user_id is not null")),
        Index("ix_carts_open_of_guest", "cart_token_hash", postgresql_where=text(f"{OPEN_CART} and cart_token_hash is not null")),
        Index("ix_carts_idle", "status", "updated_at", postgresql_where=text(OPEN_CART)),
    )

    user_id: UUID | None = model.reference("users.id", "CASCADE", None)
    cart_token_hash: str | None = model.column(None, max_length=64)
    store_id: UUID | None = model.reference("stores.id", "CASCADE", None)
    status: CartStatus = model.choice(CartStatus.ACTIVE)
    total: Decimal = model.amount(0)
    currency: str = model.currency_code()
    version: int = model.column(1)
    converted_at: datetime | None = model.moment()
    metadata_: dict[str, Any] | None = model.metadata_column()
    items_total: Decimal = model.amount(0)
    discount: Decimal = model.amount(0)
    shipping: Decimal = model.amount(0)
    tax: Decimal = model.amount(0)
    included_tax: Decimal = model.amount(0)
    voucher_id: UUID | None = model.reference("vouchers.id", "SET NULL", None)
    voucher_code: str | None = model.column(None, max_length=64)
    email: str | None = model.column(None, max_length=254)


class CartItem(Timestamped, table=True):
    """A line of a cart; `price` is the product's unit price when it was put in."""

    __tablename__ = "cart_items"
    __table_args__ = (
        UniqueConstraint("cart_id", "product_id"),
        CheckConstraint(QUANTITY_RANGE, name="quantity"),
        *model.not_negative("price"),
        model.is_currency(),
    )

    cart_id: UUID = model.reference("carts.id", "CASCADE")
    product_id: UUID = model.reference("products.id", "CASCADE", index=True)
    quantity: int = model.column(1)
    price: Decimal = model.amount()
    currency: str = model.currency_code()


class RecoveryEvent(Timestamped, table=True):
    """An attempt to win back an abandoned cart: at most one PENDING per cart, and one open per store and address.

    The address is known by its hash (`accounts.models.opt_outs`), the link in the mail is good until `expires_at`.
    """

    __tablename__ = "recovery_events"
    __table_args__ = (
        model.one_of("status", RecoveryStatus),
        *model.not_negative("attempts"),
        *model.is_object("metadata"),
        model.is_sha256("recipient_hash"),
        model.stamped("recovered_at", "status = 'RECOVERED'"),
        CheckConstraint("(recovered_amount is null) = (recovered_at is null)", name="recovered_amount_set"),
        CheckConstraint("(recovered_amount is null) = (currency is null)", name="amount_has_currency"),
        *model.not_negative("recovered_amount"),
        Index("uq_recovery_events_pending", "cart_id", unique=True, postgresql_where=text("status = 'PENDING'")),
        Index(
            "uq_recovery_events_open",
            "store_id",
            "recipient_hash",
            unique=True,
            postgresql_where=text("status in ('PENDING', 'SENT', 'OPENED') and recipient_hash is not null"),
        ),
        Index("ix_recovery_events_recipient", "store_id", "recipient_hash", "created_at"),
        Index("ix_recovery_events_expiring", "expires_at", postgresql_where=text("status in ('PENDING', 'SENT', 'OPENED')")),
        model.sparse_index("recovery_events", "order_id"),
        model.newest_first("recovery_events"),
        model.newest_first("recovery_events", "cart_id"),
        model.newest_first("recovery_events", "store_id"),
        model.newest_first("recovery_events", "status"),
        model.sparse_index("recovery_events", "user_id"),
        model.sparse_index("recovery_events", "session_id"),
    )

    cart_id: UUID = model.reference("carts.id", "CASCADE")
    store_id: UUID | None = model.reference("stores.id", "CASCADE", None)
    user_id: UUID | None = model.reference("users.id", "SET NULL", None)
    session_id: UUID | None = model.reference("user_sessions.id", "SET NULL", None)
    event_type: str = model.column(max_length=128)
    status: RecoveryStatus = model.choice(RecoveryStatus.PENDING)
    outcome: str | None = model.column(None, max_length=255)
    attempts: int = model.column(0)
    metadata_: dict[str, Any] | None = model.metadata_column()
    recipient_hash: str | None = model.column(None, max_length=64)
    sent_at: datetime | None = model.moment()
    opened_at: datetime | None = model.moment()
    expires_at: datetime | None = model.moment()
    recovered_at: datetime | None = model.moment()
    order_id: UUID | None = model.reference("orders.id", "SET NULL", None)
    recovered_amount: Decimal | None = model.column(None, sa_type=MONEY)
    currency: str | None = model.column(None, max_length=3)


class FeatureRequest(Created, table=True):
    """A cart whose features are to be computed since it changed at `requested_at`; a worker has it until `claimed_until`."""

    __tablename__ = "feature_requests"
    __table_args__ = (UniqueConstraint("cart_id"), Index("ix_feature_requests_requested_at", "requested_at"))

    cart_id: UUID = model.reference("carts.id", "CASCADE")
    requested_at: datetime = model.moment("now")
    claimed_until: datetime | None = model.moment()


class CartContact(Input):
    """Where a guest may be written to about its cart; null: nowhere."""

    email: Email | None


Quantity = Annotated[int, Field(ge=1, le=MAX_LINE_QUANTITY)]


class CartCreate(Input):
    """A new cart of a user or of a guest."""

    user_id: UUID | None = None
    cart_token_hash: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None
    store_id: UUID | None = None
    currency: CurrencyCode = "USD"
    metadata: JsonObject | None = None

    @model_validator(mode="after")
    def _has_an_owner(self) -> Self:
        if self.user_id is None and self.cart_token_hash is None:
            raise PydanticCustomError("cart_owner", "a cart needs a user or a guest's token")
        return self


class CartItemAdd(Input):
    """Pieces of a product to put into a cart; the price comes from the product."""

    product_id: UUID
    quantity: Quantity = 1


class RecoveryEventCreate(Input):
    """An attempt to win back a cart."""

    cart_id: UUID
    store_id: UUID | None = None
    user_id: UUID | None = None
    session_id: UUID | None = None
    event_type: Annotated[str, Line(128)]
    outcome: Annotated[str, Passage(255)] | None = None
    metadata: JsonObject | None = None
    status: RecoveryStatus = RecoveryStatus.PENDING
    recipient_hash: Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")] | None = None
    expires_at: AwareDatetime | None = None
