"""Roles, what they inherit from each other, and their permissions."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, bindparam, false, func, select, true

from app.accounts.models import Role, RoleCreate, RolePermission, RolePermissionCreate
from app.accounts.repository.lineage import lineage, permissions_of
from app.accounts.repository.standing import Standing
from app.core.batch import many_by, one_by
from app.core.errors import BadInput, ErrorCode
from app.core.repository import as_values, transactional
from app.core.security import ANY, ViewerKind


class RoleRepository(Standing[Role]):
    """Roles are seen by staff."""

    model = Role
    cached_for = frozenset({ViewerKind.STAFF})
    constraints = {"uq_roles_name": (ErrorCode.TAKEN, "name", "another role has this name")}  # noqa: RUF012 - declared in the base

    find_held_by_ids = one_by("id", scoped=False)
    """Roles of users whom the viewer may see."""

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return true() if viewer is ViewerKind.STAFF else false()

    async def find_by_name(self, name: str) -> Role | None:
        return await self.find_first({"name": name})

    async def find_by_category(self, category: str) -> list[Role]:
        """The active roles of a category."""
        return await self.find_many({"category": category, "is_active": True})

    async def find_child_roles(self, parent_id: UUID) -> list[Role]:
        """The active roles right under another."""
        return await self.find_many({"parent_role_id": parent_id, "is_active": True})

    async def find_parent_role(self, id: UUID) -> Role | None:
        """The role right above another; None at the root. Raises `NotFound`."""
        role = await self.get_by_id(id)
        return await self.find_by_id(role.parent_role_id) if role.parent_role_id else None

    async def get_role_hierarchy(self, id: UUID) -> list[Role]:
        """The role after its ancestors, root first; a cycle ends where it closes."""
        return await self.rows(self.statement("get_role_hierarchy", self._hierarchy), id=id)

    async def get_all_permissions(self, id: UUID) -> frozenset[str]:
        """What a role and its ancestors always permit, as `resource:action`, up to the first that is inactive."""
        statement = self.statement("get_all_permissions", lambda: permissions_of(lineage(bindparam("id"), active_only=True)))
        return frozenset(row["permission"] for row in await self.rows(statement, id=id))  # type: ignore[index]

    async def find_administrative(self) -> list[UUID]:
        """The active roles that may do everything."""
        active = await self.find_many({"is_active": True})
        return [role.id for role in active if f"{ANY}:{ANY}" in await self.get_all_permissions(role.id)]

    async def has_permission(self, id: UUID, resource: str, action: str) -> bool:
        """Whether the role or an ancestor has exactly this permission."""
        return f"{resource}:{action}" in await self.get_all_permissions(id)

    @transactional
    async def update_hierarchy(self, id: UUID, parent_id: UUID | None) -> Role:
        """Put a role under another, or at the root. Raises `BadInput` for a cycle, `NotFound`."""
        await self._lock_hierarchy()
        if parent_id is not None and any(role.id == id for role in await self.get_role_hierarchy(parent_id)):
            raise BadInput("parent_role_id", "would make the role its own ancestor")
        return await self.update_by_id(id, {"parent_role_id": parent_id})

    @transactional
    async def clone_role(self, source_id: UUID, clone: RoleCreate) -> Role:
        """A new role with the category, the level and the own permissions of another. Raises `NotFound`, `UserError` for a taken name."""
        source = await self.get_by_id(source_id)
        role = await self.create({**as_values(clone), "category": source.category, "level": source.level})
        permissions = self.repositories.of(RolePermissionRepository)
        for own in await permissions.find_by_role_id(source_id):
            copied = {"resource": own.resource, "action": own.action, "description": own.description, "conditions": own.conditions}
            await permissions.create({"role_id": role.id, **copied})
        return role

    async def _lock_hierarchy(self) -> None:
        """Two moves at once could close a cycle that neither sees."""
        statement = self.statement("lock_hierarchy", lambda: select(self.table.c.id).order_by(self.table.c.id).with_for_update())
        await self.rows(statement)

    def _hierarchy(self) -> Any:
        line = lineage(bindparam("id"), active_only=False)
        nearest = select(line.c.id, func.min(line.c.distance).label("distance")).group_by(line.c.id).subquery("nearest")
        return self.base().join(nearest, nearest.c.id == self.table.c.id).order_by(nearest.c.distance.desc())


class RolePermissionRepository(Standing[RolePermission]):
    """Permissions are seen through their role."""

    model = RolePermission
    constraints = {  # noqa: RUF012 - declared in the base
        "uq_role_permissions_role_id_resource_action": (ErrorCode.TAKEN, "action", "the role has this permission already")
    }

    find_by_role_ids = many_by("role_id", scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return true() if viewer is ViewerKind.STAFF else false()

    async def find_by_role_id(self, role_id: UUID) -> list[RolePermission]:
        """A role's own permissions, without those of its ancestors."""
        return await self.find_many({"role_id": role_id})

    async def find_by_resource(self, resource: str) -> list[RolePermission]:
        return await self.find_many({"resource": resource})

    async def find_by_action(self, action: str) -> list[RolePermission]:
        return await self.find_many({"action": action})

    async def find_by_role_resource_action(self, role_id: UUID, resource: str, action: str) -> RolePermission | None:
        return await self.find_first({"role_id": role_id, "resource": resource, "action": action})

    async def has_permission(self, role_id: UUID, resource: str, action: str) -> bool:
        """Whether the role itself has exactly this permission."""
        return await self.find_by_role_resource_action(role_id, resource, action) is not None

    async def create(self, values: BaseModel | Mapping[str, Any]) -> RolePermission:
        """Give a role a permission. Raises `UserError` where it has it already, pydantic's `ValidationError` for unknown conditions."""
        row = await super().create(_checked(values))
        await self._changed(row.id)
        return row

    async def create_many(self, rows: Sequence[BaseModel | Mapping[str, Any]]) -> list[RolePermission]:
        """Give roles permissions, all of them or none. Raises as `create` does."""
        made = await super().create_many([_checked(row) for row in rows])
        await self._changed(*(row.id for row in made))
        return made

    async def remove_permission(self, role_id: UUID, resource: str, action: str) -> bool:
        """Take a role's own permission away; returns whether it had it."""
        return await self.delete_many({"role_id": role_id, "resource": resource, "action": action}) == 1


def _checked(values: BaseModel | Mapping[str, Any]) -> RolePermissionCreate:
    return values if isinstance(values, RolePermissionCreate) else RolePermissionCreate.model_validate(as_values(values))
