"""A ClickHouse table as one side of a comparison (`core.comparison`), each row seen in its latest version (FINAL).

ClickHouse sorts UUIDs by their second half first, PostgreSQL by their bytes: a table whose key is a UUID is sorted by `UUIDToNum(key)`,
so that a range of keys is one of the table's parts.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from app.core.clickhouse import ClickHouse
from app.core.comparison import SEGMENT, Column, Digest, Key, Kind, Projection

SECONDS: Final = 30.0


@dataclass(frozen=True)
class ClickHouseSide:
    clickhouse: ClickHouse
    projection: Projection

    async def count(self) -> int:
        return int(await self.clickhouse.fetch_value(f"SELECT count() FROM {self.projection.table.name} FINAL"))  # noqa: S608

    async def nth_key(self, low: Key | None, n: int) -> Key | None:
        query = f"""
            SELECT {self.projection.key.name} AS found FROM {self._rows(low, None)}
            ORDER BY {self._order()} LIMIT 1 OFFSET {{skipped:UInt64}}
        """  # noqa: S608
        found: Key | None = await self.clickhouse.fetch_value(query, self._bound(low, None, skipped=n - 1), timeout=SECONDS)
        return found

    async def digests(self, low: Key | None, high: Key | None) -> dict[int, Digest]:
        numbers = [column for column in self.projection.columns if column.kind.is_numeric]
        sums = "".join(f", sum(toDecimal128({column.name}, {column.scale})) AS sum_{n}" for n, column in enumerate(numbers))
        query = f"""
            SELECT {self._lot()} AS lot, count() AS lot_rows, groupBitXor({self._hash()}) AS lot_hash{sums}
            FROM {self._rows(low, high)} GROUP BY lot
        """  # noqa: S608
        rows = await self.clickhouse.fetch(query, self._bound(low, high), limit=256, timeout=SECONDS)
        return {row["lot"]: Digest(row["lot_rows"], row["lot_hash"], tuple(row[f"sum_{n}"] for n in range(len(numbers)))) for row in rows}

    async def hashes(self, low: Key | None, high: Key | None, lots: Sequence[int]) -> dict[Key, int]:
        query = f"""
            SELECT {self.projection.key.name} AS row_key, {self._hash()} AS row_hash FROM {self._rows(low, high)}
            AND {self._lot()} IN {{lots:Array(UInt8)}}
        """  # noqa: S608
        rows = await self.clickhouse.fetch(query, self._bound(low, high, lots=list(lots)), limit=2 * SEGMENT, timeout=SECONDS)
        return {row["row_key"]: row["row_hash"] for row in rows}

    async def values(self, keys: Sequence[Key]) -> dict[Key, tuple[str | None, ...]]:
        shown = "".join(f", {_text(column)} AS value_{n}" for n, column in enumerate(self.projection.columns))
        wanted = "{keys:Array(Int64)}" if self._is_integer else "arrayMap(key -> UUIDToNum(key), {keys:Array(UUID)})"
        query = f"""
            SELECT {self.projection.key.name} AS row_key{shown}
            FROM {self.projection.table.name} FINAL WHERE {self._order()} IN ({wanted})
        """  # noqa: S608
        rows = await self.clickhouse.fetch(query, {"keys": list(keys)}, limit=len(keys), timeout=SECONDS)
        return {row["row_key"]: tuple(row[f"value_{n}"] for n in range(len(self.projection.columns))) for row in rows}

    @property
    def _is_integer(self) -> bool:
        return self.projection.key.kind is Kind.INTEGER

    def _order(self) -> str:
        key = self.projection.key.name
        return key if self._is_integer else f"UUIDToNum({key})"

    def _rows(self, low: Key | None, high: Key | None) -> str:
        above = "true" if low is None else f"{self._order()} > {self._bound_key('low')}"
        below = "true" if high is None else f"{self._order()} <= {self._bound_key('high')}"
        return f"{self.projection.table.name} FINAL WHERE {above} AND {below}"

    def _bound_key(self, name: str) -> str:
        return f"{{{name}:Int64}}" if self._is_integer else f"UUIDToNum({{{name}:UUID}})"

    def _bound(self, low: Key | None, high: Key | None, **values: Any) -> dict[str, Any]:
        return {**values, **{name: key for name, key in (("low", low), ("high", high)) if key is not None}}

    def _lot(self) -> str:
        key = self.projection.key.name
        return f"toUInt8(bitAnd({key}, 255))" if self._is_integer else f"reinterpretAsUInt8(substring(UUIDToNum({key}), 16, 1))"

    def _hash(self) -> str:
        columns = (self.projection.key, *self.projection.columns)
        parts = (f"ifNull(concat(toString(length({_text(column)})), ':', {_text(column)}), '-')" for column in columns)
        return f"reinterpretAsInt64(reverse(substring(MD5(concat({', '.join(parts)}, '')), 1, 8)))"


def _text(column: Column) -> str:
    """As `comparison_postgres` writes it."""
    match column.kind:
        case Kind.NUMBER:
            return f"toDecimalString({column.name}, {column.scale})"
        case Kind.FLAG:
            return f"toString(toUInt8({column.name}))"
        case Kind.MOMENT:
            return f"toString(toUnixTimestamp64Micro({column.name}))"
        case _:
            return f"toString({column.name})"
