"""Filters and keysets (`core.filtering`, `core.paging`) as ClickHouse SQL, every value bound as `{name:Type}`."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.core.filtering import Shape
from app.core.paging import Sort

MOMENT: Final = "DateTime64(6, 'UTC')"
KINDS: Final[Mapping[str, type[Any]]] = {"UUID": UUID, "String": str, MOMENT: datetime, "Bool": bool}
"""What a column's type holds, for keys that come back from cursors."""

OPERATORS: Final[Mapping[str, Callable[[str, str, str], str]]] = {
    "eq": lambda column, name, kind: f"{column} = {{{name}:{kind}}}",
    "in": lambda column, name, kind: f"{column} IN {{{name}:Array({kind})}}",
    "gt": lambda column, name, kind: f"{column} > {{{name}:{kind}}}",
    "gte": lambda column, name, kind: f"{column} >= {{{name}:{kind}}}",
    "lt": lambda column, name, kind: f"{column} < {{{name}:{kind}}}",
    "lte": lambda column, name, kind: f"{column} <= {{{name}:{kind}}}",
    "contains": lambda column, name, _: f"{column} ILIKE {{{name}:String}}",
    "starts_with": lambda column, name, _: f"{column} ILIKE {{{name}:String}}",
    "is_null": lambda column, _name, _kind: f"isNull({column})",
    "is_not_null": lambda column, _name, _kind: f"isNotNull({column})",
}


def condition(shape: Shape, types: Mapping[str, str]) -> str:
    """The condition of a filter's shape; `types` are the ClickHouse types of the columns, without Nullable."""
    kind = shape[0]
    if kind == "not":
        # A comparison with null is neither true nor false, here as in PostgreSQL.
        return f"NOT ({condition(shape[1], types)})"
    if kind in ("and", "or"):
        parts = [condition(part, types) for part in shape[1:]]
        return f"({f' {kind.upper()} '.join(parts)})" if parts else str(kind == "and").lower()
    operator, column, name = shape
    return OPERATORS[operator](column, name, types[column])


def beyond(sorts: Sequence[Sort], types: Mapping[str, str], prefix: str, *, backward: bool) -> str:
    """The condition that a row comes after (or, backward, before) the keys bound as `{prefix}0`, `{prefix}1`, ..."""
    steps = []
    for n, sort in enumerate(sorts):
        same = [f"{earlier.column} = {{{prefix}{k}:{types[earlier.column]}}}" for k, earlier in enumerate(sorts[:n])]
        sign = "<" if sort.descending != backward else ">"
        steps.append(f"({' AND '.join([*same, f'{sort.column} {sign} {{{prefix}{n}:{types[sort.column]}}}'])})")
    return f"({' OR '.join(steps)})"


def ordering(sorts: Sequence[Sort], *, backward: bool) -> str:
    return ", ".join(f"{sort.column} {'DESC' if sort.descending != backward else 'ASC'}" for sort in sorts)
