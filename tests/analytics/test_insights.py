"""Figures over events, held against a slow computation over the same ones."""

from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from uuid_utils.compat import uuid7

from app.analytics.insights import FUNNEL, Bucket, Figures, Revenue, TopProductOrder
from app.analytics.models import EventSource, EventType, VisitStep
from app.analytics.periods import AnalyticsInterval, Period
from app.core.cache import Cache, memory_backend
from app.core.database import Database
from app.core.errors import BadInput, Unavailable
from app.core.metrics import Metrics
from app.core.security import Viewer, ViewerKind
from app.repositories import Repositories, create_repository_factory
from tests.analytics.conftest import event
from tests.conftest import fresh_clickhouse

Event = dict[str, Any]
STORES = (UUID(int=1), UUID(int=2), None)
START = datetime(2026, 3, 20, 13, 30, tzinfo=UTC)
"""Before the clocks of Berlin change, on the 29th."""

END = START + timedelta(days=21, hours=5)
PERIODS = (Period(START, END), Period(START + timedelta(days=4), END - timedelta(days=9), STORES[0]))
CLIENT_TYPES = (*VisitStep, EventType.ORDER_PLACED, EventType.ORDER_COMPLETED, "something else")
TOLD = (EventType.CART_CREATED, EventType.CART_ABANDONED, EventType.ORDER_PLACED, EventType.ORDER_COMPLETED)


def drawn(count: int = 3_000) -> list[Event]:
    """Events of a few people in all their variety: known and unknown, of no store, at the same moments, before and after the period."""
    random = Random(7)
    users = [UUID(int=n) for n in range(100, 125)]
    made = []
    for _ in range(count):
        told = random.random() < 0.3
        happened = START + timedelta(seconds=random.choice((0, 1)) + 1800 * random.randrange(-300, 48 * 24))
        made.append(
            event(
                store_id=random.choice(STORES),
                user_id=random.choice(users) if random.random() < 0.5 else None,
                session_id=f"visit {random.randrange(80)}" if random.random() < 0.9 else None,
                event_type=random.choice(TOLD if told else CLIENT_TYPES),
                source=EventSource.PLATFORM if told else EventSource.CLIENT,
                timestamp=happened,
                metadata=_metadata(random),
                page_url=random.choice((None, "https://shop.example/", "https://shop.example/p/1?a=1#b", "https://shop.example/p/2")),
                is_error=random.random() < 0.1,
            )
        )
    return made


def _metadata(random: Random) -> Event:
    product = random.choice((f"product {random.randrange(9)}", ""))
    items = [
        {"productId": f"product {n}", "quantity": random.randrange(1, 4), "price": random.choice(("9.99", "0.5", "120"))}
        for n in random.sample(range(9), 2)
    ]
    return {
        "cartId": f"cart {random.randrange(60)}",
        "orderId": f"order {random.randrange(60)}",
        "total": f"{random.randrange(10_000) / 100:.2f}",
        "currency": random.choice(("USD", "EUR", "JPY")),
        "productId": product,
        "quantity": random.randrange(3),
        "items": items,
        "referrer": random.choice(("", "https://www.search.example/?q=1", "https://news.example/a", "https://shop.example/")),
    }


EVENTS = drawn()


@pytest.fixture(scope="module")
async def filled(migrated: str) -> AsyncIterator[Repositories]:
    """All events, a third of them twice: what arrives again counts once."""
    metrics = Metrics()
    async with fresh_clickhouse() as clickhouse:
        repositories = create_repository_factory(Database(migrated), Cache(memory_backend(), metrics), metrics, clickhouse=clickhouse)
        await repositories.user_events.insert_batch(EVENTS, str(uuid7()))
        await repositories.user_events.insert_batch(EVENTS[::3], str(uuid7()))
        yield repositories


# --- The slow computation


