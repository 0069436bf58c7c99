"""Orders by the million held against their mirror in ClickHouse: every fault is found and nothing else, also by a run that is killed."""

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from uuid import UUID

from app.core import clickhouse_migrations
from app.core.cache import Cache, memory_backend
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.comparison import SEGMENT, Comparison, Digest, Key, Projection, Side
from app.core.database import Database, DatabaseOptions
from app.core.metrics import Metrics
from app.orders.mirror import OrderMirror
from app.quality.models import ReconciliationExecution, ReconciliationRule
from app.quality.reconciliation_tables import comparison_of
from app.repositories import Repositories, create_repository_factory
from app.resources import migrate_all
from tests.bench.gateway import environment
from tests.bench.options import REPOSITORY
from tests.bench.process import BenchError, say
from tests.clickhouse_server import ClickHouseServer
from tests.quality.reconciling import ORDERS, rule, write

PART: Final = 100_000
RECENT: Final = 1_000
"""Orders at the end that the next sync ships again where they have changed."""

END_LEASE: Final = "update reconciliation_executions set leased_until = now() where finished_at is null"
OUTSIDE: Final = "toDecimal64(total * 1.02 + 0.01, 4)"
BARELY_OUTSIDE: Final = "toDecimal64(toDecimal128(total, 4) / toDecimal128('0.99', 2), 4) + toDecimal64('0.0001', 4)"
WITHIN: Final = "toDecimal64(total * 1.005, 4)"
BARELY_WITHIN: Final = "toDecimal64(toDecimal128(total, 4) / toDecimal128('0.99', 2), 4)"
"""A total that differs by 1 % of the larger one is tolerated, and one that differs by a ten-thousandth of the currency more is not."""


@dataclass(frozen=True)
class Fault:
    """A kind of fault in so many rows: what becomes of the mirror's columns, or of the source's rows."""

    name: str
    kind: str | None
    rows: int
    target: Mapping[str, str] = field(default_factory=dict)
    source: str | None = None


FAULTS: Final = (
    Fault("missing in the target", "MISSING_IN_TARGET", 40, {"is_deleted": "1"}),
    Fault("missing in the source", "MISSING_IN_SOURCE", 40, source="delete from orders where id = any($1)"),
    Fault("total beyond the tolerance", "DIFFERING", 25, {"total": OUTSIDE}),
    Fault("total barely beyond it", "DIFFERING", 15, {"total": BARELY_OUTSIDE}),
    Fault("null in the target", "DIFFERING", 20, {"number": "NULL"}),
    Fault("null in the source", "DIFFERING", 20, source="update orders set number = null where id = any($1)"),
    Fault("a time by a microsecond", "DIFFERING", 20, {"completed_at": "ifNull(completed_at, updated_at) + INTERVAL 1 MICROSECOND"}),
    Fault("text of another script", "DIFFERING", 20, {"status": "'完了 é'"}),
    Fault("total within the tolerance", None, 25, {"total": WITHIN}),
    Fault("total barely within it", None, 25, {"total": BARELY_WITHIN}),
)


@dataclass(frozen=True)
class Tables:
    """The databases, and the rule that compares the orders in them."""

    dsn: str
    scratch: Path
    server: ClickHouseServer
    clickhouse: ClickHouse
    database: Database
    repositories: Repositories
    rule: ReconciliationRule


@asynccontextmanager
async def tables(dsn: str, scratch: Path, rows: int) -> AsyncIterator[Tables]:
    """So many orders and their mirror."""
    server = ClickHouseServer(scratch / "clickhouse-server")
    clickhouse = ClickHouse(server.url, scratch, Metrics(), ClickHouseOptions(timeout=120), clickhouse_migrations.apply)
    database, metrics = Database(dsn, DatabaseOptions(statement_timeout_ms=120_000)), Metrics()
    try:
        await server.start()
        await migrate_all(dsn)
        await database.open()
        repositories = create_repository_factory(database, Cache(memory_backend(), metrics), metrics, clickhouse=clickhouse)
        await _fill(repositories, rows)
        yield Tables(dsn, scratch, server, clickhouse, database, repositories, await rule(repositories))
    finally:
        await database.close()
        await clickhouse.close()
        await server.stop()


