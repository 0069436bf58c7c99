"""What the gateway's connections do, seen from beside them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg

from tests.serving import eventually

OURS = "from pg_stat_activity where application_name = 'neurotracker' and datname = current_database()"


@asynccontextmanager
async def locked(connection: asyncpg.Connection, table: str) -> AsyncIterator[None]:
    """Nobody else can even read the table while the block runs."""
    async with connection.transaction():
        await connection.execute(f"lock table {table} in access exclusive mode")
        yield


async def counted(watcher: asyncpg.Connection, condition: str) -> int:
    """How many of the gateway's connections are in this state now; within a transaction, the first look would be kept."""
    await watcher.execute("select pg_stat_clear_snapshot()")
    return int(await watcher.fetchval(f"select count(*) {OURS} and {condition}"))


async def blocked(watcher: asyncpg.Connection, count: int = 1) -> None:
    """Wait until so many of the gateway's connections wait for a lock."""

    async def waiting() -> bool:
        return await counted(watcher, "wait_event_type = 'Lock'") == count

    await eventually(waiting)


async def idle(watcher: asyncpg.Connection) -> None:
    """Wait until no connection of the gateway works or holds a transaction."""

    async def at_rest() -> bool:
        return await counted(watcher, "(state <> 'idle' or backend_xid is not null)") == 0

    await eventually(at_rest)
