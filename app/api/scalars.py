"""Scalars that accept and give exactly what the specification of each says, and global ids.

Strawberry's own Decimal takes NaN and loses digits of unquoted literals; ours does not.
"""

import base64
import binascii
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NewType
from uuid import UUID

import strawberry
from graphql import FloatValueNode, GraphQLError, IntValueNode, StringValueNode, ValueNode, print_ast
from strawberry.types.scalar import ScalarDefinition

from app.core.errors import BadInput

DECIMAL = re.compile(r"-?\d{1,15}(\.\d{1,18})?", re.ASCII)
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,6})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def parse_decimal(value: Any) -> Decimal:
    """An exact decimal from a string or an integer; a float has already lost digits, so it is read by its shortest text."""
    text = value if isinstance(value, str) else repr(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else ""
    if not DECIMAL.fullmatch(text):
        raise GraphQLError(f'Decimal must be a number such as "12.50" with at most 15 digits before the point, not {shown(value)}.')
    return Decimal(text)


def _decimal_literal(node: ValueNode, _variables: Any = None) -> Decimal:
    """The digits as written in the document, before any float could change them."""
    if not isinstance(node, (StringValueNode, IntValueNode, FloatValueNode)):
        raise GraphQLError(f"Decimal cannot represent {print_ast(node)}.", node)
    return parse_decimal(node.value)


def show_decimal(value: Any) -> str:
    return value if isinstance(value, str) else format(value, "f")


def parse_instant(value: Any) -> datetime:
    """RFC 3339 with an offset: a naive time is refused."""
    if not isinstance(value, str) or not RFC3339.fullmatch(value):
        raise GraphQLError(f'DateTime must be RFC 3339 with an offset, such as "2026-01-31T12:00:00Z", not {shown(value)}.')
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise GraphQLError(f"DateTime cannot represent {shown(value)}: no such time.") from error


def show_instant(value: datetime) -> str:
    """RFC 3339 in UTC, the fraction without trailing zeros: the form that PostgreSQL's JSON has."""
    text = value.astimezone(UTC).isoformat()
    head, dot, tail = text.partition(".")
    if not dot:
        return text
    return f"{head}.{tail[:6].rstrip('0')}{tail[6:]}" if tail[:6].strip("0") else f"{head}{tail[6:]}"


def shown(value: Any) -> str:
    """A wrong value as an error may quote it: short, and printable."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _json_in(value: Any) -> Any:
    return value


MoneyText = NewType("MoneyText", str)
"""An amount already formatted with its currency's digits."""

DECIMAL_SCALAR = strawberry.scalar(
    name="Decimal",
    description='An exact decimal number, as a string such as "12.50". Money has exactly the digits of its currency (ISO 4217).',
    serialize=show_decimal,
    parse_value=parse_decimal,
    parse_literal=_decimal_literal,
)
DATETIME_SCALAR = strawberry.scalar(
    name="DateTime",
    description="An instant in RFC 3339, with its offset.",
    specified_by_url="https://scalars.graphql.org/andimarek/date-time",
    serialize=show_instant,
    parse_value=parse_instant,
)
JSON_SCALAR = strawberry.scalar(name="JSON", description="Any JSON value.", serialize=_json_in, parse_value=_json_in)

SCALARS: dict[object, ScalarDefinition] = {
    Decimal: DECIMAL_SCALAR,
    MoneyText: DECIMAL_SCALAR,
    datetime: DATETIME_SCALAR,
    strawberry.scalars.JSON: JSON_SCALAR,
}


def encode_id(type_name: str, id: UUID) -> str:
    """The Relay global id of a row: base64 of `Type:uuid`."""
    return base64.b64encode(f"{type_name}:{id}".encode()).decode()


def decode_any_id(value: str, argument: str) -> tuple[str, UUID]:
    """The type name and key inside a global id; raises `BadInput` naming the argument."""
    try:
        type_name, _, key = base64.b64decode(value.encode(), validate=True).decode().partition(":")
        return type_name, UUID(key)
    except (binascii.Error, ValueError) as error:
        raise BadInput(argument, f"{shown(value)} is not an id; take it from a field `id`") from error


def decode_id(value: str, type_name: str, argument: str = "id") -> UUID:
    """The key inside a global id of one type; raises `BadInput` naming the argument and both types."""
    found, key = decode_any_id(value, argument)
    if found != type_name:
        raise BadInput(argument, f"is the id of another kind of object ({shown(found)}); the id of a {type_name} is needed")
    return key
