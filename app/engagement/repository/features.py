"""Features of carts: as they are, and as they were."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import (
    ColumnElement,
    DateTime,
    Select,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import Cart, CartItem, FeatureRequest
from app.core.batch import KEY
from app.core.errors import ErrorCode
from app.core.model import TIMESTAMP
from app.core.repository import Repository, as_values
from app.core.scope import own_or_of_store
from app.core.security import ViewerKind
from app.engagement.models import HAPPENED_AT, ITEM_COUNT, Feature, FeatureCreate, FeatureHistory

CARTS = Cart.__table__  # type: ignore[attr-defined]
ITEMS = CartItem.__table__  # type: ignore[attr-defined]
REQUESTS = FeatureRequest.__table__  # type: ignore[attr-defined]
HISTORY = FeatureHistory.__table__  # type: ignore[attr-defined]
MOST_FEATURES = 500
WRITTEN = ("cart_id", "name", "value", "version", "description", "ttl", "metadata")


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
        """Write features with one statement, in which their history grows; one of the same cart, name and version takes the new value.

        A value that stays and does not expire is no new revision.
        """
        return await self._upserted(rows, latest=False)

    async def note_latest(self, rows: Sequence[FeatureCreate]) -> list[Feature]:
        """As `create_many`, but of what happened (`HAPPENED_AT` in the metadata) the latest stays, in whatever order it is told.

        Gives those that were written.
        """
        return await self._upserted(rows, latest=True)

    async def may_write(self, cart_id: UUID) -> bool:
        """Whether the viewer may write features of a cart, which is there."""
        allowed = [] if self.viewer.sees_everything else [own_or_of_store(CARTS, self.viewer.kind, "features", "write")]
        statement = self.statement(
            "may_write", lambda: select(exists().where(CARTS.c.id == bindparam("cart_id"), ~CARTS.c.is_deleted, *allowed))
        )
        return bool(await self.value(statement, cart_id=cart_id))

    async def lock_cart(self, cart_id: UUID) -> None:
        """Let nobody else compute a cart's features until the transaction ends; whoever changes the cart need not wait."""
        await self.lock_name(str(cart_id))

    async def find_basis(self, cart_id: UUID) -> Any | None:
        """What a cart's features are computed of, at one moment: its total and version, how many lines it has, and their mean price."""
        return await self.row(self.statement("find_basis", self._basis), cart_id=cart_id)

    async def find_by_cart_id(self, cart_id: UUID, version: str | None = None, as_of: datetime | None = None) -> list[Feature]:
        """The features of a cart that have not expired, by name; of one version where it is given. With `as_of`, as they were then."""
        key = ("find_by_cart_id", version is None, as_of is None)
        statement = self.statement(key, lambda: self._of_cart(any_version=version is None, then=as_of is not None))
        return await self.rows(statement, cart_id=cart_id, version=version, as_of=as_of)

    async def get_expired_features(self) -> list[Feature]:
        """Features past their time to live, at most 1000."""
        expired = self._expired(self.table.c.ttl, self.table.c.updated_at, func.now())
        return await self.rows(self.statement("get_expired_features", lambda: self.base().where(expired).limit(1000)))

    async def request_outdated(self, version: str, after: UUID, limit: int) -> Any:
        """Look at the next `limit` carts by their ids, and have the features of those computed that have only other versions'.

        Gives the `last` cart that was looked at, None where there is none behind `after`, how many were `lacking`, and how many of them
        are `asked` for by this. One that is being changed asks by itself.
        """
        return await self.row(self.statement("request_outdated", self._requesting), version=version, after=after, row_limit=limit)

    async def clear_cart_features(self, cart_id: UUID) -> int:
        return await self.delete_many({"cart_id": cart_id})

    async def _upserted(self, rows: Sequence[BaseModel | Mapping[str, Any]], *, latest: bool) -> list[Feature]:
        given = sorted((as_values(row) for row in rows), key=lambda row: (str(row["cart_id"]), row["name"], row["version"]))
        statement = self.statement(("upsert_many", latest), lambda: self._upsert(latest=latest))
        return await self.rows(statement, records=given) if given else []

    def _of_cart(self, *, any_version: bool, then: bool) -> Select[Any]:
        columns = self.table.c
        of_version = true() if any_version else columns.version == bindparam("version")
        found = self._then() if then else self.base().where(~self._expired(columns.ttl, columns.updated_at, func.now()))
        return found.where(columns.cart_id == bindparam("cart_id"), of_version).order_by(columns.name, columns.version).limit(MOST_FEATURES)

    def _then(self) -> Select[Any]:
        """The features with the values that they had at `:as_of`, where they had any that had not expired."""
        columns, moment = self.table.c, bindparam("as_of", type_=DateTime(timezone=True))
        before = select(HISTORY).where(HISTORY.c.feature_id == columns.id, HISTORY.c.created_at <= moment)
        last = before.order_by(HISTORY.c.revision.desc()).limit(1).correlate(self.table).lateral("last")
        replaced = {"value": last.c.value, "ttl": last.c.ttl, "revision": last.c.revision, "updated_at": last.c.created_at}
        shown = [replaced[column.name].label(column.name) if column.name in replaced else column for column in columns]
        found = select(*shown).select_from(self.table.join(last, true()))
        return found.where(self.visible(self.table), ~self._expired(last.c.ttl, last.c.created_at, moment))

    def _expired(self, ttl: Any, since: Any, moment: Any) -> ColumnElement[bool]:
        lifetime = func.make_interval(0, 0, 0, 0, 0, 0, func.coalesce(ttl, 0))
        expired: ColumnElement[bool] = ttl.is_not(None) & (since + lifetime < moment)
        return expired

    def _basis(self) -> Select[Any]:
        return (
            select(
                CARTS.c.id,
                CARTS.c.user_id,
                CARTS.c.total,
                CARTS.c.version,
                func.count(ITEMS.c.id).label("lines"),
                func.coalesce(func.avg(ITEMS.c.price), 0).label("mean_price"),
            )
            .select_from(CARTS.outerjoin(ITEMS, ITEMS.c.cart_id == CARTS.c.id))
            .where(CARTS.c.id == bindparam("cart_id"), ~CARTS.c.is_deleted)
            .group_by(CARTS.c.id)
        )

    def _requesting(self) -> Any:
        """Nobody is waited for who has locked a cart, and may want to request it."""
        next_carts = select(CARTS.c.id).where(~CARTS.c.is_deleted, CARTS.c.id > bindparam("after", type_=KEY))
        looked = next_carts.order_by(CARTS.c.id).limit(bindparam("row_limit")).cte("looked")
        computed = exists().where(self.table.c.cart_id == looked.c.id, self.table.c.name == ITEM_COUNT)
        of_version = self.table.c.version == bindparam("version")
        lacking = select(looked.c.id).where(computed.where(~of_version), ~computed.where(of_version)).cte("lacking")
        free = select(CARTS.c.id).where(CARTS.c.id.in_(select(lacking.c.id))).order_by(CARTS.c.id)
        locked = free.with_for_update(key_share=True, read=True, skip_locked=True).cte("locked")
        asked = (
            upsert(REQUESTS).from_select(["cart_id"], select(locked.c.id)).on_conflict_do_nothing().returning(REQUESTS.c.id).cte("asked")
        )
        last = select(looked.c.id).order_by(looked.c.id.desc()).limit(1).scalar_subquery()
        counts = (select(func.count()).select_from(part).scalar_subquery().label(part.name) for part in (lacking, asked))
        return select(last.label("last"), *counts)

    def _upsert(self, *, latest: bool) -> Any:
        """The time is read once the row is locked, so revisions of one feature follow each other in time as well."""
        rows = upsert(self.table).from_select([*WRITTEN, "updated_at"], self._records(WRITTEN, func.clock_timestamp()))
        new = self.table.c.value.is_distinct_from(rows.excluded.value) | rows.excluded.ttl.is_not(None)
        replaced = {name: rows.excluded[name] for name in ("value", "description", "ttl", "metadata")}
        stamped = {"updated_at": func.clock_timestamp(), "revision": self.table.c.revision + case((new, 1), else_=0)}
        known, told = (_happened_at(columns) for columns in (self.table.c, rows.excluded))
        newer = known.is_(None) | (known <= told) if latest else None
        written = rows.on_conflict_do_update(index_elements=["cart_id", "name", "version"], set_={**replaced, **stamped}, where=newer)
        former: Any = literal_column("old.revision").label("former")
        changed = written.returning(*self.table.c, former).cte("changed")
        fresh = select(changed.c.id, changed.c.revision, changed.c.value, changed.c.ttl, changed.c.updated_at).where(
            changed.c.former.is_distinct_from(changed.c.revision)
        )
        noted = insert(HISTORY).from_select(["feature_id", "revision", "value", "ttl", "created_at"], fresh).cte("noted")
        return select(*(changed.c[name] for name in self.columns)).add_cte(noted)


def _happened_at(columns: Any) -> ColumnElement[Any]:
    return cast(func.jsonb_extract_path_text(columns["metadata"], HAPPENED_AT), TIMESTAMP)
