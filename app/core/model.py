"""What every table shares: identity, timestamps, soft deletion, column kinds and the naming of constraints.

Models are SQLModel classes, used for the shape of tables and for validated inputs; there is no ORM session at run time
(`core.database` runs the statements), so reading a row never builds one of them. Every default is the database's, also for
compiled statements: columns carry none of Python's, which only an engine of SQLAlchemy would fill in. The defaults of the classes
say the same for objects that were never stored.
"""

from collections.abc import Iterable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import ConfigDict
from sqlalchemy import BigInteger, CheckConstraint, Computed, DateTime, ForeignKey, Index, Numeric, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlmodel import Field, SQLModel
from uuid_utils.compat import uuid7

SQLModel.metadata.naming_convention = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

MONEY = Numeric(19, 4, asdecimal=True)
"""An amount in major units; the currency's ISO 4217 exponent says how many of the four decimals are used."""

PERCENT = Numeric(asdecimal=True)
"""A share in percent, with the digits that it was given: 19 is 19 %."""

TIMESTAMP = DateTime(timezone=True)
BIG_INTEGER = BigInteger()
TEXT = Text()
TEXT_LIST = ARRAY(Text)
JSON = JSONB(none_as_null=True)

OnDelete = Literal["CASCADE", "RESTRICT", "SET NULL"]


_SERVER_NOW: dict[str, Any] = {"default": None, "server_default": func.now()}


def utc_now() -> datetime:
    """The current time, timezone-aware, in UTC."""
    return datetime.now(UTC)


class Identified(SQLModel):
    """A table with a UUIDv7 key (RFC 9562), made by the database unless the caller gives one."""

    model_config = ConfigDict(extra="forbid")  # type: ignore[assignment]

    id: UUID = Field(default_factory=uuid7, primary_key=True, sa_column_kwargs={"default": None, "server_default": text("uuidv7()")})


class Created(Identified):
    """A table whose rows say when they were made (UTC)."""

    created_at: datetime = Field(default_factory=utc_now, sa_type=TIMESTAMP, sa_column_kwargs=_SERVER_NOW)


class Timestamped(Created):
    """A table whose rows also say when they last changed; every update by a repository stamps it."""

    updated_at: datetime = Field(default_factory=utc_now, sa_type=TIMESTAMP, sa_column_kwargs=_SERVER_NOW)


class SoftDeletable(Timestamped):
    """A table whose rows are hidden rather than removed: reads skip them unless an administrator asks.

    Its table arguments include `deletion_is_dated()`.
    """

    is_deleted: bool = Field(default=False, sa_column_kwargs={"default": None, "server_default": text("false")})
    deleted_at: datetime | None = Field(default=None, sa_type=TIMESTAMP)


def column(default: Any = ..., **options: Any) -> Any:
    """A field whose default is the column's server default as well: a flag, a number, a text, an enum member, `[]` or `{}`."""
    if default is ...:
        return Field(**options)
    if default is None:
        return Field(None, **options)
    given: dict[str, Any] = {"default_factory": default.copy} if isinstance(default, list | dict) else {"default": default}
    return Field(**given, sa_column_kwargs={"default": None, "server_default": text(_literal(default))}, **options)


def _literal(value: Any) -> str:
    if isinstance(value, list | dict):
        return "'{}'"
    if isinstance(value, str):
        return f"'{value}'"
    return str(value).lower()


def choice(default: StrEnum | None = None) -> Any:
    """A text column that holds a member of an enum; `one_of` gives the check."""
    return column(... if default is None else default, sa_type=TEXT)


def currency_code(default: str = "USD") -> Any:
    """A column for an ISO 4217 code; `is_currency` gives the check."""
    return column(default, max_length=3)


def amount(default: int | None = None) -> Any:
    """A money column: decimal in major units, at most 15 digits before the point; `not_negative` gives the check."""
    return column(... if default is None else default, sa_type=MONEY, ge=0, max_digits=19, decimal_places=4)


def moment(default: Literal["now"] | None = None) -> Any:
    """A column for a time (UTC): nullable without a default, else the time of the insert."""
    if default is None:
        return Field(None, sa_type=TIMESTAMP)
    return Field(default_factory=utc_now, sa_type=TIMESTAMP, sa_column_kwargs=_SERVER_NOW)


def reference(target: str, ondelete: OnDelete, default: Any = ..., *, index: bool = False, circular: bool = False, **options: Any) -> Any:
    """A foreign key such as `"users.id"`; ask for an index unless a composite one starts with the column.

    Where two tables refer to each other, the reference to the one that is made second is `circular`.
    """
    key = ForeignKey(target, ondelete=ondelete, use_alter=circular)
    return column(default, sa_column_args=[key], index=index, **options)


def generated(expression: str, *, stored: bool) -> Any:
    """A column that the database computes; writing to it is an error there. The default is what an unsaved object shows."""
    return Field(None, sa_column_args=[Computed(expression, persisted=stored)])


def metadata_column() -> Any:
    """Free-form JSON beside a row; the attribute is `metadata_`, since SQLModel keeps `metadata` for itself."""
    return Field(None, sa_type=JSON, sa_column_kwargs={"name": "metadata"})


def one_of(column: str, values: type[StrEnum]) -> CheckConstraint:
    """The check that a text column holds a value of its enum."""
    listed = ", ".join(f"'{value.value}'" for value in values)
    return CheckConstraint(f"{column} in ({listed})", name=column)


def not_negative(*columns: str) -> Iterable[CheckConstraint]:
    """Checks that amounts or counts are zero or more."""
    return [CheckConstraint(f"{column} >= 0", name=f"{column}_not_negative") for column in columns]


def is_currency(column: str = "currency") -> CheckConstraint:
    """The check that a code is three capital letters; whether ISO 4217 knows it is `core.money`'s to say."""
    return CheckConstraint(f"{column} ~ '^[A-Z]{{3}}$'", name=column)


def is_object(*columns: str) -> Iterable[CheckConstraint]:
    """Checks that JSON columns hold objects rather than lists or bare values."""
    return [CheckConstraint(f"jsonb_typeof({column}) = 'object'", name=f"{column}_is_object") for column in columns]


def is_sha256(column: str) -> CheckConstraint:
    """The check that a text is a SHA-256 in hex."""
    return CheckConstraint(f"{column} ~ '^[0-9a-f]{{64}}$'", name=column)


def stamped(stamp: str, condition: str) -> CheckConstraint:
    """The check that a time is set exactly when a condition holds: `stamped("completed_at", "status = 'COMPLETED'")`."""
    return CheckConstraint(f"({condition}) = ({stamp} is not null)", name=f"{stamp}_set")


def deletion_is_dated() -> CheckConstraint:
    """The check that `deleted_at` is set exactly on deleted rows."""
    return stamped("deleted_at", "is_deleted")


def deleted_status() -> CheckConstraint:
    """The check that only deleted rows have the status DELETED."""
    return CheckConstraint("status <> 'DELETED' or is_deleted", name="status_deleted")


def sparse_index(table: str, column: str) -> Index:
    """An index of the rows that have a value: for optional references that few rows carry."""
    return Index(f"ix_{table}_{column}", column, postgresql_where=text(f"{column} is not null"))


def newest_first(table: str, *columns: str, where: str | None = None, name: str | None = None) -> Index:
    """The index behind a list in keyset order, read in either direction, after `columns` held equal."""
    keys = (*columns, "created_at", "id")
    condition: dict[str, Any] = {"postgresql_where": text(where)} if where else {}
    return Index(name or f"ix_{table}_{'_'.join(keys)}", *keys, **condition)
