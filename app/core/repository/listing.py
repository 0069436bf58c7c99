"""Lists and their pages, by keyset."""

import functools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

from sqlalchemy import Select, bindparam, func, literal_column, select

from app.core.batch import Batch
from app.core.filtering import Shape
from app.core.paging import Page, PageRequest, Sort, beyond, decode_cursor, list_tag, ordering, parse_key, with_tie_break
from app.core.repository.scoped import M, Scoped, Where

MAX_ROWS = 1000
"""Most rows that `find_many` gives at once; longer lists are read by page."""


@dataclass(frozen=True)
class ListShape:
    """What the statement of a list depends on: its filter's shape, its total order, the cursors it lies between, and its direction."""

    filter: Shape
    sorts: tuple[Sort, ...]
    bounds: tuple[str, ...] = ()
    backward: bool = False


@dataclass(frozen=True)
class ListQuery:
    """A page as it is asked for: the shape, how many rows, the tag of its cursors, and the values to bind."""

    shape: ListShape
    size: int
    tag: str
    values: dict[str, Any]


class Listing(Scoped[M]):
    """Reads many rows."""

    async def find_first(self, where: Where | None = None, order_by: Sequence[Sort] = ()) -> M | None:
        found = await self.find_many(where, order_by, limit=1)
        return found[0] if found else None

    async def find_many(self, where: Where | None = None, order_by: Sequence[Sort] = (), limit: int = MAX_ROWS) -> list[M]:
        """Up to `limit` rows (at most 1000) that match a filter (`core.filtering`), in a total order."""
        reader, shape = self._filter(where)
        sorts = with_tie_break(tuple(order_by)) if order_by or "created_at" in self.columns else (Sort("id"),)
        statement = self.statement(("find_many", shape, sorts), lambda: self.listed(self.table, ListShape(shape, sorts)))
        return await self.rows(statement, row_limit=min(limit, MAX_ROWS), **reader.values)

    async def find_page(self, request: PageRequest) -> Page[M]:
        """One page of the rows that match, by keyset; raises `BadInput` for impossible arguments and foreign cursors."""
        asked = self.list_query(request)
        statement = self.statement(("find_page", asked.shape), lambda: self.listed(self.table, asked.shape))
        rows = await self.rows(statement, row_limit=asked.size + 1, **asked.values)
        return self._page(rows, request, asked, lambda: self.count(request.where))

    async def find_pages(self, by: str, keys: Sequence[UUID], request: PageRequest) -> list[Page[M]]:
        """For each key, the page of the rows whose `by` column has it: one statement for all keys (lateral)."""
        asked = self.list_query(request, by)
        statement = self.statement(
            ("find_pages", by, asked.shape),
            lambda: Batch(by, many=True).around(self.listed(self.table, asked.shape), self.table),
        )
        found = await self.rows(statement, keys=list(dict.fromkeys(keys)), row_limit=asked.size + 1, **asked.values)
        by_key: dict[UUID, list[M]] = {key: [] for key in keys}
        for row in found:
            by_key[row["batch_key"]].append(row)  # type: ignore[index]
        return [self._page(by_key[key], request, asked, functools.partial(self._count_of, by, key, request.where)) for key in keys]

    async def count(self, where: Where | None = None) -> int:
        reader, shape = self._filter(where)
        statement = self.statement(
            ("count", shape), lambda: select(func.count()).select_from(self.table).where(self.matching(self.table, shape))
        )
        return int(await self.value(statement, **reader.values))

    async def count_by_status(self, statuses: type[StrEnum], *, deleted: bool = False) -> dict[str, int]:
        """How many rows have each status, by its name in lower case."""
        status = self.table.c.status
        statement = self.statement(
            ("count_by_status", deleted),
            lambda: select(status, func.count().label("rows")).where(self.visible(self.table, deleted=deleted)).group_by(status),
        )
        found = {row["status"]: row["rows"] for row in await self.rows(statement)}  # type: ignore[index]
        return {name.value.lower(): found.get(name.value, 0) for name in statuses}

    # --- Composing

    def list_query(self, request: PageRequest, by: str | None = None) -> ListQuery:
        """What a page needs: of the whole list, or of each parent's own list. Raises `BadInput` as `find_page` does."""
        size, sorts = request.size, with_tie_break(request.sorts)
        tag = list_tag(f"{self.entity}.{by}" if by else self.entity, sorts)
        reader, shape = self._filter(request.where)
        keys, bounds = self._bounds(request, tag, sorts)
        return ListQuery(ListShape(shape, sorts, bounds, request.backward), size, tag, {**reader.values, **keys})

    def lookup_query(self, where: Where) -> tuple[Shape, dict[str, Any]]:
        """What finding the first row of a filter needs: the shape and the values to bind."""
        reader, shape = self._filter(where)
        return shape, reader.values

    def listed(self, table: Any, shape: ListShape, prefix: str = "", limit: int | None = None) -> Select[Any]:
        """The rows of a list in its order, up to `limit`, or else to `:row_limit`. Its other parameters are named with `prefix`."""
        conditions = [beyond(table, shape.sorts, prefix + bound, backward=bound == "before") for bound in shape.bounds]
        return (
            select(table)
            .where(self.matching(table, shape.filter, prefix), *conditions)
            .order_by(*ordering(table, shape.sorts, backward=shape.backward))
            .limit(bindparam("row_limit") if limit is None else literal_column(str(limit)))
        )

    def _page(self, rows: list[M], request: PageRequest, asked: ListQuery, count: Callable[[], Awaitable[int]]) -> Page[M]:
        """A page from one row more than was asked for: the extra row tells that the list goes on."""
        more, nodes = len(rows) > asked.size, rows[: asked.size]
        return Page(
            nodes=nodes[::-1] if request.backward else nodes,
            has_next_page=request.before is not None if request.backward else more,
            has_previous_page=more if request.backward else request.after is not None,
            tag=asked.tag,
            sorts=asked.shape.sorts,
            count=count,
        )

    async def _count_of(self, by: str, key: UUID, where: Where | None) -> int:
        return await self.count({"and": [{by: key}, where or {}]})

    def _bounds(self, request: PageRequest, tag: str, sorts: Sequence[Sort]) -> tuple[dict[str, Any], tuple[str, ...]]:
        keys: dict[str, Any] = {}
        bounds = []
        for argument, cursor in (("after", request.after), ("before", request.before)):
            if cursor is None:
                continue
            bounds.append(argument)
            for n, (sort, key) in enumerate(zip(sorts, decode_cursor(cursor, tag, argument), strict=True)):
                keys[f"{argument}{n}"] = parse_key(key, self.columns[sort.column].type.python_type, argument)
        return keys, tuple(bounds)
