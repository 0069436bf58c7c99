"""Features of a store's shoppers and products, for models that learn who buys and what sells.

Of a shopper in one store, over all time but for the score:

    order_count             completed orders
    total_spent             what was paid and not given back
    avg_order_value         total_spent / order_count, 0 without orders
    days_since_last_order   since the latest one was completed; missing without any
    cart_abandonment_rate   the share of ended carts that were abandoned, 0..1; missing without any
    user_engagement_score   as of carts (`features.engagement_score`), from the events of this store alone

Of a product in one store, over the last 30 days:

    order_count, units_sold, revenue   of completed orders; after discounts
    cart_count                         carts that hold it
    cart_conversion_rate               the share of these that ended as an order rather than abandoned, 0..1; missing where none ended
    view_count                         events PRODUCT_VIEW of it
    add_to_cart_rate                   events ADD_TO_CART for each of these; missing without views

Amounts are in the store's currency, to four digits. What fades as time passes expires after a day, the score after an hour. ClickHouse is
asked first; while it is away what needs events is `unavailable`, and the others are computed all the same.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

import structlog

from app.api.scalars import encode_id
from app.core.errors import RepositoryError
from app.engagement.features import ACTIVITY_SPAN, ENGAGEMENT, ENGAGEMENT_TTL, Activity, engagement_score

VERSION: Final = "1.0"
"""Of the way in which these are computed; whoever changes it gives it a new one."""

DAY: Final = 86_400
PER_STATEMENT: Final = 200
OVERLAP: Final = timedelta(minutes=10)
"""Longer than a transaction may last, whose changes are dated when it began."""

WATERMARK: Final = "subject_features"
DESCRIPTION: Final = "Up to which change features of shoppers and products were computed."
LEAST: Final = UUID(int=0)
DESCRIPTIONS: Final[Mapping[str, str]] = {
    "order_count": "Completed orders",
    "total_spent": "What was paid and not given back",
    "avg_order_value": "What was paid for each completed order",
    "days_since_last_order": "Days since the latest order was completed",
    "cart_abandonment_rate": "Share of ended carts that were abandoned",
    ENGAGEMENT: "User engagement score based on activity",
    "units_sold": "Pieces in completed orders of 30 days",
    "revenue": "What completed orders of 30 days brought",
    "cart_count": "Carts of 30 days that hold it",
    "cart_conversion_rate": "Share of ended carts with it that were ordered",
    "view_count": "Looks at it in 30 days",
    "add_to_cart_rate": "Times that it was put into a cart for each look at it",
}

Subject = tuple[UUID, UUID]
"""The key of a user or a product, and of the store."""

Value = tuple[str, float, int | None]
"""A feature's name, its value, and for how many seconds it is good; None: until it is computed again."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SubjectFeatures:
    """Computes the features of shoppers and products. Repositories are the system's."""

    repositories: Any

    async def compute_users(self, subjects: Iterable[Subject]) -> tuple[str, ...]:
        """Compute and write the features of shoppers; gives the names of those that could not be computed now."""
        unavailable: tuple[str, ...] = ()
        for some in _portions(subjects):
            bases, now = await self.repositories.user_features.find_bases(some), self.repositories.now()
            scores = await self._scores(some, now)
            values = [(basis, user_features(basis, now)) for basis in bases]
            rows = [_row("user_id", basis, value) for basis, found in values for value in found]
            if scores is None:
                unavailable = (ENGAGEMENT,)
            else:
                known = [(basis, scores.get((basis.subject_id, basis.store_id), 0.0)) for basis in bases]
                rows += [_row("user_id", basis, (ENGAGEMENT, score, ENGAGEMENT_TTL)) for basis, score in known]
            await self.repositories.user_features.add_many(rows)
        return unavailable

    async def compute_products(self, subjects: Iterable[Subject]) -> tuple[str, ...]:
        """Compute and write the features of products; gives the names of those that could not be computed now."""
        unavailable: tuple[str, ...] = ()
        for some in _portions(subjects):
            now = self.repositories.now()
            bases = await self.repositories.product_features.find_bases(some, now - ACTIVITY_SPAN)
            looks = await self._looks(some, now)
            if looks is None:
                unavailable = ("view_count", "add_to_cart_rate")
            rows = []
            for basis in bases:
                seen = None if looks is None else looks.get((basis.subject_id, basis.store_id), (0, 0))
                rows += [_row("product_id", basis, value) for value in product_features(basis, seen)]
            await self.repositories.product_features.add_many(rows)
        return unavailable

    async def run(self) -> None:
        """A turn of the schedule: the shoppers and products that anything happened to since the last one, at first in 30 days."""
        config, now = self.repositories.config, self.repositories.now()
        known = await config.get_value(WATERMARK)
        since = now - ACTIVITY_SPAN if known is None else datetime.fromisoformat(known)
        users = await self._refresh(self.repositories.user_features, since, self.compute_users)
        products = await self._refresh(self.repositories.product_features, since, self.compute_products)
        await config.raise_value(WATERMARK, (now - OVERLAP).isoformat(timespec="microseconds"), DESCRIPTION)
        log.info("subject_features_computed", users=users, products=products)

    async def _refresh(self, rows: Any, since: datetime, compute: Callable[[Iterable[Subject]], Awaitable[object]]) -> int:
        after, count = (LEAST, LEAST), 0
        while found := await rows.find_touched(since, after, PER_STATEMENT):
            await compute(found)
            after, count = found[-1], count + len(found)
        return count

    async def _scores(self, subjects: Sequence[Subject], now: datetime) -> dict[Subject, float] | None:
        """The scores of those who did anything; None while events cannot be reached."""
        scores: dict[Subject, float] = {}
        try:
            for store_id, users in _by_store(subjects):
                active = await self.repositories.user_events.find_activity(users, now - ACTIVITY_SPAN, now, store_id)
                for id, row in active.items():
                    scores[id, store_id] = engagement_score(Activity(row["events"], row["days"], row["latest"]), now)
        except RepositoryError:
            return None
        return scores

    async def _looks(self, subjects: Sequence[Subject], now: datetime) -> dict[Subject, tuple[int, int]] | None:
        """Looks at products and how often they were put into carts; None while events cannot be reached."""
        looks: dict[Subject, tuple[int, int]] = {}
        try:
            for store_id, ids in _by_store(subjects):
                # Events name a product by its global id or by the key itself.
                names = {name: id for id in ids for name in (encode_id("Product", id), str(id))}
                found = await self.repositories.user_events.find_product_activity(list(names), store_id, now - ACTIVITY_SPAN, now)
                for name, row in found.items():
                    views, additions = looks.get((names[name], store_id), (0, 0))
                    looks[names[name], store_id] = views + row["views"], additions + row["additions"]
        except RepositoryError:
            return None
        return looks