def of(period: Period, *, before: bool = False) -> list[Event]:
    store = period.store_id
    return [
        one
        for one in EVENTS
        if (before or one["timestamp"] >= period.start) and one["timestamp"] < period.end and (store is None or one["store_id"] == store)
    ]


def is_told(one: Event, kind: EventType) -> bool:
    return bool(one["source"] is EventSource.PLATFORM and one["event_type"] == kind)


def visitor(one: Event) -> Any:
    return str(one["user_id"]) if one["user_id"] else one["session_id"]


def count_visitors(events: Sequence[Event]) -> int:
    known = {one["session_id"] for one in events if one["user_id"]}
    unknown = {one["session_id"] for one in events if one["session_id"]} - known
    return len({one["user_id"] for one in events if one["user_id"]}) + len(unknown)


def distinct(events: Sequence[Event], name: str, kind: EventType) -> int:
    return len({one["metadata"][name] for one in events if is_told(one, kind)})


def revenue(sold: Sequence[tuple[str, Decimal]]) -> list[Revenue]:
    amounts: dict[str, list[Decimal]] = defaultdict(list)
    for currency, amount in sold:
        amounts[currency].append(amount)
    return [Revenue(currency, sum(found, Decimal()), len(found)) for currency, found in sorted(amounts.items())]


def figures(events: Sequence[Event]) -> Figures:
    return Figures(
        visitors=count_visitors(events),
        sessions=len({one["session_id"] for one in events} - {None}),
        carts=distinct(events, "cartId", EventType.CART_CREATED),
        abandoned_carts=distinct(events, "cartId", EventType.CART_ABANDONED),
        orders=distinct(events, "orderId", EventType.ORDER_PLACED),
        completed_orders=distinct(events, "orderId", EventType.ORDER_COMPLETED),
        revenue=revenue(
            [(one["metadata"]["currency"], Decimal(one["metadata"]["total"])) for one in events if is_told(one, EventType.ORDER_COMPLETED)]
        ),
    )


def reached(events: list[tuple[datetime, int]], steps: int, window: timedelta) -> int:
    """How far one visitor came: step by step, the first of them within `window`, the latest start counting."""
    begun: list[datetime | None] = [None] * steps
    for happened, step in sorted(events):
        if step == 0:
            begun[0] = happened
        elif (first := begun[step - 1]) is not None and happened <= first + window:
            begun[step] = first
    return max((step + 1 for step, first in enumerate(begun) if first is not None), default=0)


def top(rows: dict[Any, dict[str, Any]], by: str, most: int) -> list[Any]:
    return sorted((key for key, row in rows.items() if row[by] > 0), key=lambda key: (-rows[key][by], key))[:most]


# --- Held against it


@pytest.mark.parametrize("period", PERIODS)
async def test_an_overview_is_exact(filled: Repositories, period: Period) -> None:
    found = await filled.analytics.overview(period)
    assert found == figures(of(period))
    assert found.conversion == pytest.approx(found.orders / found.sessions)
    assert len(found.revenue) == 3


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin", "Asia/Kolkata", "America/St_Johns"])
@pytest.mark.parametrize(("interval", "least"), [("HOUR", 500), ("DAY", 22), ("WEEK", 4), ("MONTH", 2)])
async def test_a_time_series_is_exact_and_has_no_gaps(filled: Repositories, interval: str, least: int, zone: str) -> None:
    period, bucket_of = PERIODS[0], _calendar(interval, ZoneInfo(zone))
    found = await filled.analytics.time_series(period, AnalyticsInterval(interval), zone)
    assert len(found) >= least
    expected: dict[datetime, list[Event]] = defaultdict(list)
    for one in of(period):
        expected[bucket_of(one["timestamp"])].append(one)
    assert expected.keys() <= {bucket.start for bucket in found}
    for bucket in found:
        assert bucket == Bucket(start=bucket.start, **vars(figures(expected[bucket.start])))
    assert [bucket.start for bucket in found] == sorted({bucket_of(START + timedelta(minutes=m)) for m in range(0, (21 * 24 + 5) * 60, 10)})


