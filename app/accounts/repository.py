"""Users, roles, sessions and API keys: every statement on them."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, Interval, and_, bindparam, case, false, func, literal, or_, select, true, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from app.accounts.models import ApiKey, ApiKeyStatus, Role, RolePermission, SessionEndReason, User, UserCreate, UserSession, UserStatus
from app.core.batch import many_by, one_by
from app.core.errors import BadInput, ErrorCode, NotFound, UserError
from app.core.paging import NEWEST_FIRST
from app.core.repository import Repository, as_values, transactional
from app.core.security import ViewerKind

USERS = User.__table__  # type: ignore[attr-defined]
MAX_ROLE_DEPTH = 20
TOUCH_SECONDS = 60


def own_rows(table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
    """The rows whose `user_id` is the viewer."""
    return false() if viewer is ViewerKind.ANONYMOUS else table.c.user_id == bindparam("viewer_id")


class UserRepository(Repository[User]):
    """Users see themselves; staff also the users of their store."""

    model = User
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_users_email": (ErrorCode.TAKEN, "email", "an account with this email exists already; sign in or reset its password"),
        "uq_users_username": (ErrorCode.TAKEN, "username", "this user name is taken; choose another"),
    }

    find_known_by_ids = one_by("id", scoped=False)
    """Users behind rows that the viewer may see, such as who placed an order."""

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        if viewer is ViewerKind.ANONYMOUS:
            return false()
        own = table.c.id == bindparam("viewer_id")
        return or_(own, table.c.store_id == bindparam("viewer_store_id")) if viewer is ViewerKind.STAFF else own

    async def create_account(self, account: UserCreate, password_hash: str) -> User:
        """A new account; the email keeps its spelling and is unique without regard to case. Raises `UserError` when it is taken."""
        values = {name: value for name, value in as_values(account).items() if name != "password"}
        return await self.create({**values, "password_hash": password_hash})

    async def find_by_email(self, email: str) -> User | None:
        """The user with this email, whatever its case."""
        return await self._find_by_lower("email", email)

    async def find_by_username(self, username: str) -> User | None:
        return await self._find_by_lower("username", username)

    async def find_by_role(self, role_id: UUID) -> list[User]:
        return await self.find_many({"role_id": role_id}, NEWEST_FIRST)

    async def find_by_status(self, status: UserStatus) -> list[User]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def find_by_store(self, store_id: UUID) -> list[User]:
        return await self.find_many({"store_id": store_id}, NEWEST_FIRST)

    async def update_last_login(self, id: UUID) -> User:
        """Stamp a sign-in and count it. Raises `NotFound`."""
        statement = self.statement(
            "update_last_login",
            lambda: (
                update(self.table)
                .where(self.table.c.id == bindparam("id"), self.visible(self.table))
                .values(last_login_at=func.now(), login_count=self.table.c.login_count + 1, updated_at=func.now())
                .returning(*self.table.c)
            ),
        )
        row = await self.row(statement, id=id)
        if row is None:
            raise NotFound("no User has this id")
        return row

    async def update_role(self, id: UUID, role_id: UUID | None, performed_by: UUID | None, expires_at: datetime | None = None) -> User:
        """Give a user a role, or none; it is in force from now until it expires. Raises `NotFound`."""
        now = self.repositories.now()
        revoked = {"role_revoked_at": None if role_id else now, "role_revoked_by": None if role_id else performed_by}
        assigned = {"role_assigned_at": now, "role_assigned_by": performed_by, "role_expires_at": expires_at} if role_id else {}
        return await self.update_by_id(id, {**({"role_id": role_id} if role_id else {}), **assigned, **revoked})

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

    async def _find_by_lower(self, column: str, value: str) -> User | None:
        statement = self.statement(
            ("find_by_lower", column), lambda: self.base().where(func.lower(self.table.c[column]) == func.lower(bindparam("value")))
        )
        return await self.row(statement, value=value)

    def _restoration(self) -> dict[str, Any]:
        return {**super()._restoration(), "status": UserStatus.INACTIVE.value}


class RoleRepository(Repository[Role]):
    """Roles are seen by staff."""

    model = Role
    cached_for = frozenset({ViewerKind.STAFF})

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return true() if viewer is ViewerKind.STAFF else false()

    find_held_by_ids = one_by("id", scoped=False)
    """Roles of users whom the viewer may see."""

    async def find_by_name(self, name: str) -> Role | None:
        return await self.find_first({"name": name})

    async def find_child_roles(self, parent_id: UUID) -> list[Role]:
        return await self.find_many({"parent_role_id": parent_id, "is_active": True})

    async def get_role_hierarchy(self, id: UUID) -> list[Role]:
        """The role after its ancestors, root first; a cycle ends where it closes."""
        statement = self.statement("get_role_hierarchy", self._hierarchy)
        return await self.rows(statement, id=id)

    async def get_all_permissions(self, id: UUID) -> frozenset[str]:
        """The permissions of an active role and of its active ancestors, as `resource:action`."""
        lineage = self._lineage()
        permissions = RolePermission.__table__  # type: ignore[attr-defined]
        statement = self.statement(
            "get_all_permissions",
            lambda: (
                select((permissions.c.resource + ":" + permissions.c.action).label("permission"))
                .select_from(permissions.join(lineage, lineage.c.id == permissions.c.role_id))
                .where(lineage.c.is_active)
                .distinct()
            ),
        )
        return frozenset(row["permission"] for row in await self.rows(statement, id=id))  # type: ignore[index]

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

    async def _lock_hierarchy(self) -> None:
        """Two moves at once could close a cycle that neither sees."""
        statement = self.statement("lock_hierarchy", lambda: select(self.table.c.id).order_by(self.table.c.id).with_for_update())
        await self.rows(statement)

    def _lineage(self) -> Any:
        role = self.table.c
        first = select(role.id, role.parent_role_id, role.is_active, literal(0).label("distance")).where(role.id == bindparam("id"))
        lineage = first.cte("lineage", recursive=True)
        parent = self.table.alias("parent")
        step = (
            select(parent.c.id, parent.c.parent_role_id, parent.c.is_active, lineage.c.distance + 1)
            .join(lineage, parent.c.id == lineage.c.parent_role_id)
            .where(lineage.c.distance < MAX_ROLE_DEPTH)
        )
        return lineage.union_all(step)

    def _hierarchy(self) -> Any:
        lineage = self._lineage()
        nearest = select(lineage.c.id, func.min(lineage.c.distance).label("distance")).group_by(lineage.c.id).subquery("nearest")
        return self.base().join(nearest, nearest.c.id == self.table.c.id).order_by(nearest.c.distance.desc())


class RolePermissionRepository(Repository[RolePermission]):
    """Permissions are seen through their role."""

    model = RolePermission

    find_by_role_ids = many_by("role_id", scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return true() if viewer is ViewerKind.STAFF else false()


class UserSessionRepository(Repository[UserSession]):
    """Sessions are their user's alone."""

    model = UserSession

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_rows(table, viewer)

    async def find_holder(self, token_hash: str, idle: timedelta) -> Any | None:
        """Who holds a live session: the user, the store, and the role if it is in force. None where the session has ended or the user may not act.

        `idle` is how long a session lives without a request.
        """
        statement = self.statement("find_holder", self._holder)
        return await self.row(statement, token_hash=token_hash, idle=idle)

    async def update_last_activity(self, id: UUID) -> None:
        """Stamp a request of a session, at most once a minute."""
        statement = self.statement(
            "update_last_activity",
            lambda: (
                update(self.table)
                .where(self.table.c.id == bindparam("id"), self.table.c.is_active)
                .where(self.table.c.last_accessed_at < func.now() - timedelta(seconds=TOUCH_SECONDS))
                .values(last_accessed_at=func.now(), updated_at=func.now())
                .returning(self.table.c.id)
            ),
        )
        await self.rows(statement, id=id)

    async def find_active_by_user_id(self, user_id: UUID) -> list[UserSession]:
        """A user's sessions that have neither ended nor expired, newest first."""
        where = {"user_id": user_id, "is_active": True, "expires_at": {"gt": self.repositories.now()}}
        return await self.find_many(where, NEWEST_FIRST)

    async def invalidate_session(self, id: UUID, reason: SessionEndReason = SessionEndReason.REVOKED) -> UserSession:
        """End a session; the first end counts. Raises `NotFound`."""
        await self.update_many({"id": id, "is_active": True}, self._ending(reason))
        return await self.get_by_id(id)

    async def invalidate_all_user_sessions(self, user_id: UUID, reason: SessionEndReason = SessionEndReason.REVOKED) -> int:
        """End every session of a user; returns how many were live."""
        return await self.update_many({"user_id": user_id, "is_active": True}, self._ending(reason))

    async def cleanup_expired_sessions(self) -> int:
        """End the sessions past their absolute life; returns how many."""
        return await self.update_many(
            {"is_active": True, "expires_at": {"lte": self.repositories.now()}}, self._ending(SessionEndReason.EXPIRED)
        )

    def _ending(self, reason: SessionEndReason) -> dict[str, Any]:
        return {"is_active": False, "ended_at": self.repositories.now(), "end_reason": reason.value}

    def _holder(self) -> Any:
        session, user = self.table.c, USERS.c
        in_force = and_(user.role_revoked_at.is_(None), or_(user.role_expires_at.is_(None), user.role_expires_at > func.now()))
        return (
            select(session.id, session.user_id, session.last_accessed_at, user.store_id, case((in_force, user.role_id)).label("role_id"))
            .join_from(self.table, USERS, user.id == session.user_id)
            .where(session.token_hash == bindparam("token_hash"), session.is_active, session.expires_at > func.now())
            .where(session.last_accessed_at > func.now() - bindparam("idle", type_=Interval))
            .where(user.status == UserStatus.ACTIVE.value, ~user.is_deleted)
        )


