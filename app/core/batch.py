"""Batch methods: `find_by_<key>s(keys) -> list in the order of the keys`. Declared on a repository, they are the loaders of relations.

    find_by_ids = one_by("id")
    find_by_order_ids = many_by("order_id", sorts=(Sort("id"),), limit=250)
    find_by_product_ids = many_through("product_stores", "product_id", "store_id")

A declaration is data as well: `key`, `sorts`, `limit` and `scoped` tell how the relation would be written as a subquery.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    Select,
    Table,
    bindparam,
    column,
    func,
    lateral,
    literal_column,
    select,
    true,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from app.core.paging import Sort, ordering

KEY: PG_UUID[UUID] = PG_UUID(as_uuid=True)
LIST_LIMIT = 250
"""Most rows that a list relation shows per parent."""


@dataclass(frozen=True)
class Link:
    """A many-to-many table between the parents (`parent` column) and this repository's rows (`child` column)."""

    table: str
    parent: str
    child: str


@dataclass(frozen=True)
class Batch:
    """A declared batch method. `scoped=False`: whoever may see the parent may see these rows (the product of one's own order line)."""

    key: str
    many: bool
    sorts: tuple[Sort, ...] = ()
    limit: int = LIST_LIMIT
    scoped: bool = True
    link: Link | None = None
    name: str = ""

    def __set_name__(self, owner: type[Any], name: str) -> None:
        object.__setattr__(self, "name", name)

    def __get__(self, repository: Any, owner: type[Any] | None = None) -> Any:
        if repository is None:
            return self

        async def load(keys: Sequence[UUID]) -> list[Any]:
            return await repository.load_batch(self, keys)  # type: ignore[no-any-return]

        return load

    def matches(self, table: FromClause, key: Any, links: Callable[[str], Table] | None) -> ColumnElement[bool]:
        """The condition that a row of `table` belongs to the parent `key`."""
        if self.link is None or links is None:
            return cast(ColumnElement[bool], table.c[self.key] == key)
        link = links(self.link.table)
        children = select(link.c[self.link.child]).where(link.c[self.link.parent] == key).correlate(key.table)
        return table.c.id.in_(children)

    def rows_of(self, base: Select[Any], table: FromClause, key: Any, links: Callable[[str], Table]) -> Select[Any]:
        """The rows of one parent, in their order and up to their limit, as a subquery that looks at the parent's `key`."""
        own = base.where(self.matches(table, key, links)).correlate(key.table)
        return own.order_by(*ordering(table, self.sorts, backward=False)).limit(literal_column(str(self.limit if self.many else 1)))

    def statement(self, base: Select[Any], table: FromClause, links: Callable[[str], Table]) -> Select[Any]:
        """One statement for any number of keys; each row carries its parent as `batch_key`."""
        limit: BindParameter[int] = bindparam("batch_limit", self.limit if self.many else 1)
        own = base.order_by(*ordering(table, self.sorts, backward=False)).limit(limit)
        return self.around(own, table, links)

    def around(self, own: Select[Any], table: FromClause, links: Callable[[str], Table] | None = None) -> Select[Any]:
        """A statement of ordered, limited rows, run once per key: the limit holds for each parent."""
        values = func.unnest(bindparam("keys", type_=ARRAY(KEY)))
        keys = values.table_valued(column("key", KEY), name="parent").render_derived()
        rows = lateral(own.where(self.matches(table, keys.c.key, links)).correlate(keys)).alias("own")
        return select(keys.c.key.label("batch_key"), *rows.c).select_from(keys.join(rows, true()))

    def arranged(self, keys: Sequence[UUID], rows: Sequence[Any]) -> list[Any]:
        """Rows in the order of the keys: a list per key, or one row or None."""
        if not self.many:
            found = {row["batch_key"]: row for row in rows}
            return [found.get(key) for key in keys]
        grouped: dict[UUID, list[Any]] = {key: [] for key in keys}
        for row in rows:
            grouped[row["batch_key"]].append(row)
        return [grouped[key] for key in keys]


Loader = Callable[[Sequence[UUID]], Awaitable[list[Any]]]


def one_by(key: str, *, scoped: bool = True) -> Any:
    """A batch method that finds at most one row per key."""
    return Batch(key, many=False, scoped=scoped)


def many_by(key: str, *, sorts: tuple[Sort, ...] = (Sort("id"),), limit: int = LIST_LIMIT, scoped: bool = True) -> Any:
    """A batch method that finds up to `limit` rows per key, in an order."""
    return Batch(key, many=True, sorts=sorts, limit=limit, scoped=scoped)


def many_through(
    table: str, parent: str, child: str, *, sorts: tuple[Sort, ...] = (Sort("id"),), limit: int = LIST_LIMIT, scoped: bool = True
) -> Any:
    """A batch method over a many-to-many table."""
    return Batch("id", many=True, sorts=sorts, limit=limit, scoped=scoped, link=Link(table, parent, child))
