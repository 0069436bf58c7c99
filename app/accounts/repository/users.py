"""Users: how they are found, what role they hold, and how their accounts end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, any_, bindparam, false, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from app.accounts.models import RoleAssignment, SessionEndReason, User, UserCreate, UserStatus
from app.accounts.repository.api_keys import ApiKeyRepository
from app.accounts.repository.holders import is_active_owner, role_in_force
from app.accounts.repository.roles import RoleRepository
from app.accounts.repository.sessions import UserSessionRepository
from app.accounts.repository.standing import Standing
from app.core.batch import KEY, one_by
from app.core.errors import BadInput, ErrorCode, NotFound, UserError
from app.core.paging import NEWEST_FIRST
from app.core.repository import as_values, transactional
from app.core.scope import of_store
from app.core.security import Viewer, ViewerKind

MOST_HOLDERS = 100
ADMINISTRATORS = "administrators"


@dataclass(frozen=True)
class StatusChange:
    """What became of each user of a batch."""

    changed: tuple[UUID, ...]
    missing: tuple[UUID, ...]


class UserRepository(Standing[User]):
    """Users see themselves; staff who may read users also those of their store."""

    model = User
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_users_email": (ErrorCode.TAKEN, "email", "an account with this email exists already; sign in or reset its password"),
        "uq_users_username": (ErrorCode.TAKEN, "username", "this user name is taken; choose another"),
    }

    find_known_by_ids = one_by("id", scoped=False)
    """Users behind rows that the viewer may see, such as who placed an order: for a shopper that must be the shopper."""

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        if viewer is ViewerKind.ANONYMOUS:
            return false()
        own = table.c.id == bindparam("viewer_id")
        return or_(own, of_store(table.c.store_id, "users")) if viewer is ViewerKind.STAFF else own

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        """Their own account; others are changed by administrators."""
        return false() if viewer is ViewerKind.ANONYMOUS else table.c.id == bindparam("viewer_id")

    async def create_account(self, account: UserCreate, password_hash: str) -> User:
        """A new account; the email keeps its spelling and is unique without regard to case. Raises `UserError` when it is taken."""
        values = {name: value for name, value in as_values(account).items() if name in self.columns}
        return await self.create({**values, "password_hash": password_hash})

    async def find_by_email(self, email: str, *, include_deleted: bool = False) -> User | None:
        """The user with this email, whatever its case. Of users who share it, the one that exists, else the last deleted."""
        return await self._find_by_lower("email", email, include_deleted)

    async def find_ids_holding(self, permission: str) -> list[UUID]:
        """Active users whose role always permits something, at most 100: those to be told of what it is about."""
        roles = self.repositories.of(RoleRepository)
        held = {role.id: await roles.get_all_permissions(role.id) for role in await roles.find_many({"is_active": True})}
        holding = [id for id, permissions in held.items() if Viewer(permissions=permissions).can(permission)]
        role_id, _ = role_in_force()
        statement = self.statement(
            "find_ids_holding",
            lambda: (
                select(self.table.c.id)
                .where(role_id == any_(bindparam("role_ids", type_=ARRAY(KEY))), is_active_owner(self.table.c.id))
                .order_by(self.table.c.id)
                .limit(MOST_HOLDERS)
            ),
        )
        return [row.id for row in await self.rows(statement, role_ids=holding)]

    async def find_by_username(self, username: str, *, include_deleted: bool = False) -> User | None:
        """The user with this name, whatever its case."""
        return await self._find_by_lower("username", username, include_deleted)

    async def find_by_role(self, role_id: UUID) -> list[User]:
        return await self.find_many({"role_id": role_id}, NEWEST_FIRST)

    async def find_by_status(self, status: UserStatus) -> list[User]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def find_by_store(self, store_id: UUID) -> list[User]:
        return await self.find_many({"store_id": store_id}, NEWEST_FIRST)

    async def update_last_login(self, id: UUID, password_hash: str | None) -> User:
        """Stamp a sign-in and count it. Raises `NotFound` where the user may not act, or has another password by now."""
        statement = self.statement(
            "update_last_login",
            lambda: (
                update(self.table)
                .where(self.table.c.id == bindparam("id"), self.table.c.password_hash == bindparam("password_hash"))
                .where(self.table.c.status == UserStatus.ACTIVE.value, self.visible(self.table, writing=True))
                .values(last_login_at=func.now(), login_count=self.table.c.login_count + 1, updated_at=func.now())
                .returning(*self.table.c)
            ),
        )
        row = await self.row(statement, id=id, password_hash=password_hash)
        if row is None:
            raise NotFound("no active User has this id and password")
        return row

    async def replace_password_hash(self, id: UUID, old: str, new: str) -> bool:
        """Store a hash in place of another; False where that one is no longer there, since a newer password must not be undone."""
        return await self.update_many({"id": id, "password_hash": old}, {"password_hash": new}) == 1

    async def update_role(self, id: UUID, role_id: UUID | None, performed_by: UUID | None, expires_at: datetime | None = None) -> User:
        """Give a user a role, or none; it is in force from now until it expires. Raises `NotFound`."""
        now = self.repositories.now()
        if role_id is None:
            return await self.update_by_id(id, {"role_revoked_at": now, "role_revoked_by": performed_by})
        assigned = {"role_id": role_id, "role_assigned_at": now, "role_assigned_by": performed_by, "role_expires_at": expires_at}
        return await self.update_by_id(id, {**assigned, "role_revoked_at": None, "role_revoked_by": None})

    @transactional
    async def assign_role(self, assignment: RoleAssignment, performed_by: UUID) -> User:
        """Give or take a role. Raises `NotFound` for the user, `UserError` for one's own role, that of the last administrator, and for a
        role that cannot be held.
        """
        if assignment.user_id == performed_by:
            raise UserError(ErrorCode.FORBIDDEN, "somebody else must change your own role", "user_id")
        if assignment.role_id is not None:
            role = await self.repositories.of(RoleRepository).find_by_id(assignment.role_id)
            if role is None or not role.is_active:
                raise UserError(ErrorCode.NOT_FOUND, "no active role has this id", "role_id")
        user = await self.lock_role_of(assignment.user_id)
        if user is None:
            raise NotFound("no User has this id")
        if assignment.role_id != user.role_id or assignment.expires_at is not None:
            await self.check_last_administrator(user, "somebody else must be given the role of an administrator for good first", "user_id")
        return await self.update_role(assignment.user_id, assignment.role_id, performed_by, assignment.expires_at)

    async def lock_role_of(self, id: UUID) -> User | None:
        """A user whose role may end: nobody else's ends until the transaction does.

        The name is locked before the row, since a change of another's row refers to that of whoever makes it.
        """
        user = await self.find_by_id(id)
        if user is not None and user.role_id is not None:
            await self.lock_name(ADMINISTRATORS)
        return await self.lock_by_id(id)

    async def check_last_administrator(self, user: User, remedy: str, field: str | None = None) -> None:
        """Raises `UserError` where nobody would be an administrator once a user, locked by `lock_role_of`, is none.

        Whoever is one for a time does not stand in for one who is without end.
        """
        roles = await self.repositories.unscoped.of(RoleRepository).find_administrative()
        if user.role_id not in roles or user.role_revoked_at is not None:
            return
        await self.lock_name(ADMINISTRATORS)
        lasting: dict[str, Any] = {"role_expires_at": None}
        if user.role_expires_at is not None:
            lasting = {"or": [lasting, {"role_expires_at": {"gt": self.repositories.now()}}]}
        held = {"role_id": roles, "role_revoked_at": None, "status": UserStatus.ACTIVE.value, "and": [lasting], "not": {"id": user.id}}
        if not await self.repositories.unscoped.of(UserRepository).exists(held):
            raise UserError(ErrorCode.FORBIDDEN, f"this is the last administrator; {remedy}", field)

    @transactional
    async def soft_delete(self, id: UUID, deleted_by: UUID | None = None) -> User:
        """Close an account, end its sessions and revoke its API keys. Raises `NotFound`."""
        await self._end_sessions((id,))
        await self.repositories.unscoped.of(ApiKeyRepository).revoke_by_user(id, deleted_by)
        return await self.update_by_id(id, {**self._deletion(), "updated_by": deleted_by})

    @transactional
    async def batch_update_status(self, ids: Sequence[UUID], status: UserStatus, performed_by: UUID | None = None) -> StatusChange:
        """Let users act or not; who may not is signed out. Ids without a user do not stop the rest.

        Raises `BadInput` for DELETED: accounts are closed by `soft_delete`, which dates it.
        """
        if status is UserStatus.DELETED:
            raise BadInput("status", "accounts are deleted by soft_delete")
        statement = self.statement("batch_update_status", self._batch_status)
        rows = await self.rows(statement, ids=list(ids), status=status.value, performed_by=performed_by)
        changed = tuple(row.id for row in rows)
        await self._changed(*changed)
        if status is not UserStatus.ACTIVE:
            await self._end_sessions(changed)
        return StatusChange(changed, tuple(sorted(set(ids) - set(changed))))

    async def get_user_stats(self) -> dict[str, int]:
        """How many users there are, of each status, and how many have verified what."""
        columns = self.table.c
        statement = self.statement(
            "get_user_stats",
            lambda: select(
                func.count().label("total"),
                *(func.count().filter(columns.status == status.value).label(status.value.lower()) for status in UserStatus),
                func.count().filter(columns.email_verified).label("verified_emails"),
                func.count().filter(columns.phone_verified).label("verified_phones"),
            ).where(self.visible(self.table, deleted=True)),
        )
        return dict((await self.rows(statement))[0])

    async def _find_by_lower(self, column: str, value: str, deleted: bool) -> User | None:
        statement = self.statement(
            ("find_by_lower", column, deleted),
            lambda: (
                self.base(deleted=deleted)
                .where(func.lower(self.table.c[column]) == func.lower(bindparam("value")))
                .order_by(self.table.c.is_deleted, self.table.c.deleted_at.desc())
                .limit(1)
            ),
        )
        return await self.row(statement, value=value)

    async def _end_sessions(self, ids: Sequence[UUID]) -> None:
        await self.repositories.unscoped.of(UserSessionRepository).invalidate_sessions_of(ids, SessionEndReason.ACCOUNT_CLOSED)

    def _batch_status(self) -> Any:
        columns = self.table.c
        return (
            update(self.table)
            .where(columns.id == func.any(bindparam("ids", type_=ARRAY(KEY))), self.visible(self.table, writing=True))
            .values(status=bindparam("status"), updated_by=bindparam("performed_by"), updated_at=func.now())
            .returning(columns.id)
        )

    def _restoration(self) -> dict[str, Any]:
        return {**super()._restoration(), "status": UserStatus.INACTIVE.value}
