"""Orders and payments over GraphQL: the queries of the benchmark, the payloads, and what strangers see."""

import asyncio
from typing import Any

import pytest

from app.core.security import ANONYMOUS, Viewer, ViewerKind
from tests.shop import ADMINISTRATOR, Shop, ids

ORDERS = """query Orders($first: Int!) { orders(first: $first) { nodes { id status total currency createdAt user { id username email }
  items { id quantity price product { id name sku price } } payments { id amount status transactionId } } } }"""

WHOLE = """query ($id: ID!) { order(id: $id) { status total paymentMethod idempotencyKey completedAt user { username } store { name }
  cart { status total } payment { id } items { name sku quantity price lineTotal currency product { name } }
  payments { id status amount currency provider method transactionId idempotencyKey failureCode completedAt } } }"""


@pytest.mark.parametrize("orders", [1, 20, 100])
async def test_the_orders_query_takes_five_statements(shop: Shop, orders: int) -> None:
    ann, products = await shop.viewer(), [await shop.product(stock=10**6) for _ in range(4)]
    await _seed(shop, ann, products, orders)
    shop.database.statements.clear()
    answer = await shop.ask(ann, ORDERS, first=100)
    assert "errors" not in answer
    nodes = answer["data"]["orders"]["nodes"]
    assert len(nodes) == orders
    assert {(len(node["items"]), len(node["payments"]), node["total"]) for node in nodes} == {(4, 1, "40.00")}
    assert len(shop.database.statements) <= 5


async def _seed(shop: Shop, buyer: Viewer, products: list[Any], orders: int) -> None:
    """Orders of one piece of each product, each with a payment."""
    order = {"user_id": buyer.user_id, "store_id": shop.store.id, "items_total": 40, "total": 40, "currency": "USD"}
    rows = await shop.repositories.orders.create_many([order] * orders)
    lines = [{"product_id": product.id, "name": product.name, "price": product.price, "currency": "USD"} for product in products]
    await shop.repositories.order_items.create_many([{**line, "order_id": row.id, "quantity": 1} for row in rows for line in lines])
    payment = {"amount": 40, "currency": "USD", "status": "PENDING"}
    await shop.repositories.payments.create_many([{**payment, "order_id": row.id} for row in rows])


