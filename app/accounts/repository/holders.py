"""Who stands behind a credential, and what the role in force permits: what sessions and API keys have in common."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, Select, and_, case, func, or_, select

from app.accounts.models import User, UserStatus
from app.accounts.repository.lineage import conditional_permissions_of, lineage, permissions_of

USERS = User.__table__  # type: ignore[attr-defined]


def is_active_owner(user_id: ColumnElement[Any]) -> ColumnElement[bool]:
    """That a column is the id of a user who may act."""
    return and_(USERS.c.id == user_id, USERS.c.status == UserStatus.ACTIVE.value, ~USERS.c.is_deleted)


def role_in_force() -> tuple[ColumnElement[Any], ColumnElement[Any]]:
    """The user's `role_id` and `role_expires_at`, null where the role is revoked or has expired."""
    user = USERS.c
    in_force = and_(user.role_revoked_at.is_(None), or_(user.role_expires_at.is_(None), user.role_expires_at > func.now()))
    return case((in_force, user.role_id)).label("role_id"), case((in_force, user.role_expires_at)).label("role_expires_at")


def with_rights(live: CTE) -> Select[Any]:
    """The one live credential, with the `permissions` that its owner's role always has, those that depend on time (`conditional`, pairs of
    a permission and its conditions), and `expires_at` of the credential or of the role, whichever ends first.

    `live` has the columns of `role_in_force` beside `expires_at`.
    """
    roles = lineage(live.c.role_id, live, active_only=True)
    own = [column for column in live.c if column.name not in ("role_id", "role_expires_at", "expires_at")]
    return select(
        *own,
        func.least(live.c.expires_at, live.c.role_expires_at).label("expires_at"),
        func.array(permissions_of(roles).scalar_subquery()).label("permissions"),
        func.array(conditional_permissions_of(roles).scalar_subquery()).label("conditional"),
    )
