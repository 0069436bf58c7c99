"""Features of a store's shoppers and products: rows are revisions, of which the latest counts, so that they are also read as they were."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, ClassVar, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, bindparam, column, exists, func, insert, select, true, tuple_, union
from sqlalchemy.dialects.postgresql import ARRAY, distinct_on

from app.accounts.models import User
from app.carts.models import Cart, CartItem, CartStatus
from app.catalog.repository.scope import LINKS
from app.core.batch import KEY
from app.core.model import TIMESTAMP
from app.core.repository import Repository
from app.core.scope import own_or_of_store, store_rows
from app.core.security import ViewerKind
from app.engagement.models import ProductFeature, UserFeature
from app.orders.models import Order, OrderItem, OrderStatus, Payment

USERS = User.__table__  # type: ignore[attr-defined]
CARTS, CART_LINES = Cart.__table__, CartItem.__table__  # type: ignore[attr-defined]
ORDERS, LINES, PAYMENTS = Order.__table__, OrderItem.__table__, Payment.__table__  # type: ignore[attr-defined]
COMPLETED = ORDERS.c.status == OrderStatus.COMPLETED.value
ABANDONED, CONVERTED = (func.count().filter(CARTS.c.status == status.value) for status in (CartStatus.ABANDONED, CartStatus.CONVERTED))
MOST_FEATURES = 500

F = TypeVar("F", UserFeature, ProductFeature)


class SubjectFeatureRepository(Repository[F]):
    """What both have in common; `subject` is the column that says whom a feature is of."""

    subject: ClassVar[str]

    async def add_many(self, features: Sequence[Mapping[str, Any]]) -> int:
        """Write values with one statement; gives how many were new. One that is as it was, and does not expire, is not."""
        if not features:
            return 0
        return len(await self.rows(self.statement("add_many", self._adding), records=list(features)))

    async def find_latest(self, id: UUID, version: str | None = None, as_of: datetime | None = None) -> list[F]:
        """The features of one, in all stores that the viewer may see, that have not expired; with `as_of`, as they were then."""
        statement = self.statement(("find_latest", version is None), lambda: self._latest(any_version=version is None))
        return await self.rows(statement, subject=id, version=version, as_of=as_of)

    async def find_touched(self, since: datetime, after: tuple[UUID, UUID], limit: int) -> list[tuple[UUID, UUID]]:
        """Whom (subject, store) anything happened to in carts and orders since a time, in the order of their keys behind `after`."""
        statement = self.statement("find_touched", self._touched)
        rows: list[Any] = await self.rows(statement, since=since, after_subject=after[0], after_store=after[1], row_limit=limit)
        return [(row.subject_id, row.store_id) for row in rows]

    @abstractmethod
    def _touching(self, since: Any) -> list[Select[Any]]:
        """Subjects and stores of the carts and the orders that changed since a time."""

    def _touched(self) -> Select[Any]:
        touched = union(*self._touching(bindparam("since", type_=TIMESTAMP))).subquery("touched")
        position = (touched.c.subject_id, touched.c.store_id)
        after = (bindparam("after_subject", type_=KEY), bindparam("after_store", type_=KEY))
        known = and_(*(part.is_not(None) for part in position))
        found = select(touched).where(known, tuple_(*position) > tuple_(*after))
        return found.order_by(*position).limit(bindparam("row_limit"))

    @property
    def _key(self) -> tuple[str, ...]:
        return (self.subject, "store_id", "name", "version")

    def _adding(self) -> Any:
        names: tuple[str, ...] = (*self._key, "value", "ttl")
        given = self._records(names).subquery("new")
        before = select(self.table.c.value).where(*(self.table.c[name] == given.c[name] for name in self._key))
        last = before.order_by(self.table.c.created_at.desc()).limit(1).correlate(given).scalar_subquery()
        new = given.c.ttl.is_not(None) | last.is_distinct_from(given.c.value)
        rows = select(*(given.c[name] for name in names), func.clock_timestamp()).where(new)
        return insert(self.table).from_select([*names, "created_at"], rows).returning(self.table.c.id)

    def _latest(self, *, any_version: bool) -> Select[Any]:
        columns, moment = self.table.c, func.coalesce(bindparam("as_of", type_=TIMESTAMP), func.clock_timestamp())
        of_version = true() if any_version else columns.version == bindparam("version")
        key = [columns[name] for name in self._key]
        then = self.base().where(columns[self.subject] == bindparam("subject", type_=KEY), of_version, columns.created_at <= moment)
        last = then.ext(distinct_on(*key)).order_by(*key, columns.created_at.desc()).subquery("last")
        ends = last.c.created_at + func.make_interval(0, 0, 0, 0, 0, 0, func.coalesce(last.c.ttl, 0))
        good = select(last).where(last.c.ttl.is_(None) | (ends >= moment))
        return good.order_by(last.c.store_id, last.c.name, last.c.version).limit(MOST_FEATURES)


class UserFeatureRepository(SubjectFeatureRepository[UserFeature]):
    """Features belong to the shopper; staff see those of their store."""

    model = UserFeature
    subject = "user_id"

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_or_of_store(table, viewer, "features")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "features", "write")

    async def find_bases(self, subjects: Sequence[tuple[UUID, UUID]]) -> list[Any]:
        """What features of shoppers (user, store) are computed of; nothing for one who has neither cart nor order there."""
        users, stores = zip(*subjects, strict=True)
        return await self.rows(self.statement("find_bases", self._bases), subject_ids=list(users), store_ids=list(stores))

    def _bases(self) -> Select[Any]:
        given = _given()
        mine = and_(ORDERS.c.user_id == given.c.subject_id, ORDERS.c.store_id == given.c.store_id)
        ordered = select(
            func.count().label("orders"),
            func.count().filter(COMPLETED).label("completed"),
            func.max(ORDERS.c.completed_at).label("last_completed_at"),
        ).where(mine)
        kept = PAYMENTS.c.captured_amount - PAYMENTS.c.refunded_amount
        paid = (
            select(func.coalesce(func.sum(kept), 0).label("spent"))
            .select_from(PAYMENTS.join(ORDERS, PAYMENTS.c.order_id == ORDERS.c.id))
            .where(mine)
        )
        held = select(func.count().label("carts"), ABANDONED.label("abandoned"), CONVERTED.label("converted")).where(
            CARTS.c.user_id == given.c.subject_id, CARTS.c.store_id == given.c.store_id, ~CARTS.c.is_deleted
        )
        orders, payments, carts = ordered.lateral("ordered"), paid.lateral("paid"), held.lateral("held")
        joined = given.join(orders, true()).join(payments, true()).join(carts, true())
        there = exists().where(USERS.c.id == given.c.subject_id, ~USERS.c.is_deleted)
        return select(given, orders, payments, carts).select_from(joined).where(there, (orders.c.orders > 0) | (carts.c.carts > 0))

    def _touching(self, since: Any) -> list[Select[Any]]:
        carted = select(CARTS.c.user_id.label("subject_id"), CARTS.c.store_id).where(CARTS.c.updated_at > since)
        return [carted, select(ORDERS.c.user_id, ORDERS.c.store_id).where(ORDERS.c.updated_at > since)]


class ProductFeatureRepository(SubjectFeatureRepository[ProductFeature]):
    """Features are for the staff of their store."""

    model = ProductFeature
    subject = "product_id"

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "features")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "features", "write")

    async def find_bases(self, subjects: Sequence[tuple[UUID, UUID]], since: datetime) -> list[Any]:
        """What features of products (product, store) are computed of: what was ordered and put into carts since a time.

        Nothing for a product that the store does not sell.
        """
        products, stores = zip(*subjects, strict=True)
        return await self.rows(self.statement("find_bases", self._bases), subject_ids=list(products), store_ids=list(stores), since=since)

    def _bases(self) -> Select[Any]:
        given, since = _given(), bindparam("since", type_=TIMESTAMP)
        sold = (
            select(
                func.count().label("orders"),
                func.coalesce(func.sum(LINES.c.quantity), 0).label("units"),
                func.coalesce(func.sum(LINES.c.price * LINES.c.quantity - LINES.c.discount), 0).label("revenue"),
            )
            .select_from(LINES.join(ORDERS, LINES.c.order_id == ORDERS.c.id))
            .where(LINES.c.product_id == given.c.subject_id, ORDERS.c.store_id == given.c.store_id, COMPLETED)
            .where(ORDERS.c.completed_at > since)
            .lateral("sold")
        )
        held = (
            select(func.count().label("carts"), ABANDONED.label("abandoned"), CONVERTED.label("converted"))
            .select_from(CART_LINES.join(CARTS, CART_LINES.c.cart_id == CARTS.c.id))
            .where(CART_LINES.c.product_id == given.c.subject_id, CARTS.c.store_id == given.c.store_id, ~CARTS.c.is_deleted)
            .where(CARTS.c.updated_at > since)
            .lateral("held")
        )
        here = exists().where(LINKS.c.product_id == given.c.subject_id, LINKS.c.store_id == given.c.store_id)
        return select(given, sold, held).select_from(given.join(sold, true()).join(held, true())).where(here)

    def _touching(self, since: Any) -> list[Select[Any]]:
        carted = select(CART_LINES.c.product_id.label("subject_id"), CARTS.c.store_id).select_from(CART_LINES.join(CARTS))
        ordered = select(LINES.c.product_id, ORDERS.c.store_id).select_from(LINES.join(ORDERS, LINES.c.order_id == ORDERS.c.id))
        return [carted.where(CARTS.c.updated_at > since), ordered.where(ORDERS.c.updated_at > since)]


def _given() -> Any:
    """The pairs that are asked about."""
    ids = (bindparam(name, type_=ARRAY(KEY)) for name in ("subject_ids", "store_ids"))
    return func.unnest(*ids).table_valued(column("subject_id", KEY), column("store_id", KEY), name="given").render_derived()
