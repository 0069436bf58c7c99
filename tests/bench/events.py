"""Events by the million over HTTP, while ClickHouse goes away and the worker that replays what waited is killed: each counts once.

Shoppers and guests send `trackEvents`, some requests twice on purpose. For a quarter of the time ClickHouse is stopped, and the platform's
own events wait beside theirs. Once it is back, the worker is killed (SIGKILL) while it has a batch at ClickHouse, and started again. At the
end ClickHouse must hold what was acknowledged: all of it, nothing else, each once.
"""

import asyncio
import itertools
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import asyncpg
import httpx
import psutil
from uuid_utils.compat import uuid7

from app.analytics.models import EventSource
from app.analytics.repository import encoded
from app.api.scalars import encode_id
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.metrics import Metrics
from tests.bench.gateway import environment, process
from tests.bench.options import REPOSITORY
from tests.bench.process import BenchError, finished, say
from tests.bench.tables import table
from tests.clickhouse_server import ClickHouseServer
from tests.serving import SIGN_UP, Caller, eventually, new_administrator

PER_REQUEST: Final = 500
PER_VISIT: Final = 10
SHOPPERS: Final = 20
PRODUCTS: Final = 500
DAYS: Final = 29
AGAIN_AT_ONCE, AGAIN_LATE = 20, 50
"""Each so manyth request is sent twice, the second time at once, or when all others are through."""

STOPPED, STARTED = 0.35, 0.6
"""The parts of the events that are acknowledged before ClickHouse goes away, and before it comes back."""

KILLS: Final = 3
LONGEST_SECONDS: Final = 3_600
LOST, MOST_LOST = "connection lost", 20
PER_ORDER: Final = 100
"""Events of visits for each order, which makes two of the platform's own."""

GROWTH_BYTES: Final = 300 * 1024 * 1024
"""What gateway and worker may take beyond what they took at the beginning."""

SETTINGS: Final = {"RUN_JOBS": "false", "RATE_LIMITS": "false", "EVENTS_BUFFER_BYTES": "4000000", "ARGON2_TIME_COST": "2"}
TRACK: Final = "mutation ($input: TrackEventsInput!) { trackEvents(input: $input) { accepted rejected { index } userErrors { code } } }"
STEPS: Final = (
    *("PAGE_VIEW", "SEARCH", "PRODUCT_VIEW", "PRODUCT_VIEW", "ADD_TO_CART"),
    *("PAGE_VIEW", "PRODUCT_VIEW", "ADD_TO_CART", "CHECKOUT_STARTED", "PAGE_VIEW"),
)
BROWSERS: Final = tuple(f"Mozilla/5.0 (Test {n}) Gecko/20100101 Firefox/14{n}.0" for n in range(4))
REFERRERS: Final = ("https://search.example/q", "https://news.example/", "https://social.example/x", "")
STORED: Final = """
    SELECT source, count() AS events, uniqExact(id) AS ids, sum(toUInt64OrZero(ifNull(client_event_id, '0'))) AS numbers
    FROM user_events FINAL GROUP BY source
"""
REPLAYING: Final = """
    select count(*) from pg_stat_activity
    where datname = current_database() and state = 'idle in transaction' and query ilike '%event_spool%skip locked%'
"""
"""How many have a batch on its way: of gateway and worker, each sends one after the other."""


