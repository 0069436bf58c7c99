"""The features of a cart, as the specification names them (`computeCartFeatures`), computed from what is stored.

`user_engagement_score` says how much its shopper does, from 0 to 1, by the events of the last 30 days:

    score = 0.40 * exp(-d / 7) + 0.35 * (1 - exp(-a / 5)) + 0.25 * (1 - exp(-n / 50))

with d the days since the latest event (recency), a the days with any event (frequency) and n the number of events (depth). Whoever did
something later, on more days or more often never has a lower score; without any event it is 0. Guests have none, since nothing is known
of them. The score fades as time passes, so it expires after an hour; what follows from the cart alone stays until the cart changes.

ClickHouse is asked before the transaction. While it is away the other features are computed all the same, and the answer says which one
could not be.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp
from typing import Any, Final
from uuid import UUID

import structlog

from app.carts.models import FeatureRequest
from app.carts.repository import FeatureRequestRepository
from app.core.errors import NotFound, RepositoryError
from app.engagement.models import ITEM_COUNT, Feature, FeatureCreate

VERSION: Final = "1.0"
"""Of the way in which features are computed; whoever changes it gives it a new one."""

ENGAGEMENT: Final = "user_engagement_score"
ENGAGEMENT_TTL: Final = 3600
"""Seconds."""

ACTIVITY_SPAN: Final = timedelta(days=30)
AT_ONCE: Final = 20
PER_TURN: Final = 1000
"""Carts whose features are computed in a row."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Activity:
    """What a shopper did within the last 30 days."""

    events: int
    days: int
    latest: datetime


@dataclass(frozen=True)
class Computed:
    """The features of a cart, and the names of those that could not be computed now."""

    features: list[Feature]
    unavailable: tuple[str, ...] = ()


def engagement_score(activity: Activity | None, now: datetime) -> float:
    """How much somebody does, from 0 to 1, to four digits."""
    if activity is None or activity.events <= 0:
        return 0.0
    age = max((now - activity.latest).total_seconds() / 86_400, 0.0)
    recency, frequency, depth = exp(-age / 7), 1 - exp(-activity.days / 5), 1 - exp(-activity.events / 50)
    return round(0.40 * recency + 0.35 * frequency + 0.25 * depth, 4)


def cart_features(basis: Any, score: float | None, version: str = VERSION) -> list[FeatureCreate]:
    """The features of a cart, whose `basis` is read from it (`FeatureRepository.find_basis`). Amounts are in the cart's currency."""
    read_of = {"cart_id": basis.id, "version": version, "metadata": {"cartVersion": basis.version}}
    found = [
        FeatureCreate(name=ITEM_COUNT, value=basis.lines, description="Total number of items in cart", **read_of),
        FeatureCreate(name="total_value", value=float(basis.total), description="Total cart value", **read_of),
        FeatureCreate(name="avg_item_price", value=float(round(basis.mean_price, 4)), description="Average price per item", **read_of),
    ]
    if score is not None:
        description = "User engagement score based on activity"
        found.append(FeatureCreate(name=ENGAGEMENT, value=score, description=description, ttl=ENGAGEMENT_TTL, **read_of))
    return found


@dataclass(frozen=True)
class FeatureStore:
    """Computes features. Repositories are the system's. `on_settled` is told of carts that have changed and settled, maybe repeatedly."""

    repositories: Any
    version: str = VERSION
    on_settled: Callable[[FeatureRequest], Awaitable[None]] | None = None

    async def compute(self, cart_id: UUID) -> Computed:
        """Compute and write the features of a cart. Raises `NotFound`."""
        basis = await self.repositories.features.find_basis(cart_id)
        if basis is None:
            raise NotFound("no Cart has this id")
        score, unavailable = await self._score(basis.user_id)
        async with self.repositories.transaction() as tx:
            await tx.features.lock_cart(cart_id)
            # Once more: the cart may have changed, and whoever computes last has to see it as it is last.
            basis = await tx.features.find_basis(cart_id)
            if basis is None:
                raise NotFound("no Cart has this id")
            features: list[Feature] = await tx.features.create_many(cart_features(basis, score, self.version))
        return Computed(features, unavailable)

    async def compute_requested(self) -> int:
        """Compute the features of carts that have changed and settled since; gives how many carts that were."""
        requests, found = self.repositories.of(FeatureRequestRepository), 0
        while found < PER_TURN and (claimed := await requests.claim(AT_ONCE)):
            for request in claimed:
                await self._answer(requests, request)
            found += len(claimed)
        return found

    async def run(self) -> None:
        """One turn of the schedule."""
        found = await self.compute_requested()
        if found:
            log.info("features_computed", carts=found)

    async def _answer(self, requests: FeatureRequestRepository, request: FeatureRequest) -> None:
        """What cannot be computed now stays requested, and is tried again when its claim has ended."""
        try:
            if self.on_settled is not None:
                await self.on_settled(request)
            computed = await self.compute(request.cart_id)
        except NotFound:
            await requests.done(request)
        except RepositoryError as error:
            log.warning("features_not_computed", cart=str(request.cart_id), reason=error.message)
        else:
            self.repositories.metrics.cart_features.labels("computed").inc()
            if not computed.unavailable:
                await requests.done(request)

    async def _score(self, user_id: UUID | None) -> tuple[float | None, tuple[str, ...]]:
        if user_id is None:
            return None, ()
        now = self.repositories.now()
        try:
            found = await self.repositories.user_events.find_activity([user_id], now - ACTIVITY_SPAN, now)
        except RepositoryError:
            return None, (ENGAGEMENT,)
        row = found.get(user_id)
        return engagement_score(None if row is None else Activity(row["events"], row["days"], row["latest"]), now), ()
