"""What events tell of a shop: every statement that counts them. Each figure is one statement, over events seen once each (FINAL).

A visitor is a user, or a visit (`session_id`) that no user was ever seen in. Carts, orders and revenue are what the platform itself tells
(`EventSource.PLATFORM`). Amounts of different currencies never add. Answers are kept for half a minute.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final
from uuid import UUID

import orjson

from app.analytics.arrival import key_of
from app.analytics.models import EventType, UserEvent, VisitStep
from app.analytics.periods import AnalyticsInterval, Period
from app.analytics.repository import ROWS, EventReader, event_of
from app.core.clickhouse_lists import MOMENT
from app.core.money import quantize

KEPT_SECONDS: Final = 30
SECONDS: Final = 20.0
"""What one figure may take."""

FUNNEL: Final = (VisitStep.PRODUCT_VIEW, VisitStep.ADD_TO_CART, VisitStep.CHECKOUT_STARTED, EventType.ORDER_PLACED)
MOST_COHORTS: Final = 60

TOLD_STEPS: Final = frozenset(
    (EventType.CART_CREATED, EventType.CART_UPDATED, EventType.CART_ABANDONED, EventType.ORDER_PLACED, EventType.ORDER_COMPLETED)
)
"""What only the platform can tell."""

WITHIN: Final = f"timestamp >= {{start:{MOMENT}}} AND timestamp < {{end:{MOMENT}}}"
EDGE: Final = "roundDown(toUnixTimestamp(timestamp), {edges:Array(UInt32)})"
VISITOR: Final = "ifNull(toString(user_id), session_id)"
VISITORS: Final = "uniqExact(user_id) + uniqExact(session_id) - uniqExactIf(session_id, isNotNull(user_id))"
TOLD: Final = "source = 'platform' AND event_type"
CART, ORDER, CURRENCY = (f"JSONExtractString(metadata, '{name}')" for name in ("cartId", "orderId", "currency"))
TOTAL: Final = "toDecimal128OrZero(JSONExtractString(metadata, 'total'), 4)"
FIGURES: Final = f"""
    {VISITORS} AS visitors,
    uniqExact(session_id) AS sessions,
    uniqExactIf({CART}, {TOLD} = 'CART_CREATED') AS carts,
    uniqExactIf({CART}, {TOLD} = 'CART_ABANDONED') AS abandoned_carts,
    uniqExactIf({ORDER}, {TOLD} = 'ORDER_PLACED') AS orders,
    uniqExactIf({ORDER}, {TOLD} = 'ORDER_COMPLETED') AS completed_orders,
    mapApply((k, v) -> (k, toString(v)), sumMapIf(map({CURRENCY}, {TOTAL}), {TOLD} = 'ORDER_COMPLETED')) AS revenue,
    sumMapIf(map({CURRENCY}, toInt64(1)), {TOLD} = 'ORDER_COMPLETED') AS sold"""

PRODUCTS: Final = f"""
    SELECT product,
        countIf(event_type = 'PRODUCT_VIEW') AS views,
        sumIf(greatest(quantity, 1), event_type = 'ADD_TO_CART') AS added,
        sumIf(quantity, {TOLD} = 'ORDER_COMPLETED') AS units,
        mapApply((k, v) -> (k, toString(v)), sumMapIf(map({CURRENCY}, price * quantity), {TOLD} = 'ORDER_COMPLETED')) AS revenue,
        sumMapIf(map({CURRENCY}, toInt64(1)), {TOLD} = 'ORDER_COMPLETED') AS sold
    FROM (
        SELECT *, JSONExtractString(item, 'productId') AS product, JSONExtractUInt(item, 'quantity') AS quantity,
            toDecimal128OrZero(JSONExtractString(item, 'price'), 4) AS price
        FROM (
            SELECT event_type, source, metadata,
                arrayJoin(if(event_type = 'ORDER_COMPLETED', JSONExtractArrayRaw(metadata, 'items'), [metadata])) AS item
            FROM events WHERE event_type IN ('PRODUCT_VIEW', 'ADD_TO_CART') OR ({TOLD} = 'ORDER_COMPLETED')
        )
    )
    WHERE product != '' GROUP BY product"""  # noqa: S608 - constants

PAGES: Final = f"""
    SELECT path(assumeNotNull(page_url)) AS page, count() AS views, {VISITORS} AS visitors
    FROM events WHERE event_type IN ('PAGE_VIEW', 'PRODUCT_VIEW') AND NOT is_error AND isNotNull(page_url)
    GROUP BY page ORDER BY views DESC, page LIMIT {{most:UInt32}}"""  # noqa: S608

REFERRERS: Final = f"""
    SELECT domainWithoutWWW(JSONExtractString(metadata, 'referrer')) AS referrer, uniqExact(session_id) AS sessions, {VISITORS} AS visitors
    FROM events WHERE referrer != '' AND referrer != domainWithoutWWW(ifNull(page_url, ''))
    GROUP BY referrer ORDER BY sessions DESC, referrer LIMIT {{most:UInt32}}"""  # noqa: S608

COHORTS: Final = f"""
    SELECT cohort, bucket, count() AS visitors FROM (
        SELECT roundDown(toUnixTimestamp(min(timestamp)), {{edges:Array(UInt32)}}) AS cohort,
            arrayJoin(groupUniqArrayIf({EDGE}, timestamp >= {{start:{MOMENT}}})) AS bucket
        FROM events GROUP BY {VISITOR} AS visitor HAVING isNotNull(visitor) AND min(timestamp) >= {{start:{MOMENT}}}
    )
    GROUP BY cohort, bucket"""  # noqa: S608


class TopProductOrder(StrEnum):
    """What makes a product a top one: pieces sold in completed orders, looks at it, or pieces put into carts."""

    UNITS = "units"
    VIEWS = "views"
    ADDED = "added"


@dataclass(frozen=True)
class Revenue:
    """What completed orders in one currency brought, in its major units; `orders` is how many they were."""

    currency: str
    amount: Decimal
    orders: int

    @property
    def average(self) -> Decimal:
        """What an order brought on average, rounded half-even."""
        return quantize(self.amount / self.orders, self.currency)


@dataclass(frozen=True)
class Figures:
    """What happened in a span of time; see the module for what is counted."""

    visitors: int = 0
    sessions: int = 0
    carts: int = 0
    abandoned_carts: int = 0
    orders: int = 0
    completed_orders: int = 0
    revenue: Sequence[Revenue] = field(default_factory=list)

    @property
    def conversion(self) -> float | None:
        """Orders placed for each visit; None where there was no visit."""
        return self.orders / self.sessions if self.sessions else None

    @property
    def abandonment(self) -> float | None:
        """The share of carts that were left; None where there was no cart."""
        return self.abandoned_carts / self.carts if self.carts else None


@dataclass(frozen=True)
class Bucket(Figures):
    """The figures from `start` on, until the next bucket."""

    start: datetime = field(kw_only=True)


@dataclass(frozen=True)
class TopProduct:
    """How one product fares; `product` is what events name it by."""

    product: str
    views: int
    added: int
    units: int
    revenue: Sequence[Revenue]

    @property
    def product_id(self) -> UUID | None:
        """The key of the product, named by its global id or by the key itself; None where it is neither."""
        return key_of(self.product, "Product")


@dataclass(frozen=True)
class Cohort:
    """Visitors first seen in the bucket that begins at `start`, and how many of them came in it and in each bucket after it."""

    start: datetime
    visitors: list[int]

    @property
    def size(self) -> int:
        """How many they are."""
        return self.visitors[0]


class AnalyticsRepository(EventReader):
    """Figures over the events that the viewer may see. Raises `BadInput`, `TooLarge` where a period has too much, `Unavailable`."""

    entity = "analytics"

    async def overview(self, period: Period) -> Figures:
        """All of a period in one."""
        (row,) = await self._rows(period, f"SELECT {FIGURES} FROM events")  # noqa: S608 - constants
        return Figures(**_figures(row))

    async def time_series(self, period: Period, interval: AnalyticsInterval, time_zone: str) -> list[Bucket]:
        """The figures of each bucket of a period, also of those in which nothing happened."""
        edges = period.edges(interval, time_zone)
        rows = await self._rows(period, f"SELECT {EDGE} AS bucket, {FIGURES} FROM events GROUP BY bucket", {"edges": _seconds(edges)})  # noqa: S608
        found = {row["bucket"]: row for row in rows}
        return [
            Bucket(start=edge, **_figures(found[second])) if second in found else Bucket(start=edge)
            for edge, second in zip(edges, _seconds(edges), strict=True)
        ]

    async def funnel(self, period: Period, steps: Sequence[str], window: int) -> list[int]:
        """How many visitors went through the steps in this order, each within `window` seconds of their first one, up to each step.

        Steps that the platform tells of count where it does: what somebody claims is no order.
        """
        names = {f"step{n}": step for n, step in enumerate(steps)}
        conditions = ", ".join(f"event_type = {{{name}:String}}{_by_platform(step)}" for name, step in names.items())
        reached = f"windowFunnel({int(window) * 1_000_000})(toUInt64(toUnixTimestamp64Micro(timestamp)), {conditions})"
        wanted = ", ".join(f"{{{name}:String}}" for name in names)
        visitors = (
            f"SELECT {reached} AS level FROM events WHERE event_type IN ({wanted}) GROUP BY {VISITOR} AS visitor HAVING isNotNull(visitor)"  # noqa: S608
        )
        rows = await self._rows(period, f"SELECT level, count() AS visitors FROM ({visitors}) GROUP BY level", names)  # noqa: S608
        levels = {row["level"]: row["visitors"] for row in rows}
        return [sum(count for level, count in levels.items() if level >= step) for step in range(1, len(steps) + 1)]

    async def top_products(self, period: Period, order: TopProductOrder, most: int) -> list[TopProduct]:
        """The products that fare best in one respect, with the others beside it."""
        tail = f" HAVING {order.value} > 0 ORDER BY {order.value} DESC, product LIMIT {{most:UInt32}}"
        rows = await self._rows(period, PRODUCTS + tail, {"most": most})
        return [TopProduct(**_figures(row)) for row in rows]

    async def top_pages(self, period: Period, most: int) -> list[dict[str, Any]]:
        """The paths of the pages most looked at: `page`, `views`, `visitors`."""
        return await self._rows(period, PAGES, {"most": most})

    async def top_referrers(self, period: Period, most: int) -> list[dict[str, Any]]:
        """The hosts that most visits come from: `referrer`, `sessions`, `visitors`."""
        return await self._rows(period, REFERRERS, {"most": most})

    async def retention(self, period: Period, interval: AnalyticsInterval, time_zone: str) -> list[Cohort]:
        """For each bucket those who came first in it, as far back as events are kept, and how many of them came again in the later ones."""
        edges = period.edges(interval, time_zone, MOST_COHORTS)
        seconds = _seconds(edges)
        rows = await self._rows(period, COHORTS, {"edges": seconds}, before=True)
        found = {(row["cohort"], row["bucket"]): row["visitors"] for row in rows}
        return [
            Cohort(edge, [found.get((second, later), 0) for later in seconds[number:]])
            for number, (edge, second) in enumerate(zip(edges, seconds, strict=True))
        ]

    async def journey(self, period: Period, most: int, *, user_id: UUID | None, session_id: str | None) -> list[UserEvent]:
        """What a user, or whoever made a visit, did one after the other: at most `most` events."""
        whose = "user_id = {whose:UUID}" if user_id else "session_id = {whose:String}"
        tail = "ORDER BY timestamp, id LIMIT {most:UInt32}"
        query = f"{ROWS} WHERE {self._visible(period)} AND {WITHIN} AND {whose} {tail}"
        values = self._values(period, {"whose": user_id or session_id, "most": most})
        return [event_of(row) for row in await self.clickhouse.fetch(query, values, timeout=SECONDS)]

    async def _rows(
        self, period: Period, query: str, values: Mapping[str, Any] | None = None, *, before: bool = False
    ) -> list[dict[str, Any]]:
        """The rows of a query over `events`, those of the period, or all until its end; perhaps of a moment ago."""
        within = f"timestamp < {{end:{MOMENT}}}" if before else WITHIN
        text = f"WITH events AS (SELECT * FROM user_events FINAL WHERE {self._visible(period)} AND {within}) {query}"  # noqa: S608
        bound = self._values(period, values or {})
        key = f"analytics:{hashlib.sha256(orjson.dumps([text, bound], default=str)).hexdigest()}"
        known, generation = await self.cache.get(key), self.cache.generation(key)
        if known is not None:
            return known  # type: ignore[no-any-return]
        rows = await self.clickhouse.fetch(text, bound, timeout=SECONDS)
        await self.cache.set(key, rows, generation, KEPT_SECONDS)
        return rows

    def _visible(self, period: Period) -> str:
        return self._scope() if period.store_id is None else f"{self._scope()} AND store_id = {{store_id:UUID}}"

    def _values(self, period: Period, values: Mapping[str, Any]) -> dict[str, Any]:
        store = {} if period.store_id is None else {"store_id": period.store_id}
        return self._bind({"start": period.start, "end": period.end, **store, **values})


def _figures(row: Mapping[str, Any]) -> dict[str, Any]:
    sold = row["sold"]
    counted = {name: value for name, value in row.items() if name not in ("bucket", "revenue", "sold")}
    return {**counted, "revenue": _revenue(row["revenue"], sold)}


def _revenue(amounts: Mapping[str, str], sold: Mapping[str, int]) -> list[Revenue]:
    return [Revenue(currency, Decimal(amount), sold[currency]) for currency, amount in sorted(amounts.items())]


def _by_platform(step: str) -> str:
    """What more must hold of an event of this type."""
    return " AND source = 'platform'" if step in TOLD_STEPS else ""


def _seconds(edges: Iterable[datetime]) -> list[int]:
    return [int(edge.timestamp()) for edge in edges]
