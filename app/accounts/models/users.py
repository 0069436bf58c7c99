"""Users: people with an account."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol
from uuid import UUID

from pydantic import Field, StringConstraints, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, Index, func, text

from app.accounts.models.emails import Email
from app.accounts.models.passwords import MAX_TOKEN_LENGTH, PasswordInput
from app.core import model
from app.core.inputs import JsonObject, Line, Passage, Update, Url
from app.core.model import SoftDeletable


class UserStatus(StrEnum):
    """Only ACTIVE users can sign in. A restored user is INACTIVE."""

    ACTIVE = "ACTIVE"
    BANNED = "BANNED"
    INACTIVE = "INACTIVE"
    DELETED = "DELETED"


class User(SoftDeletable, table=True):
    """A person with an account. Email and user name are unique without regard to case among the users that exist.

    `password_hash` is an argon2id hash; without one (an erased account) nobody can sign in. A role is in force from
    `role_assigned_at` until it is revoked or expires. `store_id` is the store that a member of staff works for.
    """

    __tablename__ = "users"
    __table_args__ = (
        model.one_of("status", UserStatus),
        model.deletion_is_dated(),
        model.deleted_status(),
        *model.not_negative("login_count"),
        CheckConstraint("role_revoked_by is null or role_revoked_at is not null", name="role_revoked_by"),
        *model.is_object("metadata"),
        Index("uq_users_email", func.lower(text("email")), unique=True, postgresql_where=text("not is_deleted")),
        Index("uq_users_username", func.lower(text("username")), unique=True, postgresql_where=text("not is_deleted")),
        model.newest_first("users"),
        model.newest_first("users", "status"),
        model.newest_first("users", "role_id"),
        model.newest_first("users", "store_id"),
        *(model.sparse_index("users", name) for name in ("role_assigned_by", "role_revoked_by", "created_by", "updated_by")),
    )

    email: str = model.column(max_length=255)
    username: str = model.column(max_length=50)
    password_hash: str | None = model.column(None, max_length=255)
    first_name: str | None = model.column(None, max_length=255)
    last_name: str | None = model.column(None, max_length=255)
    name: str | None = model.column(None, max_length=255)
    image_url: str | None = model.column(None, max_length=2048)
    phone: str | None = model.column(None, max_length=32)
    status: UserStatus = model.choice(UserStatus.ACTIVE)
    email_verified: bool = model.column(False)
    phone_verified: bool = model.column(False)
    last_login_at: datetime | None = model.moment()
    login_count: int = model.column(0)
    role_id: UUID | None = model.reference("roles.id", "SET NULL", None)
    role_assigned_at: datetime | None = model.moment()
    role_assigned_by: UUID | None = model.reference("users.id", "SET NULL", None)
    role_revoked_at: datetime | None = model.moment()
    role_revoked_by: UUID | None = model.reference("users.id", "SET NULL", None)
    role_expires_at: datetime | None = model.moment()
    store_id: UUID | None = model.reference("stores.id", "SET NULL", None)
    created_by: UUID | None = model.reference("users.id", "SET NULL", None)
    updated_by: UUID | None = model.reference("users.id", "SET NULL", None)
    metadata_: dict[str, Any] | None = model.metadata_column()


class _HasUserStatus(Protocol):
    @property
    def status(self) -> str: ...


def is_active_user(user: _HasUserStatus) -> bool:
    """Whether a user may sign in and act (specification, type guards)."""
    return user.status == UserStatus.ACTIVE


def known_of(user: User) -> tuple[str | None, ...]:
    """What others may know of a user, and no password should be made of."""
    return user.email, user.username, user.first_name, user.last_name


Username = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{3,50}$")]
PersonName = Annotated[str, Line(50)]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[1-9][0-9]{1,14}$")]
"""A telephone number as in E.164: up to 15 digits, no leading zero, perhaps a plus."""


class UserCreate(PasswordInput):
    """A new account; `password` is the plain one, to be hashed before anything is stored. `login_count` starts at 0."""

    email: Email
    username: Username
    first_name: PersonName | None = None
    last_name: PersonName | None = None
    phone: Phone | None = None
    image_url: Url | None = None
    store_id: UUID | None = None
    status: UserStatus = UserStatus.ACTIVE
    email_verified: bool = False
    phone_verified: bool = False

    @field_validator("status")
    @classmethod
    def _not_deleted(cls, value: UserStatus) -> UserStatus:
        if value is UserStatus.DELETED:
            raise PydanticCustomError("status", "a new account cannot be DELETED")
        return value


class UserUpdate(Update):
    """What may change about an account; password, role, deletion and sign-in counts have their own methods."""

    nullable: ClassVar[frozenset[str]] = frozenset({"first_name", "last_name", "name", "phone", "image_url", "store_id", "metadata"})

    email: Email | None = None
    username: Username | None = None
    first_name: PersonName | None = None
    last_name: PersonName | None = None
    name: Annotated[str, Line(101)] | None = None
    phone: Phone | None = None
    image_url: Url | None = None
    status: UserStatus | None = None
    email_verified: bool | None = None
    phone_verified: bool | None = None
    store_id: UUID | None = None
    metadata: JsonObject | None = None


class ProfileUpdate(UserUpdate):
    """What users change about their own account; whether they get reminders is kept by their address."""

    accepts_reminders: bool | None = None


class SignUpRequest(UserCreate):
    """A new account as its owner asks for it; the token from a mail proves the address."""

    email_token: Annotated[str, Passage(MAX_TOKEN_LENGTH)] | None = Field(None, repr=False)
