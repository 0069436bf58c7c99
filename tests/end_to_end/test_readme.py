"""The README's tour, pasted block by block into the started gateway."""

import re
from decimal import Decimal
from typing import Any

import httpx

from app.seed.people import ADMINISTRATOR
from tests.serving import REPOSITORY, Caller, Served

BLOCK = re.compile(r"```graphql\n(.*?)```", re.DOTALL)
NAME = re.compile(r"(?:query|mutation) (\w+)")


def operations(title: str = "") -> dict[str, str]:
    """The README's operations by name, in its order; those of one section, where one is named."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    if title:
        text = text.partition(f"\n{title}\n")[2]
        assert text, f"the README has no section {title!r}"
        text = re.split(r"\n##+ ", text)[0]
    return {match.group(1): block for block in BLOCK.findall(text) if (match := NAME.match(block))}


async def refused_nowhere(caller: Caller, query: str, **variables: Any) -> Any:
    (answer,) = (await caller.ask(query, **variables)).values()
    assert answer.get("userErrors", []) == []
    return answer


async def test_the_tour_can_be_pasted_from_the_readme(shop: Served) -> None:
    steps = {**operations("## Five-minute tour"), **operations("## Events")}
    assert list(steps) == ["Browse", "SignIn", "Add", "Save", "Order", "Pay", "ReadBack", "Visits", "Track"]
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        visitor = Caller(http)
        products = (await refused_nowhere(visitor, steps["Browse"]))["nodes"]
        assert len(products) == 5
        session = (await refused_nowhere(visitor, steps["SignIn"]))["session"]
        shopper = Caller(http, session["token"])
        product = next(product for product in products if product["inventory"]["available"] >= 2)
        cart = (await refused_nowhere(shopper, steps["Add"], product=product["id"]))["cart"]
        saved = (await refused_nowhere(shopper, steps["Save"], cart=cart["id"]))["cart"]
        assert (saved["voucherCode"], Decimal(saved["discount"])) == ("HELLO-10", Decimal(saved["itemsTotal"]) / 10)
        order = (await refused_nowhere(shopper, steps["Order"], cart=cart["id"]))["order"]
        assert (order["status"], order["total"]) == ("PENDING", saved["total"])
        paid = (await refused_nowhere(shopper, steps["Pay"], order=order["id"]))["order"]
        assert paid["status"] == "COMPLETED"
        read = await refused_nowhere(shopper, steps["ReadBack"], order=order["id"])
        assert [item["quantity"] for item in read["items"]] == [2]
        assert [payment["status"] for payment in read["payments"]] == ["COMPLETED"]
        administrator = await visitor.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
        visits = await refused_nowhere(administrator, steps["Visits"])
        assert (await refused_nowhere(visitor, steps["Track"])) == {"accepted": 1, "rejected": []}
        # The order of the tour is one more as soon as the worker has told of it.
        assert (visits["totalCount"] in (50, 51), len(visits["nodes"])) == (True, 10)


async def test_a_guest_checks_out_as_the_readme_says(shop: Served) -> None:
    steps = operations("### As a guest")
    assert list(steps) == ["GuestAdd", "CartNow", "GuestChange", "GuestSignUp", "PlaceOrder"]
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        guest = Caller(http)
        product = await in_stock(guest)
        added = await refused_nowhere(guest, steps["GuestAdd"], product=product["id"])
        guest.headers = {"X-Cart-Token": added["cartToken"]}
        seen = await refused_nowhere(guest, steps["CartNow"])
        assert (seen["id"], seen["version"], seen["items"][0]["quantity"]) == (added["cart"]["id"], added["cart"]["version"], 1)
        change = {"cart": seen["id"], "product": product["id"], "version": seen["version"]}
        changed = (await refused_nowhere(guest, steps["GuestChange"], **change))["cart"]
        late = (await guest.ask(steps["GuestChange"], **change))["updateCartItem"]
        assert [error["code"] for error in late["userErrors"]] == ["CONFLICT"]
        shopper = Caller(http, (await refused_nowhere(guest, steps["GuestSignUp"]))["session"]["token"])
        own = await refused_nowhere(shopper, steps["CartNow"])
        assert (own["total"], own["items"][0]["quantity"]) == (changed["total"], 2)
        orders = [(await refused_nowhere(shopper, steps["PlaceOrder"], cart=own["id"]))["order"] for _ in range(2)]
        assert orders[0] == orders[1]
        assert (orders[0]["status"], orders[0]["total"]) == ("COMPLETED", own["total"])


async def test_a_shopper_checks_out_as_the_readme_says(shop: Served) -> None:
    tour, steps = operations("## Five-minute tour"), operations("### Signed in")
    assert list(steps) == ["OrderFirst", "PayDeclined", "PayAgain", "Cancel", "Refund", "Timeline", "TellMe"]
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        visitor = Caller(http)
        product = await in_stock(visitor)
        shopper = Caller(http, (await refused_nowhere(visitor, tour["SignIn"]))["session"]["token"])
        boss = await visitor.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
        cart = (await refused_nowhere(shopper, tour["Add"], product=product["id"]))["cart"]
        order = (await refused_nowhere(shopper, steps["OrderFirst"], cart=cart["id"]))["order"]
        declined = (await shopper.ask(steps["PayDeclined"], order=order["id"]))["processPayment"]
        assert (declined["order"]["status"], declined["userErrors"][0]["code"]) == ("FAILED", "PAYMENT_DECLINED")
        assert (await refused_nowhere(shopper, steps["PayAgain"], order=order["id"]))["order"]["status"] == "COMPLETED"

        another = (await refused_nowhere(shopper, tour["Add"], product=product["id"]))["cart"]
        unpaid = (await refused_nowhere(shopper, steps["OrderFirst"].replace("order-1", "order-2"), cart=another["id"]))["order"]
        assert (await refused_nowhere(shopper, steps["Cancel"], order=unpaid["id"]))["order"]["status"] == "CANCELLED"

        for _ in range(2):
            back = (await refused_nowhere(boss, steps["Refund"], order=order["id"]))["order"]
        assert [payment["status"] for payment in back["payments"]] == ["FAILED", "REFUNDED"]
        seen = await refused_nowhere(shopper, steps["Timeline"], order=order["id"])
        kinds = ["CREATED", "RESERVED", "DECLINED", "FAILED", "RESERVED", "CHARGED", "COMPLETED", "REFUNDED", "RESTOCKED"]
        assert [event["kind"] for event in seen["events"]] == kinds
        assert seen["payments"][1]["refundedAmount"] == order["total"]
        told = await refused_nowhere(boss, steps["TellMe"], store=product["stores"][0]["id"])
        assert told["secret"].startswith("whsec_")


async def test_a_store_sets_its_terms_as_the_readme_says(shop: Served) -> None:
    steps, guest_steps = operations("## Vouchers, shipping and tax"), operations("### As a guest")
    assert list(steps) == ["Terms", "MakeVoucher", "Apply"]
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        guest = Caller(http)
        boss = await guest.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
        opened = await boss.ask('mutation { createStore(input: {name: "Tea", domain: "terms.example.com"}) { store { id } } }')
        store = opened["createStore"]["store"]["id"]
        make = 'mutation ($store: ID!) { createProduct(input: {name: "Tea", price: "20.00", storeIds: [$store]}) { product { id } } }'
        product = (await boss.ask(make, store=store))["createProduct"]["product"]["id"]
        await refused_nowhere(boss, steps["Terms"], store=store)
        made = (await refused_nowhere(boss, steps["MakeVoucher"], store=store))["voucher"]
        assert (made["code"], made["percent"], made["uses"]) == ("SPRING-10", "10", 0)
        added = await refused_nowhere(guest, guest_steps["GuestAdd"], product=product)
        guest.headers = {"X-Cart-Token": added["cartToken"]}
        applied = (await refused_nowhere(guest, steps["Apply"], cart=added["cart"]["id"]))["cart"]
        amounts = [applied[name] for name in ("itemsTotal", "discount", "shipping", "tax", "includedTax", "total")]
        assert amounts == ["20.00", "2.00", "4.90", "3.42", "0.00", "26.32"]


async def in_stock(caller: Caller) -> Any:
    """One of the tour's products that is there, with its stores' ids."""
    browse = operations("## Five-minute tour")["Browse"].replace("stores { name", "stores { id name")
    found = (await refused_nowhere(caller, browse))["nodes"]
    return next(product for product in found if product["inventory"]["available"] >= 8)
