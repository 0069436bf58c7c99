"""The story of a purchase, over HTTP against the started process."""

import asyncio
import re
from decimal import Decimal
from typing import Any

import httpx

from app.seed.people import SHOPPER
from tests.serving import Caller, Served, eventually

LINK = re.compile(r"To: reader@example\.com\n.*?/verify-email#token=([\w-]+)", re.DOTALL)
BROWSE = """
    { products(first: 50) { nodes { id name price currency status stores { id name } inventory { available } }
      pageInfo { hasNextPage } totalCount } }
"""
CART = "cart { id status total currency items { id quantity price product { id } } } userErrors { field message code }"
ADD = f"mutation ($input: AddToCartInput!) {{ addToCart(input: $input) {{ {CART} }} }}"
CHANGE = f"mutation ($input: UpdateCartItemInput!) {{ updateCartItem(input: $input) {{ {CART} }} }}"
ORDER = (
    "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id status total } userErrors { field message code } } }"
)
PAY = "mutation ($input: ProcessPaymentInput!) { processPayment(input: $input) { order { id status } userErrors { field message code } } }"
READ = """
    query ($id: ID!) { order(id: $id) { id status total currency user { email } items { quantity price product { id name sku price } }
      payments { amount status transactionId } } }
"""
STOCK = "query ($ids: [ID!]!) { nodes(ids: $ids) { ... on Product { inventory { available } } } }"


async def changed(caller: Caller, query: str, **input: Any) -> dict[str, Any]:
    """The payload of a mutation that takes effect."""
    (payload,) = (await caller.ask(query, input=input)).values()
    assert payload["userErrors"] == []
    found: dict[str, Any] = payload
    return found


async def chosen_products(caller: Caller) -> list[dict[str, Any]]:
    """Two of fifty products that one store has plenty of, in the same currency."""
    products = (await caller.ask(BROWSE))["products"]
    assert len(products["nodes"]) == 50
    assert products["totalCount"] >= 200
    assert products["pageInfo"]["hasNextPage"]
    assert all(product["stores"] and product["inventory"] and product["status"] == "ACTIVE" for product in products["nodes"])
    first, *others = [product for product in products["nodes"] if product["inventory"]["available"] > 10]
    second = next(p for p in others if p["stores"] == first["stores"] and p["currency"] == first["currency"])
    return [first, second]


async def test_shopper_buys_two_products(shop: Served) -> None:
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        shopper = await Caller(http).sign_in(SHOPPER.email, SHOPPER.password)
        first, second = await chosen_products(shopper)
        ids = [first["id"], second["id"]]
        stock_before = [node["inventory"]["available"] for node in (await shopper.ask(STOCK, ids=ids))["nodes"]]

        await changed(shopper, ADD, productId=first["id"], quantity=1, storeId=first["stores"][0]["id"])
        cart = (await changed(shopper, ADD, productId=second["id"], quantity=2))["cart"]
        kept = {item["product"]["id"]: item["quantity"] for item in cart["items"] if item["product"]["id"] not in ids}
        cart = (await changed(shopper, CHANGE, cartId=cart["id"], productId=first["id"], quantity=3))["cart"]
        assert {item["product"]["id"]: item["quantity"] for item in cart["items"]} == {first["id"]: 3, second["id"]: 2, **kept}
        assert Decimal(cart["total"]) == sum(item["quantity"] * Decimal(item["price"]) for item in cart["items"])

        order = (await changed(shopper, ORDER, cartId=cart["id"], paymentMethod="card", idempotencyKey="story-1"))["order"]
        assert order["status"] == "PENDING"
        again = (await changed(shopper, ORDER, cartId=cart["id"], paymentMethod="card", idempotencyKey="story-1"))["order"]
        assert again["id"] == order["id"]
        paid = (await changed(shopper, PAY, orderId=order["id"], paymentToken="tok_success", idempotencyKey="story-2"))["order"]
        assert paid["status"] == "COMPLETED"

        found = (await shopper.ask(READ, id=order["id"]))["order"]
        assert found["user"]["email"] == SHOPPER.email
        assert found["status"] == "COMPLETED"
        assert Decimal(found["total"]) == Decimal(cart["total"])
        bought = {item["product"]["id"]: item["quantity"] for item in found["items"]}
        assert bought == {first["id"]: 3, second["id"]: 2, **kept}
        (payment,) = found["payments"]
        assert Decimal(payment["amount"]) == Decimal(found["total"])
        assert payment["status"] in ("COMPLETED", "SUCCEEDED")
        assert payment["transactionId"]
        stock = [node["inventory"]["available"] for node in (await shopper.ask(STOCK, ids=ids))["nodes"]]
        assert stock == [stock_before[0] - 3, stock_before[1] - 2]


async def test_stranger_sees_nothing_of_it(shop: Served) -> None:
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        shopper = await Caller(http).sign_in(SHOPPER.email, SHOPPER.password)
        order = (await shopper.ask("{ orders(first: 1) { nodes { id } } }"))["orders"]["nodes"][0]
        sign_up = """
            mutation { signUp(input: { email: "stranger@example.com", username: "stranger", password: "long enough 1" }) {
              session { token } userErrors { message } } }
        """
        stranger = Caller(http, (await Caller(http).ask(sign_up))["signUp"]["session"]["token"])
        assert (await stranger.ask(READ, id=order["id"]))["order"] is None
        assert (await stranger.ask("query ($id: ID!) { node(id: $id) { id } }", id=order["id"]))["node"] is None
        assert (await stranger.ask("{ orders { totalCount } }"))["orders"]["totalCount"] == 0
        (error,) = await Caller(http).refusals(READ, id=order["id"])
        assert error["extensions"]["code"] == "UNAUTHENTICATED"


async def test_mails_are_on_the_console_without_another_process(shop: Served) -> None:
    sign_up = """
        mutation { signUp(input: { email: "reader@example.com", username: "reader", password: "long enough 1" }) {
          session { token } userErrors { message } } }
    """
    verify = "mutation ($token: String!) { verifyEmail(input: { token: $token }) { emailVerified userErrors { message } } }"

    async def printed() -> bool:
        return LINK.search(shop.logged()) is not None

    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        reader = Caller(http, (await Caller(http).ask(sign_up))["signUp"]["session"]["token"])
        await eventually(printed)
        link = LINK.search(shop.logged())
        assert link is not None
        assert (await Caller(http).ask(verify, token=link.group(1)))["verifyEmail"] == {"emailVerified": True, "userErrors": []}
        assert (await reader.ask("{ me { emailVerified } }"))["me"]["emailVerified"]


async def test_process_is_ready_and_watched(shop: Served) -> None:
    async with httpx.AsyncClient(base_url=shop.url) as http:
        assert (await http.get("/readyz")).status_code == 200
        assert "graphql_operations_total" in (await http.get("/metrics")).text
        page = await http.get("/graphql", headers={"accept": "text/html"})
        assert page.status_code == 200
        assert page.headers["content-type"].startswith("text/html")
        assert (await http.get("/")).headers["location"] == "/graphql"


async def test_a_connection_outlives_what_clients_keep_of_it(shop: Served) -> None:
    """Many give a connection up after 5 seconds: one that the server ended just then would cut off the request that they have sent."""
    async with httpx.AsyncClient(base_url=shop.url, limits=httpx.Limits(keepalive_expiry=60)) as client:
        addresses = []
        for pause in (0, 5.5):
            await asyncio.sleep(pause)
            response = await client.get("/healthz")
            addresses.append(response.extensions["network_stream"].get_extra_info("client_addr"))
    assert len(set(addresses)) == 1
