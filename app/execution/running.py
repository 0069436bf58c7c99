"""Runs the statements of root fields that are ready."""

import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any, Self
from uuid import UUID

import orjson

from app.core.metrics import Metrics
from app.core.operation import record
from app.core.statement import Statement
from app.execution.fill import Filler
from app.execution.lookups import Lookups
from app.execution.pace import Pace, lanes
from app.execution.plan import Root
from app.execution.refusal import Refused
from app.execution.together import together
from app.execution.values import ANOMALY

NOTHING = b"null"
QUICK_SECONDS = 0.005
"""What a look-up may take that waits for others like it; a longer one is worth a connection of its own."""


class Shared:
    """The statement for the rows of many ids that stands for `one`, which is for a single row; made when first needed, by `many`."""

    def __init__(self, one: Statement, id_name: str, many: Callable[[], Statement], ids_name: str) -> None:
        self._one = one
        self._id_at = one.names.index(id_name)
        self._make_many = many
        self._ids_name = ids_name

    def common(self, arguments: Sequence[Any]) -> tuple[Any, ...]:
        """What all who share a run of it have in common: the arguments for a single row but the id."""
        rest = (*arguments[: self._id_at], *arguments[self._id_at + 1 :])
        return tuple(tuple(value) if isinstance(value, list) else value for value in rest)

    def query(self, arguments: Sequence[Any], ids: Sequence[UUID]) -> tuple[str, list[Any]]:
        """The statement for these ids, with the arguments for a single row otherwise."""
        given = {name: value for name, value in zip(self._one.names, arguments, strict=True) if name not in self._one.fixed}
        return self._many.text, self._many.arguments(given | {self._ids_name: ids})

    @cached_property
    def _many(self) -> Statement:
        return self._make_many()


@dataclass(frozen=True, eq=False)
class Prepared:
    """What runs for one root field and one shape of its arguments, and what may run for several of its rows."""

    statement: Statement
    root: Root
    filler: Filler | None = None
    shared: Shared | None = None
    pace: Pace = field(default_factory=Pace)

    @cached_property
    def entity(self) -> str:
        return self.root.body.repository

    @cached_property
    def operation(self) -> str:
        return self.root.name

    async def finished(self, found: bytes | None, repositories: Any) -> bytes:
        """The answer that PostgreSQL composed, with the fields that Python works out."""
        if found is None:
            return NOTHING
        if ANOMALY in found:
            raise Refused("anomaly")
        if self.filler is None:
            return found
        data = orjson.loads(found)
        await self.filler.fill(data, repositories)
        return orjson.dumps(data)


@dataclass(frozen=True, slots=True)
class Run:
    """A root field that is ready to run: what stands before its value in the answer, its statement and its arguments in their order.

    `id` is the key of its row where that is all by which it is looked up.
    """

    head: bytes
    prepared: Prepared
    arguments: Sequence[Any]
    id: UUID | None = None
    common: Hashable = None
    """What it has in common with the runs that it may be one with; None where it runs for itself."""

    @classmethod
    def of(cls, head: bytes, prepared: Prepared, values: Mapping[str, Any], id: UUID | None = None) -> Self:
        """A root field whose statement gets these of the values."""
        arguments, shared = prepared.statement.arguments(values), prepared.shared
        common = (prepared, shared.common(arguments)) if id is not None and shared is not None else None
        return cls(head, prepared, arguments, id, common)

    @property
    def runs(self) -> Sequence["Run"]:
        return (self,)


@dataclass(frozen=True, slots=True)
class Rows:
    """A root field that shows the rows of many ids, ready to run: a statement for each of their types, and the numbers of its ids."""

    head: bytes
    count: int
    runs: Sequence[Run]
    numbers: Sequence[Sequence[int]]


@dataclass(frozen=True, eq=False)
class Bound:
    """A query that is ready to run, for one viewer: its root fields, those whose JSON needs no statement as that JSON."""

    roots: Sequence[bytes | Run | Rows]

    @cached_property
    def runs(self) -> Sequence[Run]:
        """All that runs."""
        return [run for root in self.roots if not isinstance(root, bytes) for run in root.runs]

    @cached_property
    def is_filled(self) -> bool:
        """Whether Python works out any of the fields."""
        return any(run.prepared.filler is not None for run in self.runs)


class Runner:
    """Runs root fields and times each statement under its root field's name."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._lookups = Lookups()

    async def data(self, bound: Bound, repositories: Any) -> bytes:
        """The root fields: one after the other, or over several connections at once where that saves time."""
        roots = bound.roots
        if len(roots) == 1:
            return await self._part(roots[0], repositories)
        parts = [b""] * len(roots)

        async def run(numbers: Sequence[int]) -> None:
            for number in numbers:
                parts[number] = await self._part(roots[number], repositories)

        alone = repositories.session.current_transaction is not None
        await together([run(numbers) for numbers in lanes([0.0 if alone else _seconds(root) for root in roots])])
        return b",".join(parts)

    async def _part(self, root: bytes | Run | Rows, repositories: Any) -> bytes:
        if isinstance(root, Run):
            rows = await (self._rows if root.common is None else self._row)(root, repositories)
            return root.head + await root.prepared.finished(rows[0][0] if rows else None, repositories)
        return root if isinstance(root, bytes) else await self._nodes(root, repositories)

    async def _row(self, run: Run, repositories: Any) -> Sequence[Any]:
        """The row of an id, perhaps found together with those that others look up."""
        session = repositories.session
        if session.current_transaction is not None or run.prepared.pace.seconds > QUICK_SECONDS:
            return await self._rows(run, repositories)
        assert run.id is not None
        return await self._lookups.find(run.common, run.id, partial(self._rows, run, repositories), partial(self._many, run, session))

    async def _many(self, run: Run, session: Any, ids: Sequence[UUID]) -> Sequence[Any]:
        """The rows of many ids, each of which counts as if it had been looked up by itself."""
        prepared = run.prepared
        assert prepared.shared is not None
        started = time.perf_counter()
        rows: Sequence[Any] = await session.compose(*prepared.shared.query(run.arguments, ids))
        seconds = time.perf_counter() - started
        for _ in ids:
            record(self._metrics, prepared.entity, prepared.operation, "success", seconds)
        return rows

    async def _nodes(self, nodes: Rows, repositories: Any) -> bytes:
        found = [NOTHING] * nodes.count
        for run, numbers in zip(nodes.runs, nodes.numbers, strict=True):
            rows = await self._rows(run, repositories)
            for number, row in zip(numbers, rows, strict=True):
                found[number] = await run.prepared.finished(row[0], repositories)
        return b"%b[%b]" % (nodes.head, b",".join(found))

    async def _rows(self, run: Run, repositories: Any) -> Sequence[Any]:
        """What a statement gives; its time is kept under the name of the root field."""
        prepared = run.prepared
        started = time.perf_counter()
        result = "error"
        try:
            rows: Sequence[Any] = await repositories.session.compose(prepared.statement.text, run.arguments)
            result = "success"
            return rows
        finally:
            seconds = time.perf_counter() - started
            prepared.pace.note(seconds)
            record(self._metrics, prepared.entity, prepared.operation, result, seconds)


def _seconds(root: bytes | Run | Rows) -> float:
    """How long the statements of a root field take."""
    return 0.0 if isinstance(root, bytes) else sum(run.prepared.pace.seconds for run in root.runs)
