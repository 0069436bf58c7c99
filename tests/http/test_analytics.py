"""Figures about the demo shop through GraphQL: who may see them, what they lead to, and what is refused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from app.api.scalars import encode_id
from app.seed.people import ANALYST, VIEWER
from tests.serving import Caller

NOW = datetime.now(UTC)
SPAN = {"from": (NOW - timedelta(days=60)).isoformat(), "to": (NOW + timedelta(days=1)).isoformat()}
ALL = """
    query Insight($from: DateTime!, $to: DateTime!, $store: ID) {
      analytics(from: $from, to: $to, storeId: $store) {
        from to
        overview { visitors sessions carts abandonedCarts orders completedOrders conversion abandonment
          revenue { currency amount orders averageOrderValue } }
        timeSeries(interval: WEEK, timeZone: "Europe/Berlin") { start orders sessions revenue { currency amount } }
        funnel { step visitors conversion stepConversion }
        topProducts(first: 3) { units views added revenue { currency amount } product { name sku stores { name } } }
        topPages(first: 2) { page views visitors }
        topReferrers { referrer sessions visitors }
        retention { start size visitors }
      } }
"""


async def ask(caller: Caller, fields: str, **given: Any) -> dict[str, Any]:
    text = f"query ($from: DateTime!, $to: DateTime!, $store: ID) {{ analytics(from: $from, to: $to, storeId: $store) {{ {fields} }} }}"
    found: dict[str, Any] = (await caller.ask(text, **SPAN | given))["analytics"]
    return found


async def test_the_figures_fit_the_shop(administrator: Caller) -> None:
    found = (await administrator.ask(ALL, **SPAN))["analytics"]
    orders = (await administrator.ask("{ orders(first: 250) { nodes { status total currency } } }"))["orders"]["nodes"]
    completed = [order for order in orders if order["status"] == "COMPLETED"]

    overview = found["overview"]
    assert (overview["orders"], overview["completedOrders"], overview["abandonedCarts"]) == (len(orders), len(completed), 12)
    assert overview["visitors"] < overview["sessions"]
    for revenue in overview["revenue"]:
        amounts = [Decimal(order["total"]) for order in completed if order["currency"] == revenue["currency"]]
        assert (Decimal(revenue["amount"]), revenue["orders"]) == (sum(amounts, Decimal()), len(amounts))
        assert abs(Decimal(revenue["averageOrderValue"]) - sum(amounts, Decimal()) / len(amounts)) <= Decimal("0.005")
    assert sum(revenue["orders"] for revenue in overview["revenue"]) == len(completed)

    series = found["timeSeries"]
    assert sum(bucket["orders"] for bucket in series) == len(orders)
    assert len(series) in (9, 10)

    funnel = found["funnel"]
    assert [step["step"] for step in funnel] == ["PRODUCT_VIEW", "ADD_TO_CART", "CHECKOUT_STARTED", "ORDER_PLACED"]
    assert funnel[0]["conversion"] == funnel[0]["stepConversion"] == 1
    assert [step["visitors"] for step in funnel] == sorted((step["visitors"] for step in funnel), reverse=True)
    assert funnel[3]["visitors"] > 0

    assert [top["units"] for top in found["topProducts"]] == sorted((top["units"] for top in found["topProducts"]), reverse=True)
    assert all(top["product"]["name"] and top["product"]["stores"] for top in found["topProducts"])
    assert found["topPages"][0]["page"] == "/"
    assert {row["referrer"] for row in found["topReferrers"]} == {"search.example", "news.example"}
    assert sum(cohort["size"] for cohort in found["retention"]) == overview["visitors"]


async def test_a_journey_leads_through_one_visit(administrator: Caller) -> None:
    events = '{ userEvents(first: 1, filter: { eventType: { eq: "ORDER_PLACED" } }) { nodes { sessionId user { id } } } }'
    (placed,) = (await administrator.ask(events))["userEvents"]["nodes"]
    visit = (await ask(administrator, f'journey(sessionId: "{placed["sessionId"]}") {{ eventType user {{ id }} timestamp source }}'))[
        "journey"
    ]
    assert [event["timestamp"] for event in visit] == sorted(event["timestamp"] for event in visit)
    types = [event["eventType"] for event in visit]
    assert types[0] == "PAGE_VIEW"
    assert types.index("CART_CREATED") < types.index("CHECKOUT_STARTED") < types.index("ORDER_PLACED")
    assert {event["source"] for event in visit} == {"CLIENT", "PLATFORM"}
    person = (await ask(administrator, f'journey(userId: "{placed["user"]["id"]}", first: 500) {{ eventType }}'))["journey"]
    assert len(person) >= len(visit)


async def test_staff_see_their_stores_figures_alone(administrator: Caller, anonymous: Caller) -> None:
    analyst = await anonymous.sign_in(ANALYST.email, ANALYST.password)
    stores = (await administrator.ask("{ stores { nodes { id domain } } }"))["stores"]["nodes"]
    ids = {store["domain"]: store["id"] for store in stores}
    own = ids["cairn-compass.example.com"]
    (foreign,) = [id for id in ids.values() if id != own]
    figures = "overview { visitors sessions orders }"

    assert await ask(analyst, figures) == await ask(administrator, figures, store=own)
    text = "query ($from: DateTime!, $to: DateTime!, $store: ID) { analytics(from: $from, to: $to, storeId: $store) { from } }"
    for store in (foreign, encode_id("Store", UUID(int=7))):
        (refused,) = await analyst.refusals(text, **SPAN, store=store)
        assert refused["extensions"]["code"] == "NOT_FOUND"
    assert await ask(administrator, figures) != await ask(administrator, figures, store=own)


async def test_who_may_not_ask(anonymous: Caller, shopper: Caller) -> None:
    viewer = await anonymous.sign_in(VIEWER.email, VIEWER.password)
    text = "query ($from: DateTime!, $to: DateTime!) { analytics(from: $from, to: $to) { overview { orders } } }"
    for caller, code in ((anonymous, "UNAUTHENTICATED"), (shopper, "FORBIDDEN"), (viewer, "FORBIDDEN")):
        assert [error["extensions"]["code"] for error in await caller.refusals(text, **SPAN)] == [code]


@pytest.mark.parametrize(
    ("fields", "given", "argument"),
    [
        ("from", {"from": SPAN["to"], "to": SPAN["from"]}, "from"),
        ("from", {"from": "2020-01-01T00:00:00Z"}, "from"),
        ("from", {"store": "nonsense"}, "storeId"),
        ('timeSeries(timeZone: "Mars/Olympus") { start }', {}, "timeZone"),
        ("timeSeries(interval: HOUR) { start }", {}, "interval"),
        ('funnel(steps: ["PAGE_VIEW"]) { step }', {}, "steps"),
        ('funnel(steps: ["PAGE_VIEW", "PAGE_VIEW"]) { step }', {}, "steps"),
        ('funnel(steps: ["PAGE_VIEW", ""]) { step }', {}, "steps"),
        ("funnel(window: 0) { step }", {}, "window"),
        ("topProducts(first: 101) { units }", {}, "first"),
        ("topPages(first: 0) { page }", {}, "first"),
        ("topReferrers(first: -1) { referrer }", {}, "first"),
        ("journey { id }", {}, "userId"),
        ('journey(userId: "x", sessionId: "y") { id }', {}, "userId"),
        ('journey(userId: "x") { id }', {}, "userId"),
    ],
)
async def test_bad_input_names_the_argument(administrator: Caller, fields: str, given: dict[str, Any], argument: str) -> None:
    text = f"query ($from: DateTime!, $to: DateTime!, $store: ID) {{ analytics(from: $from, to: $to, storeId: $store) {{ {fields} }} }}"
    (error,) = await administrator.refusals(text, **SPAN | given)
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
    assert argument in error["message"]
