"""Roles, what they permit, and how they are given."""

from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import Field, FutureDatetime, StringConstraints, field_serializer
from sqlalchemy import CheckConstraint, UniqueConstraint

from app.accounts.conditions import Conditions, Window, as_json
from app.core import model
from app.core.inputs import Input, Line, Passage
from app.core.model import JSON, TEXT, Timestamped


class UserRoleType(StrEnum):
    """The roles that every installation has; others may be added to the roles table."""

    ADMIN = "ADMIN"
    ANALYST = "ANALYST"
    VIEWER = "VIEWER"
    USER = "USER"


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


PermissionPart = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z][a-z_]*)$", max_length=128)]


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
