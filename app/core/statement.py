"""Statements of SQLAlchemy Core, compiled once per shape into what asyncpg runs, with what they read and change."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from sqlalchemy import Delete, Insert, Table, Update
from sqlalchemy.dialects.postgresql.asyncpg import PGCompiler_asyncpg, PGDialect_asyncpg
from sqlalchemy.sql import ClauseElement
from sqlalchemy.sql.dml import UpdateBase


class Compiler(PGCompiler_asyncpg):
    """SQLAlchemy's compiler, which remembers the tables that it has come across."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self.reads: list[str] = []
        self.writes: set[str] = set()
        super().__init__(*arguments, **options)

    def visit_table(self, table: Any, *arguments: Any, **kwargs: Any) -> Any:
        self.reads.append(table.name)
        return super().visit_table(table, *arguments, **kwargs)  # type: ignore[no-untyped-call]

    def visit_insert(self, insert_stmt: Any, *arguments: Any, **kw: Any) -> Any:
        self.writes.update(changed_tables(insert_stmt))
        return super().visit_insert(insert_stmt, *arguments, **kw)  # type: ignore[no-untyped-call]

    def visit_update(self, update_stmt: Any, *arguments: Any, **kw: Any) -> Any:
        self.writes.update(changed_tables(update_stmt))
        return super().visit_update(update_stmt, *arguments, **kw)

    def visit_delete(self, delete_stmt: Any, *arguments: Any, **kw: Any) -> Any:
        self.writes.update(changed_tables(delete_stmt))
        return super().visit_delete(delete_stmt, *arguments, **kw)  # type: ignore[no-untyped-call]


DIALECT = PGDialect_asyncpg()  # type: ignore[no-untyped-call]
DIALECT.statement_compiler = Compiler


@dataclass(frozen=True, slots=True)
class Statement:
    """SQL text with numbered parameters, the parameters' names in order, and the values that were fixed when it was composed.

    `change` is what it does to the rows of which table, unless it only reads. `reads` are the tables that it mentions, each as often as it
    does, `writes` those whose rows it may change.
    """

    text: str
    names: tuple[str, ...]
    fixed: Mapping[str, Any]
    change: tuple[str, str] | None = None
    reads: tuple[str, ...] = ()
    writes: frozenset[str] = frozenset()

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        return [values[name] if name in values else self.fixed[name] for name in self.names]


def compile_statement(clause: ClauseElement) -> Statement:
    """Compile a SQLAlchemy Core statement for asyncpg. Costs some milliseconds: callers keep the result per shape."""
    compiled = cast(Compiler, clause.compile(dialect=DIALECT))
    names = tuple(compiled.positiontup or ())
    fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
    return Statement(str(compiled), names, fixed, _change(clause), tuple(compiled.reads), frozenset(compiled.writes))


def _change(clause: ClauseElement) -> tuple[str, str] | None:
    if isinstance(clause, (Insert, Update, Delete)) and isinstance(clause.table, Table):
        return clause.__visit_name__, clause.table.name
    return None


def changed_tables(part: UpdateBase) -> set[str]:
    """The tables that a part of a statement changes; with a deletion, those that it reaches by foreign keys as well."""
    changed = {cast(Table, part.table)}
    todo = list(changed) if isinstance(part, Delete) else []
    while todo:
        table = todo.pop()
        for other in set(table.metadata.tables.values()) - changed:
            if any(key.ondelete in ("CASCADE", "SET NULL") and key.column.table is table for key in other.foreign_keys):
                changed.add(other)
                todo.append(other)
    return {table.name for table in changed}
