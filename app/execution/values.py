"""SQL expressions whose JSON is exactly what a field's scalar would give for the same row.

Where PostgreSQL's own output could differ, the expression looks for it and puts `ANOMALY` in the value's place: whoever finds that mark in
an answer must throw the answer away and let resolvers produce it, with the exact errors.
"""

from collections.abc import Callable, Iterable
from datetime import datetime
from decimal import Decimal
from functools import cache
from typing import Any
from uuid import UUID

from graphql import GraphQLEnumType, GraphQLOutputType, get_named_type, get_nullable_type, is_list_type, is_non_null_type
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ColumnElement,
    DateTime,
    Float,
    FromClause,
    Integer,
    Numeric,
    SmallInteger,
    String,
    Table,
    TypeDecorator,
    Uuid,
    case,
    cast,
    func,
    literal_column,
    null,
    or_,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.types import TypeEngine

from app.core.money import EXPONENTS
from app.execution.refusal import Refused

Expression = ColumnElement[Any]

ANOMALY = b'"\\u0001!"'
"""The mark as it stands in JSON. Of all that users write only this very text looks like it, and then nothing is lost but time."""

ANOMALOUS_JSON: Expression = literal_column("'\"\\u0001!\"'::json")
ANOMALOUS_TEXT: Expression = literal_column("U&'\\0001!'")
LARGEST_INT, SMALLEST_INT = 2**31 - 1, -(2**31)
LINE_OF_BASE64 = 57
"""Bytes after which PostgreSQL's base64 begins a new line."""


def quoted(text: str) -> Expression:
    """A literal of the statement itself: for names and tags, never for what a caller sends."""
    return literal_column("'" + text.replace("'", "''") + "'")


def global_id(type_name: str, id: Expression) -> Expression:
    """The base64 of `Type:uuid`."""
    encoded = func.encode(func.textsend(quoted(f"{type_name}:").op("||")(cast(id, String))), quoted("base64"))
    return func.translate(encoded, literal_column("E'\\n'"), quoted("")) if len(type_name) + 37 > LINE_OF_BASE64 else encoded


def money(amount: Expression, currency: Expression, *, missing: Expression | None = None) -> Expression:
    """The amount with exactly its currency's digits; an anomaly where it has more of them, or the currency is none.

    `missing` is what stands for an amount that is null, where it can be.
    """
    digits = case(*((currency == func.any(_codes(codes)), literal_column(str(count))) for count, codes in _DIGITS), else_=null())
    common = or_(*(currency == quoted(code) for code in COMMON))
    shown = case((common, _with_digits(amount, literal_column("2"))), else_=_with_digits(amount, digits))
    return shown if missing is None else case((amount.is_(None), missing), else_=shown)


def _with_digits(amount: Expression, digits: Expression) -> Expression:
    return case((func.min_scale(amount) <= digits, cast(func.round(amount, digits), String)), else_=ANOMALOUS_TEXT)


def _codes(codes: Iterable[str]) -> Expression:
    return literal_column(f"'{{{','.join(sorted(codes))}}}'::text[]")


COMMON = ("USD", "EUR", "GBP")
"""Compared first, each with two digits: PostgreSQL hashes the long lists anew in each statement that reaches them."""

_DIGITS = tuple((digits, [code for code, found in EXPONENTS.items() if found == digits]) for digits in (0, 3, 4, 2))


def column_value(column: Column[Any], value: Expression, shown_as: GraphQLOutputType) -> Expression:
    """The JSON value of a column, `value` being its expression in the statement."""
    required = is_non_null_type(shown_as)
    inner: Any = get_nullable_type(shown_as)
    expression = _list_value(column, value, inner) if is_list_type(inner) else _leaf_value(column, value, get_named_type(inner))
    if required and (column.nullable or isinstance(column.type, JSONB)):
        return func.coalesce(func.to_json(expression), ANOMALOUS_JSON)
    return expression


def _list_value(column: Column[Any], value: Expression, shown_as: Any) -> Expression:
    item = shown_as.of_type
    if not (isinstance(column.type, ARRAY) and isinstance(column.type.item_type, String) and get_named_type(item).name == "String"):
        raise Refused("unknown_value", f"{column}: a list")
    if not is_non_null_type(item):
        return value
    return case((func.array_position(value, null()).is_not(None), ANOMALOUS_JSON), (value.is_(None), null()), else_=func.to_json(value))


def _leaf_value(column: Column[Any], value: Expression, leaf: Any) -> Expression:
    if isinstance(leaf, GraphQLEnumType):
        return _enum_value(column, value, leaf)
    show = _SHOWN.get((_kind(column), leaf.name))
    if show is None:
        raise Refused("unknown_value", f"{column} as {leaf.name}")
    return show(value)


