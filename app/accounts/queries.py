"""What can be asked of accounts."""

import strawberry

from app.accounts.types import (
    ApiKey,
    ApiKeyFilter,
    CreatedOrder,
    Role,
    RoleFilter,
    RoleOrder,
    SecurityEvent,
    SecurityEventFilter,
    User,
    UserFilter,
    UserOrder,
    UserSession,
    UserSessionFilter,
)
from app.api.connection import Connection, connection
from app.api.lookup import single
from app.api.permissions import own, public, requires, signed_in
from app.core.security import Viewer
from app.execution.declarations import Where


def _me(viewer: Viewer) -> Where | None:
    user_id = viewer.user_id
    return None if user_id is None else {"id": user_id}


@strawberry.type
class AccountsQuery:
    me: User | None = single("users", _me, access=public, description="The account that asks; null when nobody is signed in.")
    users: Connection[User] = connection("users", access=requires("users:read"), filter=UserFilter, order=UserOrder)
    roles: Connection[Role] = connection("roles", access=requires("roles:read"), filter=RoleFilter, order=RoleOrder)
    sessions: Connection[UserSession] = connection(
        "user_sessions",
        access=signed_in,
        filter=UserSessionFilter,
        order=CreatedOrder,
        own="user_id",
        description="The caller's own sessions.",
    )
    security_events: Connection[SecurityEvent] = connection(
        "security_events",
        access=own("security:read"),
        filter=SecurityEventFilter,
        order=CreatedOrder,
        description="What happened to the caller's account, newest first; for staff with the permission, to those of their store.",
    )
    api_keys: Connection[ApiKey] = connection(
        "api_keys", access=signed_in, filter=ApiKeyFilter, order=CreatedOrder, own="user_id", description="The caller's own API keys."
    )
