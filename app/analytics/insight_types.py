"""Figures about a shop as GraphQL shows them. Each field is one question to ClickHouse; what is away fails its own field alone."""

from datetime import datetime
from uuid import UUID

import strawberry

from app.analytics.insights import FUNNEL, AnalyticsRepository, TopProductOrder
from app.analytics.periods import AnalyticsInterval, Period
from app.analytics.types import UserEvent
from app.api.context import Context, Info
from app.api.money import money
from app.api.relations import to_one
from app.api.scalars import decode_id
from app.catalog.types import Product
from app.core.errors import BadInput, NotFound

MOST_STEPS = 10
MOST_NAME = 128
LONGEST_WINDOW = 30 * 86_400
MOST_ROWS = 100
MOST_JOURNEY = 500

strawberry.enum(AnalyticsInterval, description="How long a bucket is; weeks begin on Mondays.")
strawberry.enum(TopProductOrder, description="What makes a product a top one.")


@strawberry.type(name="Revenue", description="What completed orders in one currency brought.")
class RevenueType:
    currency: str
    amount: str = money("amount")
    orders: int = strawberry.field(description="How many orders it was.")
    average_order_value: str = money("average")


@strawberry.type
class _Figures:
    visitors: int = strawberry.field(description="Users, and visits that no user was seen in.")
    sessions: int = strawberry.field(description="Visits.")
    carts: int = strawberry.field(description="Carts created.")
    abandoned_carts: int
    orders: int = strawberry.field(description="Orders placed.")
    completed_orders: int
    conversion: float | None = strawberry.field(description="Orders placed for each visit; null without visits.")
    abandonment: float | None = strawberry.field(description="The share of carts that were left; null without carts.")
    revenue: list[RevenueType] = strawberry.field(description="Of completed orders, by currency.")


@strawberry.type(description="What happened in a period.")
class AnalyticsOverview(_Figures):
    pass


@strawberry.type(description="What happened from `start` until the next bucket.")
class AnalyticsBucket(_Figures):
    start: datetime


@strawberry.type(description="How far visitors came.")
class FunnelStep:
    step: str = strawberry.field(description="The type of event.")
    visitors: int = strawberry.field(description="Who came this far, in the order of the steps and within the window.")
    conversion: float | None = strawberry.field(description="Their share of those of the first step.")
    step_conversion: float | None = strawberry.field(description="Their share of those of the step before.")


@strawberry.type(name="TopProduct", description="How one product fares.")
class TopProductType:
    product: Product | None = to_one("products", key="product_id")
    views: int
    added: int = strawberry.field(description="Pieces put into carts.")
    units: int = strawberry.field(description="Pieces sold in completed orders.")
    revenue: list[RevenueType]


@strawberry.type(description="A page's path and who looked at it.")
class TopPage:
    page: str
    views: int
    visitors: int


@strawberry.type(description="A host that visits come from.")
class TopReferrer:
    referrer: str
    sessions: int
    visitors: int


@strawberry.type(description="Visitors who came first in the bucket that begins at `start`.")
class RetentionCohort:
    start: datetime
    size: int
    visitors: list[int] = strawberry.field(description="How many of them came in that bucket and in each one after it.")