def user_features(basis: Any, now: datetime) -> list[Value]:
    """The features of a shopper that follow from carts and orders."""
    spent, ended = float(basis.spent), basis.abandoned + basis.converted
    found: list[Value] = [
        ("order_count", basis.completed, None),
        ("total_spent", spent, None),
        ("avg_order_value", round(spent / basis.completed, 4) if basis.completed else 0, None),
    ]
    if basis.last_completed_at is not None:
        since = max((now - basis.last_completed_at).total_seconds() / DAY, 0.0)
        found.append(("days_since_last_order", round(since, 4), DAY))
    if ended:
        found.append(("cart_abandonment_rate", round(basis.abandoned / ended, 4), None))
    return found


def product_features(basis: Any, looks: tuple[int, int] | None) -> list[Value]:
    """The features of a product; `looks` are views and additions to carts, None where they are not known."""
    ended = basis.abandoned + basis.converted
    found: list[Value] = [
        ("order_count", basis.orders, DAY),
        ("units_sold", int(basis.units), DAY),
        ("revenue", float(basis.revenue), DAY),
        ("cart_count", basis.carts, DAY),
    ]
    if ended:
        found.append(("cart_conversion_rate", round(basis.converted / ended, 4), DAY))
    if looks is not None:
        views, additions = looks
        found.append(("view_count", views, DAY))
        if views:
            found.append(("add_to_cart_rate", round(additions / views, 4), DAY))
    return found


def _row(subject: str, basis: Any, value: Value) -> dict[str, Any]:
    name, number, ttl = value
    return {subject: basis.subject_id, "store_id": basis.store_id, "name": name, "version": VERSION, "value": number, "ttl": ttl}


def _portions(subjects: Iterable[Subject]) -> Iterable[Sequence[Subject]]:
    """Each of them once, as many as one statement computes; by store."""
    ordered = sorted(set(subjects), key=itemgetter(1, 0))
    return (ordered[start : start + PER_STATEMENT] for start in range(0, len(ordered), PER_STATEMENT))


def _by_store(subjects: Sequence[Subject]) -> Iterable[tuple[UUID, list[UUID]]]:
    return ((store_id, [id for id, _ in group]) for store_id, group in groupby(sorted(subjects, key=itemgetter(1)), key=itemgetter(1)))
