"""Accounts: users, the roles that permit them things, their sessions and their API keys."""

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Protocol
from uuid import UUID

from email_validator import EmailNotValidError
from email_validator import validate_email as parse_email
from pydantic import (
    AfterValidator,
    AwareDatetime,
    EmailStr,
    Field,
    FutureDatetime,
    SecretStr,
    StringConstraints,
    field_serializer,
    field_validator,
)
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, Index, UniqueConstraint, func, text

from app.accounts.conditions import Conditions, Window, as_json
from app.accounts.models.security import PROOFS as PROOFS
from app.accounts.models.security import Patience as Patience
from app.accounts.models.security import SecurityEvent as SecurityEvent
from app.accounts.models.security import SecurityEventType as SecurityEventType
from app.accounts.models.security import SignInDelay as SignInDelay
from app.accounts.models.verifications import Verification as Verification
from app.accounts.models.verifications import VerificationPurpose as VerificationPurpose
from app.accounts.scopes import known_scopes
from app.core import model
from app.core.inputs import Input, JsonObject, Line, Passage, Update, Url, clean
from app.core.model import JSON, TEXT, TEXT_LIST, SoftDeletable, Timestamped

MIN_PASSWORD_LENGTH = 8
MAX_PASSWORD_LENGTH = 128
MAX_TOKEN_LENGTH = 200
MAX_SCOPES = 20
API_KEY_RATE_LIMIT = 1000
"""Requests per hour of a new API key (specification, API key management)."""

_SHA256_HEX = "^[0-9a-f]{64}$"


class UserStatus(StrEnum):
    """Only ACTIVE users can sign in. A restored user is INACTIVE."""

    ACTIVE = "ACTIVE"
    BANNED = "BANNED"
    INACTIVE = "INACTIVE"
    DELETED = "DELETED"


class UserRoleType(StrEnum):
    """The roles that every installation has; others may be added to the roles table."""

    ADMIN = "ADMIN"
    ANALYST = "ANALYST"
    VIEWER = "VIEWER"
    USER = "USER"


class ApiKeyStatus(StrEnum):
    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"


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


class Role(Timestamped, table=True):
    """A named set of permissions, added to those of its ancestors. Level 0 is the most trusted."""

    __tablename__ = "roles"
    __table_args__ = (
        *model.not_negative("level"),
        CheckConstraint("parent_role_id <> id", name="parent_is_another"),
        model.newest_first("roles"),
    )

    name: str = model.column(max_length=128, unique=True)
    display_name: str = model.column(max_length=255)
    description: str | None = model.column(None, sa_type=TEXT)
    category: str = model.column("functional", max_length=64)
    level: int = model.column(5)
    is_active: bool = model.column(True)
    parent_role_id: UUID | None = model.reference("roles.id", "SET NULL", None, index=True)


class RolePermission(Timestamped, table=True):
    """A permission of a role, written `resource:action`; `*` stands for all. `conditions` say when it is held (`accounts.conditions`)."""

    __tablename__ = "role_permissions"
    __table_args__ = (
        UniqueConstraint("role_id", "resource", "action"),
        CheckConstraint("jsonb_typeof(conditions) in ('object', 'array')", name="conditions"),
    )

    role_id: UUID = model.reference("roles.id", "CASCADE")
    resource: str = model.column(max_length=128)
    action: str = model.column(max_length=128)
    description: str | None = model.column(None, sa_type=TEXT)
    conditions: Any | None = model.column(None, sa_type=JSON)


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


