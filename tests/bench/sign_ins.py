"""How long a product query takes while others sign in, beside how long it takes alone.

Hashing a password costs what it costs so that guessing is dear; it must not cost the shoppers who only look. Both loads take turns, since
the machine may have other things to do: what counts is the ratio of the medians.
"""

import asyncio
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Final

import httpx

from tests.bench.gateway import Gateway, sign_in
from tests.bench.load import load, write_script
from tests.bench.options import Options
from tests.bench.process import BenchError, say

MOST: Final = 3.0
"""How many times as long the slowest product query in a hundred may take while others sign in."""

PRODUCTS: Final = "{ products(first: 1) { nodes { id } } }"
PRODUCT: Final = "query Product($id: ID!) { product(id: $id) { id name description price currency sku imageUrl category status } }"
FIRST_SECONDS: Final = 60
"""Until the first of the sign-ins must have ended."""


@dataclass
class Run:
    """One run of load: the 99th percentile in milliseconds, requests per second, and how many sign-ins ended meanwhile."""

    p99: float
    rate: float
    sign_ins: int = 0


@dataclass
class Runs:
    alone: list[Run] = field(default_factory=list)
    beside: list[Run] = field(default_factory=list)

    @property
    def ratio(self) -> float:
        return median(run.p99 for run in self.beside) / median(run.p99 for run in self.alone)


async def measure(options: Options, ours: Gateway, scratch: Path) -> None:
    """Measure in turns and print the table. Raises `BenchError` when the ratio is more than `MOST`."""
    script = write_script(scratch / "product.lua", [await _request(ours.url)])
    await load(ours.url, script, options.warmup, options.connections)
    runs = Runs()
    for _ in range(options.rounds):
        runs.alone.append(await _run(options, ours.url, script))
        async with signing_in(ours.url, options.sign_ins) as count:
            run = await _run(options, ours.url, script)
            run.sign_ins = len(count)
        runs.beside.append(run)
    say(table(runs, options))
    if options.json:
        options.json.write_text(json.dumps({"alone": [vars(run) for run in runs.alone], "beside": [vars(run) for run in runs.beside]}))
    if runs.ratio > MOST:
        raise BenchError(f"the slowest product query in a hundred takes {runs.ratio:.1f} times as long, at most {MOST:g} is allowed")


def table(runs: Runs, options: Options) -> str:
    def line(name: str, kind: list[Run]) -> str:
        p99s = " ".join(f"{run.p99:.1f}" for run in kind)
        rate, ended = median(run.rate for run in kind), median(run.sign_ins for run in kind) / options.seconds
        return f"{name:<22} p99 {median(run.p99 for run in kind):7.1f} ms ({p99s})  {rate:7.0f} requests/s  {ended:5.1f} sign-ins/s"

    load = ", ".join(f"{average:.1f}" for average in os.getloadavg())
    title = f"product query over {options.connections} connections, {options.sign_ins} sign-ins in flight; load of the machine {load}"
    return "\n".join([title, line("alone", runs.alone), line("while others sign in", runs.beside), f"ratio of p99 {runs.ratio:.2f}"])


@asynccontextmanager
async def signing_in(url: str, callers: int) -> AsyncIterator[list[None]]:
    """Callers who sign in again and again while the block runs; the list grows with each sign-in that ended, and begins with the first."""
    ended: list[None] = []
    begun = asyncio.Event()

    async def caller() -> None:
        while True:
            await sign_in(url)
            ended.append(None)
            begun.set()

    tasks = [asyncio.create_task(caller()) for _ in range(callers)]
    try:
        async with asyncio.timeout(FIRST_SECONDS):
            await begun.wait()
        ended.clear()
        yield ended
    finally:
        for task in tasks:
            task.cancel()
        found = await asyncio.gather(*tasks, return_exceptions=True)
    for error in found:
        if isinstance(error, Exception):
            raise error


async def _request(url: str) -> bytes:
    """The body of a query for one product that is there."""
    async with httpx.AsyncClient(timeout=20) as client:
        answer = (await client.post(url, json={"query": PRODUCTS})).json()
    id = answer["data"]["products"]["nodes"][0]["id"]
    return json.dumps({"query": PRODUCT, "variables": {"id": id}}).encode()


async def _run(options: Options, url: str, script: Path) -> Run:
    found = await load(url, script, options.seconds, options.connections)
    return Run(found.p99, found.rate)
