"""What every operation of a repository stands on: the viewer's scope in each statement, and what is told once a change is committed."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from cachetools import LRUCache
from sqlalchemy import ColumnElement, Select, Table, Text, and_, bindparam, false, func, select, true
from sqlmodel import SQLModel

from app.core.changes import Announced
from app.core.database import Row, Session
from app.core.factory import RepositoryFactory
from app.core.filtering import FilterReader, Shape, compose
from app.core.operation import Instrumented
from app.core.security import SYSTEM, Viewer, ViewerKind
from app.core.statement import Statement, compile_statement
from app.core.tagging import TAGGED, changed_tags

M = TypeVar("M", bound=SQLModel)
Where = Mapping[str, Any]

_statements: LRUCache[Any, Statement] = LRUCache(maxsize=5000)


class Scoped(Instrumented, Generic[M]):
    """The rows of one model, as far as a viewer may see or change them."""

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

    async def lock_name(self, name: str) -> None:
        """Let nobody else hold a name until the transaction ends."""
        held = func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name", type_=Text), 0))
        await self.value(self.statement("lock_name", lambda: select(held)), name=name)

    # --- After a change

    async def _wrote(self, statement: Statement, rows: Sequence[Any]) -> None:
        """Tell what a statement has changed, once that is committed: whoever keeps answers made of it, and subscribers."""
        if tags := changed_tags(statement, self.entity, rows):
            await self.repositories.after_commit(functools.partial(self.cache.touch, tags))
        if statement.change is not None and self.announces is not None:
            await self._announce(statement.change, rows)

    async def _announce(self, change: tuple[str, str], rows: Sequence[Any]) -> None:
        """Have subscribers told of what a statement has changed, once that is committed."""
        announced, changes = self.announces, self.repositories.changes
        kind, table = change
        if announced is None or changes is None or not rows or table != self.entity or kind not in announced.kinds:
            return
        ids = [row[announced.column] for row in rows]
        await self.repositories.after_commit(functools.partial(changes.announce, announced.entity, ids))

    async def _changed(self, *ids: UUID) -> None:
        """Forget cached rows once the change is committed."""
        if not self.cached_for or not ids:
            return
        keys = [key for id in ids for key in self.cache_keys(id)]
        await self.repositories.after_commit(functools.partial(self.cache.invalidate, keys))

    def cache_keys(self, id: UUID) -> list[str]:
        return [f"{self.entity}:{id}:{variant}" for variant in ("all", "public")]

    # --- Composing

    def _filter(self, where: Where | None) -> tuple[FilterReader, Shape]:
        reader = FilterReader(self.columns)
        return reader, reader.read(where)

    async def _find_by_id(self, id: UUID) -> M | None:
        return await self.row(self.statement("find_by_id", lambda: self.base().where(self.table.c.id == bindparam("id"))), id=id)


def _mentions(shape: Shape, column: str) -> bool:
    return any(part == column or (isinstance(part, tuple) and _mentions(part, column)) for part in shape)
