"""Sessions: signed-in devices."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import AwareDatetime, StringConstraints
from sqlalchemy import CheckConstraint, Index, text

from app.core import model
from app.core.inputs import Input, Passage
from app.core.model import TEXT, Timestamped


class SessionEndReason(StrEnum):
    """Why a session ended."""

    SIGNED_OUT = "SIGNED_OUT"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    IDLE_TIMEOUT = "IDLE_TIMEOUT"
    CONCURRENT_LIMIT = "CONCURRENT_LIMIT"
    ROTATED = "ROTATED"
    CREDENTIALS_CHANGED = "CREDENTIALS_CHANGED"
    SUSPICIOUS_ACTIVITY = "SUSPICIOUS_ACTIVITY"
    ACCOUNT_CLOSED = "ACCOUNT_CLOSED"


class UserSession(Timestamped, table=True):
    """A signed-in device. `token_hash` is the SHA-256 (hex) of the opaque token, which is stored nowhere.

    `expires_at` is absolute; `last_accessed_at` is for the idle limit.
    """

    __tablename__ = "user_sessions"
    __table_args__ = (
        model.is_sha256("token_hash"),
        model.stamped("ended_at", "not is_active"),
        CheckConstraint("end_reason is null or ended_at is not null", name="end_reason_of_ended"),
        model.one_of("end_reason", SessionEndReason),
        model.newest_first("user_sessions"),
        model.newest_first("user_sessions", "user_id"),
        Index("ix_user_sessions_expiring", "expires_at", postgresql_where=text("is_active")),
        Index("ix_user_sessions_ended", "ended_at", postgresql_where=text("not is_active")),
    )

    user_id: UUID = model.reference("users.id", "CASCADE")
    token_hash: str = model.column(max_length=64, unique=True)
    ip_address: str | None = model.column(None, max_length=45)
    user_agent: str | None = model.column(None, max_length=500)
    is_active: bool = model.column(True)
    last_accessed_at: datetime = model.moment("now")
    expires_at: datetime = model.column(sa_type=model.TIMESTAMP)
    ended_at: datetime | None = model.moment()
    end_reason: SessionEndReason | None = model.column(None, sa_type=TEXT)


Sha256 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]


class UserSessionCreate(Input):
    """A new session; the caller keeps the token and gives its SHA-256."""

    user_id: UUID
    token_hash: Sha256
    expires_at: AwareDatetime
    ip_address: Annotated[str, Passage(45)] | None = None
    user_agent: Annotated[str, Passage(500)] | None = None
