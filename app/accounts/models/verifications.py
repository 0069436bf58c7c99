"""One-time tokens that travel by mail: each proves that whoever sends it reads the mails of an address."""

from datetime import datetime
from enum import StrEnum
from uuid import UUID

from sqlalchemy import CheckConstraint, Index, func, text

from app.core import model
from app.core.model import Timestamped


class VerificationPurpose(StrEnum):
    """What a token is good for, and nothing else."""

    EMAIL_VERIFICATION = "EMAIL_VERIFICATION"
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105 - a purpose, not a password
    SIGN_UP = "SIGN_UP"


class Verification(Timestamped, table=True):
    """The last token that an address was sent for a purpose; a new one takes its place. Of the token only the SHA-256 (hex) is stored.

    `user_id` is whose account it is about; who signs up has none yet. `mails` were sent since `mails_since`. It has ended once it was used.
    """

    __tablename__ = "verifications"
    __table_args__ = (
        model.one_of("purpose", VerificationPurpose),
        model.is_sha256("token_hash"),
        CheckConstraint("(purpose = 'SIGN_UP') = (user_id is null)", name="user_id_of_account"),
        *model.not_negative("mails"),
        Index("uq_verifications_email_purpose", func.lower(text("email")), "purpose", unique=True),
        Index("ix_verifications_expires_at", "expires_at"),
        model.sparse_index("verifications", "user_id"),
    )

    purpose: VerificationPurpose = model.choice()
    email: str = model.column(max_length=255)
    user_id: UUID | None = model.reference("users.id", "CASCADE", None)
    token_hash: str = model.column(max_length=64, unique=True)
    expires_at: datetime = model.column(sa_type=model.TIMESTAMP)
    ended_at: datetime | None = model.moment()
    mails: int = model.column(0)
    mails_since: datetime = model.moment("now")
