"""Carts over GraphQL: payloads, refusals, and what strangers see."""

from typing import Any

import pytest

from app.core.security import ANONYMOUS, ViewerKind
from tests.shop import Shop, ids

CART = """cart { id status total currency version itemCount user { username } store { name } order { id }
  items { quantity price lineTotal currency product { name } } }"""


async def test_filling_a_cart(shop: Shop) -> None:
    ann, tea, pot = await shop.viewer(), await shop.product("2.50"), await shop.product("19.99")
    added = await shop.change(ann, "addToCart", CART, **ids(productId=tea))
    assert (added["userErrors"], added["cart"]["itemCount"], added["cart"]["total"]) == ([], 1, "2.50")
    cart_id = added["cart"]["id"]
    added = await shop.change(ann, "addToCart", CART, **ids(productId=pot), cartId=cart_id, quantity=2)
    assert (added["cart"]["id"], added["cart"]["status"], added["cart"]["store"]) == (cart_id, "ACTIVE", {"name": "Tea shop"})
    changed = await shop.change(ann, "updateCartItem", CART, **ids(productId=tea), cartId=cart_id, quantity=4)
    assert changed["cart"]["items"] == [
        {"quantity": 4, "price": "2.50", "lineTotal": "10.00", "currency": "USD", "product": {"name": tea.name}},
        {"quantity": 2, "price": "19.99", "lineTotal": "39.98", "currency": "USD", "product": {"name": pot.name}},
    ]
    assert (changed["cart"]["total"], changed["cart"]["itemCount"], changed["cart"]["order"]) == ("49.98", 6, None)
    mine = (await shop.ask(ann, "{ myCart { id itemCount } carts { nodes { id } totalCount } }"))["data"]
    assert mine == {"myCart": {"id": cart_id, "itemCount": 6}, "carts": {"nodes": [{"id": cart_id}], "totalCount": 1}}
    removed = await shop.change(ann, "removeFromCart", CART, **ids(productId=tea), cartId=cart_id)
    assert (removed["cart"]["total"], len(removed["cart"]["items"])) == ("39.98", 1)
    emptied = await shop.change(ann, "updateCartItem", CART, **ids(productId=pot), cartId=cart_id, quantity=0)
    assert (emptied["cart"]["total"], emptied["cart"]["itemCount"], emptied["cart"]["items"]) == ("0.00", 0, [])


async def test_amounts_have_the_digits_of_their_currency(shop: Shop) -> None:
    ann = await shop.viewer()
    for price, currency, shown in (("150", "JPY", "450"), ("0.125", "KWD", "0.375"), ("1.1", "USD", "3.30")):
        store = await shop.open_store(currency=currency)
        product = await shop.product(price, currency=currency, stores=(store.id,))
        added = await shop.change(ann, "addToCart", CART, **ids(productId=product), quantity=3)
        assert (added["cart"]["total"], added["cart"]["items"][0]["lineTotal"]) == (shown, shown)


async def test_mutations_of_one_document_show_what_each_has_changed(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    document = """mutation ($cart: ID!, $product: ID!) {
      a: addToCart(input: {cartId: $cart, productId: $product}) { cart { itemCount items { quantity } } }
      b: updateCartItem(input: {cartId: $cart, productId: $product, quantity: 7}) { cart { itemCount items { quantity } } }
      c: removeFromCart(input: {cartId: $cart, productId: $product}) { cart { itemCount items { quantity } } } }"""
    answer = await shop.ask(ann, document, **ids(cart=cart, product=tea))
    shown = {name: payload["cart"] for name, payload in answer["data"].items()}
    assert shown == {
        "a": {"itemCount": 2, "items": [{"quantity": 2}]},
        "b": {"itemCount": 7, "items": [{"quantity": 7}]},
        "c": {"itemCount": 0, "items": []},
    }


@pytest.mark.parametrize("quantity", [-1, 0, 1001, 2**31 - 1])
async def test_quantities_have_bounds(shop: Shop, quantity: int) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    payload = await shop.change(ann, "addToCart", CART, **ids(productId=tea), quantity=quantity)
    assert (payload["cart"], [(error["field"], error["code"]) for error in payload["userErrors"]]) == (None, [(["quantity"], "INVALID")])
    assert await shop.repositories.carts.count() == 0


async def test_ids_of_other_kinds_are_refused_by_name(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann)
    document = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } } }"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("productId", ids(productId=cart)),
        ("cartId", ids(productId=tea, cartId=tea)),
        ("storeId", ids(productId=tea, storeId=tea)),
        ("productId", {"productId": "%%"}),
    ]
    for argument, input in wrong:
        [error] = (await shop.ask(ann, document, input=input))["errors"]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": argument}


async def test_strangers_neither_see_nor_change_a_cart(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    staff = await shop.viewer(ViewerKind.STAFF, "carts:read")
    cart = await shop.cart(ann, (tea, 1))
    seen = "query ($id: ID!) { cart(id: $id) { id } carts { totalCount } myCart { id } }"
    assert (await shop.ask(bob, seen, **ids(id=cart)))["data"] == {"cart": None, "carts": {"totalCount": 0}, "myCart": None}
    assert (await shop.ask(staff, seen, **ids(id=cart)))["data"] == {"cart": ids(id=cart), "carts": {"totalCount": 1}, "myCart": None}
    for viewer in (bob, staff):
        for name, quantity in (("addToCart", {"quantity": 1}), ("updateCartItem", {"quantity": 9}), ("removeFromCart", {})):
            payload = await shop.change(viewer, name, "cart { id }", **ids(cartId=cart, productId=tea), **quantity)
            assert (payload["cart"], [(e["field"], e["code"]) for e in payload["userErrors"]]) == (None, [(["cartId"], "NOT_FOUND")])
    assert (await shop.repositories.carts.get_by_id(cart.id)).version == cart.version
    assert (await shop.ask(ANONYMOUS, "{ myCart { id } }"))["data"] == {"myCart": None}
    [error] = (await shop.ask(ANONYMOUS, "{ carts { totalCount } }"))["errors"]
    assert error["extensions"]["code"] == "UNAUTHENTICATED"


async def test_a_page_of_carts_reads_each_relation_once(shop: Shop) -> None:
    tea, staff = await shop.product(), await shop.viewer(ViewerKind.STAFF, "carts:read")
    for _ in range(10):
        await shop.cart(await shop.viewer(), (tea, 1))
    shop.database.statements.clear()
    document = "{ carts { nodes { itemCount user { username } store { name } order { id } items { product { name } } } } }"
    answer = await shop.ask(staff, document)
    assert len(answer["data"]["carts"]["nodes"]) == 10
    assert len(shop.database.statements) == 6
