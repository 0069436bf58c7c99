"""The insight page in a real browser, over the demo shop: what staff see of it is what the API says."""

import json
from datetime import datetime, time
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from zoneinfo import ZoneInfo

import httpx
import pytest

from app.api import graphiql
from app.seed.people import ADMINISTRATOR, ANALYST, SHOPPER
from tests.insight.browsing import Insight
from tests.live.shopping import Shopper, metric, some_product
from tests.serving import Caller, eventually

AXE = Path(graphiql.__file__).parent / "node_modules" / "axe-core" / "axe.min.js"
PANELS = (
    "overview",
    "revenue-over-time",
    "conversion-over-time",
    "funnel",
    "top-products",
    "abandoned-carts",
    "data-quality",
    "reconciliation",
)
ANALYSED = {"overview", "revenue-over-time", "conversion-over-time", "funnel", "top-products"}
SESSIONS = "{ sessions(first: 1, orderBy: { field: CREATED_AT, direction: DESC }) { nodes { id } } }"
REVOKE = "mutation ($id: ID!) { revokeSession(input: { id: $id }) { userErrors { message } } }"


async def signed_in(insight: Insight) -> None:
    await insight.sign_in(ADMINISTRATOR)
    await insight.loaded()


async def asked_again(caller: Caller, link: str) -> dict[str, Any]:
    """What the query behind a panel's link gives over HTTP."""
    (query,), (variables,) = (parse_qs(urlsplit(link).query)[name] for name in ("query", "variables"))
    return await caller.ask(query, **json.loads(variables))


async def test_staff_sign_in_and_see_what_the_api_says(insight: Insight, administrator: Caller) -> None:
    await insight.sign_in(ADMINISTRATOR, "not the password")
    await insight.wait_for("[role=alert]", "the email or the password is wrong")
    await signed_in(insight)
    panels = {id: await insight.panel(id) for id in PANELS}
    told = {id: await asked_again(administrator, panel["link"]) for id, panel in panels.items()}

    assert await insight.errors() == []
    overview = told["overview"]["analytics"]["overview"]
    (revenue,) = overview["revenue"]
    shown = panels["overview"]["figures"]
    assert shown["Visits"] == f"{overview['sessions']:,}"
    assert shown["Orders placed"] == str(overview["orders"]) != "0"
    assert shown["Revenue"] == f"${float(revenue['amount']):,.2f}"
    steps = told["funnel"]["analytics"]["funnel"]
    assert [row[:2] for row in panels["funnel"]["rows"]] == [
        [step["step"].capitalize().replace("_", " "), f"{step['visitors']:,}"] for step in steps
    ]
    buckets = told["revenue-over-time"]["analytics"]["timeSeries"]
    sold = [f"${float(revenue['amount']):,.2f}" for bucket in buckets for revenue in bucket["revenue"]]
    rows = panels["revenue-over-time"]["rows"]
    assert (len(rows), [row[1] for row in rows if row[1] != "$0.00"]) == (30, sold)
    assert panels["abandoned-carts"]["figures"]["Abandoned now"] == str(told["abandoned-carts"]["abandoned"]["totalCount"])
    assert (panels["abandoned-carts"]["figures"]["Recovered"], panels["abandoned-carts"]["figures"]["Recovery rate"]) == ("1", "100%")
    (attempt,) = told["abandoned-carts"]["attempts"]["nodes"]
    (row,) = panels["abandoned-carts"]["rows"]
    assert row[1:] == [f"${float(attempt['cart']['total']):,.2f}", "Recovered: $1,091.90"]
    assert panels["data-quality"]["figures"]["Checks run"] == str(told["data-quality"]["runs"]["totalCount"])
    assert [row[0] for row in panels["reconciliation"]["rows"]] == [
        rule["name"] for rule in told["reconciliation"]["reconciliationRules"]["nodes"]
    ]
    assert any(url.startswith("ws://") for url in await insight.requests())
    await insight.assert_clean()


