"""What a shopper is shown of changed prices and missing pieces, and what it agrees to by ordering."""

from decimal import Decimal
from typing import Any

import pytest

from app.catalog.models import InventoryPolicy
from app.core.security import Viewer
from app.orders.agreement import Agreement
from tests.shop import Shop, ids, refused

LINES = """query ($id: ID!) { cart(id: $id) { version total items {
  quantity price currentPrice priceChanged previousPrice availability } } }"""


async def lines(shop: Shop, viewer: Viewer, cart: Any) -> list[dict[str, Any]]:
    answer = await shop.ask(viewer, LINES, **ids(id=cart))
    assert "errors" not in answer, answer
    return [
        {name: value for name, value in line.items() if name not in ("product", "lineTotal")} for line in answer["data"]["cart"]["items"]
    ]


def line(quantity: int, price: str, current: str | None, availability: str = "AVAILABLE") -> dict[str, Any]:
    changed = current not in (None, price)
    return {
        "quantity": quantity,
        "price": price,
        "currentPrice": current,
        "priceChanged": changed,
        "previousPrice": price if changed else None,
        "availability": availability,
    }


async def test_a_changed_price_is_shown_beside_the_one_before(shop: Shop) -> None:
    ann, tea, pot = await shop.viewer(), await shop.product("2.50"), await shop.product("19.99")
    cart = await shop.cart(ann, (tea, 2), (pot, 1))
    assert await lines(shop, ann, cart) == [line(2, "2.50", "2.50"), line(1, "19.99", "19.99")]
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(3)})
    await shop.repositories.products.update_by_id(pot.id, {"price": Decimal("18.5")})
    assert await lines(shop, ann, cart) == [line(2, "2.50", "3.00"), line(1, "19.99", "18.50")]
    accepted = await shop.change(ann, "acceptPrices", "cart { total version items { price priceChanged } }", **ids(cartId=cart))
    assert (accepted["cart"]["total"], accepted["cart"]["version"]) == ("24.50", cart.version + 1)
    assert [item["price"] for item in accepted["cart"]["items"]] == ["3.00", "18.50"]
    again = await shop.change(ann, "acceptPrices", "cart { version }", **ids(cartId=cart), cartVersion=cart.version + 1)
    assert again["cart"] == {"version": cart.version + 1}


async def test_what_costs_nothing_now_can_be_accepted(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("2.50")
    cart = await shop.cart(ann, (tea, 2))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(0)})
    accepted = await shop.change(ann, "acceptPrices", "cart { total items { price priceChanged } }", **ids(cartId=cart))
    assert accepted["cart"] == {"total": "0.00", "items": [{"price": "0.00", "priceChanged": False}]}


async def test_what_became_dearer_is_not_charged_unless_accepted(shop: Shop) -> None:
    ann, tea, pot = await shop.viewer(), await shop.product("2.50"), await shop.product("20")
    cart = await shop.cart(ann, (tea, 2), (pot, 1))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(3)})
    await shop.repositories.products.update_by_id(pot.id, {"price": Decimal(15)})
    order = {**ids(cartId=cart), "paymentMethod": "card"}
    denied = await shop.change(ann, "createOrder", "order { id }", **order)
    [error] = denied["userErrors"]
    assert (denied["order"], error["code"], error["field"]) == (None, "PRICE_CHANGED", ["cartId"])
    assert f"{tea.name} costs 3.00 USD instead of 2.50" in error["message"]
    assert pot.name not in error["message"]
    assert await shop.stock(tea) == (100, 0, 100)
    made = await shop.change(ann, "createOrder", "order { total items { price } }", **order, acceptPriceChanges=True)
    assert made == {"order": {"total": "21.00", "items": [{"price": "3.00"}, {"price": "15.00"}]}, "userErrors": []}


async def test_prices_that_were_accepted_are_ordered_and_no_later_ones(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("2.50")
    cart = await shop.cart(ann, (tea, 2))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(3)})
    await shop.of(ann).carts.accept_prices(cart.id)
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(4)})
    assert await refused(shop.of(ann).orders.create_from_cart(cart.id, "card")) == ("PRICE_CHANGED", "cart_id")
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(3)})
    assert (await shop.of(ann).orders.create_from_cart(cart.id, "card")).total == 6


async def test_what_became_cheaper_is_charged_as_it_is_now(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("2.50")
    cart = await shop.cart(ann, (tea, 2))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(2)})
    assert (await shop.of(ann).orders.create_from_cart(cart.id, "card")).total == 4


async def test_missing_products_are_flagged_and_stay(shop: Shop) -> None:
    ann = await shop.viewer()
    tea, few, none, gone, moved, owed = [await shop.product("1.00", stock=9) for _ in range(6)]
    cart = await shop.cart(ann, *((product, 5) for product in (tea, few, none, gone, moved, owed)))
    rows, stock = shop.repositories.products, shop.repositories.inventory
    await stock.set_on_hand(few.id, 4)
    await stock.set_on_hand(none.id, 0)
    await rows.archive(gone.id)
    await rows.update_by_id(moved.id, {"currency": "EUR"})
    await stock.set_policy(owed.id, InventoryPolicy.CONTINUE)
    await stock.set_on_hand(owed.id, 0)
    states = {item["availability"]: item["currentPrice"] for item in await lines(shop, ann, cart)}
    assert [item["availability"] for item in await lines(shop, ann, cart)] == [
        "AVAILABLE",
        "INSUFFICIENT_STOCK",
        "OUT_OF_STOCK",
        "UNAVAILABLE",
        "UNAVAILABLE",
        "AVAILABLE",
    ]
    assert states["UNAVAILABLE"] is None, "what is sold in another currency has no price here"
    await shop.repositories.stores.update_by_id(shop.store.id, {"status": "SUSPENDED"})
    assert {item["availability"] for item in await lines(shop, ann, cart)} == {"UNAVAILABLE"}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("addToCart", {}),
        ("updateCartItem", {"quantity": 5}),
        ("removeFromCart", {}),
        ("acceptPrices", {}),
        ("createOrder", {"paymentMethod": "card"}),
    ],
)
async def test_a_stale_tab_changes_nothing(shop: Shop, name: str, more: dict[str, Any]) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    product = {} if name in ("acceptPrices", "createOrder") else ids(productId=tea)
    shown = "order { status }" if name == "createOrder" else "cart { version }"
    input = {**ids(cartId=cart), **product, **more}
    stale = await shop.change(ann, name, shown, **input, cartVersion=cart.version - 1)
    assert [(error["field"], error["code"]) for error in stale["userErrors"]] == [(["cartVersion"], "CONFLICT")]
    assert (await shop.repositories.carts.get_by_id(cart.id)).version == cart.version
    fresh = await shop.change(ann, name, shown, **input, cartVersion=cart.version)
    assert fresh["userErrors"] == []


async def test_agreeing_is_about_this_order_alone(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("2.50")
    cart = await shop.cart(ann, (tea, 1))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(3)})
    orders = shop.of(ann).orders
    first = await orders.create_from_cart(cart.id, "card", "key", Agreement(accept_price_changes=True))
    assert (await orders.create_from_cart(cart.id, "card", "key")).id == first.id
    second = await shop.cart(ann, (tea, 1))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(5)})
    assert await refused(orders.create_from_cart(second.id, "card")) == ("PRICE_CHANGED", "cart_id")