async def test_the_story_of_an_order(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("2.50", sku="TEA-1", stock=10)
    cart = await shop.cart(ann, (tea, 3))
    made = await shop.change(ann, "createOrder", "order { id status total items { quantity } }", **ids(cartId=cart), paymentMethod="card")
    assert made["userErrors"] == []
    assert (made["order"]["status"], made["order"]["total"], made["order"]["items"]) == ("PENDING", "7.50", [{"quantity": 3}])
    order_id = made["order"]["id"]
    paid = await shop.change(
        ann, "processPayment", "order { status payments { status } }", orderId=order_id, paymentToken="tok_success", idempotencyKey="k"
    )
    assert paid == {"order": {"status": "COMPLETED", "payments": [{"status": "COMPLETED"}]}, "userErrors": []}
    order = (await shop.ask(ann, WHOLE, id=order_id))["data"]["order"]
    [payment] = order["payments"]
    assert order["payment"] == {"id": payment["id"]}
    assert order["completedAt"] is not None
    assert (order["cart"], order["store"]) == ({"status": "CONVERTED", "total": "7.50"}, {"name": "Tea shop"})
    assert order["items"] == [
        {
            "name": tea.name,
            "sku": "TEA-1",
            "quantity": 3,
            "price": "2.50",
            "lineTotal": "7.50",
            "currency": "USD",
            "product": {"name": tea.name},
        }
    ]
    assert (payment["amount"], payment["provider"], payment["method"], payment["idempotencyKey"]) == ("7.50", "test", "card", "k")
    await shop.repositories.products.soft_delete(tea.id)
    assert (await shop.ask(ann, WHOLE, id=order_id))["data"]["order"]["items"] == order["items"]


async def test_refusals_name_the_field_and_a_declined_order_is_shown(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=1)
    empty = await shop.cart(ann)
    refused = await shop.change(ann, "createOrder", "order { id }", **ids(cartId=empty), paymentMethod="card")
    assert refused["order"] is None
    assert [(error["field"], error["code"]) for error in refused["userErrors"]] == [(["cartId"], "EMPTY_CART")]
    long = await shop.change(ann, "createOrder", "order { id }", **ids(cartId=empty), paymentMethod="x" * 65, idempotencyKey="k")
    assert [error["field"] for error in long["userErrors"]] == [["paymentMethod"]]
    blank = await shop.change(ann, "createOrder", "order { id }", **ids(cartId=empty), paymentMethod="card", idempotencyKey=" ")
    assert [error["field"] for error in blank["userErrors"]] == [["idempotencyKey"]]
    order = await shop.order(ann, (tea, 1))
    declined = await shop.change(ann, "processPayment", "order { status }", **ids(orderId=order), paymentToken="tok_declined")
    assert declined["order"] == {"status": "FAILED"}
    assert [(error["field"], error["code"]) for error in declined["userErrors"]] == [(["paymentToken"], "PAYMENT_DECLINED")]
    unknown = await shop.change(ann, "processPayment", "order { status }", **ids(orderId=order), paymentToken="tok_bogus")
    assert [(error["field"], error["code"]) for error in unknown["userErrors"]] == [(["paymentToken"], "PAYMENT_TOKEN_UNKNOWN")]
    final = await shop.change(ann, "cancelOrder", "order { status }", **ids(id=order))
    assert [(error["field"], error["code"]) for error in final["userErrors"]] == [(["id"], "INVALID_TRANSITION")]
    assert "FAILED" in final["userErrors"][0]["message"]


async def test_ids_of_other_kinds_are_refused_by_name(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    document = 'mutation ($id: ID!) { createOrder(input: {cartId: $id, paymentMethod: "card"}) { order { id } } }'
    for wrong in (ids(id=tea)["id"], "nonsense", ""):
        [error] = (await shop.ask(ann, document, id=wrong))["errors"]
        assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "cartId"}


async def test_strangers_neither_see_nor_change_an_order(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    assert (await shop.ask(bob, WHOLE, **ids(id=order)))["data"] == {"order": None}
    assert (await shop.ask(bob, ORDERS, first=10))["data"]["orders"]["nodes"] == []
    assert (await shop.ask(bob, "query ($id: ID!) { node(id: $id) { id } }", **ids(id=order)))["data"] == {"node": None}
    for name, input in (("cancelOrder", ids(id=order)), ("processPayment", {**ids(orderId=order), "paymentToken": "tok_success"})):
        payload = await shop.change(bob, name, "order { id }", **input)
        assert (payload["order"], [error["code"] for error in payload["userErrors"]]) == (None, ["NOT_FOUND"])
    for document in (ORDERS, WHOLE):
        [error] = (await shop.ask(ANONYMOUS, document, first=1, **ids(id=order)))["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
    assert (await shop.repositories.orders.get_by_id(order.id)).status == "PENDING"
    assert await shop.stock(tea) == (10, 2, 8)


async def test_staff_list_their_stores_orders_and_filter_them(shop: Shop) -> None:
    ann, tea, other = await shop.viewer(), await shop.product(), await shop.open_store()
    staff = await shop.viewer(ViewerKind.STAFF, "orders:read")
    orders = [await shop.order(ann, (tea, n)) for n in (1, 2, 3)]
    await shop.order(ann, (await shop.product(stores=(other.id,)), 1))
    listed = "query ($filter: OrderFilter, $by: [OrderOrder!]) { orders(filter: $filter, orderBy: $by) { totalCount nodes { id } } }"

    async def listing(viewer: Viewer, **arguments: Any) -> Any:
        return (await shop.ask(viewer, listed, **arguments))["data"]["orders"]

    newest = [ids(id=order) for order in reversed(orders)]
    assert await listing(staff) == {"totalCount": 3, "nodes": newest}
    assert (await listing(ADMINISTRATOR))["totalCount"] == 4
    assert (await listing(staff, filter={"total": {"gte": "20"}}))["nodes"] == newest[:2]
    assert (await listing(staff, by=[{"field": "TOTAL"}]))["nodes"] == newest[::-1]
    await shop.of(ann).orders.cancel(orders[0].id)
    assert (await listing(ann, filter={"status": {"eq": "CANCELLED"}}))["nodes"] == [newest[-1]]


async def test_fifty_orders_of_one_cart_over_graphql(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    calls = (shop.change(ann, "createOrder", "order { id }", **ids(cartId=cart), paymentMethod="card") for _ in range(50))
    payloads = await asyncio.gather(*calls)
    assert sum(payload["order"] is not None for payload in payloads) == 1
    assert {error["code"] for payload in payloads for error in payload["userErrors"]} == {"CART_NOT_ACTIVE"}
