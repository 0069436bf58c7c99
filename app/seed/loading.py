"""Loading once: a row of the platform's configuration says that a set of data is there.

It is written first, in the same transaction as the data: of two processes that start together the second waits for it, then finds it and
does nothing.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_delay, wait_fixed

from app.core.errors import Conflict, ConstraintViolation
from app.repositories import Repositories
from app.stores.models import ConfigSet

HashPassword = Callable[[str], Awaitable[str]]
VERSION: Final = 1
TURN_SECONDS: Final = 60

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SeedReport:
    """What was loaded: rows by table, or none and the reason."""

    rows: Mapping[str, int]
    reason: str = ""

    def __str__(self) -> str:
        counted = ", ".join(f"{count:,} {table.replace('_', ' ')}" for table, count in self.rows.items())
        return f"loaded {counted}" if self.rows else f"nothing loaded: {self.reason}"


async def load_once(key: str, load: Callable[[], Awaitable[SeedReport]]) -> SeedReport:
    """Load, unless another process did. A lock that it holds is waited for, at most a minute; then `Conflict`.

    `load` claims the key and writes the data, in one transaction. Other failures pass through, and nothing is loaded.
    """
    attempts = AsyncRetrying(
        retry=retry_if_exception_type(Conflict), stop=stop_after_delay(TURN_SECONDS), wait=wait_fixed(0.2), reraise=True
    )
    try:
        async for attempt in attempts:
            with attempt:
                report = await load()
    except ConstraintViolation as error:
        if error.constraint != "uq_config_key":
            raise
        return SeedReport({}, f"{key} is there already")
    log.info("data_loaded", key=key, **report.rows)
    return report


async def is_loaded(repositories: Repositories, key: str) -> bool:
    """Whether the data is there, as far as committed transactions tell."""
    return await repositories.config.find_by_key(key) is not None


async def claim(tx: Repositories, key: str, description: str) -> None:
    """Say that the data is there; raises `ConstraintViolation` of `uq_config_key` when it is already."""
    await tx.config.create(ConfigSet(key=key, value=VERSION, description=description))
