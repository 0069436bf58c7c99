"""What stores are told of their products: that one has changed, and that its pieces run low."""

import asyncio
from typing import Any

import pytest

from app.catalog.models import Product
from app.core.security import Viewer, ViewerKind
from app.stores.events import StoreEvent
from tests.shop import ADMINISTRATOR, Shop, ids
from tests.telling import listen, subject, told

NEW = "product { id name status }"


@pytest.fixture
async def told_of_stock(shop: Shop) -> Shop:
    await listen(shop, StoreEvent.INVENTORY_LOW)
    return shop


async def count(shop: Shop) -> int:
    return len(await told(shop, StoreEvent.INVENTORY_LOW))


async def test_pieces_that_run_low_are_told_once_when_they_do(told_of_stock: Shop) -> None:
    shop, ann = told_of_stock, await told_of_stock.viewer()
    tea = await shop.product(stock=8)
    await shop.order(ann, (tea, 2))
    assert await count(shop) == 0
    order = await shop.order(ann, (tea, 1))
    [payload] = await told(shop, StoreEvent.INVENTORY_LOW)
    assert payload["type"] == "inventory.low"
    assert (subject(payload, "storeId"), subject(payload, "productId")) == (shop.store.id, tea.id)
    await shop.order(ann, (tea, 1))
    assert await count(shop) == 1
    await shop.of(ann).orders.cancel(order.id)
    await shop.order(ann, (tea, 2))
    assert await count(shop) == 1
    await shop.repositories.inventory.set_on_hand(tea.id, 50)
    await shop.repositories.inventory.set_on_hand(tea.id, 6)
    assert await count(shop) == 2


async def test_buyers_at_once_cross_the_threshold_once(told_of_stock: Shop) -> None:
    shop = told_of_stock
    tea = await shop.product(stock=12)
    buyers = [await shop.viewer() for _ in range(12)]
    carts = [await shop.cart(buyer, (tea, 1)) for buyer in buyers]
    await asyncio.gather(*(shop.of(buyer).orders.create_from_cart(cart.id, "card") for buyer, cart in zip(buyers, carts, strict=True)))
    assert await shop.stock(tea) == (12, 12, 0)
    assert await count(shop) == 1


async def test_an_order_that_is_refused_tells_nothing(told_of_stock: Shop) -> None:
    shop, ann = told_of_stock, await told_of_stock.viewer()
    tea, pot = await shop.product(stock=6), await shop.product(stock=1)
    cart = await shop.cart(ann, (tea, 3), (pot, 1))
    await shop.repositories.inventory.set_on_hand(pot.id, 0)
    before = await count(shop)
    payload = await shop.change(ann, "createOrder", "order { id }", **ids(cartId=cart), paymentMethod="card")
    assert [error["code"] for error in payload["userErrors"]] == ["OUT_OF_STOCK"]
    assert await count(shop) == before


async def test_each_store_has_a_threshold_of_its_own_and_may_have_none(told_of_stock: Shop) -> None:
    shop, other = told_of_stock, await told_of_stock.open_store()
    await listen(shop, StoreEvent.INVENTORY_LOW, store=other)
    settings = "settings { lowStockThreshold }"
    for store, threshold in ((shop.store, None), (other, 20)):
        given = {**ids(storeId=store), "lowStockThreshold": threshold}
        payload = await shop.change(ADMINISTRATOR, "updateStoreSettings", settings, **given)
        assert payload == {"settings": {"lowStockThreshold": threshold}, "userErrors": []}
    tea = await shop.product(stock=30, stores=(shop.store.id, other.id))
    await shop.repositories.inventory.set_on_hand(tea.id, 20)
    assert [subject(payload, "storeId") for payload in await told(shop, StoreEvent.INVENTORY_LOW)] == [other.id]


async def test_a_threshold_is_for_staff_and_none_is_below_zero(shop: Shop) -> None:
    shown = "query ($id: ID!) { store(id: $id) { settings { currency lowStockThreshold } } }"
    answer = await shop.ask(await shop.viewer(), shown, **ids(id=shop.store))
    assert answer["data"]["store"]["settings"] == {"currency": "USD", "lowStockThreshold": None}
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["FORBIDDEN"]
    payload = await shop.change(ADMINISTRATOR, "updateStoreSettings", "settings { id }", **ids(storeId=shop.store), lowStockThreshold=-1)
    assert [error["field"] for error in payload["userErrors"]] == [["lowStockThreshold"]]


async def test_pieces_that_are_not_counted_do_not_run_low(told_of_stock: Shop) -> None:
    shop, ann = told_of_stock, await told_of_stock.viewer()
    course = await shop.product(stock=6, inventory_policy="UNTRACKED")
    await shop.order(ann, (course, 3))
    await shop.repositories.inventory.set_on_hand(course.id, 2)
    assert await count(shop) == 0


async def test_staff_who_count_are_told_of_as_buyers_are(told_of_stock: Shop) -> None:
    shop = told_of_stock
    staff = await shop.viewer(ViewerKind.STAFF, "inventory:write")
    tea = await shop.product(stock=6)
    adjusted = await shop.change(staff, "adjustInventory", "inventory { available }", **ids(productId=tea), delta=-1, reason="broken")
    assert adjusted == {"inventory": {"available": 5}, "userErrors": []}
    assert await count(shop) == 1


async def changed(shop: Shop, staff: Viewer, tea: Product, mutation: str, **input: Any) -> Any:
    kind = "UpdateProductInput" if mutation == "updateProduct" else "IdInput"
    document = f"mutation ($input: {kind}!) {{ {mutation}(input: $input) {{ {NEW} }} }}"
    return await shop.ask(staff, document, input={**ids(id=tea), **input})


async def test_a_product_that_changes_is_told_to_its_stores(shop: Shop) -> None:
    await listen(shop, StoreEvent.PRODUCT_UPDATED)
    staff, tea = await shop.viewer(ViewerKind.STAFF, "products:write"), await shop.product()
    await changed(shop, staff, tea, "updateProduct", name="Green tea")
    await changed(shop, staff, tea, "archiveProduct")
    await changed(shop, staff, tea, "restoreProduct")
    payloads = await told(shop, StoreEvent.PRODUCT_UPDATED)
    assert [payload["type"] for payload in payloads] == ["product.updated"] * 3
    assert {(subject(payload, "storeId"), subject(payload, "productId")) for payload in payloads} == {(shop.store.id, tea.id)}
    await changed(shop, staff, tea, "updateProduct", price="1.234")
    assert len(await told(shop, StoreEvent.PRODUCT_UPDATED)) == 3


async def test_a_store_that_begins_or_ends_to_sell_a_product_is_told(shop: Shop) -> None:
    other = await shop.open_store()
    await listen(shop, StoreEvent.PRODUCT_UPDATED)
    await listen(shop, StoreEvent.PRODUCT_UPDATED, store=other)
    tea = await shop.product()
    boss = await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")
    await changed(shop, boss, tea, "updateProduct", storeIds=list(ids(id=other).values()))
    assert {subject(payload, "storeId") for payload in await told(shop, StoreEvent.PRODUCT_UPDATED)} == {shop.store.id, other.id}
