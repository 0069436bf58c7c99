"""Runs of reconciliation rules: asked for or due, done by jobs, in steps that another process can go on from.

A run compares segment after segment (`core.comparison`) and writes down after each how far it is and what it has found, under a lease
that it renews with that. No transaction is open meanwhile. Whoever dies leaves its lease to end; then the run is taken up again behind
the last segment that was written down. After `MOST_ATTEMPTS` in which nothing was, it ends as ERROR, and the rule can be run anew.

The tables change while they are compared. What is found to differ is therefore looked at again, twice, after whatever is on its way to
the target has been brought there; what differs then is a discrepancy.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

import structlog

from app.core.comparison import SEGMENT, Comparison, Difference, Digest, Discrepancy, Key, Segment, parse_key
from app.core.errors import UserError
from app.orders.mirror import OrderMirror
from app.orders.models.mirror import MIRROR
from app.quality.models import ExecutionStatus, ReconciliationExecution, ReconciliationRule, ReconciliationSchedule
from app.quality.reconciliation_tables import comparison_of

RECONCILE_JOB: Final = "quality.reconcile"
LEASE: Final = timedelta(minutes=2)
"""Longer than a segment takes."""

SLICE_SECONDS: Final = 30.0
"""After which a run goes on in another job, since a job has a minute."""

MOST_ATTEMPTS: Final = 5
MOST_LISTED: Final = 1_000
"""Discrepancies that are written down one by one; all are counted."""

PAGE: Final = 500
"""Rows whose values are compared at a time."""

LOOKS: Final = 2
PER_TURN: Final = 100
PERIODS: Final = {
    ReconciliationSchedule.HOURLY: timedelta(hours=1),
    ReconciliationSchedule.DAILY: timedelta(days=1),
    ReconciliationSchedule.WEEKLY: timedelta(days=7),
}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Reconciliation:
    """Starts runs and does them. Repositories are the system's; `segment` are the rows of a step, `slice_seconds` the length of a job."""

    repositories: Any
    segment: int = SEGMENT
    slice_seconds: float = SLICE_SECONDS

    async def start(self, rule: ReconciliationRule) -> ReconciliationExecution:
        """Have a rule run; gives the run that has not ended where there is one."""
        async with self.repositories.transaction() as tx:
            return await _start(tx, rule)

    async def start_due(self) -> None:
        """Start what is due, and say when it is due again. A rule that is still running is not started twice."""
        async with self.repositories.transaction() as tx:
            now = tx.now()
            for rule in await tx.reconciliation_rules.lock_due(now, PER_TURN):
                await _start(tx, rule)
                await tx.reconciliation_rules.update_by_id(rule.id, {"next_run_at": next_run(rule, now)})

    async def take_up_lost(self) -> None:
        """Enqueue again the runs whose process died, or whose job was lost."""
        now = self.repositories.now()
        for run in await self.repositories.reconciliation_executions.find_lost(now, now - LEASE):
            await self.repositories.enqueue(RECONCILE_JOB, execution=run.id)

    async def turn(self) -> None:
        """A turn of the schedule."""
        await self.start_due()
        await self.take_up_lost()

    async def work(self, arguments: Mapping[str, Any]) -> None:
        """The job: go on with a run, for a while. Does nothing where it has ended or another process is at it."""
        now, id = self.repositories.now(), UUID(arguments["execution"])
        run = await self.repositories.reconciliation_executions.take(id, now, now + LEASE)
        if run is not None:
            await self._guarded(run)

    async def _guarded(self, run: ReconciliationExecution) -> None:
        try:
            rule = await self.repositories.reconciliation_rules.get_by_id(run.rule_id)
            await _Run(self, rule, comparison_of(self.repositories, rule)).go_on(run)
        except LeaseLost:
            log.warning("reconciliation_lost_its_lease", execution=str(run.id))
        except Exception as error:
            if await self._failed(run.id, error):
                return
            raise

    async def _failed(self, id: UUID, error: Exception) -> bool:
        """Leave a run to the next attempt; or end it, where there were too many or none can help. Whether it has ended."""
        executions = self.repositories.reconciliation_executions
        run = await executions.get_by_id(id)
        ends = run.attempts >= MOST_ATTEMPTS or isinstance(error, UserError)
        message = error.message if isinstance(error, UserError) else f"the comparison could not be made ({type(error).__name__})"
        ended = {"status": ExecutionStatus.ERROR.value, "finished_at": self.repositories.now(), "error_message": message}
        await executions.change(run, {"leased_until": None, **(ended if ends else {})})
        if ends:
            self.count(run, ExecutionStatus.ERROR)
        log.warning("reconciliation_failed", execution=str(id), attempts=run.attempts, ended=ends, error=type(error).__name__)
        return ends

    def count(self, run: ReconciliationExecution, status: ExecutionStatus) -> None:
        """Tell how a run ended, and how long it took from its beginning."""
        seconds = (self.repositories.now() - run.executed_at).total_seconds()
        self.repositories.metrics.work.labels("reconciliation", "", status.lower()).observe(seconds)


class LeaseLost(Exception):
    """Another process is at the run."""


async def _start(tx: Any, rule: ReconciliationRule) -> ReconciliationExecution:
    run, is_new = await tx.reconciliation_executions.open(rule.id)
    if is_new:
        await tx.reconciliation_rules.update_by_id(rule.id, {"last_run_at": tx.now()})
        await tx.enqueue(RECONCILE_JOB, execution=run.id)
    return run  # type: ignore[no-any-return]


