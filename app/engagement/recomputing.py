"""Has the features of carts computed anew where the way of computing them has a new version.

It looks at the carts in the order of their ids and requests those that have features of other versions only, some at a time and not while
many requests wait, so that carts that change do not wait behind them. How far it is stands in the platform's configuration, under a key of
the version, and is written with the requests: whoever takes over goes on from there. Until a new version has reached all workers, those
behind answer requests with the former one; so the carts are looked at again until none is left that lacks it. From then on a turn reads
one row. Values of former versions stay as they were.
"""

from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import structlog

from app.carts.repository import FeatureRequestRepository
from app.engagement.features import VERSION

LOOKED_AT_ONCE: Final = 1000
LOOKS_PER_TURN: Final = 100
MOST_WAITING: Final = 1000
"""Requests: as many as a turn of the worker answers."""

FROM_THE_BEGINNING: Final[dict[str, Any]] = {"after": str(UUID(int=0)), "lacking": 0}
DONE: Final = "done"
DESCRIPTION: Final = "How far the features of carts are computed anew for this version."

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Recomputation:
    """Asks for the features of a version, looking at `at_once` carts in a transaction. Repositories are the system's."""

    repositories: Any
    version: str = VERSION
    at_once: int = LOOKED_AT_ONCE
    most_waiting: int = MOST_WAITING

    @property
    def key(self) -> str:
        """Where the configuration says how far it is."""
        return f"cart_features.{self.version}"

    async def run(self) -> None:
        """One turn of the schedule."""
        looks = 0
        if await self.repositories.config.get_value(self.key) != DONE:
            while looks < LOOKS_PER_TURN and await self._look():
                looks += 1

    async def _look(self) -> bool:
        """Look at the next carts; whether to go on with those behind them."""
        async with self.repositories.transaction() as tx:
            await tx.config.lock_name(self.key)
            mark = await tx.config.get_value(self.key) or FROM_THE_BEGINNING
            if mark == DONE or await tx.of(FeatureRequestRepository).count() >= self.most_waiting:
                return False
            found = await tx.features.request_outdated(self.version, UUID(mark["after"]), self.at_once)
            lacking = mark["lacking"] + found.lacking
            at_end = FROM_THE_BEGINNING if lacking else DONE
            mark = at_end if found.last is None else {"after": str(found.last), "lacking": lacking}
            await tx.config.put(self.key, mark, DESCRIPTION)
        self.repositories.metrics.cart_features.labels("outdated").inc(found.asked)
        if mark == DONE:
            log.info("features_recomputed", version=self.version)
        return found.last is not None
