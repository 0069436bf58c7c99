"""Privacy: archives of what is known of a person, and accounts that are deleted, of which traces may be left outside PostgreSQL."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, SecretStr
from sqlalchemy import CheckConstraint, Index, text

from app.accounts.models import MAX_PASSWORD_LENGTH
from app.core import model
from app.core.inputs import Input
from app.core.leases import FileStatus
from app.core.model import BIG_INTEGER, Timestamped


class DataExport(Timestamped, table=True):
    """An archive of all that is known of a person, who asked for it (GDPR, articles 15 and 20), made in the background; one at a time.

    `url` is the file's name until `expires_at`, when it is removed. Whoever makes it has a lease until `leased_until`.
    """

    __tablename__ = "data_exports"
    __table_args__ = (
        model.one_of("status", FileStatus),
        model.stamped("generated_at", "status = 'READY'"),
        CheckConstraint("error is null or status = 'FAILED'", name="error_of_failed"),
        *model.not_negative("row_count", "size_bytes", "attempts"),
        model.newest_first("data_exports", "user_id"),
        Index("uq_data_exports_unfinished", "user_id", unique=True, postgresql_where=text("status in ('PENDING', 'PROCESSING')")),
    )

    user_id: UUID = model.reference("users.id", "CASCADE")
    status: FileStatus = model.choice(FileStatus.PENDING)
    url: str | None = model.column(None, max_length=2048)
    generated_at: datetime | None = model.moment()
    error: str | None = model.column(None, max_length=1000)
    row_count: int | None = model.column(None)
    size_bytes: int | None = model.column(None, sa_type=BIG_INTEGER)
    attempts: int = model.column(0)
    leased_until: datetime | None = model.moment()
    expires_at: datetime | None = model.moment()


class AccountErasure(Timestamped, table=True):
    """An account that was deleted. What PostgreSQL knew of its person went with it; `finished_at` is when the rest had gone as well."""

    __tablename__ = "account_erasures"
    __table_args__ = (Index("ix_account_erasures_unfinished", "created_at", postgresql_where=text("finished_at is null")),)

    user_id: UUID = model.reference("users.id", "RESTRICT", unique=True)
    finished_at: datetime | None = model.moment()


class AccountDeletion(Input):
    """The wish to have one's account deleted, for good: its password says that it is the owner's."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]
