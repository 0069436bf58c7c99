"""What staff are told of their store every few seconds."""

from decimal import Decimal
from typing import Any

from app.seed.people import ADMINISTRATOR, ANALYST
from tests.live.conftest import Gateway
from tests.live.shopping import Shopper
from tests.live.speaking import Listener, acquainted, streaming
from tests.serving import Caller

METRICS = "subscription ($store: ID) { liveMetrics(storeId: $store) { since at events carts orders revenue { amount orders } } }"
TRACK = 'mutation { trackEvents(input: { storeId: "%s", events: [{ eventType: "PAGE_VIEW" }] }) { accepted } }'
PAY = "mutation ($input: ProcessPaymentInput!) { processPayment(input: $input) { order { status total } userErrors { message } } }"


def brought(figures: dict[str, Any]) -> Decimal:
    return sum((Decimal(revenue["amount"]) for revenue in figures["revenue"]), Decimal())


async def figures(listener: Listener) -> dict[str, Any]:
    name, payload = await listener.event()
    assert name == "next"
    found: dict[str, Any] = payload["data"]["liveMetrics"]
    return found


async def test_staff_are_told_of_the_last_minutes(live: Gateway, shopper: Shopper) -> None:
    administrator = await Caller(live.http).sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
    async with acquainted(live.url, administrator) as speaker:
        await speaker.subscribe(METRICS)
        first = (await speaker.next())["liveMetrics"]
        cart = await shopper.fill_cart(live.product_id, 2)
        store = (await shopper.ask("{ myCart { store { id } } }"))["myCart"]["store"]["id"]
        assert (await shopper.ask(TRACK % store))["trackEvents"] == {"accepted": 1}
        order = await shopper.order(cart)
        paid = (await shopper.ask(PAY, input={"orderId": order, "paymentToken": "tok_success"}))["processPayment"]["order"]
        later = (await speaker.next())["liveMetrics"]
    assert paid["status"] == "COMPLETED"
    assert (later["carts"], later["orders"]) == (first["carts"] + 1, first["orders"] + 1)
    assert later["events"] > first["events"]
    assert brought(later) - brought(first) == Decimal(paid["total"])


async def test_staff_are_told_of_their_store_alone(live: Gateway) -> None:
    administrator = await Caller(live.http).sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
    analyst = await Caller(live.http).sign_in(ANALYST.email, ANALYST.password)
    stores = (await administrator.ask("{ stores { nodes { id domain } } }"))["stores"]["nodes"]
    (foreign,) = [store["id"] for store in stores if store["domain"] != "cairn-compass.example.com"]
    (own,) = [store["id"] for store in stores if store["id"] != foreign]
    for caller, store in ((administrator, foreign), (analyst, own), (analyst, None)):
        async with streaming(live.url, caller, METRICS, store=store) as listener:
            assert (await figures(listener))["carts"] >= 0
    async with streaming(live.url, analyst, METRICS, store=foreign) as listener:
        assert "NOT_FOUND" in str(await listener.event())


async def test_shoppers_are_not_told(live: Gateway, shopper: Shopper) -> None:
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe(METRICS)
        refused = await speaker.hear()
    assert "events:read" in str(refused)
