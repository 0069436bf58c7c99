"""Gateways to test through HTTP: inside the test's process, on a socket of it, or as a process of their own."""

import asyncio
import atexit
import functools
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import asyncpg
import httpx
import uvicorn
from sqlalchemy import make_url
from starlette.applications import Starlette
from starlette.types import ASGIApp

from app.main import Gateway
from app.protocol import HTTPProtocol, WebSocketProtocol
from app.settings import Settings

REPOSITORY = Path(__file__).parents[1]
START_SECONDS = 60
STOP_SECONDS = 30
RUNNING = re.compile(r"running on (http://[^\s\"]+)")

SIGN_IN = """
    mutation SignIn($input: SignInInput!) {
      signIn(input: $input) { session { token expiresAt user { id email } } userErrors { field message code } }
    }
"""

SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } userErrors { field message code } } }"


class Caller:
    """One client of a gateway, signed in or not."""

    def __init__(self, http: httpx.AsyncClient, token: str | None = None) -> None:
        self.http = http
        self.headers = {"Authorization": f"Bearer {token}"} if token else {}

    async def post(self, query: str, variables: dict[str, Any] | None = None, **headers: str) -> httpx.Response:
        given = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        return await self.http.post("/graphql", json={"query": query, "variables": variables}, headers=given)

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """The data of an operation that goes well."""
        response = await self.post(query, variables)
        body = response.json()
        assert response.status_code == 200, body
        assert "errors" not in body, body["errors"]
        return cast(dict[str, Any], body["data"])

    async def refusals(self, query: str, **variables: Any) -> list[dict[str, Any]]:
        """The errors of an operation that is refused, for a reason that the caller can mend."""
        return refusals(await self.post(query, variables))

    async def sign_in(self, email: str, password: str) -> "Caller":
        answer = await self.ask(SIGN_IN, input={"email": email, "password": password})
        assert answer["signIn"]["userErrors"] == []
        return Caller(self.http, answer["signIn"]["session"]["token"])


def refusals(response: httpx.Response) -> list[dict[str, Any]]:
    """The errors of a response, none of which may be the gateway's own fault."""
    assert response.status_code < 500, response.text[:1000]
    found = cast(list[dict[str, Any]], response.json().get("errors", []))
    assert found, response.text[:1000]
    assert all(error.get("extensions", {}).get("code") not in ("INTERNAL_SERVER_ERROR", "UNAVAILABLE") for error in found), found
    assert len(response.content) < 20_000
    return found


async def new_administrator(caller: Caller, dsn: str) -> Caller:
    """Somebody who may do everything, in a database without a demo shop."""
    await caller.ask(SIGN_UP, input={"email": "owner@example.com", "username": "owner", "password": "owner-password-1"})
    connection = await asyncpg.connect(dsn, timeout=10)
    await connection.execute("update users set role_id = (select id from roles where name = 'ADMIN'), role_assigned_at = now()")
    await connection.close()
    return await caller.sign_in("owner@example.com", "owner-password-1")


@functools.cache
def data_folder() -> Path:
    """The folder of embedded data: one per test process, since a process can have one embedded ClickHouse."""
    folder = tempfile.mkdtemp(prefix="neurotracker-test-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def settings_for(dsn: str, **given: Any) -> Settings:
    """Settings that nothing outside the test changes; passwords are hashed quickly, nobody is slowed down.

    ClickHouse's database has the name of the one in PostgreSQL.
    """
    quick = {"argon2_time_cost": 1, "argon2_memory_kib": 64, "argon2_parallelism": 1, "rate_limits": False, "demo_data": False}
    own = {"data_dir": data_folder(), "clickhouse_database": make_url(dsn).database, "run_jobs": False}
    return Settings(_env_file=None, database_url=dsn, **{**own, **quick, **given})  # type: ignore[arg-type]


@asynccontextmanager
async def running_app(settings: Settings) -> AsyncIterator[Starlette]:
    """The ASGI application, its lifespan begun."""
    app = Gateway(settings).app()
    async with app.router.lifespan_context(app):
        yield app


@asynccontextmanager
async def reached(app: Starlette) -> AsyncIterator[Caller]:
    """Somebody who reaches an application without a socket."""
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway", timeout=30) as http:
        yield Caller(http)


@asynccontextmanager
async def gateway(settings: Settings) -> AsyncIterator[Caller]:
    """A gateway inside this process, and somebody who reaches it."""
    async with running_app(settings) as app, reached(app) as caller:
        yield caller


class Listener(uvicorn.Server):
    """A server that says when it listens, and leaves the signals to the tests."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.listens = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.listens.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def listening(app: ASGIApp, **options: Any) -> AsyncIterator[str]:
    """The address of a server in this process that serves a running application; with more of uvicorn's options."""
    protocols: Any = {"http": HTTPProtocol, "ws": WebSocketProtocol, "ws_per_message_deflate": False, "ws_max_size": 1_000_000}
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None, access_log=False, server_header=False, **protocols, **options)
    server = Listener(config)
    task = asyncio.create_task(server.serve())
    try:
        await asyncio.wait_for(server.listens.wait(), 10)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await task


@dataclass
class Served:
    """A gateway in a process of its own."""

    process: asyncio.subprocess.Process
    log: Path
    url: str = ""

    def logged(self) -> str:
        return self.log.read_text(errors="replace")

    async def stop(self) -> None:
        """Ask it to end, and see that it does so in order."""
        self.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(STOP_SECONDS):
            code = await self.process.wait()
        said = self.logged()
        assert code in (0, -signal.SIGTERM), said[-3000:]
        assert "Application shutdown complete" in said, said[-3000:]
        assert "Traceback" not in said, said[-3000:]


@asynccontextmanager
async def served(folder: Path, *command: str, **environment: str) -> AsyncIterator[Served]:
    """`python -m app serve` on a free port, ready; it is stopped with the block unless that has been done, and must end cleanly."""
    log = folder / "gateway.log"
    own = {"HOST": "127.0.0.1", "PORT": "0", "DATA_DIR": str(folder / "data"), "LOG_FORMAT": "json", "RATE_LIMITS": "false"}
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *(command or ("-m", "app", "serve")),
            cwd=REPOSITORY,
            env={**_outside(), **own, **environment},
            stdout=output,
            stderr=output,
        )
    server = Served(process, log)
    try:
        server.url = await _address(server)
        yield server
        if process.returncode is None:
            await server.stop()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


def _outside() -> dict[str, str]:
    """This process's environment without what would set the gateway up."""
    ours = {name.upper() for name in Settings.model_fields}
    return {name: value for name, value in os.environ.items() if name.upper() not in ours}


async def _address(server: Served) -> str:
    """Where the server says that it runs: it accepts requests once its lifespan has begun."""

    async def told() -> bool:
        return server.process.returncode is not None or RUNNING.search(server.logged()) is not None

    await eventually(told, START_SECONDS)
    found = RUNNING.search(server.logged())
    assert found is not None, server.logged()[-3000:]
    return found.group(1)


async def eventually(holds: Callable[[], Awaitable[bool]], seconds: float = 10) -> None:
    """Wait until something outside this process has come about."""
    async with asyncio.timeout(seconds):
        while not await holds():  # noqa: ASYNC110 - nobody tells us
            await asyncio.sleep(0.03)
