"""API keys: credentials of programs."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, Field, FutureDatetime, StringConstraints
from sqlalchemy import CheckConstraint, Index, text

from app.accounts.models.sessions import Sha256
from app.accounts.scopes import known_scopes
from app.core import model
from app.core.inputs import Input, Line, Passage
from app.core.model import TEXT_LIST, Timestamped

MAX_SCOPES = 20
API_KEY_RATE_LIMIT = 1000
"""Requests per hour of a new API key (specification, API key management)."""


class ApiKeyStatus(StrEnum):
    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


class ApiKey(Timestamped, table=True):
    """A key for programs: `identifier.secret`, of which only a hash of the secret is stored (`accounts.api_keys.secret_hash`)."""

    __tablename__ = "api_keys"
    __table_args__ = (
        model.one_of("status", ApiKeyStatus),
        model.stamped("revoked_at", "status = 'REVOKED'"),
        CheckConstraint("revoked_by is null or revoked_at is not null", name="revoked_by"),
        model.is_sha256("key_hash"),
        *model.not_negative("usage_count"),
        CheckConstraint("rate_limit > 0", name="rate_limit_positive"),
        model.newest_first("api_keys"),
        model.newest_first("api_keys", "user_id"),
        model.sparse_index("api_keys", "store_id"),
        model.sparse_index("api_keys", "revoked_by"),
        Index("ix_api_keys_expiring", "expires_at", postgresql_where=text("status = 'ACTIVE' and expires_at is not null")),
    )

    name: str = model.column(max_length=255)
    key_hash: str = model.column(max_length=255, unique=True)
    key_identifier: str = model.column(max_length=64, unique=True)
    key_preview: str = model.column(max_length=64)
    user_id: UUID = model.reference("users.id", "CASCADE")
    store_id: UUID | None = model.reference("stores.id", "CASCADE", None)
    scopes: list[str] = model.column([], sa_type=TEXT_LIST)
    status: ApiKeyStatus = model.choice(ApiKeyStatus.ACTIVE)
    is_active: bool = model.generated("status = 'ACTIVE'", stored=False)
    usage_count: int = model.column(0, sa_type=model.BIG_INTEGER)
    rate_limit: int = model.column(API_KEY_RATE_LIMIT)
    last_used_at: datetime | None = model.moment()
    expires_at: datetime | None = model.moment()
    revoked_at: datetime | None = model.moment()
    revoked_by: UUID | None = model.reference("users.id", "SET NULL", None)


Scopes = Annotated[list[str], Field(min_length=1, max_length=MAX_SCOPES), AfterValidator(known_scopes)]
KeyName = Annotated[str, Line(200)]


class ApiKeyRequest(Input):
    """What a user says of a key to be made; without `expires_at` it lives for a year."""

    name: KeyName
    scopes: Scopes
    expires_at: FutureDatetime | None = None


class ApiKeyCreate(Input):
    """A new API key; the caller keeps the secret and gives its hash."""

    name: KeyName
    key_hash: Sha256
    key_identifier: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{8,60}$")]
    key_preview: Annotated[str, Passage(64)]
    user_id: UUID
    store_id: UUID | None = None
    scopes: Scopes
    rate_limit: Annotated[int, Field(gt=0, le=1_000_000)] = API_KEY_RATE_LIMIT
    expires_at: AwareDatetime | None = None
