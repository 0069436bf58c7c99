"""Stops the server processes that a killed gateway, or a killed postmaster, has left behind."""

import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil
import structlog

from app.core.embedded.errors import EmbeddedPostgresError

FAST_SHUTDOWN = 15.0
# A postmaster kills those of its children that do not obey within 5 seconds, and ends after them.
IMMEDIATE_SHUTDOWN = 7.0
PAUSE = 0.02

log = structlog.get_logger(__name__)


def stop_leftovers(cluster_name: str, uid: int) -> None:
    """Stop every server process of a cluster: asked first, then told, then killed; at most 29 seconds.

    Processes are known by the cluster's name in their title, which needs no privilege to read, and by their user; the recorded process id
    is not trusted, since another process may have it by now. Raises `EmbeddedPostgresError` when one survives.
    """
    found = list(_processes(cluster_name, uid))
    if found:
        log.warning("embedded_postgres.leftovers", processes=[process.pid for process in found])
    # Only the postmaster is told SIGINT: to its children that signal means other things.
    postmasters = [process for process in found if any("cluster_name=" in argument for argument in process.info["cmdline"])]
    if postmasters:
        _signal(postmasters, signal.SIGINT)
        found = _survivors(found, FAST_SHUTDOWN)
    for number in (signal.SIGQUIT, signal.SIGKILL):
        if found:
            _signal(found, number)
            found = _survivors(found, IMMEDIATE_SHUTDOWN)
    if found:
        pids = ", ".join(str(process.pid) for process in found)
        raise EmbeddedPostgresError(f"server processes of an earlier run do not end: {pids}. Stop them, or choose another DATA_DIR")


def _processes(cluster_name: str, uid: int) -> Iterable[psutil.Process]:
    for process in psutil.process_iter(["cmdline", "name", "uids"]):
        uids, arguments = process.info["uids"], process.info["cmdline"]
        if uids is not None and uids.real == uid and process.info["name"] == "postgres" and cluster_name in " ".join(arguments or ()):
            yield process


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)


def _survivors(processes: list[psutil.Process], timeout: float) -> list[psutil.Process]:
    """Those that still run after at most so many seconds. One that has ended and waits for its parent to notice does not count."""
    deadline = time.monotonic() + timeout
    while (processes := [process for process in processes if _runs(process)]) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return processes


def _runs(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False
