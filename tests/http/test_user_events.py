"""The demo shop's events through GraphQL: for staff, in pages, back into the graph."""

from collections import Counter
from typing import Any

import pytest

from app.seed.people import ANALYST, VIEWER
from tests.serving import Caller

EVENTS = """
    query Events($first: Int, $after: String, $filter: UserEventFilter, $orderBy: [UserEventOrder!]) {
      userEvents(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
        totalCount
        nodes { id eventType sessionId timestamp createdAt metadata pageUrl isError user { id } store { id domain } }
        pageInfo { hasNextPage endCursor }
      } }
"""


async def all_events(caller: Caller, **asked: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    after = None
    while True:
        page = (await caller.ask(EVENTS, first=250, after=after, **asked))["userEvents"]
        found += page["nodes"]
        if not page["pageInfo"]["hasNextPage"]:
            assert len(found) == page["totalCount"]
            return found
        after = page["pageInfo"]["endCursor"]


@pytest.fixture(scope="session")
async def everything(administrator: Caller) -> list[dict[str, Any]]:
    """All events, as an administrator sees them."""
    return await all_events(administrator)


@pytest.fixture(scope="session")
async def analyst(anonymous: Caller) -> Caller:
    return await anonymous.sign_in(ANALYST.email, ANALYST.password)


async def test_the_demo_shop_has_events_that_fit_it(administrator: Caller, everything: list[dict[str, Any]]) -> None:
    events = everything

    assert len(events) == 5000
    assert len({event["id"] for event in events}) == 5000
    assert [event["timestamp"] for event in events] == sorted((event["timestamp"] for event in events), reverse=True)
    types = Counter(event["eventType"] for event in events)
    assert types["ORDER_PLACED"] == 50
    assert types["PAGE_VIEW"] > 300
    assert types["PRODUCT_VIEW"] > types["ADD_TO_CART"] > types["CHECKOUT_STARTED"] >= types["ORDER_PLACED"] > types["ORDER_COMPLETED"]
    assert types["CART_ABANDONED"] == 12
    assert 0 < sum(event["isError"] for event in events) < 200
    assert {event["user"] is None for event in events} == {True, False}

    orders = await administrator.ask("{ orders(first: 250) { nodes { id total createdAt user { id } } } }")
    placed = {event["metadata"]["orderId"]: event for event in events if event["eventType"] == "ORDER_PLACED"}
    assert {order["id"] for order in orders["orders"]["nodes"]} == set(placed)
    for order in orders["orders"]["nodes"]:
        event = placed[order["id"]]
        assert (event["metadata"]["total"], event["user"]["id"]) == (order["total"], order["user"]["id"])
        assert event["timestamp"] >= order["createdAt"]


async def test_staff_see_their_stores_events_alone(everything: list[dict[str, Any]], analyst: Caller) -> None:
    own = await all_events(analyst)
    stores = {event["store"]["domain"] for event in own}
    assert stores == {"cairn-compass.example.com"}
    assert len(own) == sum(event["store"]["domain"] in stores for event in everything)


async def test_who_may_not_ask(anonymous: Caller, shopper: Caller) -> None:
    viewer = await anonymous.sign_in(VIEWER.email, VIEWER.password)
    for caller, code in ((anonymous, "UNAUTHENTICATED"), (shopper, "FORBIDDEN"), (viewer, "FORBIDDEN")):
        found = await caller.refusals("{ userEvents { nodes { id } } }")
        assert [error["extensions"]["code"] for error in found] == [code]


async def test_filters_orders_and_ids(administrator: Caller, everything: list[dict[str, Any]]) -> None:
    first = (await administrator.ask(EVENTS, first=1))["userEvents"]["nodes"][0]
    visit = await all_events(
        administrator, filter={"sessionId": {"eq": first["sessionId"]}}, orderBy=[{"field": "TIMESTAMP", "direction": "ASC"}]
    )
    assert visit[-1]["id"] == first["id"]
    assert [event["timestamp"] for event in visit] == sorted(event["timestamp"] for event in visit)
    of_user = next(event for event in everything if event["user"])
    same = await administrator.ask(EVENTS, first=5, filter={"userId": {"eq": of_user["user"]["id"]}})
    assert {event["user"]["id"] for event in same["userEvents"]["nodes"]} == {of_user["user"]["id"]}
    node = await administrator.ask("query ($id: ID!) { node(id: $id) { id ... on UserEvent { eventType } } }", id=first["id"])
    assert node["node"] == {"id": first["id"], "eventType": first["eventType"]}


async def test_an_event_of_another_store_is_not_there(administrator: Caller, analyst: Caller, everything: list[dict[str, Any]]) -> None:
    other = next(event for event in everything if event["store"]["domain"] != "cairn-compass.example.com")
    node = await analyst.ask("query ($id: ID!) { node(id: $id) { id } }", id=other["id"])
    assert node == {"node": None}


async def test_ids_and_cursors_of_something_else_are_refused(administrator: Caller) -> None:
    for variables in ({"filter": {"userId": {"eq": "VXNlcg=="}}}, {"after": "x"}, {"first": 0}):
        found = await administrator.refusals(EVENTS, **variables)
        assert [error["extensions"]["code"] for error in found] == ["BAD_USER_INPUT"]
