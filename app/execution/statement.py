"""From a plan to SQL: one statement per root field, whose one value is the JSON of the field's answer.

    select json_build_object('nodes', coalesce(json_agg(o1), '[]'))                              -- products { nodes {
    from (select t1.name as "name",                                                              --   name
                 (select row_to_json(o2) from (select t2.on_hand as "onHand" from inventory t2   --   inventory { onHand }
                                               where t2.product_id = t1.id limit 1) o2) as "inventory"
          from products t1 where ... order by t1.created_at desc, t1.id desc limit 50) o1        -- } }

The rows of every level are the repository's own statement (scope, filter, keyset, order, limit), on an alias; the composer only says
which expressions are shown of them. A related level is a correlated subquery with its order and limit inside.

A page that shows more than its nodes is numbered first: rows up to the page's size are shown, one more row tells that the list goes on,
and the cursors of the first and the last row are pageInfo's.
"""

from collections.abc import Callable, Sequence
from functools import lru_cache
from itertools import count
from typing import Any

from graphql import is_non_null_type
from sqlalchemy import ColumnElement, FromClause, Select, Table, bindparam, case, func, literal_column, null, quoted_name, select, true
from sqlalchemy.dialects.postgresql import ARRAY, aggregate_order_by

from app.core.batch import KEY, Batch
from app.core.paging import Sort, with_tie_break
from app.core.repository import ListQuery, ListShape, Repository
from app.execution import values
from app.execution.declarations import Column, GlobalId, Money, Relation, Total
from app.execution.plan import (
    Count,
    Cursor,
    Edges,
    Fill,
    Info,
    InfoField,
    Leaf,
    Level,
    Many,
    Node,
    Nodes,
    One,
    Paged,
    Part,
    TypeName,
)
from app.execution.refusal import Refused

Expression = ColumnElement[Any]

EMPTY_LIST: Expression = literal_column("'[]'::json")
EMPTY_OBJECT: Expression = literal_column("'{}'::json")
MOST_ALIASES = 1000
MOST_PAIRS = 50
"""Names and values that PostgreSQL takes in one call."""

PLACE, TOTAL = "#place", "#total"
KEYS = "keys"
"""What stands for the filter of rows that are looked up by their keys, and the name of that parameter."""

BY_ID = ("and", ("and", ("eq", "id", "f1")))
"""The shape of a filter that finds a single row by its id alone."""