async def test_live_figures_change_as_things_happen(insight: Insight, shop: httpx.AsyncClient) -> None:
    await signed_in(insight)
    await insight.wait_for("[aria-labelledby=live] dl", "Carts")
    before = (await insight.panel("live"))["figures"]
    shopper = await Shopper(shop).join()
    await shopper.order(await shopper.fill_cart(await some_product(shopper)))
    await insight.wait_for("[aria-labelledby=live] dl", f"Orders\n{int(before['Orders']) + 1}")
    assert int((await insight.panel("live"))["figures"]["Carts"]) == int(before["Carts"]) + 1
    await insight.click("Pause")
    await insight.wait_for("[aria-labelledby=live] .note", "Paused")
    await insight.click("Go on")
    await insight.wait_for("[aria-labelledby=live] .note", "The five minutes until")
    await insight.assert_clean()


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_it_fits_a_phone_and_is_fit_for_everybody(insight: Insight, scheme: str) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: run `make graphiql`")
    await insight.look(width=375, scheme=scheme)
    assert await insight.violations(AXE) == []
    await signed_in(insight)
    assert await insight.overflow() == 0
    assert await insight.violations(AXE) == []
    await insight.look(width=320, scheme=scheme)  # a desktop enlarged four times (WCAG 2.2, 1.4.10)
    assert await insight.overflow() == 0
    await insight.look(width=1400, scheme=scheme)
    assert await insight.violations(AXE) == []


async def test_the_keyboard_reaches_every_control(insight: Insight) -> None:
    await signed_in(insight)
    reached, controls = await insight.tabbed()
    assert len(reached) == controls > 15
    assert {"30 days", "Refresh", "Pause", "Sign out"} <= {each["name"] for each in reached}
    assert [each for each in reached if each["outline"] != "solid" or each["width"] != "3px"] == []


def span(link: str, zone: str) -> tuple[time, time, int]:
    """When the days of a panel's query begin and end by the clocks of a zone, and how many they are."""
    variables = json.loads(parse_qs(urlsplit(link).query)["variables"][0])
    start, end = (datetime.fromisoformat(variables[name]).astimezone(ZoneInfo(zone)) for name in ("from", "to"))
    return start.time(), end.time(), (end.date() - start.date()).days


async def test_range_and_store_are_in_the_address(insight: Insight) -> None:
    await insight.start(zone="America/St_Johns")
    await signed_in(insight)
    everywhere = await insight.panel("overview")
    assert "America/St_Johns, your browser's" in await insight.note()
    assert span(everywhere["link"], "America/St_Johns") == (time(), time(), 30)
    await insight.click("7 days")
    await insight.choose_store("Cairn & Compass")
    await insight.loaded()
    here = await insight.panel("overview")
    chosen = await insight.query()
    assert chosen["days"] == ["7"]
    assert here["figures"] != everywhere["figures"]
    assert len((await insight.panel("conversion-over-time"))["rows"]) == 7
    assert "Europe/London, the store's" in await insight.note()

    await insight.open(f"?days=7&store={chosen['store'][0]}")
    await insight.loaded()
    assert (await insight.panel("overview"))["figures"] == here["figures"]
    await insight.open("?days=1e9&store=nonsense")
    await insight.loaded()
    assert (await insight.panel("overview"))["figures"] == everywhere["figures"]
    await insight.assert_clean()


async def test_a_panel_fails_and_recovers_by_itself(insight: Insight) -> None:
    await signed_in(insight)
    await insight.online(False)
    await insight.click("Refresh")
    await insight.wait_for("[aria-labelledby=funnel] [role=alert]", "cannot be reached")
    await insight.loaded()
    await insight.online(True)
    await insight.click("Try again", "[aria-labelledby=funnel]")
    await insight.wait_for("[aria-labelledby=funnel] tbody", "Product view")
    assert (await insight.panel("funnel"))["error"] is None
    assert "cannot be reached" in (await insight.panel("overview"))["error"]