@dataclass(frozen=True)
class Traffic:
    """All events by their numbers: visits of ten within the last four weeks, of shoppers and of guests."""

    now: datetime

    def request(self, number: int) -> dict[str, Any]:
        first = number * PER_REQUEST
        return {"events": [self._event(n) for n in range(first, first + PER_REQUEST)]}

    def visit(self, number: int) -> str:
        return f"visit-{number}"

    def _event(self, number: int) -> dict[str, Any]:
        visit, step = divmod(number, PER_VISIT)
        product = (visit * 7 + step * step) % PRODUCTS
        about = {"referrer": REFERRERS[visit % 4]} if step == 0 else {"productId": product_id(product), "quantity": 1 + visit % 3}
        # Visits are spread over the days by a stride that meets each second once.
        began = self.now - timedelta(seconds=60 + visit * 7_919 % (DAYS * 86_400))
        return {
            "eventType": STEPS[step],
            "clientEventId": str(number),
            "sessionId": self.visit(visit),
            "timestamp": (began + timedelta(seconds=5 * step)).isoformat(),
            "metadata": about,
            "pageUrl": f"https://shop.example/products/{product}?from={visit % 9}",
            "userAgent": BROWSERS[visit % 4],
        }

    def told(self, orders: int, shoppers: list[UUID]) -> Iterator[dict[str, Any]]:
        """What the platform tells of so many orders."""
        for n, type in itertools.product(range(orders), ("ORDER_PLACED", "ORDER_COMPLETED")):
            happened = self.now - timedelta(seconds=n * 104_729 % (DAYS * 86_400))
            line = {"productId": product_id(n % PRODUCTS), "quantity": 1 + n % 3, "price": "9.90"}
            order = {"cartId": encode_id("Cart", UUID(int=n)), "orderId": encode_id("Order", UUID(int=n))}
            yield {
                **dict.fromkeys(("store_id", "session_id", "client_event_id", "page_url", "user_agent", "ip_address", "error_msg")),
                "id": uuid7(),
                "user_id": shoppers[n % len(shoppers)],
                "event_type": type,
                "timestamp": happened,
                "received_at": self.now,
                "metadata": {**order, "total": "29.70", "currency": "EUR", "items": [line]},
                "is_error": False,
                "source": EventSource.PLATFORM,
            }


def product_id(number: int) -> str:
    return encode_id("Product", UUID(int=number + 1))