class Composer:
    """Composes the statement of one root field. `queries` are its asks as they were read, by number."""

    def __init__(self, repositories: Any, queries: Sequence[Any]) -> None:
        self._repositories = repositories
        self._queries = queries
        self._number = count(1)

    def row(self, level: Level) -> Select[Any]:
        """The first row that the first ask's filter finds; no row of the statement where it finds none."""
        repository = self._repository(level.repository)
        table = self._alias(repository)
        found, whole = self._objects(level, self._first(repository, table, self._queries[0]), table)
        return select(_row(whole)).select_from(found)

    def rows(self, level: Level) -> Select[Any]:
        """The row of each key, in the order of the keys; null where the viewer sees none."""
        repository = self._repository(level.repository)
        table = self._alias(repository)
        parameter = bindparam(f"{prefix(0)}{KEYS}", type_=ARRAY(KEY))
        keys = func.unnest(parameter).table_valued("key", with_ordinality="place", name=self.name("k")).render_derived()
        own = repository.base(table).where(table.c.id == keys.c.key).correlate(keys)
        found, whole = self._objects(level, own, table)
        return select(select(_row(whole)).select_from(found).scalar_subquery()).select_from(keys).order_by(keys.c.place)

    def _first(self, repository: Repository[Any], table: FromClause, shape: Any) -> Select[Any]:
        if shape == BY_ID:
            return select(table).where(repository.matching(table, shape, prefix(0)))
        sorts = with_tie_break(()) if "created_at" in repository.columns else (Sort("id"),)
        return repository.listed(table, ListShape(shape, sorts), prefix(0), 1)

    # --- Objects

    def _objects(self, level: Level, rows: Select[Any], table: FromClause) -> tuple[FromClause, Expression]:
        """Rows as a level shows them, and the expression of one such object."""
        name = self.name("o")
        shown = rows.with_only_columns(*self.columns(level, table), maintain_column_froms=True).subquery(name)
        return shown, literal_column(name) if level.parts else EMPTY_OBJECT

    def columns(self, level: Level, row: FromClause) -> list[Any]:
        columns = [self._allowed(level, part, row).label(quoted_name(part.key, True)) for part in level.parts]
        return columns or [literal_column("1").label("nothing")]

    def _allowed(self, level: Level, part: Part, row: FromClause) -> Any:
        """A part of a row; an anomaly where it is for whom the row is about, and that is somebody else."""
        shown = self._part(level, part, row)
        if isinstance(part, TypeName) or part.owner is None:
            return shown
        return case((row.c[part.owner] == bindparam("viewer_id"), func.to_json(shown)), else_=values.ANOMALOUS_JSON)

    def _part(self, level: Level, part: Part, row: FromClause) -> Any:
        repository = self._repository(level.repository)
        if isinstance(part, Leaf):
            return self._leaf(level, part, row)
        if isinstance(part, TypeName):
            return values.quoted(part.name)
        if isinstance(part, Fill):
            return func.json_build_array(*(values.restorable(row.c[name]) for name in part.computed.needs))
        if isinstance(part, Paged):
            return self.page(part, row).scalar_subquery()
        return self._related(repository, part, row)

    def _leaf(self, level: Level, part: Leaf, row: FromClause) -> Any:
        if isinstance(part.source, GlobalId):
            return values.global_id(level.type_name, row.c.id)
        if isinstance(part.source, Total):
            return self._total(self._repository(level.repository), part.source, row)
        return _column(self._repository(level.repository), part, row)

    def _total(self, parent: Repository[Any], total: Total, row: FromClause) -> Any:
        table, _, rows = self._rows(parent, total.relation, row, many=True)
        found = rows.with_only_columns(table.c[total.column], maintain_column_froms=True).subquery(self.name("o"))
        return select(values.whole_number(func.coalesce(func.sum(found.c[total.column]), literal_column("0")))).scalar_subquery()

    def _rows(self, parent: Repository[Any], relation: Relation, row: FromClause, *, many: bool) -> tuple[FromClause, Batch, Select[Any]]:
        """The rows that a relation gives a parent: their table, the declared batch, and the batch's own statement."""
        repository = self._repository(relation.repository)
        batch = getattr(type(repository), relation.batch)
        if not isinstance(batch, Batch) or (many and parent.columns[relation.key].nullable):
            raise Refused("unknown_field", f"{relation.repository}.{relation.batch} of {relation.key}")
        table = self._alias(repository)
        base = repository.base(table, scoped=batch.scoped)
        return table, batch, batch.rows_of(base, table, row.c[relation.key], repository.model.metadata.tables.__getitem__)

    def _related(self, parent: Repository[Any], part: One | Many, row: FromClause) -> Any:
        table, batch, own = self._rows(parent, part.relation, row, many=isinstance(part, Many))
        return self._list(part.level, own, table) if isinstance(part, Many) else self._one(parent, part, batch, own, table)

    def _list(self, level: Level, rows: Select[Any], table: FromClause) -> Any:
        found, whole = self._objects(level, rows, table)
        return select(_listed(whole)).select_from(found).scalar_subquery()

    def _one(self, parent: Repository[Any], part: One, batch: Batch, rows: Select[Any], table: FromClause) -> Any:
        repository = self._repository(part.relation.repository)
        if _is_unique(repository, batch.key):
            rows = rows.limit(None)
        found, whole = self._objects(part.level, rows, table)
        shown = select(_row(whole)).select_from(found).scalar_subquery()
        if part.required and not _always_there(parent, part, batch, repository):
            return func.coalesce(shown, values.ANOMALOUS_JSON)
        return shown

    # --- Pages

    def page(self, paged: Paged, parent: FromClause | None = None) -> Select[Any]:
        """A connection as one JSON object."""
        query: ListQuery = self._queries[paged.ask]
        repository = self._repository(paged.repository)
        table = self._alias(repository)

        def rows(limit: int) -> Select[Any]:
            listed = repository.listed(table, query.shape, prefix(paged.ask), limit)
            return listed if parent is None else listed.where(_belongs(paged, table, parent)).correlate(parent)

        counted = self._counted(paged, repository, parent)
        if _shows_only_nodes(paged, query):
            return self._plain_page(paged, rows(query.size), table, counted)
        shown = [table.c[name] for name in sorted(_used(paged) | {sort.column for sort in query.shape.sorts})]
        numbered = rows(query.size + 1).with_only_columns(*shown, maintain_column_froms=True)
        return NumberedPage(self, paged, query, numbered, counted).statement()

    def _plain_page(self, paged: Paged, rows: Select[Any], table: FromClause, counted: Callable[[], Any]) -> Select[Any]:
        pairs: list[tuple[str, Any]] = []
        sources: list[FromClause] = []
        for part in paged.parts:
            if isinstance(part, Nodes):
                found, whole = self._objects(part.level, rows, table)
                sources.append(found)
                pairs.append((part.key, _listed(whole)))
            else:
                pairs.append((part.key, counted() if isinstance(part, Count) else values.quoted(part.name)))  # type: ignore[union-attr]
        return select(_object(pairs)).select_from(*sources)

    def _counted(self, paged: Paged, repository: Repository[Any], parent: FromClause | None) -> Callable[[], Any]:
        def counted() -> Any:
            table = self._alias(repository)
            shape = self._queries[paged.ask].shape.filter
            rows = select(func.count()).select_from(table).where(repository.matching(table, shape, prefix(paged.ask)))
            if parent is not None:
                rows = rows.where(_belongs(paged, table, parent)).correlate(parent)
            return rows.scalar_subquery()

        return counted

    def _alias(self, repository: Repository[Any]) -> FromClause:
        return alias(repository.table, self.name("t"))

    def _repository(self, name: str) -> Repository[Any]:
        return getattr(self._repositories, name)  # type: ignore[no-any-return]

    def name(self, letter: str) -> str:
        return f"{letter}{next(self._number)}"