class UserSession(Timestamped, table=True):
    """A signed-in device. `token_hash` is the SHA-256 (hex) of the opaque token, which is stored nowhere.

    `expires_at` is absolute; `last_accessed_at` is for the idle limit.
    """

    __tablename__ = "user_sessions"
    __table_args__ = (
        CheckConstraint(f"token_hash ~ '{_SHA256_HEX}'", name="token_hash"),
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


class ApiKey(Timestamped, table=True):
    """A key for programs: `identifier.secret`, of which only a hash of the secret is stored (`accounts.api_keys.secret_hash`)."""

    __tablename__ = "api_keys"
    __table_args__ = (
        model.one_of("status", ApiKeyStatus),
        model.stamped("revoked_at", "status = 'REVOKED'"),
        CheckConstraint("revoked_by is null or revoked_at is not null", name="revoked_by"),
        CheckConstraint(f"key_hash ~ '{_SHA256_HEX}'", name="key_hash"),
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


class _HasUserStatus(Protocol):
    @property
    def status(self) -> str: ...


def is_active_user(user: _HasUserStatus) -> bool:
    """Whether a user may sign in and act (specification, type guards)."""
    return user.status == UserStatus.ACTIVE


def known_of(user: User) -> tuple[str | None, ...]:
    """What others may know of a user, and no password should be made of."""
    return user.email, user.username, user.first_name, user.last_name


def validate_email(email: str) -> bool:
    """Whether a text has the form of an email address (RFC 5322 without its oddities); asks no name server."""
    try:
        parse_email(email, check_deliverability=False)
    except EmailNotValidError:
        return False
    return True


Email = Annotated[EmailStr, Field(max_length=254)]
Username = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{3,50}$")]
PersonName = Annotated[str, Line(50)]
Phone = Annotated[str, StringConstraints(pattern=r"^\+?[1-9][0-9]{1,14}$")]
"""A telephone number as in E.164: up to 15 digits, no leading zero, perhaps a plus."""

Password = Annotated[SecretStr, Field(min_length=MIN_PASSWORD_LENGTH, max_length=MAX_PASSWORD_LENGTH)]
Sha256 = Annotated[str, StringConstraints(pattern=_SHA256_HEX)]
Scopes = Annotated[list[str], Field(min_length=1, max_length=MAX_SCOPES), AfterValidator(known_scopes)]
KeyName = Annotated[str, Line(200)]
PermissionPart = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z_]*)$", max_length=128)]


class PasswordInput(Input):
    """An input with a new password: 8 to 128 characters. It never shows in logs or errors."""

    password: Password

    @field_validator("password")
    @classmethod
    def _storable(cls, value: SecretStr) -> SecretStr:
        clean(value.get_secret_value())
        return value


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


class PasswordChange(PasswordInput):
    """A new password, and the present one as proof."""

    current_password: SecretStr


class SignUpRequest(UserCreate):
    """A new account as its owner asks for it; the token from a mail proves the address."""

    email_token: Annotated[str, Passage(MAX_TOKEN_LENGTH)] | None = Field(None, repr=False)


class PasswordResetRequest(Input):
    """Whose password is to be set anew."""

    email: Email


class PasswordReset(PasswordInput):
    """A new password, and the token from a mail as proof."""

    token: Annotated[str, Passage(MAX_TOKEN_LENGTH)] = Field(repr=False)


class EmailVerification(Input):
    """The token from a mail, as proof that its address is the account's."""

    token: Annotated[str, Passage(MAX_TOKEN_LENGTH)] = Field(repr=False)


class RoleAssignment(Input):
    """A role for a user until `expires_at`; without a role, the user loses the present one."""

    user_id: UUID
    role_id: UUID | None = None
    expires_at: FutureDatetime | None = None


class RoleCreate(Input):
    """A new role under a parent."""

    name: Annotated[str, StringConstraints(pattern=r"^[A-Z][A-Z0-9_]*$", max_length=128)]
    display_name: Annotated[str, Line(255)]
    description: Annotated[str, Passage(1000)] | None = None
    category: Annotated[str, Line(64)] = "functional"
    level: Annotated[int, Field(ge=0, le=100)] = 5
    parent_role_id: UUID | None = None


class RolePermissionCreate(Input):
    """A permission for a role."""

    role_id: UUID
    resource: PermissionPart
    action: PermissionPart
    description: Annotated[str, Passage(1000)] | None = None
    conditions: Conditions | None = None

    @field_serializer("conditions")
    def _as_json(self, conditions: list[Window] | None) -> Any:
        return None if conditions is None else as_json(conditions)


class UserSessionCreate(Input):
    """A new session; the caller keeps the token and gives its SHA-256."""

    user_id: UUID
    token_hash: Sha256
    expires_at: AwareDatetime
    ip_address: Annotated[str, Passage(45)] | None = None
    user_agent: Annotated[str, Passage(500)] | None = None


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