@dataclass
class Seen:
    """What happened: requests and events that were acknowledged, refusals by code, and samples taken each second."""

    acknowledged: int = 0
    numbers: int = 0
    again: int = 0
    refusals: Counter[str] = field(default_factory=Counter)
    samples: list[dict[str, float]] = field(default_factory=list)
    told: int = 0
    kills: int = 0
    seconds: float = 0
    drained: float = 0
    stored: int = 0
    rows: int = 0

    def peak(self, name: str) -> float:
        return max(sample[name] for sample in self.samples)

    def lines(self) -> list[str]:
        refused = ", ".join(f"{number:,} {code}" for code, number in self.refusals.items()) or "none"
        sent = f"{self.acknowledged:,} events acknowledged in {self.seconds:.0f} s, {self.acknowledged / self.seconds:,.0f} a second"
        twice = f"{self.again:,} of them sent twice, and {self.told:,} of the platform's own"
        waited = (
            f"{self.peak('waiting'):,.0f} events waited in PostgreSQL at most, and none any more {self.drained:.0f} s after it was back"
        )
        return [
            f"{sent}; {twice}. Requests refused, and sent again: {refused}.",
            f"ClickHouse was stopped meanwhile: {waited}. The worker was killed {self.kills} times with a batch on its way.",
            f"In ClickHouse: {self.stored:,} events, each once, in {self.rows:,} rows.",
            "",
            *table(["memory in MiB", *("gateway", "worker", "events waiting")], self._slices()),
        ]

    def _slices(self) -> list[list[str]]:
        last = len(self.samples) - 1
        parts = [(f"after {percent} %", last * percent // 100) for percent in (25, 50, 75)]
        picked = [("at the beginning", 0), *parts, ("at the end", last)]
        names = ("gateway", "worker", "waiting")
        rows = [[label, *(f"{self.samples[at][name]:,.0f}" for name in names)] for label, at in picked]
        return [*rows, ["at most", *(f"{self.peak(name):,.0f}" for name in names)]]


@dataclass(frozen=True)
class Stage:
    """What takes part: databases, the gateway's address and process, and who sends."""

    dsn: str
    scratch: Path
    server: ClickHouseServer
    clickhouse: ClickHouse
    url: str
    gateway: int
    boss: Caller
    callers: list[Caller]
    shoppers: list[UUID]

    @property
    def settings(self) -> dict[str, str]:
        return {**environment(self.dsn, self.scratch), "CLICKHOUSE_URL": self.server.url, **SETTINGS}


@asynccontextmanager
async def stage(dsn: str, scratch: Path, connections: int) -> AsyncIterator[Stage]:
    """A gateway and a ClickHouse, both processes of their own, with shoppers who are signed in."""
    server = ClickHouseServer(scratch / "clickhouse-server")
    clickhouse = ClickHouse(server.url, scratch, Metrics(), ClickHouseOptions(timeout=120))
    settings = {**environment(dsn, scratch), "CLICKHOUSE_URL": server.url, **SETTINGS}
    limits = httpx.Limits(max_connections=connections * 2, keepalive_expiry=2)
    try:
        await server.start()
        await finished([sys.executable, "-m", "app", "migrate"], settings, REPOSITORY, 300)
        own = {name: value for name, value in settings.items() if name not in ("DATABASE_URL", "DATA_DIR")}
        async with process(dsn, scratch, **own) as (url, pid), httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
            boss = await new_administrator(Caller(http), dsn)
            callers = [await _signed_up(http, f"shopper{n}") for n in range(SHOPPERS)]
            rows = await _fetch(dsn, "select id from users where email like 'shopper%' order by email")
            guests = [Caller(http)] * SHOPPERS
            yield Stage(dsn, scratch, server, clickhouse, url, pid, boss, [*callers, *guests], [row["id"] for row in rows])
    finally:
        await clickhouse.close()
        await server.stop()


async def _signed_up(http: httpx.AsyncClient, name: str) -> Caller:
    account = {"email": f"{name}@example.com", "username": name, "password": "correct horse battery"}
    made = (await Caller(http).ask(SIGN_UP, input=account))["signUp"]
    return Caller(http, made["session"]["token"])


async def _fetch(dsn: str, query: str) -> list[Any]:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return list(await connection.fetch(query))
    finally:
        await connection.close()


class Flood:
    """One run: senders, an outage, and a worker that is killed."""

    def __init__(self, on: Stage, events: int, connections: int, traffic: Traffic) -> None:
        self._stage, self._events, self._connections, self._traffic = on, events, connections, traffic
        self._seen = Seen()
        self._requests = iter(range(events // PER_REQUEST))
        self._worker: asyncio.subprocess.Process | None = None

    async def run(self) -> Seen:
        """Send everything and compare. Raises `BenchError` where ClickHouse holds anything else than what was acknowledged."""
        seen = self._seen
        await self._start_worker()
        watching = asyncio.create_task(self._watch())
        outage = asyncio.create_task(self._outage())
        started = time.monotonic()
        try:
            async with asyncio.TaskGroup() as senders:
                for _ in range(self._connections):
                    senders.create_task(self._send_all())
            seen.seconds = time.monotonic() - started
            await outage
            for number in range(0, self._events // PER_REQUEST, AGAIN_LATE):
                await self._send(number, again=True)
            await self._drained()
        finally:
            for task in (watching, outage):
                task.cancel()
            if self._worker is not None and self._worker.returncode is None:
                self._worker.kill()
                await self._worker.wait()
        await self._compare()
        return seen

    async def _send_all(self) -> None:
        for number in self._requests:
            await self._send(number)
            if number % AGAIN_AT_ONCE == 0:
                await self._send(number, again=True)

    async def _send(self, number: int, *, again: bool = False) -> None:
        """Send a request until it is acknowledged."""
        caller = self._stage.callers[number % len(self._stage.callers)]
        variables = {"input": self._traffic.request(number)}
        while (refusal := await self._refusal(caller, variables)) is not None:
            self._seen.refusals[refusal["code"]] += 1
            await asyncio.sleep(refusal["retryAfter"])
        first = number * PER_REQUEST
        if again:
            self._seen.again += PER_REQUEST
        else:
            self._seen.acknowledged += PER_REQUEST
            self._seen.numbers += sum(range(first, first + PER_REQUEST))

    async def _refusal(self, caller: Caller, variables: dict[str, Any]) -> dict[str, Any] | None:
        """Why a request was not acknowledged, None where it was; a connection that breaks does not tell, so it is sent again."""
        try:
            body = (await caller.post(TRACK, variables)).json()
        except httpx.TransportError as error:
            if self._seen.refusals[LOST] >= MOST_LOST:
                raise BenchError(f"connections break: {error!r}") from error
            return {"code": LOST, "retryAfter": 1}
        if "errors" not in body:
            if body["data"]["trackEvents"] != {"accepted": PER_REQUEST, "rejected": [], "userErrors": []}:
                raise BenchError(f"not all events were accepted: {body['data']}")
            return None
        found: dict[str, Any] = body["errors"][0]["extensions"]
        if found["code"] != "RATE_LIMITED":
            raise BenchError(f"events were refused: {body['errors']}")
        return found

    # --- What goes wrong meanwhile

    async def _outage(self) -> None:
        await self._until_acknowledged(STOPPED)
        await self._stage.server.stop()
        say("ClickHouse is stopped")
        await self._tell()
        await self._until_acknowledged(STARTED)
        await self._stage.server.start()
        started = time.monotonic()
        say(f"ClickHouse is back, {await self._waiting():,} events wait")
        while await self._waiting():
            await (self._kill_at_work() if self._seen.kills < KILLS else asyncio.sleep(0.2))
        self._seen.drained = time.monotonic() - started

    async def _until_acknowledged(self, part: float) -> None:
        async def reached() -> bool:
            return self._seen.acknowledged >= self._events * part

        await eventually(reached, LONGEST_SECONDS)

    async def _tell(self) -> None:
        """Have the platform's own events wait, one by one as jobs keep them."""
        events = list(self._traffic.told(self._events // PER_ORDER, self._stage.shoppers))
        connection = await asyncpg.connect(self._stage.dsn, timeout=10)
        rows = [(event["id"], 1, encoded([event]), True) for event in events]
        await connection.copy_records_to_table("event_spool", records=rows, columns=["id", "events", "lines", "is_loose"])
        await connection.close()
        self._seen.told = len(events)

    async def _kill_at_work(self) -> None:
        """Kill the worker while it holds a batch that it has sent or is sending, and start it again."""
        connection = await asyncpg.connect(self._stage.dsn, timeout=10)
        try:
            while await connection.fetchval(REPLAYING) < 2:
                if not await self._waiting():
                    return
                await asyncio.sleep(0.01)
        finally:
            await connection.close()
        assert self._worker is not None
        self._worker.kill()
        await self._worker.wait()
        self._seen.kills += 1
        await self._start_worker()

    async def _start_worker(self) -> None:
        with (self._stage.scratch / "worker.log").open("ab") as output:
            self._worker = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "app", "worker"),
                cwd=REPOSITORY,
                env={**os.environ, **self._stage.settings},
                stdout=output,
                stderr=output,
            )

    # --- What is seen

    async def _waiting(self) -> int:
        return int((await _fetch(self._stage.dsn, "select coalesce(sum(events), 0) as n from event_spool"))[0]["n"])

    async def _drained(self) -> None:
        async def empty() -> bool:
            return await self._waiting() == 0

        await eventually(empty, LONGEST_SECONDS)

    async def _watch(self) -> None:
        while True:
            sizes = {"gateway": mebibytes(self._stage.gateway), "worker": mebibytes(self._worker.pid) if self._worker else 0}
            self._seen.samples.append({**sizes, "waiting": await self._waiting()})
            await asyncio.sleep(1)

    async def _compare(self) -> None:
        seen, found = self._seen, {row["source"]: row for row in await self._stage.clickhouse.fetch(STORED)}
        rows = await self._stage.clickhouse.fetch_value("SELECT count() FROM user_events")
        expected = {"client": (seen.acknowledged, seen.acknowledged, seen.numbers), "platform": (seen.told, seen.told, 0)}
        stored = {source: (row["events"], row["ids"], row["numbers"]) for source, row in found.items()}
        if stored != expected:
            raise BenchError(f"stored are {stored}, acknowledged were {expected}")
        seen.stored, seen.rows = seen.acknowledged + seen.told, rows
        if not seen.kills:
            raise BenchError("the worker was never killed at work; send more events")
        for name in ("gateway", "worker"):
            if seen.peak(name) - seen.samples[0][name] > GROWTH_BYTES / 2**20:
                raise BenchError(f"the {name} grew from {seen.samples[0][name]:,.0f} to {seen.peak(name):,.0f} MiB")


def mebibytes(pid: int) -> float:
    """What a process holds of memory; 0 for one that has just ended."""
    try:
        return float(psutil.Process(pid).memory_info().rss / 2**20)
    except psutil.NoSuchProcess:
        return 0
