"""Commerce operations, and the service over them that places orders."""

from typing import Any
from uuid import UUID

import asyncpg
import pytest

from app.carts.models import Cart, CartStatus
from app.core.errors import ErrorCode, NotFound, UserError
from app.engagement.models import NotificationCreate
from app.orders.models import Order, OrderCreate, OrderItemCreate, OrderStatus, PaymentCreate, PaymentStatus
from app.orders.provider import ChargeRequest, ChargeState
from app.orders.repository import External, PlacedOrder
from app.orders.test_provider import TestPaymentProvider
from app.repositories import Repositories
from tests.specification.conftest import World, global_id
from tests.specification.contents import GRAPHQL, operation


async def add_to_cart(factory: Repositories, user_id: UUID, product_id: UUID, quantity: int) -> Cart:
    cart = await factory.carts.find_first({"user_id": user_id, "status": CartStatus.ACTIVE.value})
    if cart is None:
        cart = await factory.carts.create({"user_id": user_id, "status": CartStatus.ACTIVE.value, "total": 0, "currency": "USD"})
    if await factory.products.find_by_id(product_id) is None:
        raise NotFound("product not found")
    await factory.carts.add_item(cart.id, product_id, quantity)
    return await factory.carts.recalculate_total(cart.id)


async def create_order(factory: Repositories, cart_id: UUID, payment_method: str) -> Order:
    cart = await factory.carts.find_by_id(cart_id)
    if cart is None or cart.user_id is None:
        raise NotFound("cart not found")
    items = [
        OrderItemCreate(product_id=item.product_id, quantity=item.quantity, price=item.price)
        for item in await factory.cart_items.find_by_cart_id(cart_id)
    ]
    order = OrderCreate(cart_id=cart_id, user_id=cart.user_id, total=cart.total, currency=cart.currency, payment_method=payment_method)
    async with factory.transaction() as tx:
        made = await tx.orders.create_with_items(order, items)
        await tx.carts.update_status(cart_id, CartStatus.CONVERTED)
    return made


async def process_payment(factory: Repositories, order_id: UUID, token: str) -> Order:
    order = await factory.orders.find_by_id(order_id)
    if order is None:
        raise NotFound("order not found")
    charge = await TestPaymentProvider(factory).charge(ChargeRequest(order.total, order.currency, str(order_id)), token)
    if charge.state is not ChargeState.SUCCEEDED:
        await factory.orders.update_status(order_id, OrderStatus.FAILED)
        raise UserError(ErrorCode.PAYMENT_DECLINED, "payment processing failed")
    async with factory.transaction() as tx:
        updated = await tx.orders.update_status(order_id, OrderStatus.COMPLETED)
        payment = PaymentCreate(
            amount=order.total,
            currency=order.currency,
            method=order.payment_method,
            status=PaymentStatus.COMPLETED,
            transaction_id=charge.id,
        )
        await tx.orders.create_payment(order_id, payment)
    return updated


ADD = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id total } userErrors { code } } }"
ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id total } userErrors { code } } }"
PAY = "mutation ($input: ProcessPaymentInput!) { processPayment(input: $input) { order { status } userErrors { code } } }"
PLACE = "mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id status } userErrors { code } } }"


@operation("addToCart")
async def test_add_to_cart(world: World) -> None:
    user, product = await world.user(), await world.product(await world.store(), "2.50")
    first = await add_to_cart(world.factory, user.id, product.id, 2)
    second = await add_to_cart(world.factory, user.id, product.id, 1)
    assert second.id == first.id
    row = await world.row("carts", first.id)
    assert (row["user_id"], row["status"], f"{row['total']:f}") == (user.id, "ACTIVE", "7.5000")
    line = await world.found("select * from cart_items where cart_id = $1", first.id)
    assert (line["product_id"], line["quantity"], line["price"]) == (product.id, 3, product.price)
    with pytest.raises(NotFound):
        await add_to_cart(world.factory, user.id, user.id, 1)