@strawberry.type(description="Figures about the events of a period, of one store or of all that the caller may see.")
class Analytics:
    period: strawberry.Private[Period]

    @strawberry.field(name="from")  # type: ignore[untyped-decorator]
    def start(self) -> datetime:
        return self.period.start

    @strawberry.field
    def to(self) -> datetime:
        return self.period.end

    @strawberry.field(description="All of the period in one.")  # type: ignore[untyped-decorator]
    async def overview(self, info: Info) -> AnalyticsOverview | None:
        return await _analytics(info).overview(self.period)  # type: ignore[return-value]

    @strawberry.field(description="Bucket by bucket, at most 1,000, those without events included.")  # type: ignore[untyped-decorator]
    async def time_series(
        self, info: Info, interval: AnalyticsInterval = AnalyticsInterval.DAY, time_zone: str = "UTC"
    ) -> list[AnalyticsBucket] | None:
        return await _analytics(info).time_series(self.period, interval, time_zone)  # type: ignore[return-value]

    @strawberry.field(description="How many visitors went through steps in their order, all within `window` seconds (a day) of the first.")  # type: ignore[untyped-decorator]
    async def funnel(self, info: Info, steps: list[str] = list(FUNNEL), window: int = 86_400) -> list[FunnelStep] | None:  # noqa: B006
        _check_steps(steps)
        _check(1 <= window <= LONGEST_WINDOW, "window", f"must be from 1 to {LONGEST_WINDOW} seconds")
        counts = await _analytics(info).funnel(self.period, steps, window)
        before = [counts[0], *counts]
        return [
            FunnelStep(step=step, visitors=count, conversion=_share(count, counts[0]), step_conversion=_share(count, previous))
            for step, count, previous in zip(steps, counts, before, strict=False)
        ]

    @strawberry.field(description="The products that fare best.")  # type: ignore[untyped-decorator]
    async def top_products(
        self, info: Info, first: int = 10, order_by: TopProductOrder = TopProductOrder.UNITS
    ) -> list[TopProductType] | None:
        return await _analytics(info).top_products(self.period, order_by, _first(first))  # type: ignore[return-value]

    @strawberry.field(description="The pages most looked at.")  # type: ignore[untyped-decorator]
    async def top_pages(self, info: Info, first: int = 10) -> list[TopPage] | None:
        return [TopPage(**row) for row in await _analytics(info).top_pages(self.period, _first(first))]

    @strawberry.field(description="The hosts that most visits come from.")  # type: ignore[untyped-decorator]
    async def top_referrers(self, info: Info, first: int = 10) -> list[TopReferrer] | None:
        return [TopReferrer(**row) for row in await _analytics(info).top_referrers(self.period, _first(first))]

    @strawberry.field(description="Who came again: at most 60 cohorts. A visitor's first time may lie as far back as events are kept.")  # type: ignore[untyped-decorator]
    async def retention(
        self, info: Info, interval: AnalyticsInterval = AnalyticsInterval.WEEK, time_zone: str = "UTC"
    ) -> list[RetentionCohort] | None:
        return await _analytics(info).retention(self.period, interval, time_zone)  # type: ignore[return-value]

    @strawberry.field(description="What a user, or whoever made a visit, did in the period, from the first event on.")  # type: ignore[untyped-decorator]
    async def journey(
        self, info: Info, user_id: strawberry.ID | None = None, session_id: str | None = None, first: int = 100
    ) -> list[UserEvent] | None:
        _check((user_id is None) != (session_id is None), "userId", "name either a user or a visit (`sessionId`)")
        key = decode_id(user_id, "User", "userId") if user_id else None
        return await _analytics(info).journey(self.period, _first(first, MOST_JOURNEY), user_id=key, session_id=session_id)  # type: ignore[return-value]


async def store_of(context: Context, store_id: str | None) -> UUID | None:
    """The key of a store whose figures the viewer may see; raises `BadInput` and `NotFound`."""
    if store_id is None:
        return None
    key = decode_id(store_id, "Store", "storeId")
    foreign = not context.viewer.sees_everything and context.viewer.store_id != key
    if foreign or await context.repositories.stores.find_by_id(key) is None:
        raise NotFound("there is no Store with this id")
    return key


def _analytics(info: Info) -> AnalyticsRepository:
    return info.context.repositories.analytics  # type: ignore[no-any-return]


def _share(count: int, whole: int) -> float | None:
    return count / whole if whole else None


def _first(first: int, most: int = MOST_ROWS) -> int:
    _check(1 <= first <= most, "first", f"must be from 1 to {most}")
    return first


def _check_steps(steps: list[str]) -> None:
    _check(2 <= len(steps) <= MOST_STEPS, "steps", f"has {len(steps)}; a funnel has 2 to {MOST_STEPS}")
    _check(len(set(steps)) == len(steps), "steps", "names a step twice")
    _check(all(0 < len(step) <= MOST_NAME and "\x00" not in step for step in steps), "steps", f"has 1 to {MOST_NAME} characters each")


def _check(holds: bool, argument: str, message: str) -> None:
    if not holds:
        raise BadInput(argument, message)
