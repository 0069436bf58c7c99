"""Comparing two tables of the same rows, perhaps of two engines, without reading what agrees.

The keys are gone over in order, in segments of so many rows. Of each segment both engines compute 256 counts and hashes, one for each
last byte of the keys; of the lots that differ, the hash of each row; and of the rows that differ, the values. A hash is over the exact
values in one text form that both engines write (`Kind`), so it is a tolerance's business to forgive what the hashes have found, and never
to hide it: rows that agree within the tolerance are read and pass.

A side (`core.comparison_postgres`, `core.comparison_clickhouse`) is told of tables and columns by `ComparedTable`s that the code itself
declares: no name comes from outside.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, Protocol
from uuid import UUID

Key = UUID | int
SEGMENT: Final = 50_000
"""Rows of a side that are compared at a time, and of which the keys and hashes may be in memory."""

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Kind(StrEnum):
    """What a column holds, and so how its values are written to be hashed.

    UUIDs in lower case, numbers with exactly `scale` decimals, flags as 0 or 1, moments as microseconds since 1970 in UTC, text as it is.
    """

    UUID = "UUID"
    INTEGER = "INTEGER"
    NUMBER = "NUMBER"
    TEXT = "TEXT"
    FLAG = "FLAG"
    MOMENT = "MOMENT"

    @property
    def is_numeric(self) -> bool:
        return self in (Kind.INTEGER, Kind.NUMBER)


@dataclass(frozen=True)
class Column:
    """A column; `scale` are the decimals of a NUMBER."""

    name: str
    kind: Kind
    scale: int = 0


@dataclass(frozen=True)
class ComparedTable:
    """A table that may be compared: the columns that may be, and which of them are unique and ordered alike in both engines."""

    name: str
    columns: Mapping[str, Column]
    keys: tuple[str, ...] = ("id",)


def table(name: str, *columns: Column) -> ComparedTable:
    return ComparedTable(name, {column.name: column for column in columns})


@dataclass(frozen=True)
class Projection:
    """What is compared of one side: its key and columns, numbers with the scale that both sides are written with."""

    table: ComparedTable
    key: Column
    columns: tuple[Column, ...]


@dataclass(frozen=True)
class Digest:
    """A lot of rows of one side: how many, the hash of all, and the sum of each numeric column (None where it has no values)."""

    rows: int
    hash: int
    sums: tuple[Decimal | None, ...]


class Side(Protocol):
    """One of the two tables. Bounds are exclusive below and inclusive above; None is no bound."""

    @property
    def projection(self) -> Projection: ...

    async def count(self) -> int: ...

    async def nth_key(self, low: Key | None, n: int) -> Key | None:
        """The n-th key above `low`, None where there are fewer."""

    async def digests(self, low: Key | None, high: Key | None) -> dict[int, Digest]:
        """By the last byte of the keys."""

    async def hashes(self, low: Key | None, high: Key | None, lots: Sequence[int]) -> dict[Key, int]:
        """The hash of each row in these lots."""

    async def values(self, keys: Sequence[Key]) -> dict[Key, tuple[str | None, ...]]:
        """What the rows hold, as written to be hashed."""


class Discrepancy(StrEnum):
    MISSING_IN_TARGET = "MISSING_IN_TARGET"
    MISSING_IN_SOURCE = "MISSING_IN_SOURCE"
    DIFFERING = "DIFFERING"


@dataclass(frozen=True)
class Difference:
    """A row that is missing on one side, or the columns of a pair that differ, by the source's name: both values."""

    key: Key
    kind: Discrepancy
    columns: Mapping[str, tuple[str | None, str | None]] = field(default_factory=dict)


@dataclass(frozen=True)
class Segment:
    """What one segment came to: up to which key (None: to the end), the rows and sums of each side, and the keys that do not agree."""

    high: Key | None
    source: Digest
    target: Digest
    suspects: tuple[Key, ...]