@operation("addToCart", GRAPHQL)
async def test_add_to_cart_over_graphql(world: World) -> None:
    (caller, user), product = await world.caller(), await world.product(await world.store(), "2.50")
    for total in ("5.00", "10.00"):
        answer = (await caller.ask(ADD, input={"productId": global_id(product), "quantity": 2}))["addToCart"]
        assert (answer["cart"]["total"], answer["userErrors"]) == (total, [])
    row = await world.shown("carts", "Cart", answer["cart"]["id"])
    assert (row["user_id"], row["total"]) == (user.id, 10)


async def _filled(world: World, user: Any) -> tuple[Cart, Any]:
    product = await world.product(await world.store(), "2.50")
    return await world.cart(user, (product, 2)), product


async def _stock(world: World, product: Any) -> tuple[int, int]:
    row = await world.found("select on_hand, reserved from inventory where product_id = $1", product.id)
    return row["on_hand"], row["reserved"]


async def _ordered(world: World, id: UUID, user: Any, product: Any) -> asyncpg.Record:
    """What shows that a cart was ordered, in the database."""
    row = await world.row("orders", id)
    assert (row["user_id"], row["total"], row["payment_method"]) == (user.id, 5, "card")
    line = await world.found("select * from order_items where order_id = $1", id)
    assert (line["product_id"], line["quantity"], line["price"]) == (product.id, 2, product.price)
    assert (await world.row("carts", row["cart_id"]))["status"] == "CONVERTED"
    return row


@operation("createOrder")
async def test_create_order(world: World) -> None:
    user = await world.user()
    cart, product = await _filled(world, user)
    order = await create_order(world.factory, cart.id, "card")
    assert (await _ordered(world, order.id, user, product))["status"] == "PENDING"
    assert await _stock(world, product) == (10, 2)
    with pytest.raises(UserError):
        await create_order(world.factory, cart.id, "card")
    assert await world.factory.orders.count({"cart_id": cart.id}) == 1


@operation("createOrder", GRAPHQL)
async def test_create_order_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    cart, product = await _filled(world, user)
    answer = (await caller.ask(ORDER, input={"cartId": global_id(cart), "paymentMethod": "card"}))["createOrder"]
    assert (answer["order"]["total"], answer["userErrors"]) == ("5.00", [])
    row = await world.shown("orders", "Order", answer["order"]["id"])
    assert (await _ordered(world, row["id"], user, product))["status"] == "PENDING"


@operation("processPayment")
async def test_process_payment(world: World) -> None:
    user = await world.user()
    cart, product = await _filled(world, user)
    order = await create_order(world.factory, cart.id, "card")
    paid = await process_payment(world.factory, order.id, "tok_success")
    assert (await world.row("orders", paid.id))["status"] == "COMPLETED"
    payment = await world.found("select * from payments where order_id = $1", order.id)
    assert (payment["status"], payment["amount"], payment["method"]) == ("COMPLETED", order.total, "card")
    assert payment["transaction_id"]
    assert await _stock(world, product) == (8, 0)


@operation("processPayment")
async def test_a_payment_that_fails(world: World) -> None:
    user = await world.user()
    cart, product = await _filled(world, user)
    order = await create_order(world.factory, cart.id, "card")
    with pytest.raises(UserError):
        await process_payment(world.factory, order.id, "tok_declined")
    assert (await world.row("orders", order.id))["status"] == "FAILED"
    assert await _stock(world, product) == (10, 0)


@operation("processPayment", GRAPHQL)
@pytest.mark.parametrize(("token", "status", "codes"), [("tok_success", "COMPLETED", []), ("tok_declined", "FAILED", ["PAYMENT_DECLINED"])])
async def test_process_payment_over_graphql(world: World, token: str, status: str, codes: list[str]) -> None:
    caller, user = await world.caller()
    cart, _ = await _filled(world, user)
    order = await create_order(world.factory, cart.id, "card")
    answer = (await caller.ask(PAY, input={"orderId": global_id(order), "paymentToken": token}))["processPayment"]
    assert (answer["order"]["status"], [error["code"] for error in answer["userErrors"]]) == (status, codes)
    assert (await world.row("orders", order.id))["status"] == status
    assert await world.database.fetchval("select status from payments where order_id = $1", order.id) == status


