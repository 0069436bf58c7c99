"""The gateway beside itself: compiled execution and resolvers, a field that Python works out, pages of all sizes, memory over time.

What is compared takes turns, since the machine may have other things to do: ratios are those of each round, and the median counts.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any, Final

import httpx
import psutil

from tests.bench.gateway import Gateway, gateway
from tests.bench.load import Load, load, write_script
from tests.bench.machine import machine, postmaster, version
from tests.bench.options import MEASUREMENTS, Options
from tests.bench.process import BenchError, say
from tests.bench.tables import table

CATALOG: Final = "query Catalog($first: Int!) { products(first: $first) { nodes { id name price currency sku imageUrl category status } } }"
ORDERS: Final = """query Orders { orders(first: 20) { nodes { id status total currency createdAt user { id username email }
    items { id quantity price product { id name sku price } } payments { id amount status transactionId } } } }"""
LINES: Final = "query Lines { orders(first: 20) { nodes { id items { id name sku quantity price currency %s } } } }"
PRODUCT: Final = "query Product($id: ID!) { product(id: $id) { id name description price currency sku imageUrl category status } }"
SIZES: Final = (10, 100, 250)
PRODUCTS: Final = 250
"""Single products that the load on memory asks for in turn."""

READINGS: Final = 10
"""How often memory is read."""


@dataclass(frozen=True)
class Case:
    """One kind of request to one server."""

    name: str
    server: Gateway
    query: str
    variables: Mapping[str, Any]

    @property
    def body(self) -> bytes:
        return json.dumps({"query": self.query, "variables": self.variables}).encode()

    async def answer(self) -> dict[str, Any]:
        """Raises `BenchError` for an answer with errors."""
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {self.server.token}"}
        async with httpx.AsyncClient(timeout=30) as client:
            found: dict[str, Any] = (await client.post(self.server.url, content=self.body, headers=headers)).json()
        if "errors" in found:
            raise BenchError(f"{self.name}: {found['errors']}")
        return found


class Own:
    """Measures one database's gateways."""

    def __init__(self, options: Options, dsn: str, scratch: Path) -> None:
        self._options = options
        self._dsn = dsn
        self._scratch = scratch

    async def measure(self) -> None:
        """Run what was asked for and print it as Markdown. Raises `BenchError`."""
        sections: dict[str, Callable[[Gateway], Awaitable[list[str]]]] = {
            "standard": self.standard,
            "computed": self.computed,
            "pages": self.pages,
            "memory": self.memory,
        }
        assert tuple(sections) == MEASUREMENTS
        lines = [machine(await version(self._dsn))]
        async with gateway(self._dsn, self._scratch) as ours:
            for name in self._options.own:
                say(f"measuring {name}")
                lines += ["", *await sections[name](ours)]
        say("\n".join(["", *lines]))

    async def standard(self, ours: Gateway) -> list[str]:
        """Compiled execution against resolvers, over the same schema."""
        async with gateway(self._dsn, self._scratch, EXECUTION="standard") as resolvers:
            asked = {"catalog": (CATALOG, {"first": 50}), "orders": (ORDERS, {})}
            cases = [Case(f"{name} {way}", server, *query) for name, query in asked.items() for way, server in _ways(ours, resolvers)]
            for compiled, other in zip(cases[::2], cases[1::2], strict=True):
                if await compiled.answer() != await other.answer():
                    raise BenchError(f"{compiled.name} and {other.name} answer differently")
            loads = await self._loads(cases)
        rows = [
            [name, *(_rate(loads[f"{name} {way}"]) for way in ("compiled", "standard")), f"{ratio:.1f}"]
            for name in asked
            for ratio in [_ratio(loads[f"{name} compiled"], loads[f"{name} standard"])]
        ]
        return table(["requests per second", "compiled", "`EXECUTION=standard`", "ratio"], rows)

    async def computed(self, ours: Gateway) -> list[str]:
        """A field worked out in Python for each row, against the same query without it."""
        cases = [Case(name, ours, LINES % field, {}) for name, field in (("without", ""), ("with", "lineTotal"))]
        for case in cases:
            await case.answer()
        loads = await self._loads(cases)
        row = ["order lines", *(_rate(loads[case.name]) for case in cases), f"{_ratio(loads['with'], loads['without']):.2f}"]
        return table(["requests per second", "without `lineTotal`", "with it, for each line", "ratio"], [row])

    async def pages(self, ours: Gateway) -> list[str]:
        """What a row costs on pages of different sizes: the processor's time of a request beyond that of one for a single row.

        Processor time, because requests per second tell of whichever process is the narrowest, and that is another one on small pages.
        """
        cases = [Case(str(size), ours, CATALOG, {"first": size}) for size in (1, *SIZES)]
        for case in cases:
            found = len((await case.answer())["data"]["products"]["nodes"])
            if found != int(case.name):
                raise BenchError(f"first: {case.name} gave {found} rows")
        database = await postmaster(self._dsn)
        loads = await self._loads(cases, lambda: _cpu_seconds(ours.pid, database))
        spent = {int(name): median(load.cpu / load.requests for load in runs) * 1e6 for name, runs in loads.items()}
        per_row = {size: (spent[size] - spent[1]) / (size - 1) for size in SIZES}
        rows = [[f"`first: {size}`", _rate(loads[str(size)]), f"{spent[size]:.0f} us", f"{per_row[size]:.1f} us"] for size in SIZES]
        shown = table(["page", "requests per second", "processor time per request", "per further row"], rows)
        return [*shown, "", f"The dearest row costs {max(per_row.values()) / min(per_row.values()):.2f} times the cheapest."]

    async def memory(self, ours: Gateway) -> list[str]:
        """Resident memory over many requests of all kinds, single products by many ids among them."""
        nodes = (await Case("ids", ours, CATALOG, {"first": PRODUCTS}).answer())["data"]["products"]["nodes"]
        cases = [Case("catalog", ours, CATALOG, {"first": size}) for size in SIZES[:2]] + [Case("orders", ours, ORDERS, {})]
        cases += [Case("product", ours, PRODUCT, {"id": node["id"]}) for node in nodes]
        script = write_script(self._scratch / "memory.lua", [case.body for case in cases], ours.token)
        readings, done = [(0, _resident(ours.pid))], 0
        while done < self._options.requests:
            done += (await load(ours.url, script, self._options.seconds, self._options.connections)).requests
            if done >= self._options.requests * len(readings) / READINGS:
                readings.append((done, _resident(ours.pid)))
        rows = [[f"{requests:,}", f"{resident / 2**20:.1f} MiB"] for requests, resident in readings]
        growth = (readings[-1][1] - readings[1][1]) / 2**20
        return [*table(["requests", "resident"], rows), "", f"After the first {readings[1][0]:,} requests it grew by {growth:.1f} MiB."]

    async def _loads(self, cases: Sequence[Case], clock: Callable[[], float] = lambda: 0) -> dict[str, list[Load]]:
        """Each case under load, in turns, after a warm-up. `clock` tells the seconds of processor time that were spent so far."""
        options = self._options
        scripts = {case.name: write_script(self._scratch / f"{n}.lua", [case.body], case.server.token) for n, case in enumerate(cases)}
        found: dict[str, list[Load]] = {case.name: [] for case in cases}
        for number in range(-1, options.rounds):
            for case in cases:
                seconds = options.warmup if number < 0 else options.seconds
                before = clock()
                run = await load(case.server.url, scripts[case.name], seconds, options.connections)
                if number >= 0:
                    found[case.name].append(replace(run, cpu=clock() - before))
        return found


def _ways(compiled: Gateway, standard: Gateway) -> tuple[tuple[str, Gateway], tuple[str, Gateway]]:
    return ("compiled", compiled), ("standard", standard)


def _rate(loads: Sequence[Load]) -> str:
    return f"{median(load.rate for load in loads):,.0f}"


def _ratio(one: Sequence[Load], other: Sequence[Load]) -> float:
    return median(a.rate / b.rate for a, b in zip(one, other, strict=True))


def _resident(pid: int) -> int:
    """Bytes of memory that a process and its children hold."""
    return sum(part.memory_info().rss for part in _family(pid))


def _cpu_seconds(*pids: int) -> float:
    """Processor time that processes and their children have spent, in both modes."""
    times = [part.cpu_times() for pid in pids for part in _family(pid)]
    return sum(time.user + time.system for time in times)


def _family(pid: int) -> list[psutil.Process]:
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]
