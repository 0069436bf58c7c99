"""The servers that the gateway is compared with: Node's, installed with npm, and two by hand that show how fast Python could be."""

import shutil
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

from tests.bench.options import NODE_SERVERS, Options
from tests.bench.process import BenchError, finished, free_ports, running, say

INSTALL_SECONDS: Final = 900
PORT_ORDER: Final = ("mercurius", "mercurius-dataloader", "apollo", "yoga", "postgraphile")
"""The ports of `peers.sh` follow one another in this order."""

OWN_QUERIES: Final = {"gateway": "gateway", "postgraphile": "peers/queries"}
"""Servers that have other names for the fields: where their texts of the queries are."""


def require_tools(options: Options) -> None:
    """Raises `BenchError` naming what is missing on this machine."""
    if not options.alone and not (options.bench / "run.py").is_file():
        raise BenchError(f"there is no run.py in {options.bench}: give the folder of the comparison with --bench or BENCH_DIR")
    if shutil.which("wrk") is None:
        raise BenchError("wrk, which makes the load, is not installed; it is the package wrk of Debian and Homebrew")
    for tool in ("node", "npm"):
        if options.node_servers and not options.alone and shutil.which(tool) is None:
            raise BenchError(f"{tool} is not installed, and {', '.join(options.node_servers)} need it: choose other --servers")


async def workspace(options: Options, scratch: Path) -> Path:
    """A writable copy of the comparison, with the Node servers installed where any of them takes part."""
    if options.peers is not None:
        return _installed(options.peers, options)
    folder = scratch / "bench"
    await finished(["cp", "-r", str(options.bench), str(folder)], {}, scratch, 60)
    await finished(["chmod", "-R", "u+w", str(folder)], {}, scratch, 60)
    if options.node_servers:
        say("installing the Node servers")
        command = ["npm", "install", "--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
        await finished(command, {}, folder / "peers", INSTALL_SECONDS)
    return folder


def _installed(folder: Path, options: Options) -> Path:
    if not (folder / "run.py").is_file() or (options.node_servers and not (folder / "peers" / "node_modules").is_dir()):
        raise BenchError(f"{folder} is no copy of the comparison with peers/node_modules: leave --peers out to have one made")
    return folder


@asynccontextmanager
async def others(options: Options, folder: Path, scratch: Path, postgres: Mapping[str, str]) -> AsyncIterator[dict[str, str]]:
    """The URLs of the chosen servers, by name, which run while the block does."""
    async with AsyncExitStack() as stack:
        urls = await stack.enter_async_context(_node_servers(options, folder, scratch, postgres))
        for name in options.ceilings:
            port = free_ports()
            say(f"starting {name} on port {port}")
            command = [sys.executable, "-m", "uvicorn", f"{name}:app", "--port", str(port), "--no-access-log", "--log-level", "warning"]
            await stack.enter_async_context(running(name, command, postgres, folder, scratch / f"{name}.log", port))
            urls[name] = _url(port)
        yield urls


@asynccontextmanager
async def _node_servers(options: Options, folder: Path, scratch: Path, postgres: Mapping[str, str]) -> AsyncIterator[dict[str, str]]:
    """All of them, by the comparison's own script, where any is chosen."""
    if not options.node_servers:
        yield {}
        return
    first = free_ports(len(NODE_SERVERS))
    where = {**postgres, "PORT_BASE": str(first), "TMPDIR": str(scratch)}
    say(f"starting the Node servers on ports from {first}")
    try:
        await finished(["./peers.sh", "start"], where, folder, 120)
        yield {name: _url(first + PORT_ORDER.index(name)) for name in options.node_servers}
    finally:
        await finished(["./peers.sh", "stop"], where, folder, 120)


def _url(port: int) -> str:
    return f"http://127.0.0.1:{port}/graphql"
