"""A PostgreSQL program that runs for this process: started without privileges, watched, ended."""

import asyncio
import os
import re
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Self

import structlog

from app.core.embedded.account import Account

LAUNCHER = Path(__file__).with_name("launch.py")
OUTPUT_LIMIT = 2000
ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
# A postmaster kills those of its children that do not obey within 5 seconds, and ends after them.
ABRUPT_END = 7.0

log = structlog.get_logger(__name__)


class Program:
    """A running program and what it has said."""

    def __init__(self, process: asyncio.subprocess.Process, output: IO[bytes]) -> None:
        self._process = process
        self._output = output

    @classmethod
    async def start(cls, command: Sequence[str], account: Account, inherited: Sequence[int]) -> Self:
        """Run a command as an account, with the descriptors that it inherits. Raises OSError when the launcher cannot be started."""
        output = await asyncio.to_thread(tempfile.TemporaryFile)
        try:
            # A session of its own: Ctrl-C in the terminal is for the gateway, which then stops the server in order.
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), str(account.uid), str(account.gid), *command),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=asyncio.subprocess.STDOUT,
                cwd="/",
                env=_environment(),
                start_new_session=True,
                pass_fds=inherited,
            )
        except BaseException:
            output.close()
            raise
        return cls(process, output)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """The exit status, negative for a signal; None while it runs."""
        return self._process.returncode

    async def wait(self) -> int:
        """Wait until it ends, and return its status."""
        return await self._process.wait()

    def said(self) -> str:
        """The end of what it has written, on one line."""
        size = os.fstat(self._output.fileno()).st_size
        text = os.pread(self._output.fileno(), OUTPUT_LIMIT, max(0, size - OUTPUT_LIMIT)).decode(errors="replace")
        return re.sub(r"\s*\n\s*", "; ", text.strip()) or "it said nothing"

    async def end(self, patience: float) -> None:
        """End it and wait: SIGINT and `patience` seconds, then SIGQUIT and 7, then SIGKILL and 7. For a server: fast, immediate, killed."""
        for number, timeout in ((signal.SIGINT, patience), (signal.SIGQUIT, ABRUPT_END), (signal.SIGKILL, ABRUPT_END)):
            if self.status is None and not await self._ended_by(number, timeout):
                log.warning("embedded_postgres.slow_end", pid=self.pid, signal=number.name, seconds=timeout)
        self._output.close()

    async def _ended_by(self, number: signal.Signals, timeout: float) -> bool:
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        # Not `asyncio.timeout`: in early Pythons 3.11 it does not end in TimeoutError in a task that is being cancelled, as this may be.
        waiting = asyncio.ensure_future(self._process.wait())
        await asyncio.wait({waiting}, timeout=timeout)
        waiting.cancel()
        return self.status is not None


def _environment() -> dict[str, str]:
    """What the programs need to run; the gateway's secrets and its PG* variables stay with it."""
    return {"TZ": "UTC", "LC_ALL": "C"} | {name: os.environ[name] for name in ENVIRONMENT if name in os.environ}
