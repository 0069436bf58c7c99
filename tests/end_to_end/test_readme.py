"""The README's tour, pasted block by block into the started gateway."""

import re
from typing import Any

import httpx

from app.seed.people import ADMINISTRATOR
from tests.serving import REPOSITORY, Caller, Served

BLOCK = re.compile(r"```graphql\n(.*?)```", re.DOTALL)
NAME = re.compile(r"(?:query|mutation) (\w+)")


def tour() -> dict[str, str]:
    """The README's operations by name, in its order."""
    blocks = BLOCK.findall((REPOSITORY / "README.md").read_text(encoding="utf-8"))
    return {match.group(1): block for block in blocks if (match := NAME.match(block))}


async def refused_nowhere(caller: Caller, query: str, **variables: Any) -> Any:
    (answer,) = (await caller.ask(query, **variables)).values()
    assert answer.get("userErrors", []) == []
    return answer


async def test_the_tour_can_be_pasted_from_the_readme(shop: Served) -> None:
    steps = tour()
    assert list(steps) == ["Browse", "SignIn", "Add", "Order", "Pay", "ReadBack", "Visits", "Track"]
    async with httpx.AsyncClient(base_url=shop.url, timeout=30) as http:
        visitor = Caller(http)
        products = (await refused_nowhere(visitor, steps["Browse"]))["nodes"]
        assert len(products) == 5
        session = (await refused_nowhere(visitor, steps["SignIn"]))["session"]
        shopper = Caller(http, session["token"])
        product = next(product for product in products if product["inventory"]["available"] >= 2)
        cart = (await refused_nowhere(shopper, steps["Add"], product=product["id"]))["cart"]
        order = (await refused_nowhere(shopper, steps["Order"], cart=cart["id"]))["order"]
        assert (order["status"], order["total"]) == ("PENDING", cart["total"])
        paid = (await refused_nowhere(shopper, steps["Pay"], order=order["id"]))["order"]
        assert paid["status"] == "COMPLETED"
        read = await refused_nowhere(shopper, steps["ReadBack"], order=order["id"])
        assert [item["quantity"] for item in read["items"]] == [2]
        assert [payment["status"] for payment in read["payments"]] == ["COMPLETED"]
        administrator = await visitor.sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
        visits = await refused_nowhere(administrator, steps["Visits"])
        assert (await refused_nowhere(visitor, steps["Track"])) == {"accepted": 1, "rejected": []}
        assert (visits["totalCount"], len(visits["nodes"])) == (50, 10)