class OrderService:
    """The specification's service: stock, payment and confirmation are steps of making the order."""

    def __init__(self, factory: Repositories, token: str) -> None:
        self.factory = factory
        self.token = token

    async def place_order(self, order: OrderCreate, items: list[OrderItemCreate]) -> Order:
        charge = External(self._charge)
        return await self.factory.orders.create_with_inventory_check(order, items, self._check, charge, self._confirm)

    async def _check(self, placed: PlacedOrder) -> None:
        """Inside the transaction that makes the order: its pieces are reserved already."""
        quantities = {item.product_id: item.quantity for item in placed.items}
        for id, quantity in quantities.items():
            stock = await placed.repositories.of(type(self.factory.inventory)).find_first({"product_id": id})
            assert stock is not None
            assert stock.reserved >= quantity

    async def _charge(self, order: Order) -> None:
        charge = await TestPaymentProvider(self.factory).charge(ChargeRequest(order.total, order.currency, str(order.id)), self.token)
        if charge.state is not ChargeState.SUCCEEDED:
            raise UserError(ErrorCode.PAYMENT_DECLINED, "the card was declined")

    async def _confirm(self, placed: PlacedOrder) -> None:
        notification = NotificationCreate(user_id=placed.order.user_id, type="order", message="Thank you for your order.")
        await placed.repositories.of(type(self.factory.notifications)).create(notification)


async def _order_of(world: World, user: Any, product: Any) -> tuple[OrderCreate, list[OrderItemCreate]]:
    item = OrderItemCreate(product_id=product.id, quantity=2, price=product.price)
    return OrderCreate(user_id=user.id, total=2 * product.price), [item]


@operation("OrderService.placeOrder")
async def test_the_order_service_places_an_order(world: World) -> None:
    user, product = await world.user(), await world.product(await world.store(), "2.50")
    placed = await OrderService(world.factory, "tok_success").place_order(*await _order_of(world, user, product))
    assert (await world.row("orders", placed.id))["status"] == "PENDING"
    assert await _stock(world, product) == (10, 2)
    assert await world.database.fetchval("select captured from test_charges where key = $1", str(placed.id)) == 5
    assert await world.database.fetchval("select count(*) from notifications where user_id = $1", user.id) == 1


@operation("OrderService.placeOrder")
async def test_a_step_that_fails_takes_the_whole_order_back(world: World) -> None:
    user, product = await world.user(), await world.product(await world.store(), "2.50")
    with pytest.raises(UserError):
        await OrderService(world.factory, "tok_declined").place_order(*await _order_of(world, user, product))
    assert await _stock(world, product) == (10, 0)
    assert await world.database.fetchval("select count(*) from notifications where user_id = $1", user.id) == 0
    assert await world.database.fetchval("select status from orders where user_id = $1", user.id) == "FAILED"


@operation("OrderService.placeOrder", GRAPHQL)
@pytest.mark.parametrize(("token", "status", "stock"), [("tok_success", "COMPLETED", (8, 0)), ("tok_declined", "FAILED", (10, 0))])
async def test_place_order_over_graphql(world: World, token: str, status: str, stock: tuple[int, int]) -> None:
    caller, user = await world.caller()
    cart, product = await _filled(world, user)
    input = {"cartId": global_id(cart), "paymentMethod": "card", "paymentToken": token, "idempotencyKey": "place"}
    answer = (await caller.ask(PLACE, input=input))["placeOrder"]
    row = await world.shown("orders", "Order", answer["order"]["id"])
    assert (await _ordered(world, row["id"], user, product))["status"] == status
    assert await _stock(world, product) == stock
