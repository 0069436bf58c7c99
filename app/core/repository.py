"""The base of every repository: the common operations, row scope, and statements compiled once per shape.

A repository is bound to a session (pool or transaction) and a viewer. Every statement carries the viewer's scope and skips soft-deleted
rows, so ownership cannot be forgotten; a row outside the scope does not exist. Filters can narrow a scope and never widen it.
"""

import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, TypeVar, cast
from uuid import UUID

import structlog
from cachetools import LRUCache
from pydantic import BaseModel, SecretStr
from sqlalchemy import (
    ColumnElement,
    Select,
    Table,
    and_,
    any_,
    bindparam,
    delete,
    false,
    func,
    insert,
    literal_column,
    select,
    text,
    true,
    update,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import SQLModel

from app.core.batch import KEY, Batch, one_by
from app.core.changes import Announced
from app.core.database import Database, Row, Session, Transaction
from app.core.errors import NotFound, StaleVersion
from app.core.factory import RepositoryFactory
from app.core.filtering import FilterReader, Shape, compose
from app.core.inputs import Update
from app.core.operation import Instrumented
from app.core.paging import Page, PageRequest, Sort, beyond, decode_cursor, list_tag, ordering, parse_key, with_tie_break
from app.core.security import SYSTEM, Viewer, ViewerKind
from app.core.statement import Statement, compile_statement
from app.core.tagging import TAGGED, changed_tags

M = TypeVar("M", bound=SQLModel)
P = ParamSpec("P")
T = TypeVar("T")
Where = Mapping[str, Any]
MAX_ROWS = 1000
"""Most rows that `find_many` gives at once; longer lists are read by page."""

log = structlog.get_logger(__name__)
_statements: LRUCache[Any, Statement] = LRUCache(maxsize=5000)


def transactional(method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A write method of several statements: joins the open transaction with a savepoint, or runs in one of its own, with retries."""

    @functools.wraps(method)
    async def run(self: "Repository[Any]", *args: P.args, **kwargs: P.kwargs) -> T:
        transaction = self.session.current_transaction
        if transaction is not None:
            async with transaction.savepoint():
                return await method(self, *args, **kwargs)

        async def work(own: Transaction) -> T:
            return await method(self.repositories.bound_to(own).like(self), *args, **kwargs)

        return await cast(Database, self.session).retry(work)

    return cast(Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], run)


class Repository(Instrumented, Generic[M]):
    """Reads and writes the rows of one model."""

    model: ClassVar[type[SQLModel]]
    cached_for: ClassVar[frozenset[ViewerKind]] = frozenset()
    """The kinds of viewer for whom single rows by id are kept in the cache: of rows that change slowly, those kinds whose scope is the
    same for each of their viewers. Administrators and the system come with them."""

    announces: ClassVar[Announced | None] = None
    """What subscribers are told of when a statement of this repository has changed rows of its table."""

    tagged: ClassVar[frozenset[str]] = frozenset()
    """Tables of which every change is told to whoever keeps answers made of their rows, on all processes (`core.tags`)."""

    record_class: ClassVar[type[Row]] = Row
    columns: ClassVar[Mapping[str, Any]] = {}
    table: ClassVar[Table]

    find_by_ids = one_by("id")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "model" in vars(cls):
            cls.table = cls.model.__table__  # type: ignore[attr-defined]
            cls.entity = cls.table.name
            cls.columns = {column.name: column for column in cls.table.columns}
            TAGGED.update(cls.tagged)
            cls.record_class = type(f"{cls.model.__name__}Row", (Row,), {"model": cls.model})

    def __init__(self, session: Session, repositories: RepositoryFactory, viewer: Viewer = SYSTEM) -> None:
        self.session = session
        self.repositories = repositories
        self.viewer = viewer
        self.metrics = repositories.metrics
        self.cache = repositories.cache

    # --- Scope

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        """Which rows a shopper, staff or anonymous viewer may see; in terms of `core.scope`.

        None, unless a repository says otherwise. Administrators and the system see everything.
        """
        return false()

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        """Which rows such a viewer may change: those in its scope, unless a repository says otherwise."""
        return self.scope(table, viewer)

    def visible(self, table: Any, *, scoped: bool = True, deleted: bool = False, writing: bool = False) -> ColumnElement[bool]:
        """The condition that every read carries; `writing`, the one that every change carries."""
        conditions = []
        if scoped and not self.viewer.sees_everything:
            conditions.append((self.write_scope if writing else self.scope)(table, self.viewer.kind))
        if "is_deleted" in self.columns and scoped and not deleted:
            conditions.append(~table.c.is_deleted)
        return and_(true(), *conditions)

    def base(self, table: Any = None, *, scoped: bool = True, deleted: bool = False) -> Select[Any]:
        """All columns of the rows that the viewer may see; `table` is an alias of the repository's own one."""
        table = self.table if table is None else table
        return select(table).where(self.visible(table, scoped=scoped, deleted=deleted))

    def matching(self, table: Any, shape: Shape, prefix: str = "") -> ColumnElement[bool]:
        """The condition of the visible rows that match a filter. Administrators see deleted rows where their filter speaks of deletion."""
        deleted = self.viewer.sees_everything and _mentions(shape, "is_deleted")
        return and_(self.visible(table, deleted=deleted), compose(shape, table, prefix))

    def list_query(self, request: PageRequest, by: str | None = None) -> "ListQuery":
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

    def listed(self, table: Any, shape: "ListShape", prefix: str = "", limit: int | None = None) -> Select[Any]:
        """The rows of a list in its order, up to `limit`, or else to `:row_limit`. Its other parameters are named with `prefix`."""
        conditions = [beyond(table, shape.sorts, prefix + bound, backward=bound == "before") for bound in shape.bounds]
        return (
            select(table)
            .where(self.matching(table, shape.filter, prefix), *conditions)
            .order_by(*ordering(table, shape.sorts, backward=shape.backward))
            .limit(bindparam("row_limit") if limit is None else literal_column(str(limit)))
        )

    # --- Running statements

    def statement(self, key: Any, compose_it: Callable[[], Any]) -> Statement:
        """The compiled statement of a shape; `key` names the shape within this repository and kind of viewer."""
        whole = (type(self), self.viewer.kind, key)
        found = _statements.get(whole)
        if found is None:
            found = _statements[whole] = compile_statement(compose_it())
        return found

    async def rows(self, statement: Statement, **values: Any) -> list[M]:
        found: list[M] = await self.session.fetch(statement, {**self.viewer.scope_values, **values}, self.record_class)
        if statement.writes:
            await self._wrote(statement, found)
        return found

    async def row(self, statement: Statement, **values: Any) -> M | None:
        found: M | None = await self.session.fetch_row(statement, {**self.viewer.scope_values, **values}, self.record_class)
        if statement.writes:
            await self._wrote(statement, [] if found is None else [found])
        return found

    async def value(self, statement: Statement, **values: Any) -> Any:
        found = await self.session.fetch_value(statement, {**self.viewer.scope_values, **values})
        if statement.writes:
            await self._wrote(statement, ())
        return found

    async def _wrote(self, statement: Statement, rows: Sequence[Any]) -> None:
        """Tell what a statement has changed, once that is committed: whoever keeps answers made of it, and subscribers."""
        if tags := changed_tags(statement, self.entity, rows):
            await self.repositories.after_commit(functools.partial(self.cache.touch, tags))
        if statement.change is not None and self.announces is not None:
            await self._announce(statement.change, rows)

    # --- Reads

    async def find_by_id(self, id: UUID) -> M | None:
        """The row, or None when there is none inside the viewer's scope."""
        variant = self._cache_variant()
        if variant is not None and self.session.current_transaction is None:
            return await self._find_cached(f"{self.entity}:{id}:{variant}", id)
        return await self._find_by_id(id)

    async def get_by_id(self, id: UUID) -> M:
        """The row; raises `NotFound`."""
        row = await self.find_by_id(id)
        if row is None:
            raise NotFound(f"no {self.model.__name__} has this id")
        return row

    async def lock_by_id(self, id: UUID) -> M | None:
        """The row, locked against other writers until the transaction ends; None where there is none that the viewer may change."""
        statement = self.statement(
            "lock_by_id",
            lambda: (
                select(self.table)
                .where(self.table.c.id == bindparam("id"), self.visible(self.table, writing=True))
                .with_for_update(of=self.table)
            ),
        )
        return await self.row(statement, id=id)

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

    async def exists(self, where: Where) -> bool:
        return await self.find_first(where) is not None

    async def changeable_ids(self, ids: Iterable[UUID]) -> set[UUID]:
        """Which of the rows the viewer may change."""
        statement = self.statement(
            "changeable_ids",
            lambda: select(self.table.c.id).where(
                self.table.c.id == any_(bindparam("ids", type_=ARRAY(KEY))), self.visible(self.table, writing=True)
            ),
        )
        return {row.id for row in await self.rows(statement, ids=list(ids))}  # type: ignore[attr-defined]

    async def load_batch(self, batch: Batch, keys: Sequence[UUID]) -> list[Any]:
        """The rows of a declared batch method, in the order of the keys."""
        statement = self.statement(
            ("batch", batch.name),
            lambda: batch.statement(self.base(scoped=batch.scoped), self.table, self.model.metadata.tables.__getitem__),
        )
        return batch.arranged(keys, await self.rows(statement, keys=list(dict.fromkeys(keys))))

    # --- Writes

    async def create(self, values: BaseModel | Mapping[str, Any]) -> M:
        """Insert one row and return it; what is not given, or None where the column takes no null, is the database's default."""
        given = {name: value for name, value in as_values(values).items() if value is not None or self.columns[name].nullable}
        statement = self.statement(
            ("create", tuple(given)),
            lambda: insert(self.table).values({name: self._parameter(name) for name in given}).returning(*self.table.c),
        )
        row = await self.row(statement, **_prefixed(given))
        assert row is not None
        return row

    async def create_many(self, rows: Sequence[BaseModel | Mapping[str, Any]]) -> list[M]:
        """Insert rows of one shape with a single statement: all of them or none."""
        given = [as_values(row) for row in rows]
        if not given:
            return []
        names = tuple(given[0])
        statement = self.statement(("create_many", names), lambda: self._insert_many(names))
        return await self.rows(statement, records=given)

    async def update_by_id(self, id: UUID, values: BaseModel | Mapping[str, Any], *, version: int | None = None) -> M:
        """Change the given fields of one row and return it. Raises `NotFound`; `StaleVersion` when `version` is not the row's."""
        given = as_values(values)
        statement = self.statement(
            ("update_by_id", tuple(given), version is not None), lambda: self._update_statement(given, with_version=version is not None)
        )
        row = await self.row(statement, id=id, version=version, **_prefixed(given))
        if row is None:
            await self._explain_missing(id, version)
        else:
            await self._changed(id)
        return cast(M, row)

    async def update_many(self, where: Where, values: BaseModel | Mapping[str, Any]) -> int:
        """Change all rows that match; returns how many."""
        given = as_values(values)
        reader, shape = self._filter(where)
        statement = self.statement(
            ("update_many", tuple(given), shape),
            lambda: (
                update(self.table)
                .where(self.visible(self.table, writing=True), compose(shape, self.table))
                .values(self._assignments(given))
                .returning(*self._changed_columns())
            ),
        )
        changed = await self.rows(statement, **_prefixed(given), **reader.values)
        await self._changed(*(row.id for row in changed))  # type: ignore[attr-defined]
        return len(changed)

    async def delete_by_id(self, id: UUID) -> bool:
        """Remove one row, softly where the model is soft-deletable; returns whether there was one."""
        return await self.delete_many({"id": id}) == 1

    async def delete_many(self, where: Where) -> int:
        """Remove all rows that match, softly where the model is soft-deletable; returns how many."""
        if "is_deleted" in self.columns:
            return await self.update_many(where, self._deletion())
        reader, shape = self._filter(where)
        statement = self.statement(
            ("delete_many", shape),
            lambda: (
                delete(self.table)
                .where(self.visible(self.table, writing=True), compose(shape, self.table))
                .returning(*self._changed_columns())
            ),
        )
        gone = await self.rows(statement, **reader.values)
        await self._changed(*(row.id for row in gone))  # type: ignore[attr-defined]
        return len(gone)

    async def soft_delete(self, id: UUID) -> M:
        """Hide one row; raises `NotFound`."""
        return await self.update_by_id(id, self._deletion())

    async def restore(self, id: UUID) -> M:
        """Show a hidden row again; raises `NotFound` where nothing is hidden under this id."""
        given = self._restoration()
        statement = self.statement(
            "restore",
            lambda: (
                update(self.table)
                .where(self.table.c.id == bindparam("id"), self.table.c.is_deleted, self.visible(self.table, deleted=True, writing=True))
                .values(self._assignments(given))
                .returning(*self.table.c)
            ),
        )
        row = await self.row(statement, id=id, **_prefixed(given))
        if row is None:
            raise NotFound(f"no deleted {self.model.__name__} has this id")
        await self._changed(id)
        return row

    # --- What a model adds to deletion

    def _deletion(self) -> dict[str, Any]:
        return {"is_deleted": True, "deleted_at": self.repositories.now(), **self._status(deleted=True)}

    def _restoration(self) -> dict[str, Any]:
        return {"is_deleted": False, "deleted_at": None, **self._status(deleted=False)}

    def _status(self, *, deleted: bool) -> dict[str, str]:
        """The status that goes with deletion; nothing for models that know none."""
        field = self.model.model_fields.get("status")
        knows = field is not None and "DELETED" in getattr(field.annotation, "__members__", {})
        return {"status": "DELETED" if deleted else "ACTIVE"} if knows else {}

    # --- Subscribers

    async def _announce(self, change: tuple[str, str], rows: Sequence[Any]) -> None:
        """Have subscribers told of what a statement has changed, once that is committed."""
        announced, changes = self.announces, self.repositories.changes
        kind, table = change
        if announced is None or changes is None or not rows or table != self.entity or kind not in announced.kinds:
            return
        ids = [row[announced.column] for row in rows]
        await self.repositories.after_commit(functools.partial(changes.announce, announced.entity, ids))

    def _changed_columns(self) -> list[Any]:
        """What statements say of the rows that they change, where nobody asks for all of them."""
        return [self.table.c[name] for name in dict.fromkeys(("id", self.announces.column if self.announces else "id"))]

    # --- Cache

    def cache_keys(self, id: UUID) -> list[str]:
        return [f"{self.entity}:{id}:{variant}" for variant in ("all", "public")]

    def _cache_variant(self) -> str | None:
        if not self.cached_for:
            return None
        if self.viewer.sees_everything:
            return "all"
        return "public" if self.viewer.kind in self.cached_for else None

    async def _changed(self, *ids: UUID) -> None:
        """Forget cached rows once the change is committed."""
        if not self.cached_for or not ids:
            return
        keys = [key for id in ids for key in self.cache_keys(id)]
        await self.repositories.after_commit(functools.partial(self.cache.invalidate, keys))

    async def _find_cached(self, key: str, id: UUID) -> M | None:
        generation = self.cache.generation(key)
        found = await self.cache.get(key)
        if found is not None:
            return cast(M, self._from_cache(found))
        row = await self._find_by_id(id)
        if row is not None:
            await self.cache.set(key, row if self.cache.shares_objects else dict(row), generation)
        return row

    def _from_cache(self, found: Any) -> Any:
        return found if isinstance(found, Row) else CachedRow(self, found)

    # --- Pages

    def _page(self, rows: list[M], request: PageRequest, asked: "ListQuery", count: Callable[[], Awaitable[int]]) -> Page[M]:
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

    # --- Composing

    async def _find_by_id(self, id: UUID) -> M | None:
        return await self.row(self.statement("find_by_id", lambda: self.base().where(self.table.c.id == bindparam("id"))), id=id)

    def _filter(self, where: Where | None) -> tuple[FilterReader, Shape]:
        reader = FilterReader(self.columns)
        return reader, reader.read(where)

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

    def _parameter(self, name: str) -> Any:
        return bindparam(f"v_{name}", type_=self.columns[name].type)

    def _assignments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        assigned = {name: self._parameter(name) for name in given}
        if "updated_at" in self.columns and "updated_at" not in given:
            assigned["updated_at"] = func.now()
        return assigned

    def _update_statement(self, given: Mapping[str, Any], *, with_version: bool) -> Any:
        condition = [self.table.c.id == bindparam("id"), self.visible(self.table, writing=True)]
        assigned = self._assignments(given)
        if with_version:
            condition.append(self.table.c.version == bindparam("version"))
            assigned["version"] = self.table.c.version + 1
        return update(self.table).where(*condition).values(assigned).returning(*self.table.c)

    def _insert_many(self, names: Sequence[str]) -> Any:
        """One text whatever the number of rows: the rows travel as one JSON array."""
        listed = ", ".join(names)
        records = text(f"(select {listed} from jsonb_populate_recordset(null::{self.table.name}, cast(:records as jsonb))) as given")  # noqa: S608 - names of columns
        source: Any = select(*(literal_column(name) for name in names)).select_from(records)
        return insert(self.table).from_select(list(names), source).returning(*self.table.c)

    async def _explain_missing(self, id: UUID, version: int | None) -> None:
        if version is not None and await self._find_by_id(id) is not None:
            raise StaleVersion("the row has changed since it was read")
        raise NotFound(f"no {self.model.__name__} has this id")


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


class CachedRow:
    """A row read back from a shared cache: the same attributes and types as a `Row`."""

    def __init__(self, repository: Repository[Any], fields: Mapping[str, Any]) -> None:
        self.model = repository.model
        self._fields = {name: _restored(repository.columns[name], value) for name, value in fields.items()}

    def __getattr__(self, name: str) -> Any:
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]


def _restored(column: Any, value: Any) -> Any:
    kind = column.type.python_type
    if value is None or kind not in (UUID, Decimal, datetime):
        return value
    return datetime.fromisoformat(value) if kind is datetime else kind(value)


def as_values(values: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """The columns that an input sets: of a Pydantic input only what was given."""
    given = values.model_dump(exclude_unset=isinstance(values, Update)) if isinstance(values, BaseModel) else values
    return {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}


def _prefixed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"v_{name}": value for name, value in values.items()}


def _mentions(shape: Shape, column: str) -> bool:
    return any(part == column or (isinstance(part, tuple) and _mentions(part, column)) for part in shape)