def _calendar(interval: str, zone: ZoneInfo) -> Callable[[datetime], datetime]:
    def bucket_of(moment: datetime) -> datetime:
        local = moment.astimezone(zone)
        if interval == "HOUR":
            return local.replace(minute=0, second=0, microsecond=0).astimezone(UTC)
        back = {"DAY": 0, "WEEK": local.weekday(), "MONTH": local.day - 1}[interval]
        day = local.date() - timedelta(days=back)
        return datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(UTC)

    return bucket_of


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("window", [1, 3_600, 86_400 * 7])
async def test_a_funnel_is_exact(filled: Repositories, period: Period, window: int) -> None:
    ways: dict[Any, list[tuple[datetime, int]]] = defaultdict(list)
    for one in of(period):
        claimed = one["event_type"] == EventType.ORDER_PLACED and one["source"] is EventSource.CLIENT
        if one["event_type"] in FUNNEL and visitor(one) and not claimed:
            ways[visitor(one)].append((one["timestamp"], FUNNEL.index(one["event_type"])))
    levels = [reached(way, len(FUNNEL), timedelta(seconds=window)) for way in ways.values()]
    found = await filled.analytics.funnel(period, FUNNEL, window)
    assert found == [sum(level >= step for level in levels) for step in range(1, 5)]
    assert found[0] > found[1]


@pytest.mark.parametrize("period", PERIODS)
@pytest.mark.parametrize("order", TopProductOrder)
async def test_top_products_are_exact(filled: Repositories, period: Period, order: TopProductOrder) -> None:
    rows: dict[str, dict[str, Any]] = defaultdict(lambda: {"views": 0, "added": 0, "units": 0, "sold": []})
    for one in of(period):
        about = one["metadata"]
        if one["event_type"] == "PRODUCT_VIEW":
            rows[about["productId"]]["views"] += 1
        if one["event_type"] == "ADD_TO_CART":
            rows[about["productId"]]["added"] += max(about["quantity"], 1)
        for item in about["items"] if is_told(one, EventType.ORDER_COMPLETED) else ():
            rows[item["productId"]]["units"] += item["quantity"]
            rows[item["productId"]]["sold"].append((about["currency"], item["quantity"] * Decimal(item["price"])))
    del rows[""]
    found = await filled.analytics.top_products(period, order, 5)
    assert [one.product for one in found] == top(rows, order.value, 5)
    for best in found:
        row = rows[best.product]
        assert (best.views, best.added, best.units, best.revenue) == (row["views"], row["added"], row["units"], revenue(row["sold"]))


async def test_top_pages_and_referrers_are_exact(filled: Repositories) -> None:
    pages: dict[str, list[Event]] = defaultdict(list)
    referrers: dict[str, list[Event]] = defaultdict(list)
    for one in of(PERIODS[0]):
        if one["event_type"] in ("PAGE_VIEW", "PRODUCT_VIEW") and one["page_url"] and not one["is_error"]:
            pages[urlsplit(one["page_url"]).path].append(one)
        host = (urlsplit(one["metadata"]["referrer"]).hostname or "").removeprefix("www.")
        if host and not (host == "shop.example" and one["page_url"]):
            referrers[host].append(one)
    found = await filled.analytics.top_pages(PERIODS[0], 2)
    best = sorted(pages, key=lambda page: (-len(pages[page]), page))[:2]
    assert found == [{"page": page, "views": len(pages[page]), "visitors": count_visitors(pages[page])} for page in best]
    visits = {host: len({one["session_id"] for one in rows} - {None}) for host, rows in referrers.items()}
    assert await filled.analytics.top_referrers(PERIODS[0], 9) == [
        {"referrer": host, "sessions": visits[host], "visitors": count_visitors(referrers[host])}
        for host in sorted(visits, key=lambda host: (-visits[host], host))
    ]


