"""A role and its ancestors as a recursive statement, which ends also where stored roles form a cycle."""

from typing import Any

from sqlalchemy import CTE, ColumnElement, FromClause, Select, func, literal, select

from app.accounts.models import Role, RolePermission

MAX_ROLE_DEPTH = 20
ROLES = Role.__table__  # type: ignore[attr-defined]
PERMISSIONS = RolePermission.__table__  # type: ignore[attr-defined]
_NAME = PERMISSIONS.c.resource + ":" + PERMISSIONS.c.action


def lineage(id: ColumnElement[Any], source: FromClause | None = None, *, active_only: bool) -> CTE:
    """The ids of a role and its ancestors with their `distance` from it; `id` may be a column of `source`.

    With `active_only`, an inactive role is the end of the line: neither it nor what lies above it counts.
    """
    first = _step(ROLES, literal(0), active_only=active_only)
    first = first.where(ROLES.c.id == id) if source is None else first.join(source, ROLES.c.id == id)
    found = first.cte("lineage", recursive=True)
    parent = ROLES.alias("parent")
    above = _step(parent, found.c.distance + 1, active_only=active_only).join(found, parent.c.id == found.c.parent_role_id)
    return found.union_all(above.where(found.c.distance < MAX_ROLE_DEPTH))


def permissions_of(roles: CTE) -> Select[Any]:
    """What the roles may always do, as `resource:action`: permissions with conditions are not among them."""
    return (
        select(_NAME.label("permission"))
        .join_from(PERMISSIONS, roles, roles.c.id == PERMISSIONS.c.role_id)
        .where(PERMISSIONS.c.conditions.is_(None))
        .distinct()
    )


def conditional_permissions_of(roles: CTE) -> Select[Any]:
    """What the roles may do under conditions, as pairs of `resource:action` and the conditions (`accounts.conditions`)."""
    return (
        select(func.jsonb_build_array(_NAME, PERMISSIONS.c.conditions))
        .join_from(PERMISSIONS, roles, roles.c.id == PERMISSIONS.c.role_id)
        .where(PERMISSIONS.c.conditions.is_not(None))
        .distinct()
    )


def _step(roles: Any, distance: ColumnElement[Any], *, active_only: bool) -> Select[Any]:
    step = select(roles.c.id, roles.c.parent_role_id, distance.label("distance"))
    return step.where(roles.c.is_active) if active_only else step
