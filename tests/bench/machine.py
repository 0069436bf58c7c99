"""What a benchmark ran on."""

import os
import platform
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import psutil

MODEL: Final = re.compile(r"^model name\s*: (.*)$", re.MULTILINE)


def machine(database: str) -> str:
    """One line for people: processor, memory, system, versions and the day; `database` as it names itself."""
    cores, memory = os.cpu_count(), psutil.virtual_memory().total / 2**30
    parts = (
        f"{processor()}, {cores} cores, {memory:.0f} GiB",
        f"{platform.system()} {platform.release()}",
        f"Python {platform.python_version()}",
        database,
        f"{datetime.now(UTC):%Y-%m-%d}",
    )
    return f"Measured on {', '.join(parts)}; server, database and load share the machine."


def processor() -> str:
    try:
        found = MODEL.search(Path("/proc/cpuinfo").read_text())
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


async def version(dsn: str) -> str:
    """Which PostgreSQL a database is on."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return f"PostgreSQL {connection.get_server_version().major}"
    finally:
        await connection.close()


async def postmaster(dsn: str) -> int:
    """The process id of the PostgreSQL server, which must run on this machine."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return psutil.Process(connection.get_server_pid()).ppid()
    finally:
        await connection.close()