async def test_an_empty_store_shows_zeros(insight: Insight, administrator: Caller) -> None:
    create = "mutation ($input: CreateStoreInput!) { createStore(input: $input) { store { id } userErrors { message } } }"
    settings = {"currency": "JPY", "timezone": "Asia/Tokyo"}
    given = {"name": "Nothing Yet", "domain": "nothing-yet.example.com", "settings": settings}
    created = (await administrator.ask(create, input=given))["createStore"]
    assert created["userErrors"] == []
    await signed_in(insight)
    await insight.choose_store("Nothing Yet")
    await insight.loaded()
    overview = await insight.panel("overview")
    assert {overview["figures"][name] for name in ("Visits", "Orders placed", "Carts abandoned")} == {"0"}
    assert (overview["figures"]["Revenue"], overview["figures"]["Conversion"]) == ("\N{YEN SIGN}0", "\N{EN DASH}")
    assert span(overview["link"], "Asia/Tokyo") == (time(), time(), 30)
    assert [row[1] for row in (await insight.panel("funnel"))["rows"]] == ["0"] * 4
    assert await insight.errors() == []
    await insight.assert_clean()


async def test_staff_of_a_store_see_that_one(insight: Insight) -> None:
    await insight.sign_in(ANALYST)
    await insight.loaded()
    assert await insight.stores() == (["Cairn & Compass"], False)
    assert await insight.errors() == []


async def test_without_analytics_the_rest_is_there(insight_without_analytics: Insight) -> None:
    insight = insight_without_analytics
    await signed_in(insight)
    panels = {id: await insight.panel(id) for id in PANELS}
    assert {id for id, panel in panels.items() if "Analytics is off or does not answer" in (panel["error"] or "")} == ANALYSED
    assert {id for id, panel in panels.items() if panel["error"]} == ANALYSED
    assert int(panels["abandoned-carts"]["figures"]["Abandoned now"]) > 0
    await insight.wait_for("[aria-labelledby=live] dl", "not counted now")


async def test_who_may_not_see_it_is_told_so(insight: Insight) -> None:
    await insight.sign_in(SHOPPER)
    await insight.wait_for("main", "This account may not see store insight")
    await insight.wait_for("main", "events:read")
    await insight.click("Sign out")
    await insight.wait_for("main", "Sign in")


async def test_whoever_signs_out_signs_in_again_undisturbed(insight: Insight, shop: httpx.AsyncClient) -> None:
    await signed_in(insight)
    await insight.wait_for("[aria-labelledby=live] dl", "Carts")
    before = len(await insight.requests())
    await insight.click("Sign out")
    await insight.wait_for("form h2", "Sign in")

    async def quiet() -> bool:
        return await metric(shop, "live_subscriptions") == 0

    await eventually(quiet)
    await insight.sign_in(ANALYST)
    await insight.loaded()
    operations = len(PANELS) + len(("signOut", "viewer", "signIn", "viewer", "rights", "live"))
    assert len(await insight.requests()) - before == operations


async def test_a_session_that_has_ended_leads_back_to_the_form(insight: Insight, shop: httpx.AsyncClient) -> None:
    await signed_in(insight)
    await insight.forget()
    await insight.click("Refresh")
    await insight.wait_for("form h2", "Sign in")
    await signed_in(insight)


async def test_a_session_that_is_ended_elsewhere_leads_back_to_the_form_by_itself(insight: Insight, administrator: Caller) -> None:
    await signed_in(insight)
    await insight.wait_for("[aria-labelledby=live] dl", "Carts")
    (newest,) = (await administrator.ask(SESSIONS))["sessions"]["nodes"]
    assert (await administrator.ask(REVOKE, id=newest["id"]))["revokeSession"] == {"userErrors": []}
    await insight.wait_for("form h2", "Sign in")
