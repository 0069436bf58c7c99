"""Filters as data: `{"status": {"eq": "ACTIVE"}}` becomes a hashable shape, composed once, and values, which are bound.

A bare value stands for `eq` (`{"user_id": id}`), a bare list for `in`. Names of columns and operators are checked; limits keep
the shape small. Raises `BadInput` naming the place in the filter.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, FromClause, and_, any_, bindparam, not_, or_, true
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.errors import BadInput

MAX_DEPTH = 5
MAX_TERMS = 50
MAX_VALUES = 100
MAX_PATTERN = 250
"""Characters of a text that is looked for: PostgreSQL folds the case of the whole pattern for every row."""

Shape = tuple[Any, ...]
"""A nested tuple: ("and" | "or" | "not", *shapes) or (operator, column, parameter)."""


def _bound(name: str, column: ColumnElement[Any]) -> Any:
    return bindparam(name, type_=column.type)


def _in(column: ColumnElement[Any], name: str) -> ColumnElement[bool]:
    return column == any_(bindparam(name, type_=ARRAY(column.type)))


OPERATORS: dict[str, Callable[[Any, str], ColumnElement[bool]]] = {
    "eq": lambda column, name: column == _bound(name, column),
    "in": _in,
    "gt": lambda column, name: column > _bound(name, column),
    "gte": lambda column, name: column >= _bound(name, column),
    "lt": lambda column, name: column < _bound(name, column),
    "lte": lambda column, name: column <= _bound(name, column),
    "contains": lambda column, name: column.ilike(bindparam(name), escape="\\"),
    "starts_with": lambda column, name: column.ilike(bindparam(name), escape="\\"),
    "is_null": lambda column, _: column.is_(None),
    "is_not_null": lambda column, _: column.is_not(None),
}

PATTERNS = ("contains", "starts_with")

ALWAYS: Shape = ("and",)


class FilterReader:
    """Reads one filter: `shape` afterwards says what to compose, `values` what to bind."""

    def __init__(self, columns: Mapping[str, Any], argument: str = "filter") -> None:
        self._columns = columns
        self._argument = argument
        self._terms = 0
        self.values: dict[str, Any] = {}

    def read(self, given: Mapping[str, Any] | None, depth: int = 0) -> Shape:
        if not given:
            return ALWAYS
        if depth > MAX_DEPTH:
            raise BadInput(self._argument, f"is nested deeper than {MAX_DEPTH} levels")
        return ("and", *(self._entry(name, value, depth) for name, value in given.items()))

    def _entry(self, name: str, value: Any, depth: int) -> Shape:
        if name in ("and", "or"):
            return (name, *(self.read(part, depth + 1) for part in value))
        if name == "not":
            return ("not", self.read(value, depth + 1))
        if name not in self._columns:
            raise BadInput(f"{self._argument}.{name}", "is no field that can be filtered on")
        return ("and", *(self._term(name, operator, operand) for operator, operand in _comparison(value).items()))

    def _term(self, column: str, operator: str, operand: Any) -> Shape:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise BadInput(self._argument, f"has more than {MAX_TERMS} comparisons")
        place = f"{self._argument}.{column}.{operator}"
        if operator == "is_null":
            return ("is_null" if operand else "is_not_null", column, "")
        if operand is None:
            if operator != "eq":
                raise BadInput(place, "cannot be null; use isNull")
            return ("is_null", column, "")
        if operator == "in" and len(operand) > MAX_VALUES:
            raise BadInput(place, f"has {len(operand)} values, at most {MAX_VALUES} are allowed")
        if operator in PATTERNS and len(operand) > MAX_PATTERN:
            raise BadInput(place, f"has {len(operand)} characters, at most {MAX_PATTERN} can be looked for")
        name = f"f{self._terms}"
        self.values[name] = _pattern(operator, operand)
        return (operator, column, name)


def _comparison(value: Any) -> Mapping[str, Any]:
    if isinstance(value, Mapping):
        return value
    if isinstance(value, (list, tuple, set, frozenset)):
        return {"in": list(value)}
    return {"eq": value}


def _pattern(operator: str, operand: Any) -> Any:
    if operator not in PATTERNS:
        return operand
    escaped = str(operand).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%" if operator == "contains" else f"{escaped}%"


def compose(shape: Shape, table: FromClause, prefix: str = "") -> ColumnElement[bool]:
    """The SQL condition of a shape; parameters are named with `prefix`, so that several filters fit into one statement."""
    kind = shape[0]
    if kind == "not":
        return not_(compose(shape[1], table, prefix))
    if kind in ("and", "or"):
        parts: Sequence[ColumnElement[bool]] = [compose(part, table, prefix) for part in shape[1:]]
        if not parts:
            return true() if kind == "and" else not_(true())
        return and_(*parts) if kind == "and" else or_(*parts)
    operator, column, name = shape
    return OPERATORS[operator](table.c[column], prefix + name)
