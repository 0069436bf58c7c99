"""Features of carts, and notifications of users."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, Select, bindparam, exists, func, select, text, true
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import Cart
from app.core.changes import Announced, Kind
from app.core.errors import ErrorCode
from app.core.paging import NEWEST_FIRST
from app.core.repository import Repository, as_values
from app.core.scope import own_or_of_store, own_rows
from app.core.security import ViewerKind
from app.engagement.models import Feature, Notification, NotificationCreate

CARTS = Cart.__table__  # type: ignore[attr-defined]
NOTIFICATIONS_SHOWN = 50
MOST_FEATURES = 500


class FeatureRepository(Repository[Feature]):
    """Features belong to the shopper of their cart; staff see those of their store's carts."""

    model = Feature
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "fk_features_cart_id_carts": (ErrorCode.NOT_FOUND, "cart_id", "a cart with this id does not exist"),
    }

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return exists().where(CARTS.c.id == table.c.cart_id, own_or_of_store(CARTS, viewer, "features"))

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return exists().where(CARTS.c.id == table.c.cart_id, own_or_of_store(CARTS, viewer, "features", "write"))

    async def create_many(self, rows: Sequence[BaseModel | Mapping[str, Any]]) -> list[Feature]:
        """Write features with one statement; a cart's feature of the same name and version takes the new value."""
        given = [as_values(row) for row in rows]
        return await self.rows(self.statement("upsert_many", self._upsert), records=given) if given else []

    async def find_by_cart_id(self, cart_id: UUID, version: str | None = None) -> list[Feature]:
        """The features of a cart that have not expired, by name; of one version where it is given."""
        statement = self.statement(("find_by_cart_id", version is None), lambda: self._of_cart(any_version=version is None))
        return await self.rows(statement, cart_id=cart_id, version=version)

    async def get_expired_features(self) -> list[Feature]:
        """Features past their time to live, at most 1000."""
        return await self.rows(self.statement("get_expired_features", lambda: self.base().where(self._expired()).limit(1000)))

    async def clear_cart_features(self, cart_id: UUID) -> int:
        return await self.delete_many({"cart_id": cart_id})

    def _of_cart(self, *, any_version: bool) -> Select[Any]:
        of_version = true() if any_version else self.table.c.version == bindparam("version")
        wanted = self.base().where(self.table.c.cart_id == bindparam("cart_id"), of_version, ~self._expired())
        return wanted.order_by(self.table.c.name, self.table.c.version).limit(MOST_FEATURES)

    def _expired(self) -> ColumnElement[bool]:
        lifetime = func.make_interval(0, 0, 0, 0, 0, 0, func.coalesce(self.table.c.ttl, 0))
        return self.table.c.ttl.is_not(None) & (self.table.c.updated_at + lifetime < func.now())

    def _upsert(self) -> Any:
        names = ["cart_id", "name", "value", "version", "description", "ttl", "metadata"]
        records = text(f"(select {', '.join(names)} from jsonb_populate_recordset(null::features, cast(:records as jsonb))) as given")  # noqa: S608 - names of columns
        rows = upsert(self.table).from_select(names, select(*(text(name) for name in names)).select_from(records))
        replaced = {name: rows.excluded[name] for name in ("value", "description", "ttl", "metadata")}
        changed = rows.on_conflict_do_update(index_elements=["cart_id", "name", "version"], set_={**replaced, "updated_at": func.now()})
        return changed.returning(*self.table.c)


class NotificationRepository(Repository[Notification]):
    """Notifications are their reader's alone."""

    model = Notification
    announces = Announced("notifications", kinds=frozenset({Kind.INSERT}))

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_rows(table, viewer)

    async def create_once(self, id: UUID, notification: NotificationCreate) -> bool:
        """A notification under an id of the caller's; whether it was not there yet."""
        values = {"id": id, **as_values(notification)}
        statement = self.statement(("create_once", tuple(values)), lambda: self._creating_once(tuple(values)))
        return await self.row(statement, **{f"v_{name}": value for name, value in values.items()}) is not None

    async def find_by_user_id(self, user_id: UUID, *, unread_only: bool = False) -> list[Notification]:
        """A user's newest notifications, at most 50."""
        where = {"user_id": user_id, **({"read": False} if unread_only else {})}
        return await self.find_many(where, NEWEST_FIRST, limit=NOTIFICATIONS_SHOWN)

    async def mark_as_read(self, id: UUID) -> Notification:
        """Say that a notification was read; the first time counts. Raises `NotFound`."""
        await self.update_many({"id": id, "read": False}, self._reading())
        return await self.get_by_id(id)

    async def mark_multiple_as_read(self, ids: Sequence[UUID]) -> int:
        return await self.update_many({"id": list(ids), "read": False}, self._reading())

    async def mark_all_as_read(self, user_id: UUID) -> int:
        """Read everything that a user has not read; returns how many."""
        return await self.update_many({"user_id": user_id, "read": False}, self._reading())

    async def get_unread_count(self, user_id: UUID) -> int:
        return await self.count({"user_id": user_id, "read": False})

    async def cleanup_old_read_notifications(self, before: datetime) -> int:
        """Remove what was read before a time; returns how many."""
        return await self.delete_many({"read_at": {"lt": before}})

    def _creating_once(self, names: tuple[str, ...]) -> Any:
        row = upsert(self.table).values({name: self._parameter(name) for name in names})
        return row.on_conflict_do_nothing(index_elements=["id"]).returning(*self.table.c)

    def _reading(self) -> dict[str, Any]:
        return {"read": True, "read_at": self.repositories.now()}