@pytest.mark.parametrize("interval", ["DAY", "WEEK"])
async def test_retention_is_exact(filled: Repositories, interval: str) -> None:
    period, bucket_of = PERIODS[0], _calendar(interval, ZoneInfo("Europe/Berlin"))
    first: dict[Any, datetime] = {}
    came: dict[Any, set[datetime]] = defaultdict(set)
    for one in sorted(of(period, before=True), key=lambda one: one["timestamp"]):
        if who := visitor(one):
            first.setdefault(who, one["timestamp"])
            came[who].add(bucket_of(one["timestamp"]))
    cohorts = await filled.analytics.retention(period, AnalyticsInterval(interval), "Europe/Berlin")
    starts = [cohort.start for cohort in cohorts]
    for number, cohort in enumerate(cohorts):
        members = [who for who, moment in first.items() if moment >= period.start and bucket_of(moment) == cohort.start]
        assert list(cohort.visitors) == [sum(later in came[who] for who in members) for later in starts[number:]]
    assert any(sum(cohort.visitors[1:]) for cohort in cohorts)


async def test_a_journey_is_in_order_and_bounded(filled: Repositories) -> None:
    user = UUID(int=110)
    own = sorted((one for one in of(PERIODS[0]) if one["user_id"] == user), key=lambda one: (one["timestamp"], one["id"]))
    assert len(own) > 12
    found = await filled.analytics.journey(PERIODS[0], 12, user_id=user, session_id=None)
    assert [one.timestamp for one in found] == [one["timestamp"] for one in own[:12]]
    visit = await filled.analytics.journey(PERIODS[0], 500, user_id=None, session_id="visit 3")
    assert {one.id for one in visit} == {one["id"] for one in of(PERIODS[0]) if one["session_id"] == "visit 3"}


# --- Who sees what, and what is refused


async def test_staff_see_their_stores_figures_alone(filled: Repositories) -> None:
    staff = Viewer(kind=ViewerKind.STAFF, user_id=UUID(int=5), store_id=STORES[0], permissions=frozenset({"events:read"}))
    theirs = filled.scoped(staff)
    whole, own = Period(START, END), Period(START, END, STORES[0])
    assert await theirs.analytics.overview(whole) == figures(of(own))
    assert await theirs.analytics.overview(Period(START, END, STORES[1])) == Figures()
    assert await filled.analytics.overview(whole) == figures(of(whole))


@pytest.mark.parametrize(
    ("start", "end", "argument"), [(END, START, "from"), (START, START, "from"), (START, START + timedelta(days=401), "from")]
)
def test_impossible_periods_are_refused(start: datetime, end: datetime, argument: str) -> None:
    with pytest.raises(BadInput) as refused:
        Period(start, end)
    assert refused.value.argument == argument


@pytest.mark.parametrize(("interval", "zone", "argument"), [("HOUR", "UTC", "interval"), ("DAY", "Mars/Olympus", "timeZone")])
def test_impossible_buckets_are_refused(interval: str, zone: str, argument: str) -> None:
    with pytest.raises(BadInput) as refused:
        Period(START, START + timedelta(days=399)).edges(AnalyticsInterval(interval), zone)
    assert refused.value.argument == argument


async def test_an_answer_is_kept_for_a_moment(filled: Repositories) -> None:
    past, later = START - timedelta(days=100), START - timedelta(days=99)
    assert await filled.analytics.overview(Period(past, later)) == Figures()
    await filled.user_events.insert_batch([event(timestamp=past, session_id="of the past")], str(uuid7()))
    assert await filled.analytics.overview(Period(past, later)) == Figures()
    assert await filled.analytics.overview(Period(past, later, UUID(int=1))) == Figures(visitors=1, sessions=1)


async def test_what_is_away_is_unavailable(migrated: str) -> None:
    metrics = Metrics()
    repositories = create_repository_factory(Database(migrated), Cache(memory_backend(), metrics), metrics)
    with pytest.raises(Unavailable):
        await repositories.analytics.overview(PERIODS[0])