async def _fill(repositories: Repositories, rows: int) -> None:
    say(f"making {rows:,} orders")
    for first in range(1, rows + 1, PART):
        span = f"generate_series({first}, {min(first + PART - 1, rows)})"
        await repositories.database.execute_script(ORDERS.replace("generate_series(1, {rows})", span))
    await repositories.database.vacuum("orders")
    say("mirroring them")
    mirror = OrderMirror(repositories)
    if await mirror.sync() != rows:
        raise BenchError("not all orders were mirrored")
    # The last ones go again, and are known from now on.
    await mirror.sync()


async def seed(on: Tables, rows: int) -> dict[str, set[str]]:
    """Make the faults, and give the keys of each kind; the first and the last row are among them, and those at the edges of chunks."""
    edges = list(range(SEGMENT, rows - RECENT, SEGMENT))
    special = {1, rows, *edges, *(edge + 1 for edge in edges)}
    count = sum(fault.rows for fault in FAULTS)
    spread = (number for number in range(10, rows - RECENT, (rows - RECENT) // (count + len(special)) or 1) if number not in special)
    shared = iter([*sorted(special - {rows}), *spread])
    picked: dict[str, list[int]] = {fault.name: [] for fault in FAULTS}
    picked["total beyond the tolerance"].append(rows)
    while any(len(picked[fault.name]) < fault.rows for fault in FAULTS):
        for fault in FAULTS:
            if len(picked[fault.name]) < fault.rows:
                picked[fault.name].append(next(shared))
    found: dict[str, set[str]] = {}
    for fault in FAULTS:
        keys = await _keys(on.database, picked[fault.name])
        await _make(on, fault, keys)
        if fault.kind is not None:
            found.setdefault(fault.kind, set()).update(map(str, keys))
    return found


async def _keys(database: Database, numbers: Sequence[int]) -> list[UUID]:
    async with database.connection() as connection:
        return [row["id"] for row in await connection.fetch("select id from orders where number = any($1)", list(numbers))]


async def _make(on: Tables, fault: Fault, keys: list[UUID]) -> None:
    if fault.source is None:
        await write(on.clickhouse, keys, **fault.target)
        return
    async with on.database.connection() as connection:
        await connection.execute(fault.source, keys)


@dataclass
class Counting:
    """A side of a comparison that counts what is read of it."""

    side: Side
    hashes_read: int = 0
    values_read: int = 0
    lots: int = 0

    @property
    def projection(self) -> Projection:
        return self.side.projection

    async def count(self) -> int:
        return await self.side.count()

    async def nth_key(self, low: Key | None, n: int) -> Key | None:
        return await self.side.nth_key(low, n)

    async def digests(self, low: Key | None, high: Key | None) -> dict[int, Digest]:
        return await self.side.digests(low, high)

    async def hashes(self, low: Key | None, high: Key | None, lots: Sequence[int]) -> dict[Key, int]:
        found = await self.side.hashes(low, high, lots)
        self.lots += len(lots)
        self.hashes_read += len(found)
        return found

    async def values(self, keys: Sequence[Key]) -> dict[Key, tuple[str | None, ...]]:
        found = await self.side.values(keys)
        self.values_read += len(found)
        return found


async def counted(on: Tables) -> str:
    """Compare everything once, and tell how much of it had to be read."""
    plain = comparison_of(on.repositories, on.rule)
    source, target = Counting(plain.source), Counting(plain.target)
    comparison = Comparison(source, target, plain.tolerance)
    low, segments, suspects = None, 0, 0
    while True:
        segment = await comparison.segment(low)
        segments, suspects = segments + 1, suspects + len(segment.suspects)
        await comparison.differences(segment.suspects)
        if segment.high is None:
            break
        low = segment.high
    hashes, values = source.hashes_read + target.hashes_read, source.values_read + target.values_read
    return (
        f"{segments} chunks of {SEGMENT:,} rows and 256 lots each: {source.lots:,} lots did not agree; {hashes:,} hashes of rows were "
        f"read, and {values:,} rows in full."
    )


@dataclass(frozen=True)
class Run:
    """A run of the command: how long it took in seconds, its peak of memory in MiB, and what it wrote down."""

    seconds: float
    mebibytes: float
    execution: ReconciliationExecution


async def reconcile(on: Tables, *, kill_at: int | None = None) -> Run:
    """Run the command; with `kill_at`, kill it once it is so many percent through, and run it again."""
    started = time.monotonic()
    if kill_at is not None:
        await _killed(on, kill_at)
    process = await _command(on)
    peak = 0.0
    while process.returncode is None:
        peak = max(peak, _peak(process.pid))
        await asyncio.sleep(0.1)
    execution = await on.repositories.reconciliation_executions.get_latest_for_rule(on.rule.id)
    if execution is None or execution.finished_at is None:
        raise BenchError(f"the command ended with {process.returncode}")
    return Run(time.monotonic() - started, peak, execution)


async def _killed(on: Tables, percent: int) -> None:
    before = await on.repositories.reconciliation_executions.get_latest_for_rule(on.rule.id)
    process = await _command(on)
    while process.returncode is None:
        run = await on.repositories.reconciliation_executions.get_latest_for_rule(on.rule.id)
        if run is not None and (before is None or run.id != before.id) and run.progress >= percent:
            break
        await asyncio.sleep(0.02)
    if process.returncode is not None:
        raise BenchError("the command ended before it could be killed; compare more rows")
    process.kill()
    await process.wait()
    async with on.database.connection() as connection:
        # What would end by itself two minutes later.
        await connection.execute(END_LEASE)


async def _command(on: Tables) -> asyncio.subprocess.Process:
    settings = {**environment(on.dsn, on.scratch), "CLICKHOUSE_URL": on.server.url}
    command = (sys.executable, "-m", "app", "reconcile", on.rule.name)
    return await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env={**os.environ, **settings})


def _peak(pid: int) -> float:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmHWM")), 0)


def check(run: Run, expected: Mapping[str, set[str]], rows: int) -> None:
    """Raises `BenchError` where a run found anything else than the faults, or looked at a row twice or never."""
    found: dict[str, set[str]] = {}
    for listed in run.execution.details["discrepancies"] if run.execution.details else ():
        found.setdefault(listed["kind"], set()).add(listed["key"])
    if found != expected or run.execution.discrepancies != sum(map(len, expected.values())):
        wrong = {kind: len(found.get(kind, set()) ^ keys) for kind, keys in expected.items()}
        raise BenchError(f"found {run.execution.discrepancies} discrepancies; wrong or missing by kind: {wrong}")
    if run.execution.records_checked != rows:
        raise BenchError(f"{run.execution.records_checked:,} of {rows:,} rows were compared")


async def measured(dsn: str, scratch: Path, rows: int) -> list[str]:
    """Seed, compare, kill and compare again; then check. Gives the lines to print."""
    async with tables(dsn, scratch, rows) as on:
        expected = await seed(on, rows)
        whole = await reconcile(on)
        check(whole, expected, rows)
        killed = await reconcile(on, kill_at=40)
        check(killed, expected, rows)
        listed = ", ".join(f"{len(keys)} {kind}" for kind, keys in sorted(expected.items()))
        took = f"{rows:,} rows in {whole.seconds:.0f} s, start of the process included, with {whole.mebibytes:.0f} MiB at most"
        again = f"the same, in {killed.seconds:.0f} s in all with {killed.mebibytes:.0f} MiB"
        return [f"{took}: {listed} found, and nothing else.", f"Killed in the middle and run again: {again}.", await counted(on)]