class ApiKeyRepository(Repository[ApiKey]):
    """API keys are their user's alone; the hash never leaves the process."""

    model = ApiKey

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_rows(table, viewer)

    async def find_by_hash(self, key_hash: str) -> ApiKey | None:
        """The live key with this hash: active, and not expired."""
        return await self.find_first({"key_hash": key_hash, **self._live()})

    async def find_active_by_user(self, user_id: UUID) -> list[ApiKey]:
        return await self.find_many({"user_id": user_id, **self._live()}, NEWEST_FIRST)

    async def increment_usage(self, id: UUID) -> None:
        """Count one use of a key."""
        await self.batch_increment_usage_count({id: 1})

    async def batch_increment_usage_count(self, uses: Mapping[UUID, int]) -> int:
        """Count uses of many keys with one statement; returns how many keys were there and not revoked."""
        statement = self.statement("batch_increment_usage_count", self._count_uses)
        return len(await self.rows(statement, ids=list(uses), uses=list(uses.values())))

    async def update_status(self, id: UUID, status: ApiKeyStatus, revoked_by: UUID | None = None) -> ApiKey:
        """Revoke a key or let it expire; a revoked key stays revoked. Raises `NotFound`, for another's key as well."""
        change: dict[str, Any] = {"status": status.value}
        if status is ApiKeyStatus.REVOKED:
            change |= {"revoked_at": self.repositories.now(), "revoked_by": revoked_by}
        await self.update_many({"id": id, "status": {"in": [ApiKeyStatus.ACTIVE.value, ApiKeyStatus.EXPIRED.value]}}, change)
        return await self.get_by_id(id)

    def _live(self) -> dict[str, Any]:
        lasting = {"or": [{"expires_at": None}, {"expires_at": {"gt": self.repositories.now()}}]}
        return {"status": ApiKeyStatus.ACTIVE.value, "and": [lasting]}

    def _count_uses(self) -> Any:
        uses = (
            func.unnest(bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True))), bindparam("uses", type_=ARRAY(BigInteger)))
            .table_valued("id", "uses", name="counted")
            .render_derived()
        )
        return (
            update(self.table)
            .where(self.table.c.id == uses.c.id, self.table.c.status != ApiKeyStatus.REVOKED.value)
            .values(usage_count=self.table.c.usage_count + uses.c.uses, last_used_at=func.now(), updated_at=func.now())
            .returning(self.table.c.id)
        )
