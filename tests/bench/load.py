"""Load by wrk: what it sends, and what it reports."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.bench.process import BenchError

SCRIPT: Final = """wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
{headers}
local bodies = {{{bodies}}}
local number = 0
wrk.body = bodies[1]
if #bodies > 1 then
  request = function()
    number = number + 1
    return wrk.format(nil, nil, nil, bodies[number % #bodies + 1])
  end
end
"""
LATENCY: Final = re.compile(r"^\s+99%\s+([\d.]+)(us|ms|s) *$", re.MULTILINE)
RATE: Final = re.compile(r"^Requests/sec:\s+([\d.]+)$", re.MULTILINE)
REQUESTS: Final = re.compile(r"^\s+(\d+) requests in ", re.MULTILINE)
WRONG: Final = re.compile(r"Non-2xx|Socket errors")
MILLISECONDS: Final = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Load:
    """What one run of load has shown: the 99th percentile in milliseconds, requests per second, and how many there were.

    `cpu` is the seconds of processor time that the servers spent on it, where they were measured.
    """

    p99: float
    rate: float
    requests: int
    cpu: float = 0


def write_script(path: Path, bodies: Sequence[bytes], token: str | None = None) -> Path:
    """A script that sends these bodies in turn, signed in or not."""
    headers = f'wrk.headers["Authorization"] = "Bearer {token}"' if token else ""
    path.write_text(SCRIPT.format(headers=headers, bodies=", ".join(map(lua_text, bodies))))
    return path


async def load(url: str, script: Path, seconds: int, connections: int) -> Load:
    """One run. Raises `BenchError` where an answer was none."""
    command = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--timeout", "20s", "--latency"]
    process = await asyncio.create_subprocess_exec(*command, "--script", str(script), url, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(seconds + 30):
        output, _ = await process.communicate()
    return read(output.decode())


def read(report: str) -> Load:
    """What wrk reports. Raises `BenchError` where it tells of errors, or nothing."""
    latency, rate, requests = LATENCY.search(report), RATE.search(report), REQUESTS.search(report)
    if latency is None or rate is None or requests is None or WRONG.search(report):
        raise BenchError(f"wrk did not measure:\n{report}")
    return Load(float(latency[1]) * MILLISECONDS[latency[2]], float(rate[1]), int(requests[1]))


def lua_text(body: bytes) -> str:
    """A body as Lua writes a string."""
    return '"' + "".join(f"\\{byte:03d}" for byte in body) + '"'
