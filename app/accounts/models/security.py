"""What happened to an account's security, and how long failed sign-ins hold the next ones back."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import CheckConstraint, Index

from app.core import model
from app.core.model import JSON, Created, Timestamped


class SecurityEventType(StrEnum):
    """What happened. Events of sign-ins that fail are kept for accounts that exist."""

    SIGNED_UP = "SIGNED_UP"
    SIGNED_IN = "SIGNED_IN"
    SIGN_IN_FAILED = "SIGN_IN_FAILED"
    SIGNED_OUT = "SIGNED_OUT"
    SESSION_REVOKED = "SESSION_REVOKED"
    SESSIONS_REVOKED = "SESSIONS_REVOKED"
    EMAIL_VERIFIED = "EMAIL_VERIFIED"
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105 - an event, not a password
    PASSWORD_RESET_REQUESTED = "PASSWORD_RESET_REQUESTED"  # noqa: S105
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105
    ROLE_ASSIGNED = "ROLE_ASSIGNED"
    ROLE_REVOKED = "ROLE_REVOKED"
    API_KEY_CREATED = "API_KEY_CREATED"
    API_KEY_REVOKED = "API_KEY_REVOKED"


PROOFS = frozenset({SecurityEventType.SIGNED_UP, SecurityEventType.SIGNED_IN, SecurityEventType.PASSWORD_RESET})
"""Events whose author has proved to be the account's owner."""


class SecurityEvent(Created, table=True):
    """Something that happened to an account, and where whoever did it was. `performed_by` is who did it, if not the owner."""

    __tablename__ = "security_events"
    __table_args__ = (
        model.one_of("type", SecurityEventType),
        *model.is_object("details"),
        model.newest_first("security_events"),
        model.newest_first("security_events", "user_id"),
        model.sparse_index("security_events", "session_id"),
        model.sparse_index("security_events", "performed_by"),
    )

    user_id: UUID = model.reference("users.id", "CASCADE")
    type: SecurityEventType = model.choice()
    session_id: UUID | None = model.reference("user_sessions.id", "SET NULL", None)
    performed_by: UUID | None = model.reference("users.id", "SET NULL", None)
    ip_address: str | None = model.column(None, max_length=45)
    user_agent: str | None = model.column(None, max_length=500)
    details: dict[str, Any] | None = model.column(None, sa_type=JSON)


class SignInDelay(Timestamped, table=True):
    """Failed sign-ins that have something in common, named by a hash: of whom or from where is not to be read here."""

    __tablename__ = "sign_in_delays"
    __table_args__ = (
        model.is_sha256("key"),
        CheckConstraint("failures > 0", name="failures_positive"),
        Index("ix_sign_in_delays_updated_at", "updated_at"),
    )

    key: str = model.column(max_length=64, unique=True)
    failures: int = model.column(1)
    blocked_until: datetime = model.moment("now")


@dataclass(frozen=True)
class Patience:
    """How many failures are free, how long the longest delay is (seconds), and after how much quiet the failures are forgotten."""

    free: int
    longest: int
    memory: timedelta
