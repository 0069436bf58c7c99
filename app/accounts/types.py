"""Accounts as GraphQL shows them. Hashes of passwords, tokens and keys are on no type."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any

import strawberry
from strawberry.scalars import JSON

from app.accounts import models
from app.api.computed import batched, computed
from app.api.connection import OrderDirection
from app.api.filters import BooleanFilter, Comparison, DateTimeFilter, IdFilter, StringFilter, filter_input, id_filter
from app.api.limits import LARGEST_INT
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import as_parent, of_others, own, personal, requires, signed_in, with_parent
from app.api.relations import to_many, to_one
from app.stores.types import Store

for enum, description in (
    (models.UserStatus, "Only ACTIVE users can sign in."),
    (models.ApiKeyStatus, "Whether an API key still opens anything."),
    (models.SessionEndReason, "Why a session ended."),
    (models.SecurityEventType, "What happened to the security of an account."),
):
    strawberry.enum(enum, description=description)


@strawberry.type(description="A permission of a role; `*` stands for all.")
class RolePermission(Node):
    model = models.RolePermission
    access = requires("roles:read")

    resource: str
    action: str
    description: str | None
    conditions: JSON | None
    created_at: datetime
    updated_at: datetime


@strawberry.type(description="A named set of permissions, added to those of its parent.")
class Role(Node):
    model = models.Role
    access = requires("roles:read")

    name: str
    display_name: str
    description: str | None
    category: str
    level: int = strawberry.field(description="0 is the most trusted.")
    is_active: bool
    created_at: datetime
    updated_at: datetime
    parent_role: "Role | None" = to_one("roles", "find_held_by_ids", key="parent_role_id")
    permissions: list[RolePermission] = to_many("role_permissions", "find_by_role_ids", description="Its own, without its parent's.")


async def _accept_reminders(repositories: Any, emails: Sequence[str]) -> list[bool]:
    hashes = [models.address_hash(email) for email in emails]
    refusing = await repositories.unscoped.mail_opt_outs.among(hashes)
    return [hash not in refusing for hash in hashes]


@strawberry.type(description="A person with an account.")
class User(Node):
    model = models.User
    access = own("users:read")

    email: str | None = personal("users:read", owner="id")
    username: str = with_parent()
    first_name: str | None = with_parent()
    last_name: str | None = with_parent()
    name: str | None = with_parent()
    image_url: str | None = with_parent()
    phone: str | None = personal("users:read", owner="id")
    status: models.UserStatus | None = personal("users:read", owner="id")
    email_verified: bool | None = personal("users:read", owner="id")
    phone_verified: bool | None = personal("users:read", owner="id")
    last_login_at: datetime | None = personal("users:read", owner="id")
    login_count: int | None = personal("users:read", owner="id")
    accepts_reminders: bool | None = batched(
        _accept_reminders,
        needs=("email",),
        access=of_others("users:read", owner="id"),
        description="Whether carts that were left are written about.",
    )
    role_assigned_at: datetime | None = personal("users:read", owner="id")
    role_revoked_at: datetime | None = personal("users:read", owner="id")
    role_expires_at: datetime | None = personal("users:read", owner="id")
    created_at: datetime = with_parent()
    updated_at: datetime = with_parent()
    role: Role | None = to_one("roles", "find_held_by_ids", key="role_id", access=of_others("roles:read", owner="id"))
    store: Store | None = to_one(
        "stores", key="store_id", access=of_others("users:read", owner="id"), description="The store that a member of staff works for."
    )


@strawberry.type(description="A signed-in device. Its token is shown once, when it is made.")
class UserSession(Node):
    model = models.UserSession
    access = signed_in

    ip_address: str | None
    user_agent: str | None
    is_active: bool
    last_accessed_at: datetime
    expires_at: datetime
    ended_at: datetime | None
    end_reason: models.SessionEndReason | None
    created_at: datetime
    updated_at: datetime


def _shown_count(usage_count: int) -> int:
    return min(usage_count, LARGEST_INT)


@strawberry.type(description="Something that happened to the security of an account, and where whoever did it was.")
class SecurityEvent(Node):
    model = models.SecurityEvent
    access = own("security:read")

    type: models.SecurityEventType
    ip_address: str | None
    user_agent: str | None
    details: JSON | None
    created_at: datetime
    user: User = to_one("users", "find_known_by_ids", key="user_id", access=as_parent)
    session: UserSession | None = to_one("user_sessions", key="session_id", access=signed_in, description="One of the caller's own.")
    performed_by: User | None = to_one(
        "users", "find_known_by_ids", key="performed_by", access=as_parent, description="Who did it, if not the user."
    )


@strawberry.type(description="A key for programs. Its secret is shown once, when it is made.")
class ApiKey(Node):
    model = models.ApiKey
    access = signed_in

    name: str
    key_identifier: str
    key_preview: str
    scopes: list[str]
    status: models.ApiKeyStatus
    is_active: bool
    rate_limit: int = strawberry.field(description="Requests per hour.")
    usage_count: int = computed(_shown_count, needs=("usage_count",), description="Requests so far, up to the largest Int.")
    last_used_at: datetime | None = strawberry.field(description="Written down within seconds of a request.")
    expires_at: datetime | None
    revoked_at: datetime | None
    created_at: datetime
    updated_at: datetime


@strawberry.type(description="A new session: send its token as `Authorization: Bearer <token>`.")
class Session:
    token: str
    expires_at: datetime
    user: User


@strawberry.type
class AuthPayload(Payload):
    session: Session | None = None


@strawberry.type
class SignOutPayload(Payload):
    signed_out: bool = False


@strawberry.type
class MailRequestPayload(Payload):
    requested: bool = strawberry.field(default=False, description="A mail is on its way, if there is anybody to send it to.")


@strawberry.type
class EmailVerificationPayload(Payload):
    email_verified: bool = False


@strawberry.type
class PasswordResetPayload(Payload):
    password_reset: bool = strawberry.field(default=False, description="The new password is set; sign in with it.")


@strawberry.type
class UserPayload(Payload):
    user: User | None = None


@strawberry.type
class RevokedSessionsPayload(Payload):
    revoked: int = strawberry.field(default=0, description="How many sessions were still open.")


@strawberry.type
class SessionPayload(Payload):
    session: UserSession | None = None


@strawberry.type
class ApiKeyPayload(Payload):
    api_key: ApiKey | None = None
    key_secret: str | None = strawberry.field(
        default=None, description="The whole key, only here: send it as `Authorization: Bearer <keySecret>`."
    )


@filter_input
class UserFilter:
    id: IdFilter | None = id_filter("User")
    email: StringFilter | None
    username: StringFilter | None
    status: Comparison[models.UserStatus] | None
    email_verified: BooleanFilter | None
    role_id: IdFilter | None = id_filter("Role")
    store_id: IdFilter | None = id_filter("Store")
    created_at: DateTimeFilter | None


@filter_input
class RoleFilter:
    name: StringFilter | None
    category: StringFilter | None
    is_active: BooleanFilter | None


@filter_input
class UserSessionFilter:
    is_active: BooleanFilter | None
    created_at: DateTimeFilter | None


@filter_input
class SecurityEventFilter:
    user_id: IdFilter | None = id_filter("User")
    type: Comparison[models.SecurityEventType] | None
    created_at: DateTimeFilter | None


@filter_input
class ApiKeyFilter:
    name: StringFilter | None
    status: Comparison[models.ApiKeyStatus] | None
    created_at: DateTimeFilter | None


@strawberry.enum(description="What users can be sorted by.")
class UserOrderField(StrEnum):
    CREATED_AT = "created_at"
    EMAIL = "email"
    USERNAME = "username"


@strawberry.input
class UserOrder:
    field: UserOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.enum(description="What roles can be sorted by.")
class RoleOrderField(StrEnum):
    CREATED_AT = "created_at"
    NAME = "name"
    LEVEL = "level"


@strawberry.input
class RoleOrder:
    field: RoleOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.enum(description="What sessions, API keys and events can be sorted by.")
class CreatedOrderField(StrEnum):
    CREATED_AT = "created_at"


@strawberry.input
class CreatedOrder:
    field: CreatedOrderField
    direction: OrderDirection = OrderDirection.ASC
