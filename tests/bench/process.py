"""Programs that run beside the benchmark and end with it."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 25.0
TAIL: Final = 20


class BenchError(Exception):
    """The benchmark cannot go on; the text says why, and what to do where that is known."""


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def free_ports(count: int = 1) -> int:
    """The first of so many neighbouring ports that nobody listens on."""
    for first in range(9301, 20_000, count):
        if all(_is_free(port) for port in range(first, first + count)):
            return first
    raise BenchError("no free ports")


async def finished(command: Sequence[str], environment: Mapping[str, str], folder: Path, timeout: float) -> None:
    """Run a program to its end, its output shown. Raises `BenchError` when it fails or takes longer than `timeout` seconds."""
    name = " ".join([Path(command[0]).name, *command[1:4]])
    process = await asyncio.create_subprocess_exec(*command, env={**os.environ, **environment}, cwd=folder, start_new_session=True)
    try:
        async with asyncio.timeout(timeout):
            code = await process.wait()
    except TimeoutError:
        raise BenchError(f"{name} did not end within {timeout:g} seconds") from None
    finally:
        await _end(process)
    if code != 0:
        raise BenchError(f"{name} ended with {code}")


@asynccontextmanager
async def running(
    name: str, command: Sequence[str], environment: Mapping[str, str], folder: Path, log: Path, port: int
) -> AsyncIterator[int]:
    """The process id of a server that listens on a port of this machine while the block runs; its output goes to a file.

    Raises `BenchError` with the end of that output when it does not come up.
    """
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            *command, env={**os.environ, **environment}, cwd=folder, stdout=output, stderr=output, start_new_session=True
        )
    try:
        await _listening(name, process, port, log)
        yield process.pid
    finally:
        await _end(process)


async def _listening(name: str, process: asyncio.subprocess.Process, port: int, log: Path) -> None:
    try:
        async with asyncio.timeout(START_SECONDS):
            while _is_free(port):
                if process.returncode is not None:
                    raise BenchError(f"{name} ended with {process.returncode}:\n{_tail(log)}")
                await asyncio.sleep(0.1)
    except TimeoutError:
        raise BenchError(f"{name} does not listen on port {port} after {START_SECONDS:g} seconds:\n{_tail(log)}") from None


async def _end(process: asyncio.subprocess.Process) -> None:
    """Ask the program and its children to end, then make them."""
    for wish in (signal.SIGTERM, signal.SIGKILL):
        # A group outlives its first process as long as a child does.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, wish)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                await process.wait()
        except TimeoutError:
            say(f"process {process.pid} does not end")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(errors="replace").splitlines()[-TAIL:])