class NumberedPage:
    """A page whose rows are numbered, so that one more than it has can be looked at."""

    def __init__(self, composer: Composer, paged: Paged, query: ListQuery, rows: Select[Any], counted: Callable[[], Any]) -> None:
        self._composer = composer
        self._paged = paged
        self._query = query
        self._counted = counted
        self._size: Expression = literal_column(str(query.size))
        limited = rows.subquery(composer.name("r"))
        place, total = func.row_number().over().label(PLACE), func.count().over().label(TOTAL)
        self._page = select(*limited.c, place, total).subquery(composer.name("p"))
        self._sources: list[Any] = [self._page]

    def statement(self) -> Select[Any]:
        shown = _object([(part.key, self._part(part)) for part in self._paged.parts])
        source = self._sources[0]
        for lateral in self._sources[1:]:
            source = source.join(lateral, true())
        # One row, also where nothing that is shown is an aggregate.
        return select(shown).select_from(source).having(literal_column("true"))

    def _part(self, part: Any) -> Any:
        if isinstance(part, Nodes):
            return self._list(self._object_of(part.level))
        if isinstance(part, Edges):
            return self._list(_object([(inner.key, self._edge_part(inner)) for inner in part.parts]))
        if isinstance(part, Info):
            return _object([(inner.key, self._info_part(inner)) for inner in part.parts])
        return self._counted() if isinstance(part, Count) else values.quoted(part.name)

    def _object_of(self, level: Level) -> Expression:
        name = self._composer.name("o")
        columns = self._composer.columns(level, self._page)
        self._sources.append(select(*columns).correlate(self._page).lateral(name))
        return literal_column(name) if level.parts else EMPTY_OBJECT

    def _list(self, item: Any) -> Any:
        ordered = aggregate_order_by(item, self._place.desc()) if self._query.shape.backward else item
        return func.coalesce(func.json_agg(ordered).filter(self._place <= self._size), EMPTY_LIST)

    def _edge_part(self, part: Cursor | Node | TypeName) -> Any:
        if isinstance(part, Cursor):
            return self._cursor()
        return self._object_of(part.level) if isinstance(part, Node) else values.quoted(part.name)

    def _info_part(self, part: InfoField | TypeName) -> Any:
        return values.quoted(part.name) if isinstance(part, TypeName) else getattr(self, f"_{part.name}")()

    def _hasNextPage(self) -> Any:  # noqa: N802 - the schema's names
        return _constant("before" in self._query.shape.bounds) if self._query.shape.backward else func.count() > self._size

    def _hasPreviousPage(self) -> Any:  # noqa: N802
        return func.count() > self._size if self._query.shape.backward else _constant("after" in self._query.shape.bounds)

    def _startCursor(self) -> Any:  # noqa: N802
        return self._cursor_at(self._last_place if self._query.shape.backward else literal_column("1"))

    def _endCursor(self) -> Any:  # noqa: N802
        return self._cursor_at(literal_column("1") if self._query.shape.backward else self._last_place)

    def _cursor_at(self, place: Any) -> Any:
        return func.max(case((self._place == place, self._cursor())))

    def _cursor(self) -> Any:
        return values.cursor(self._query.tag, [self._page.c[sort.column] for sort in self._query.shape.sorts])

    @property
    def _place(self) -> Any:
        return self._page.c[PLACE]

    @property
    def _last_place(self) -> Any:
        return func.least(self._page.c[TOTAL], self._size)