def next_run(rule: ReconciliationRule, now: datetime) -> datetime:
    """The next time after now in the rhythm of a rule's times."""
    period, due = PERIODS[ReconciliationSchedule(rule.schedule)], rule.next_run_at or now
    return due + period * max((now - due) // period + 1, 1)


@dataclass
class Findings:
    """What a run has found so far, as its row keeps it."""

    counts: Counter[str]
    source: dict[str, Any]
    target: dict[str, Any]
    listed: list[dict[str, Any]] = field(default_factory=list)
    records: int = 0

    @classmethod
    def of(cls, run: ReconciliationExecution) -> "Findings":
        details, empty = run.details or {}, {"rows": 0, "sums": {}}
        counts = Counter({kind.value: getattr(run, kind.value.lower()) for kind in Discrepancy})
        source, target = (dict(details.get(side) or empty) for side in ("source", "target"))
        return cls(counts, source, target, list(details.get("discrepancies", [])), run.records_checked)

    def add(self, comparison: Comparison, segment: Segment, differences: Sequence[Difference]) -> None:
        _add_up(self.source, comparison.source, segment.source)
        _add_up(self.target, comparison.target, segment.target)
        self.counts.update(difference.kind.value for difference in differences)
        only_in_target = sum(difference.kind is Discrepancy.MISSING_IN_SOURCE for difference in differences)
        self.records += segment.source.rows + only_in_target
        self.listed += [listed(difference) for difference in differences[: MOST_LISTED - len(self.listed)]]

    @property
    def values(self) -> dict[str, Any]:
        """The columns of the run's row."""
        return {
            "records_checked": self.records,
            "discrepancies": self.counts.total(),
            **{kind.value.lower(): self.counts[kind.value] for kind in Discrepancy},
            "details": {"source": self.source, "target": self.target, "discrepancies": self.listed},
        }


def _add_up(side: dict[str, Any], of: Any, digest: Digest) -> None:
    numbers = [column.name for column in of.projection.columns if column.kind.is_numeric]
    sums = side["sums"]
    added = {name: str(Decimal(sums.get(name, 0)) + (part or 0)) for name, part in zip(numbers, digest.sums, strict=False)}
    side.update(table=of.projection.table.name, rows=side["rows"] + digest.rows, sums={**sums, **added})


def listed(difference: Difference) -> dict[str, Any]:
    """A discrepancy as a run's details have it."""
    columns = {name: {"source": source, "target": target} for name, (source, target) in difference.columns.items()}
    return {"kind": difference.kind.value, "key": str(difference.key), **({"columns": columns} if columns else {})}


@dataclass(frozen=True)
class _Run:
    """One process's part in a run."""

    reconciliation: Reconciliation
    rule: ReconciliationRule
    comparison: Comparison

    @property
    def repositories(self) -> Any:
        return self.reconciliation.repositories

    async def go_on(self, run: ReconciliationExecution) -> None:
        """Compare segment after segment; raises `LeaseLost`."""
        end = time.monotonic() + self.reconciliation.slice_seconds
        if run.cursor is None:
            await self._bring()
            expected = max(await self.comparison.source.count(), await self.comparison.target.count())
            run = await self._write(run, expected=expected)
        while True:
            low: Key | None = parse_key(run.cursor, self.comparison.source.projection.key.kind)
            segment = await self.comparison.segment(low, self.reconciliation.segment)
            findings = Findings.of(run)
            findings.add(self.comparison, segment, await self._settled(segment.suspects))
            if segment.high is None:
                await self._end(run, findings)
                return
            done = min(99, 100 * max(findings.records, findings.target["rows"]) // max(run.expected, 1))
            run = await self._write(run, cursor=str(segment.high), progress=done, attempts=0, **findings.values)
            if time.monotonic() > end:
                await self._hand_on(run)
                return

    async def _settled(self, suspects: Sequence[Key]) -> list[Difference]:
        """Which rows differ, also when looked at again."""
        keys = sorted(suspects)
        found: list[Difference] = []
        for _ in range(LOOKS if keys else 0):
            await self._bring()
            found = [found for n in range(0, len(keys), PAGE) for found in await self.comparison.differences(keys[n : n + PAGE])]
            keys = [difference.key for difference in found]
        return found

    async def _bring(self) -> None:
        """Bring to the target what is on its way there."""
        if MIRROR in (self.rule.source_table, self.rule.target_table):
            await OrderMirror(self.repositories).sync()

    async def _end(self, run: ReconciliationExecution, findings: Findings) -> None:
        now = self.repositories.now()
        status = ExecutionStatus.of(findings.counts.total())
        milliseconds = round(Decimal((now - run.executed_at) / timedelta(milliseconds=1)), 3)
        ended = {"status": status.value, "finished_at": now, "execution_time": milliseconds, "progress": 100, "error_message": None}
        if await self.repositories.reconciliation_executions.change(run, {**findings.values, **ended, "leased_until": None}) is None:
            raise LeaseLost
        self.reconciliation.count(run, status)
        log.info("reconciliation_done", rule=self.rule.name, status=status.value, **{k.lower(): n for k, n in findings.counts.items()})

    async def _write(self, run: ReconciliationExecution, **values: Any) -> ReconciliationExecution:
        values["leased_until"] = self.repositories.now() + LEASE
        changed: ReconciliationExecution | None = await self.repositories.reconciliation_executions.change(run, values)
        if changed is None:
            raise LeaseLost
        return changed

    async def _hand_on(self, run: ReconciliationExecution) -> None:
        """Let another job go on."""
        async with self.repositories.transaction() as tx:
            if await tx.reconciliation_executions.change(run, {"leased_until": None}) is None:
                raise LeaseLost
            await tx.enqueue(RECONCILE_JOB, execution=run.id)
