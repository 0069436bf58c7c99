"""`python -m tests.bench`: the gateway beside other GraphQL servers, the same queries over the same tables."""

import asyncio
import json
import signal
import sys
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from app.core.embedded import EmbeddedPostgresError
from tests.bench.events import Flood, Traffic, stage
from tests.bench.gateway import Gateway, database, gateway, load, postgres_environment
from tests.bench.insight import ask, lines
from tests.bench.machine import machine, version
from tests.bench.options import Options, parse
from tests.bench.others import OWN_QUERIES, others, require_tools, workspace
from tests.bench.own import Own
from tests.bench.process import BenchError, finished, say
from tests.bench.reconciliation import measured
from tests.bench.shoppers import crowd
from tests.bench.sign_ins import measure
from tests.bench.tables import compared
from tests.conftest import fresh_database


async def bench(options: Options) -> None:
    """Prepare everything, measure, and stop what was started. Raises `BenchError`."""
    require_tools(options)
    with tempfile.TemporaryDirectory(prefix="neurotracker-bench-") as name:
        scratch = Path(name)
        folder = None if options.alone else await workspace(options, scratch)
        async with database(options.database_url, scratch) as dsn:
            if options.shoppers:
                await sell(options, dsn, scratch)
                return
            if options.events:
                await track(options, dsn, scratch)
                return
            if options.reconcile:
                await reconcile(options, dsn, scratch)
                return
            await load(dsn, scratch)
            if options.own:
                await Own(options, dsn, scratch).measure()
            elif options.sign_ins:
                async with gateway(dsn, scratch, RATE_LIMITS="false") as ours:
                    await measure(options, ours, scratch)
            elif folder is not None:
                async with others(options, folder, scratch, postgres_environment(dsn)) as urls, gateway(dsn, scratch) as ours:
                    await compare(options, folder, {**urls, "gateway": ours.url}, ours, machine(await version(dsn)))


async def sell(options: Options, server: str, scratch: Path) -> None:
    """Let shoppers loose on a database of their own, and print how it went. Raises `BenchError` where the books are wrong."""
    async with fresh_database(server) as dsn:
        figures = await crowd(dsn, scratch, options.shoppers, options.seconds)
        say("\n".join(["", machine(await version(dsn)), "", *figures.lines()]))
        if options.json:
            options.json.write_text(json.dumps(figures.summary()))
    if figures.wrong or figures.deadlocks:
        raise BenchError("\n".join([f"{figures.deadlocks} deadlocks", *figures.wrong[:20]]))


async def track(options: Options, server: str, scratch: Path) -> None:
    """Flood a database of its own with events, and ask about them. Raises `BenchError` where one is lost or counted twice."""
    traffic = Traffic(datetime.now(UTC))
    async with fresh_database(server) as dsn, stage(dsn, scratch, options.connections) as on:
        seen = await Flood(on, options.events, options.connections, traffic).run()
        say("\n".join(["", machine(await version(dsn)), "", *seen.lines(), ""]))
        costs = await ask(on, traffic)
        say("\n".join(lines(costs)))
    if options.json:
        options.json.write_text(json.dumps({"seen": vars(seen), "costs": [vars(cost) for cost in costs]}))


async def reconcile(options: Options, server: str, scratch: Path) -> None:
    """Compare two tables with faults that are known. Raises `BenchError` where one is not found, or something else is."""
    async with fresh_database(server) as dsn:
        found = await measured(dsn, scratch, options.reconcile)
        say("\n".join(["", machine(await version(dsn)), "", *found]))


async def compare(options: Options, folder: Path, urls: Mapping[str, str], ours: Gateway, on: str) -> None:
    """Check that all servers answer alike, load them in turn and print the tables, the last one as Markdown."""
    expected = 3 * len(options.in_order) * (options.rounds * options.seconds + options.warmup)
    say(f"measuring {', '.join(options.in_order)}: about {expected} seconds")
    report = options.json or folder / "report.json"
    await finished(command(options, urls, ours.token, report), {}, folder, expected * 2 + 120)
    say("\n".join(["", on, "", *compared(json.loads(report.read_text()))]))
    if options.json:
        say(f"wrote {options.json}")


def command(options: Options, urls: Mapping[str, str], token: str, report: Path) -> list[str]:
    """The call of the comparison's own program."""
    servers = [f"{name}={urls[name]}" + (f",{OWN_QUERIES[name]}" if name in OWN_QUERIES else "") for name in options.in_order]
    sizes = {"--seconds": options.seconds, "--rounds": options.rounds, "--connections": options.connections, "--warmup": options.warmup}
    return [
        sys.executable,
        "run.py",
        *(part for server in servers for part in ("--server", server)),
        *(part for name, size in sizes.items() for part in (name, str(size))),
        *("--token", f"gateway={token}"),
        *("--json", str(report)),
    ]


async def run(options: Options) -> None:
    """As `bench`; a request to terminate also stops what was started."""
    task = asyncio.ensure_future(bench(options))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    await task


def main() -> None:
    """Entry point; ends with 1 and a message when the benchmark cannot run."""
    try:
        asyncio.run(run(parse(sys.argv[1:])))
    except (BenchError, EmbeddedPostgresError) as error:
        sys.exit(f"bench: {error}")
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit(130)


if __name__ == "__main__":
    main()
