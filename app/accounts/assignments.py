"""Roles are given and taken by administrators, and the user's security log says by whom."""

from typing import Any

from app.accounts.models import RoleAssignment, SecurityEventType, User
from app.accounts.security_log import record
from app.api.context import RequestInfo
from app.core.security import Viewer


async def assign_role(repositories: Any, assignment: RoleAssignment, viewer: Viewer, request: RequestInfo) -> User:
    """Give or take a role. Raises `NotFound` for the user, `UserError` for one's own role and for a role that cannot be held."""
    async with repositories.transaction() as tx:
        before = await tx.users.get_by_id(assignment.user_id)
        user: User = await tx.users.assign_role(assignment, viewer.user_id)
        given = assignment.role_id is not None
        type = SecurityEventType.ROLE_ASSIGNED if given else SecurityEventType.ROLE_REVOKED
        role = await tx.roles.find_by_id(assignment.role_id if given else before.role_id) if given or before.role_id else None
        details = {"role": role.name, "expiresAt": assignment.expires_at} if role else None
        await record(tx, type, user.id, request, performed_by=viewer.user_id, details=details)
    return user
