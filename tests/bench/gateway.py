"""The gateway under test: its database with the benchmark's data, its process, and a token of the administrator."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx
from sqlalchemy import make_url

from app.core.embedded import EmbeddedPostgres
from app.seed.people import ADMINISTRATOR
from tests.bench.options import REPOSITORY
from tests.bench.process import BenchError, finished, free_ports, running, say

SEED_SECONDS: Final = 600
SIGN_IN: Final = "mutation ($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { message } } }"


@dataclass(frozen=True)
class Gateway:
    """Where the gateway answers, a token for it, and its process."""

    url: str
    token: str
    pid: int


@asynccontextmanager
async def database(given: str | None, scratch: Path) -> AsyncIterator[str]:
    """The DSN of the given database, or of an embedded server that lives as long as the block."""
    if given is not None:
        yield given
        return
    async with EmbeddedPostgres(scratch / "data", fsync=False) as server:
        yield server.dsn


async def load(dsn: str, scratch: Path) -> None:
    """Migrate the database and fill it with the benchmark's data."""
    say("loading 10,000 products and 20,000 orders")
    await finished([sys.executable, "-m", "app", "seed", "--benchmark"], environment(dsn, scratch), REPOSITORY, SEED_SECONDS)


@asynccontextmanager
async def gateway(dsn: str, scratch: Path, **more: str) -> AsyncIterator[Gateway]:
    """The gateway as it runs in production, with more settings, over the benchmark's data."""
    async with process(dsn, scratch, **more) as (url, pid):
        yield Gateway(f"{url}/graphql", await sign_in(f"{url}/graphql"), pid)


@asynccontextmanager
async def process(dsn: str, scratch: Path, **more: str) -> AsyncIterator[tuple[str, int]]:
    """The address and the process id of a gateway as it runs in production, on a free port; with more settings."""
    port = free_ports()
    say(f"starting the gateway on port {port}")
    settings = environment(dsn, scratch) | {"HOST": "127.0.0.1", "PORT": str(port), **more}
    async with running(
        "gateway", [sys.executable, "-m", "app", "serve"], settings, REPOSITORY, scratch / f"gateway-{port}.log", port
    ) as pid:
        yield f"http://127.0.0.1:{port}", pid


def environment(dsn: str, scratch: Path) -> dict[str, str]:
    """Settings of production, with quotas that are counted but never used up, and no answer kept: the other servers keep none."""
    quotas = dict.fromkeys(("RATE_LIMIT_PER_ADDRESS", "RATE_LIMIT_PER_USER"), "1000000000")
    where = {"DATABASE_URL": dsn, "DATA_DIR": str(scratch / "data")}
    return {**where, "ENVIRONMENT": "production", "LOG_LEVEL": "warning", "RESPONSE_CACHE": "off", **quotas}


async def sign_in(url: str) -> str:
    """A session token of the administrator. Raises `BenchError` with the gateway's answer when there is none."""
    credentials = {"email": ADMINISTRATOR.email, "password": ADMINISTRATOR.password}
    async with httpx.AsyncClient(timeout=20) as client:
        answer = await client.post(url, json={"query": SIGN_IN, "variables": {"input": credentials}})
    try:
        return str(answer.json()["data"]["signIn"]["session"]["token"])
    except (ValueError, KeyError, TypeError):
        raise BenchError(f"the administrator cannot sign in: {answer.status_code} {answer.text[:500]}") from None


def postgres_environment(dsn: str) -> dict[str, str]:
    """The database in the variables that libpq knows (PostgreSQL documentation, Environment Variables)."""
    url = make_url(dsn)
    host, port = url.host or url.query.get("host"), url.port or url.query.get("port")
    found = {"PGHOST": host, "PGPORT": port, "PGUSER": url.username, "PGPASSWORD": url.password, "PGDATABASE": url.database}
    return {name: str(value) for name, value in found.items() if value}