@lru_cache(maxsize=MOST_ALIASES)
def alias(table: Table, name: str) -> FromClause:
    """A table under another name, whichever statement it is in: to make one takes as long as all else that is done with it."""
    return table.alias(name)


def prefix(ask: int) -> str:
    """What the names of an ask's parameters begin with."""
    return f"a{ask}_"


def _column(repository: Repository[Any], part: Leaf, row: FromClause) -> Any:
    source = part.source
    if isinstance(source, Money):
        missing = values.ANOMALOUS_TEXT if is_non_null_type(part.shown_as) else null()
        can_miss = repository.columns[source.column].nullable
        return values.money(row.c[source.column], row.c[source.currency], missing=missing if can_miss else None)
    assert isinstance(source, Column)
    return values.column_value(repository.columns[source.name], row.c[source.name], part.shown_as)


def _shows_only_nodes(paged: Paged, query: ListQuery) -> bool:
    """Whether the page is its rows alone, in the order they are read."""
    nodes = sum(isinstance(part, Nodes) for part in paged.parts)
    if any(isinstance(part, Edges | Info) for part in paged.parts):
        return False
    return nodes == 0 or (nodes == 1 and not query.shape.backward)


def _used(paged: Paged) -> set[str]:
    """The columns of a page's rows that what it shows of them looks at."""
    edges = [edge for part in paged.parts if isinstance(part, Edges) for edge in part.parts]
    shown = [part.level for part in (*paged.parts, *edges) if isinstance(part, Nodes | Node)]
    return {name for level in shown for part in level.parts if not isinstance(part, TypeName) for name in _columns_of(part) if name}


def _columns_of(part: Leaf | Fill | One | Many | Paged) -> tuple[str | None, ...]:
    if isinstance(part, Fill):
        return (*part.computed.needs, part.owner)
    if isinstance(part, One | Many | Paged):
        return (part.relation.key if part.relation else None, part.owner)
    source = part.source
    if isinstance(source, Money):
        return (source.column, source.currency, part.owner)
    if isinstance(source, Total):
        return (source.relation.key, part.owner)
    return (source.name if isinstance(source, Column) else "id", part.owner)


def _belongs(paged: Paged, table: FromClause, parent: FromClause) -> Expression:
    assert paged.relation is not None
    return table.c[paged.relation.batch] == parent.c[paged.relation.key]


def _is_unique(repository: Repository[Any], key: str) -> bool:
    column = repository.table.c[key]
    return bool(column.primary_key or column.unique)


def _always_there(parent: Repository[Any], part: One, batch: Batch, repository: Repository[Any]) -> bool:
    """Whether constraints say that the row exists: the parent's key is never null, refers to it, and nothing narrows the batch."""
    key = parent.table.c[part.relation.key]
    refers = any(reference.column is repository.table.c[batch.key] for reference in key.foreign_keys)
    return refers and not key.nullable and not batch.scoped and batch.link is None


def _row(item: Expression) -> Any:
    return item if item is EMPTY_OBJECT else func.row_to_json(item)


def _listed(item: Any) -> Any:
    return func.coalesce(func.json_agg(item), EMPTY_LIST)


def _object(pairs: Sequence[tuple[str, Any]]) -> Any:
    if len(pairs) > MOST_PAIRS:
        raise Refused("too_many_fields", f"{len(pairs)} in one object")
    return func.json_build_object(*(part for key, value in pairs for part in (values.quoted(key), value)))


def _constant(value: bool) -> Expression:
    return literal_column("true" if value else "false")