def stored(kind: TypeEngine[Any]) -> TypeEngine[Any]:
    """The type that PostgreSQL sees."""
    return kind.impl_instance if isinstance(kind, TypeDecorator) else kind


def _kind(column: Column[Any]) -> type[Any] | None:
    return next((kind for kind in _KINDS if isinstance(stored(column.type), kind)), None)


def _enum_value(column: Column[Any], value: Expression, leaf: GraphQLEnumType) -> Expression:
    """The stored text, where every value is its own name and the table lets in no other text."""
    names = {name: getattr(member.value, "value", member.value) for name, member in leaf.values.items()}
    if any(name != stored for name, stored in names.items()) or not isinstance(stored(column.type), String):
        raise Refused("unknown_value", f"{column} as {leaf.name}")
    listed = ", ".join(f"'{name}'" for name in names)
    if f"{column.name} in ({listed})" in _checks(column.table):
        return value
    return case((value.is_(None), null()), (value.in_([literal_column(f"'{name}'") for name in names]), value), else_=ANOMALOUS_TEXT)


@cache
def _checks(table: FromClause) -> frozenset[str]:
    """What a table's constraints check, as SQL; there are as many as tables."""
    constraints = table.constraints if isinstance(table, Table) else ()
    return frozenset(str(check.sqltext) for check in constraints if isinstance(check, CheckConstraint))


def _as_it_is(value: Expression) -> Expression:
    return value


def whole_number(value: Expression) -> Expression:
    """GraphQL's Int has 32 bits."""
    fits = value.between(literal_column(str(SMALLEST_INT)), literal_column(str(LARGEST_INT)))
    return case((value.is_(None), null()), (fits, func.to_json(value)), else_=ANOMALOUS_JSON)


def _float(value: Expression) -> Expression:
    """GraphQL's Float is finite."""
    finite = func.abs(value) < literal_column("'Infinity'::float8")
    return case((value.is_(None), null()), (finite, func.to_json(value)), else_=ANOMALOUS_JSON)


def _json(value: Expression) -> Expression:
    """A JSON null is no value."""
    return func.nullif(value, literal_column("'null'::jsonb"))


def _text(value: Expression) -> Expression:
    return cast(value, String)


_KINDS: tuple[type[Any], ...] = (JSONB, DateTime, BigInteger, SmallInteger, Integer, Boolean, Float, Numeric, Uuid, String)

_SHOWN: dict[tuple[type[Any] | None, str], Callable[[Expression], Expression]] = {
    (String, "String"): _as_it_is,
    (String, "ID"): _as_it_is,
    (Uuid, "String"): _text,
    (Uuid, "ID"): _text,
    (Integer, "Int"): _as_it_is,
    (SmallInteger, "Int"): _as_it_is,
    (BigInteger, "Int"): whole_number,
    (Integer, "Float"): _as_it_is,
    (Boolean, "Boolean"): _as_it_is,
    (Float, "Float"): _float,
    (Numeric, "Decimal"): _text,
    (DateTime, "DateTime"): _as_it_is,
    (JSONB, "JSON"): _json,
}


def cursor(tag: str, keys: list[Expression]) -> Expression:
    """What `core.paging.encode_cursor` gives for the same keys."""
    text: Expression = quoted(f'["{tag}"')
    for key in keys:
        text = text.op("||")(quoted(",")).op("||")(_key_text(key))
    encoded = func.encode(func.textsend(text.op("||")(quoted("]"))), quoted("base64"))
    return func.translate(encoded, literal_column("E'+/\\n'"), quoted("-_"))


def _key_text(key: Expression) -> Expression:
    """A sort key as the quoted JSON text that `core.paging.key_text` makes of it."""
    kind = stored(key.type)
    if isinstance(kind, DateTime):
        return _in_quotes(func.to_char(key, literal_column("""'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'""")))
    if isinstance(kind, Uuid | Integer | Numeric | Boolean):
        return _in_quotes(cast(key, String))
    return cast(func.to_json(key), String)


def _in_quotes(text: Expression) -> Expression:
    return quoted('"').op("||")(text).op("||")(quoted('"'))


def restorable(value: Expression) -> Expression:
    """A value as JSON from which `restorer` makes what a row would hold: numbers of exact digits travel as text."""
    return cast(value, String) if isinstance(stored(value.type), Numeric) and not isinstance(stored(value.type), Float) else value


def restorer(kind: TypeEngine[Any]) -> Callable[[Any], Any] | None:
    """What makes a row's value of its JSON; None where they are the same."""
    return _RESTORERS.get(stored(kind).python_type)


_RESTORERS: dict[type[Any], Callable[[Any], Any]] = {UUID: UUID, Decimal: Decimal, datetime: datetime.fromisoformat}
