"""Privacy: accounts that are deleted, of which traces may be left outside PostgreSQL."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import Field, SecretStr
from sqlalchemy import Index, text

from app.accounts.models import MAX_PASSWORD_LENGTH
from app.core import model
from app.core.inputs import Input
from app.core.model import Timestamped


class AccountErasure(Timestamped, table=True):
    """An account that was deleted. What PostgreSQL knew of its person went with it; `finished_at` is when the rest had gone as well."""

    __tablename__ = "account_erasures"
    __table_args__ = (Index("ix_account_erasures_unfinished", "created_at", postgresql_where=text("finished_at is null")),)

    user_id: UUID = model.reference("users.id", "RESTRICT", unique=True)
    finished_at: datetime | None = model.moment()


class AccountDeletion(Input):
    """The wish to have one's account deleted, for good: its password says that it is the owner's."""

    password: Annotated[SecretStr, Field(min_length=1, max_length=MAX_PASSWORD_LENGTH)]
