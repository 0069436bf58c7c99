"""Keyset pages in the sense of the Relay cursor connections specification.

A cursor is the base64url text of `[list, key..., id]`: the name of the list with its order, and the sort keys of one row as text. It stays
valid when rows come and go, also when its own row is deleted; a cursor of another list or order is refused by name.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Generic, TypeVar
from uuid import UUID

import orjson
from sqlalchemy import ColumnElement, FromClause, and_, bindparam, or_, tuple_

from app.core.errors import BadInput

DEFAULT_SIZE = 20
MAX_SIZE = 100
MAX_SIZE_STAFF = 250
MAX_CURSOR = 1000
MAX_EXPONENT = 30

R = TypeVar("R")


@dataclass(frozen=True, slots=True)
class Sort:
    """One sort key. Only columns that are never null may be sorted on, so that keysets need no case for nulls."""

    column: str
    descending: bool = False

    @property
    def tag(self) -> str:
        return f"{self.column}{'-' if self.descending else '+'}"


NEWEST_FIRST = (Sort("created_at", descending=True),)


@dataclass(frozen=True)
class PageRequest:
    """What a caller asks of a list: Relay's four arguments, a filter (`core.filtering`) and an order."""

    first: int | None = None
    after: str | None = None
    last: int | None = None
    before: str | None = None
    where: Mapping[str, Any] | None = None
    sorts: tuple[Sort, ...] = ()
    max_size: int = MAX_SIZE

    @property
    def backward(self) -> bool:
        return self.last is not None

    @property
    def size(self) -> int:
        if self.first is not None and self.last is not None:
            raise BadInput("last", "cannot be combined with first; ask for one of them")
        name, size = ("last", self.last) if self.last is not None else ("first", self.first)
        if size is None:
            return min(DEFAULT_SIZE, self.max_size)
        if not 1 <= size <= self.max_size:
            raise BadInput(name, f"is {size}, but must be between 1 and {self.max_size}")
        return size


@dataclass
class Page(Generic[R]):
    """One page of a list. `count` computes the size of the whole list, only when called."""

    nodes: Sequence[R]
    has_next_page: bool
    has_previous_page: bool
    tag: str
    sorts: tuple[Sort, ...]
    count: Callable[[], Awaitable[int]] = field(repr=False)

    def cursor(self, row: R) -> str:
        return encode_cursor(self.tag, [getattr(row, sort.column) for sort in self.sorts])


def with_tie_break(sorts: tuple[Sort, ...]) -> tuple[Sort, ...]:
    """The order made total by the id, in the direction of the last key."""
    sorts = sorts or NEWEST_FIRST
    if any(sort.column == "id" for sort in sorts):
        return sorts
    return (*sorts, Sort("id", sorts[-1].descending))


def list_tag(name: str, sorts: tuple[Sort, ...]) -> str:
    return ",".join((name, *(sort.tag for sort in sorts)))


def key_text(value: Any) -> str:
    """A sort key as the cursor holds it; PostgreSQL's compiled cursors use the same form."""
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def encode_cursor(tag: str, keys: Sequence[Any]) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([tag, *map(key_text, keys)])).decode()


def decode_cursor(cursor: str, tag: str, argument: str) -> list[str]:
    """The keys of a cursor; `BadInput` naming `argument` unless it is a cursor of the list `tag`."""
    wrong = BadInput(argument, "is not a cursor of this list in this order; take it from pageInfo or edges of the same query")
    if len(cursor) > MAX_CURSOR:
        raise wrong
    try:
        parts = orjson.loads(base64.b64decode(cursor.encode(), altchars=b"-_", validate=True))
    except (binascii.Error, ValueError) as error:
        raise wrong from error
    if not isinstance(parts, list) or not all(isinstance(part, str) and "\0" not in part for part in parts):
        raise wrong
    if len(parts) != len(tag.split(",")) or parts[0] != tag:
        raise wrong
    return parts[1:]


def parse_key(text: str, kind: type[Any], argument: str) -> Any:
    """A sort key back from its text."""
    try:
        return _PARSERS.get(kind, str)(text)
    except (ValueError, OverflowError, InvalidOperation, KeyError) as error:
        raise BadInput(argument, "holds a key that does not fit this list") from error


def _instant(text: str) -> datetime:
    return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC)


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    # The driver writes every digit out: an exponent could make a few characters gigabytes.
    if not number.is_finite() or abs(number.adjusted()) > MAX_EXPONENT:
        raise ValueError(text)
    return number


def _integer(text: str) -> int:
    number = int(text)
    if not -(2**63) <= number < 2**63:
        raise ValueError(text)
    return number


_PARSERS: dict[type[Any], Callable[[str], Any]] = {
    datetime: _instant,
    Decimal: _decimal,
    int: _integer,
    UUID: UUID,
    bool: {"true": True, "false": False}.__getitem__,
}


def beyond(table: FromClause, sorts: Sequence[Sort], prefix: str, *, backward: bool) -> ColumnElement[bool]:
    """The condition that a row comes after (or, backward, before) the keys bound as `{prefix}0`, `{prefix}1`, ...

    Keys of one direction compare as a row value, which an index serves in one range scan; mixed directions need the expanded form.
    """
    columns = [table.c[sort.column] for sort in sorts]
    keys = [bindparam(f"{prefix}{n}", type_=column.type) for n, column in enumerate(columns)]
    if len({sort.descending for sort in sorts}) == 1:
        less = sorts[0].descending != backward
        return tuple_(*columns) < tuple_(*keys) if less else tuple_(*columns) > tuple_(*keys)
    steps = []
    for n, sort in enumerate(sorts):
        less = sort.descending != backward
        step = columns[n] < keys[n] if less else columns[n] > keys[n]
        steps.append(and_(*(columns[k] == keys[k] for k in range(n)), step))
    return or_(*steps)


def ordering(table: FromClause, sorts: Sequence[Sort], *, backward: bool) -> list[ColumnElement[Any]]:
    return [table.c[sort.column].desc() if sort.descending != backward else table.c[sort.column].asc() for sort in sorts]
