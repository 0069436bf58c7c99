"""What each question about the events of a shop costs: time, rows read, and memory of ClickHouse."""

import asyncio
import itertools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.request import urlopen

from app.api.scalars import encode_id
from tests.bench.events import DAYS, Stage, Traffic, mebibytes
from tests.bench.process import BenchError
from tests.bench.shoppers import percentile
from tests.bench.tables import table

ROUNDS: Final = 20
MOST_SECONDS: Final = 2.0
"""What the slower half of answers may take with nothing kept, or the figures are not for a page that people wait for."""

ASKED_ABOUT: Final = 1_000_000
PART: Final = 100_000
MORE: Final = """
    INSERT INTO user_events (id, user_id, session_id, event_type, timestamp, received_at, metadata, page_url, user_agent, is_error)
    SELECT generateUUIDv4(), user_id, concat(session_id, '+', {round:String}), event_type,
        timestamp - INTERVAL cityHash64(session_id, {round:String}) % 86400 SECOND, received_at, metadata, page_url, user_agent, is_error
    FROM user_events WHERE source = 'client' LIMIT {count:UInt64}
"""

ASK: Final = "query ($from: DateTime!, $to: DateTime!) {{ analytics(from: $from, to: $to) {{ {question} }} }}"
QUESTIONS: Final[Mapping[str, str]] = {
    "overview": "overview { visitors sessions orders conversion revenue { currency amount } }",
    "timeSeries, days": 'timeSeries(interval: DAY, timeZone: "Europe/Berlin") { start visitors orders revenue { currency amount } }',
    "funnel": "funnel { step visitors conversion }",
    "topProducts": "topProducts(first: 10) { views added units }",
    "topPages": "topPages(first: 10) { page views visitors }",
    "topReferrers": "topReferrers(first: 10) { referrer sessions }",
    "retention": "retention(interval: WEEK) { start size visitors }",
    "journey of a user": 'journey(userId: "USER", first: 100) { eventType timestamp }',
    "journey of a visit": 'journey(sessionId: "VISIT", first: 100) { eventType timestamp }',
}


@dataclass(frozen=True)
class Cost:
    """Milliseconds of answers that were not kept, and of those that were; rows read and MiB taken for one that was not."""

    name: str
    asked: list[float]
    kept: list[float]
    rows: int
    memory: float

    @property
    def cells(self) -> list[str]:
        times = [percentile(self.asked, 50), percentile(self.asked, 99), percentile(self.kept, 50), percentile(self.kept, 99)]
        return [self.name, *(f"{milliseconds:,.0f} ms" for milliseconds in times), f"{self.rows:,}", f"{self.memory:,.0f} MiB"]


async def ask(stage: Stage, traffic: Traffic) -> list[Cost]:
    """Ask everything about the four weeks of events. Raises `BenchError` where an answer is wrong or slow."""
    await _fill_up(stage)
    user, visit = encode_id("User", stage.shoppers[0]), traffic.visit(3)
    costs = []
    for name, question in QUESTIONS.items():
        document = ASK.format(question=question.replace("USER", user).replace("VISIT", visit))
        costs.append(await _cost(stage, name, document, traffic.now))
    slow = [cost.name for cost in costs if percentile(cost.asked, 50) > MOST_SECONDS * 1000]
    if slow:
        raise BenchError("\n".join([f"slower than {MOST_SECONDS:g} s: {', '.join(slow)}", *lines(costs)]))
    return costs


async def _fill_up(stage: Stage) -> None:
    """Have ClickHouse make visits like those that were sent, until there are `ASKED_ABOUT` events."""
    for number in itertools.count():
        missing = ASKED_ABOUT - int(await stage.clickhouse.fetch_value("SELECT count() FROM user_events FINAL"))
        if missing <= 0:
            return
        await stage.clickhouse.execute(MORE, {"round": str(number), "count": min(PART, missing)})


async def _cost(stage: Stage, name: str, document: str, end: datetime) -> Cost:
    """Answers are kept by period: one that ends a moment later was not asked for before."""
    ends = [end + timedelta(minutes=1, milliseconds=n) for n in range(ROUNDS)]
    before = _rows_read(stage.server.url)
    memory = await _memory(stage, document, end + timedelta(minutes=2))
    rows = _rows_read(stage.server.url) - before
    asked = [await _milliseconds(stage, document, to) for to in ends]
    kept = [await _milliseconds(stage, document, ends[-1]) for _ in range(ROUNDS)]
    return Cost(name, asked, kept, rows, memory)


async def _milliseconds(stage: Stage, document: str, to: datetime) -> float:
    started = time.perf_counter()
    answer = await stage.boss.ask(document, **{"from": (to - timedelta(days=DAYS + 1)).isoformat(), "to": to.isoformat()})
    milliseconds = (time.perf_counter() - started) * 1000
    if not next(iter(answer["analytics"].values())):
        raise BenchError(f"nothing was found: {document}")
    return milliseconds


async def _memory(stage: Stage, document: str, to: datetime) -> float:
    """By how much the server grew at most, beyond what it held."""
    assert stage.server.process is not None
    pid = stage.server.process.pid
    # Forgets the peak so far (proc_pid_clear_refs(5)).
    await asyncio.to_thread(Path(f"/proc/{pid}/clear_refs").write_text, "5")
    held = mebibytes(pid)
    await _milliseconds(stage, document, to)
    status = await asyncio.to_thread(Path(f"/proc/{pid}/status").read_text)
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return max(0.0, peak / 1024 - held)


def _rows_read(url: str) -> int:
    with urlopen(f"http://{url.rpartition('@')[2]}/rows_read", timeout=10) as response:
        return int(response.read())


def lines(costs: list[Cost]) -> list[str]:
    head = ["question", "p50", "p99", "kept p50", "kept p99", "rows read", "memory"]
    return table(head, [cost.cells for cost in costs])
