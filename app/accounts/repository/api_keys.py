"""API keys: which are live, and how often they are used."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import BigInteger, ColumnElement, and_, bindparam, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from app.accounts.models import ApiKey, ApiKeyCreate, ApiKeyStatus
from app.accounts.repository.holders import USERS, is_active_owner, role_in_force, with_rights
from app.accounts.repository.standing import Standing
from app.core.errors import ErrorCode, UserError
from app.core.paging import NEWEST_FIRST
from app.core.repository import transactional
from app.core.scope import own_rows
from app.core.security import ViewerKind

NOT_REVOKED = {"status": {"in": [ApiKeyStatus.ACTIVE.value, ApiKeyStatus.EXPIRED.value]}}


class ApiKeyRepository(Standing[ApiKey]):
    """API keys are their user's alone; the hash never leaves the process."""

    model = ApiKey

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_rows(table, viewer)

    async def find_by_hash(self, key_hash: str) -> ApiKey | None:
        """The live key with this hash: active, and not expired."""
        return await self.find_first({"key_hash": key_hash, **self._live()})

    async def find_active_by_user(self, user_id: UUID) -> list[ApiKey]:
        return await self.find_many({"user_id": user_id, **self._live()}, NEWEST_FIRST)

    async def find_holder(self, identifier: str) -> Any | None:
        """Who holds a live key: `id`, `key_hash`, `user_id`, `store_id`, `scopes`, `rate_limit`, and what `with_rights` says.

        None where there is no such key, it is not live, or its user may not act.
        """
        return await self.row(self.statement("find_holder", self._holder), identifier=identifier)

    @transactional
    async def create_within(self, key: ApiKeyCreate, most: int) -> ApiKey:
        """A new key of a user who has fewer than `most` live ones. Raises `UserError`; makers that race wait for each other."""
        await self.rows(self.statement("lock_owner", self._lock_owner), user_id=key.user_id)
        live = await self.count({"user_id": key.user_id, **self._live()})
        if live >= most:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"the account has {live} live API keys, at most {most} are allowed; revoke one first")
        return await self.create(key)

    async def increment_usage(self, id: UUID) -> None:
        """Count one use of a key."""
        await self.batch_increment_usage_count({id: 1})

    @transactional
    async def batch_increment_usage_count(self, uses: Mapping[UUID, int]) -> int:
        """Count uses of many keys with one statement; returns how many keys were there and not revoked."""
        statement = self.statement("batch_increment_usage_count", self._count_uses)
        return len(await self.rows(statement, ids=list(uses), uses=list(uses.values())))

    async def update_status(self, id: UUID, status: ApiKeyStatus, revoked_by: UUID | None = None) -> ApiKey:
        """Revoke a key or let it expire; a revoked key stays revoked. Raises `NotFound`, for another's key as well."""
        change: dict[str, Any] = {"status": status.value}
        if status is ApiKeyStatus.REVOKED:
            change |= {"revoked_at": self.repositories.now(), "revoked_by": revoked_by}
        await self.update_many({"id": id, **NOT_REVOKED}, change)
        return await self.get_by_id(id)

    async def revoke_by_user(self, user_id: UUID, revoked_by: UUID | None = None) -> int:
        """Revoke all keys of a user that are not yet; returns how many."""
        change = {"status": ApiKeyStatus.REVOKED.value, "revoked_at": self.repositories.now(), "revoked_by": revoked_by}
        return await self.update_many({"user_id": user_id, **NOT_REVOKED}, change)

    async def expire_late(self) -> int:
        """Write down that the keys past their time have expired, which they have anyway; returns how many."""
        late = {"status": ApiKeyStatus.ACTIVE.value, "expires_at": {"lte": self.repositories.now()}}
        return await self.update_many(late, {"status": ApiKeyStatus.EXPIRED.value})

    async def get_api_key_stats(self) -> dict[str, int]:
        """How many keys there are, and how many of them are live, revoked, and past their time."""
        columns = self.table.c
        late, active = columns.expires_at <= func.now(), columns.status == ApiKeyStatus.ACTIVE.value
        statement = self.statement(
            "get_api_key_stats",
            lambda: select(
                func.count().label("total"),
                func.count().filter(active, late.is_not(True)).label("active"),
                func.count().filter(columns.status == ApiKeyStatus.REVOKED.value).label("revoked"),
                func.count().filter(or_(columns.status == ApiKeyStatus.EXPIRED.value, and_(active, late))).label("expired"),
            ).where(self.visible(self.table)),
        )
        return dict((await self.rows(statement))[0])

    def _live(self) -> dict[str, Any]:
        lasting = {"or": [{"expires_at": None}, {"expires_at": {"gt": self.repositories.now()}}]}
        return {"status": ApiKeyStatus.ACTIVE.value, "and": [lasting]}

    def _holder(self) -> Any:
        key = self.table.c
        live = (
            select(key.id, key.key_hash, key.user_id, key.scopes, key.rate_limit, key.expires_at, USERS.c.store_id, *role_in_force())
            .join_from(self.table, USERS, is_active_owner(key.user_id))
            .where(key.key_identifier == bindparam("identifier"), key.status == ApiKeyStatus.ACTIVE.value)
            .where(or_(key.expires_at.is_(None), key.expires_at > func.now()))
            .cte("live")
        )
        return with_rights(live)

    def _lock_owner(self) -> Any:
        return select(USERS.c.id).where(USERS.c.id == bindparam("user_id")).with_for_update()

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
