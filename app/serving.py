"""Serves the gateway: in this process, or in several that share one listening socket and are watched by this one.

uvicorn's supervisor starts the processes, passes signals on, and restarts the processes in turn on SIGHUP. What it leaves open is added
here: the socket is closed before the processes finish their requests, none of them outlives its time or this process, what cannot start
ends at once with an exit status, and the metrics are one set of metrics.
"""

import asyncio
import multiprocessing
import os
import signal
import tempfile
import time

import structlog
import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from starlette.applications import Starlette
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

from app.core.metrics import SHARED_FOLDER
from app.protocol import HTTPProtocol, WebSocketProtocol
from app.settings import Settings

START_SECONDS = 60
"""How long a process may take to start in another one's place, when all are restarted."""

KEEP_ALIVE_SECONDS = 75
"""How long a connection may wait for its next request: longer than clients and load balancers keep one, most of them 5 or 60 seconds. Where
both end it at the same time, a request that was just sent is cut off, and its sender cannot know whether it was carried out."""

CLOSING_SECONDS = 15
"""What a process gets for closing its resources, after the grace for its requests."""

log = structlog.get_logger(__name__)


def serve(settings: Settings) -> None:
    """Serve until told to stop; requests in flight are finished. Ends the process where the gateway cannot start."""
    workers = possible_workers(settings)
    config = uvicorn.Config(
        "app.main:create_app" if workers == 1 else f"{__name__}:create_worker",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=workers,
        loop="uvloop",
        http=HTTPProtocol,
        ws=WebSocketProtocol,
        ws_max_size=settings.request_max_bytes,
        ws_per_message_deflate=False,
        access_log=False,
        log_config=None,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=int(settings.shutdown_grace),
        timeout_worker_healthcheck=START_SECONDS,
        proxy_headers=False,
    )
    if workers == 1:
        _serve_here(config)
    else:
        _serve_in_processes(config)


def possible_workers(settings: Settings) -> int:
    """How many processes may serve: an embedded database belongs to one."""
    addresses = {"DATABASE_URL": settings.database_url, "CLICKHOUSE_URL": settings.clickhouse_url}
    missing = " and ".join(name for name, address in addresses.items() if address is None)
    if settings.workers > 1 and missing:
        reason = f"WORKERS={settings.workers} needs {missing}: embedded databases belong to one process"
        log.warning("only_one_worker", reason=reason)
        return 1
    return settings.workers


def _serve_here(config: uvicorn.Config) -> None:
    server = uvicorn.Server(config)
    try:
        server.run()
    except KeyboardInterrupt:
        return
    if not server.started:
        raise SystemExit(STARTUP_FAILURE)


def _serve_in_processes(config: uvicorn.Config) -> None:
    with tempfile.TemporaryDirectory(prefix="neurotracker-metrics-") as folder:
        os.environ[SHARED_FOLDER] = folder
        supervisor = Supervisor(config, [config.bind_socket()])
        supervisor.run()
    if any(process.exitcode == STARTUP_FAILURE for process in supervisor.processes):
        raise SystemExit(STARTUP_FAILURE)


class Supervisor(Multiprocess):
    """Watches the processes that serve."""

    def keep_subprocess_alive(self) -> None:
        """Replace the processes that have died. One that is busy, or still starts, is left alone."""
        for place, process in enumerate(self.processes):
            if process.process.is_alive():
                continue
            mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
            if process.exitcode == STARTUP_FAILURE:
                self.should_exit.set()
                return
            log.warning("worker_died", pid=process.pid, exitcode=process.exitcode)
            self.processes[place] = Process(self.config, self.sockets)
            self.processes[place].start()

    def terminate_all(self) -> None:
        """Who comes now is refused, instead of waiting for nobody."""
        for listener in self.sockets:
            listener.close()
        super().terminate_all()

    def join_all(self) -> None:
        """Wait for the processes, and end those that do not end."""
        deadline = time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + CLOSING_SECONDS
        for process in self.processes:
            process.process.join(max(0.0, deadline - time.monotonic()))
            if process.process.is_alive():
                log.error("worker_killed", pid=process.pid)
                process.process.kill()
                process.process.join()


def create_worker() -> Starlette:
    """The application of one of several processes, which ends in order when its supervisor is gone."""
    from app.main import create_app

    parent = multiprocessing.parent_process()
    assert parent is not None
    loop = asyncio.get_running_loop()

    def orphaned() -> None:
        loop.remove_reader(parent.sentinel)
        signal.raise_signal(signal.SIGTERM)

    loop.add_reader(parent.sentinel, orphaned)
    return create_app()