@dataclass(frozen=True)
class Comparison:
    """A source and a target whose columns are compared in pairs. `tolerance` is a fraction of the larger of two numbers."""

    source: Side
    target: Side
    tolerance: Decimal

    async def segment(self, low: Key | None, size: int = SEGMENT) -> Segment:
        """Compare the next rows above a key: at most `size` of each side."""
        ends = [end for end in (await self.source.nth_key(low, size), await self.target.nth_key(low, size)) if end is not None]
        high = min(ends, default=None)
        ours, theirs = await self.source.digests(low, high), await self.target.digests(low, high)
        lots = [lot for lot in sorted(ours.keys() | theirs.keys()) if not _same(ours.get(lot), theirs.get(lot))]
        suspects: tuple[Key, ...] = ()
        if lots:
            left, right = await self.source.hashes(low, high, lots), await self.target.hashes(low, high, lots)
            suspects = tuple(key for key in left.keys() | right.keys() if left.get(key) != right.get(key))
        return Segment(high, total(ours.values()), total(theirs.values()), suspects)

    async def differences(self, keys: Sequence[Key]) -> list[Difference]:
        """How the rows of some keys differ now, those within the tolerance left out, in the order of the keys."""
        left, right = await self.source.values(keys), await self.target.values(keys)
        found = (self._difference(key, left.get(key), right.get(key)) for key in keys)
        return [difference for difference in found if difference is not None]

    def _difference(self, key: Key, left: tuple[str | None, ...] | None, right: tuple[str | None, ...] | None) -> Difference | None:
        if left is None or right is None:
            gone = left is None and right is None
            return None if gone else Difference(key, Discrepancy.MISSING_IN_SOURCE if left is None else Discrepancy.MISSING_IN_TARGET)
        pairs = zip(self.source.projection.columns, left, right, strict=True)
        columns = {
            column.name: (shown(column, one), shown(column, other))
            for column, one, other in pairs
            if not agree(column.kind, one, other, self.tolerance)
        }
        return Difference(key, Discrepancy.DIFFERING, columns) if columns else None


def _same(one: Digest | None, other: Digest | None) -> bool:
    return one is not None and other is not None and (one.rows, one.hash) == (other.rows, other.hash)


def total(digests: Iterable[Digest]) -> Digest:
    """Several lots of a side as one; its hash means nothing."""
    found = list(digests)
    sums = tuple(sum((part for part in parts if part is not None), Decimal(0)) for parts in zip(*(one.sums for one in found), strict=True))
    return Digest(sum(one.rows for one in found), 0, sums)


def agree(kind: Kind, one: str | None, other: str | None, tolerance: Decimal) -> bool:
    """Whether two values are the same, or two numbers nearly: |s - t| <= tolerance * max(|s|, |t|)."""
    if one == other:
        return True
    if one is None or other is None or not kind.is_numeric:
        return False
    left, right = Decimal(one), Decimal(other)
    return abs(left - right) <= tolerance * max(abs(left), abs(right))


def shown(column: Column, text: str | None) -> str | None:
    """A value for people: a moment as RFC 3339, everything else as it is hashed."""
    if text is None or column.kind is not Kind.MOMENT:
        return text
    return (EPOCH + timedelta(microseconds=int(text))).isoformat()


def projections(source: ComparedTable, target: ComparedTable, key: str, pairs: Sequence[tuple[str, str]]) -> tuple[Projection, Projection]:
    """What is compared of two tables; all names must be theirs, and the kinds of each pair fit."""
    ours, theirs = [], []
    for left, right in ((source.columns[one], target.columns[other]) for one, other in pairs):
        numeric = (left.kind.is_numeric and left.kind is not right.kind) or Kind.NUMBER in (left.kind, right.kind)
        kind, scale = (Kind.NUMBER, max(left.scale, right.scale)) if numeric else (left.kind, 0)
        ours.append(Column(left.name, kind, scale))
        theirs.append(Column(right.name, kind, scale))
    return Projection(source, source.columns[key], tuple(ours)), Projection(target, target.columns[key], tuple(theirs))


def fit(left: Column, right: Column) -> bool:
    """Whether two columns can be compared."""
    return left.kind is right.kind or (left.kind.is_numeric and right.kind.is_numeric)


def parse_key(text: str | None, kind: Kind) -> Any:
    """A key from its text."""
    if text is None:
        return None
    return int(text) if kind is Kind.INTEGER else UUID(text)
