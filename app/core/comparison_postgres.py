"""A PostgreSQL table as one side of a comparison (`core.comparison`)."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from sqlalchemy import text

from app.core.comparison import Column, Digest, Key, Kind, Projection
from app.core.database import Session
from app.core.statement import DIALECT, Statement, compile_statement


@dataclass(frozen=True)
class PostgresSide:
    """Reads by statements of any connection, each within its time limit."""

    session: Session
    projection: Projection

    async def count(self) -> int:
        return int(await self.session.fetch_value(_compiled(f"select count(*) from {_name(self.projection.table.name)}"), {}))  # noqa: S608

    async def nth_key(self, low: Key | None, n: int) -> Key | None:
        key = _name(self.projection.key.name)
        query = f"select {key} from {self._rows(low, None)} order by {key} limit 1 offset cast(:skipped as bigint)"  # noqa: S608
        found: Key | None = await self.session.fetch_value(_compiled(query), {"low": low, "skipped": n - 1})
        return found

    async def digests(self, low: Key | None, high: Key | None) -> dict[int, Digest]:
        numbers = [column for column in self.projection.columns if column.kind.is_numeric]
        sums = "".join(f", sum(cast({_name(column.name)} as numeric)) as n{n}" for n, column in enumerate(numbers))
        query = f"""
            select {self._lot()} as lot, count(*) as rows, bit_xor({self._hash()}) as hash{sums}
            from {self._rows(low, high)} group by 1
        """  # noqa: S608
        rows = await self.session.fetch(_compiled(query), {"low": low, "high": high})
        return {row["lot"]: Digest(row["rows"], row["hash"], tuple(row[f"n{n}"] for n in range(len(numbers)))) for row in rows}

    async def hashes(self, low: Key | None, high: Key | None, lots: Sequence[int]) -> dict[Key, int]:
        query = f"""
            select {_name(self.projection.key.name)} as key, {self._hash()} as hash from {self._rows(low, high)}
            and {self._lot()} = any(cast(:lots as int[]))
        """  # noqa: S608
        rows = await self.session.fetch(_compiled(query), {"low": low, "high": high, "lots": list(lots)})
        return {row["key"]: row["hash"] for row in rows}

    async def values(self, keys: Sequence[Key]) -> dict[Key, tuple[str | None, ...]]:
        key = _name(self.projection.key.name)
        shown = "".join(f", {_text(column)} as v{n}" for n, column in enumerate(self.projection.columns))
        query = f"select {key} as key{shown} from {_name(self.projection.table.name)} where {key} = any(cast(:keys as {self._type}[]))"  # noqa: S608
        rows = await self.session.fetch(_compiled(query), {"keys": list(keys)})
        return {row["key"]: tuple(row[f"v{n}"] for n in range(len(self.projection.columns))) for row in rows}

    @property
    def _type(self) -> str:
        return "bigint" if self.projection.key.kind is Kind.INTEGER else "uuid"

    def _rows(self, low: Key | None, high: Key | None) -> str:
        key = _name(self.projection.key.name)
        above = "true" if low is None else f"{key} > cast(:low as {self._type})"
        below = "true" if high is None else f"{key} <= cast(:high as {self._type})"
        return f"{_name(self.projection.table.name)} where {above} and {below}"

    def _lot(self) -> str:
        key = _name(self.projection.key.name)
        return f"cast({key} & 255 as int)" if self.projection.key.kind is Kind.INTEGER else f"get_byte(uuid_send({key}), 15)"

    def _hash(self) -> str:
        """The first half of the MD5 of key and values, each with its length before it, as a number."""
        columns = (self.projection.key, *self.projection.columns)
        whole = " || ".join(f"coalesce(octet_length({_text(column)}) || ':' || {_text(column)}, '-')" for column in columns)
        return f"cast(cast('x' || left(md5({whole}), 16) as bit(64)) as bigint)"


def _text(column: Column) -> str:
    name = _name(column.name)
    match column.kind:
        case Kind.NUMBER:
            return f"cast(round(cast({name} as numeric), {column.scale}) as text)"
        case Kind.FLAG:
            return f"cast(cast({name} as int) as text)"
        case Kind.MOMENT:
            return f"cast(cast(extract(epoch from {name}) * 1000000 as bigint) as text)"
        case _:
            return f"cast({name} as text)"


def _name(name: str) -> str:
    return str(DIALECT.identifier_preparer.quote(name))


@lru_cache(maxsize=500)
def _compiled(query: str) -> Statement:
    return compile_statement(text(query.replace("':'", "'\\:'")))
