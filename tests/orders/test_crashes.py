"""Processes are killed in the midst of payments; another one is started, and money, orders and stock agree again."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from app.api.scalars import encode_id
from app.catalog.models import ProductCreate
from app.orders.payments import Moment
from app.repositories import Repositories
from app.resources import migrate_all
from app.stores.models import StoreCreate
from tests.serving import SIGN_UP, Caller, eventually, served

PLACE = """mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) {
  order { status payments { id } } userErrors { field message code } } }"""
ADD = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } userErrors { message } } }"
REFUND = "mutation ($input: RefundPaymentInput!) { refundPayment(input: $input) { order { id } userErrors { message } } }"
PIECES = 100

PROMOTE = "update users set role_id = (select id from roles where name = 'ADMIN'), role_assigned_at = now() where username = $1"
UNSETTLED = """select (select count(*) from payments where status = 'PENDING') + (select count(*) from refunds where status = 'PENDING')
  + (select count(*) from orders where status = 'PENDING')"""
MONEY = """select
  (select coalesce(sum(captured), 0) from test_charges) as taken, (select coalesce(sum(refunded), 0) from test_charges) as returned,
  (select coalesce(sum(total), 0) from orders where status = 'COMPLETED') as sold,
  (select coalesce(sum(refunded_amount), 0) from payments) as refunded,
  (select coalesce(sum(captured_amount), 0) from payments) as captured"""
STOCK = """select i.on_hand, i.reserved, (
  select coalesce(sum(quantity), 0) from order_items join orders o on o.id = order_id where o.status = 'COMPLETED') as sold
  from inventory i"""
ORDERED_AND_ACTIVE = "select count(*) from carts c join orders o on o.cart_id = c.id where c.status = 'ACTIVE'"


async def shopper(http: httpx.AsyncClient, name: str, product: str) -> tuple[Caller, dict[str, Any]]:
    """Somebody new, and what there is to order."""
    account = {"email": f"{name}@example.com", "username": name, "password": "correct horse battery"}
    visitor = Caller(http)
    assert (await visitor.ask(SIGN_UP, input=account))["signUp"]["userErrors"] == []
    caller = await visitor.sign_in(account["email"], account["password"])
    cart = (await caller.ask(ADD, input={"productId": product, "quantity": 3}))["addToCart"]["cart"]["id"]
    return caller, {"cartId": cart, "paymentMethod": "card", "paymentToken": "tok_success", "idempotencyKey": name}


async def promote(dsn: str, name: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(PROMOTE, name)
    await connection.close()


async def killed_in(moment: Moment, folder: Path, environment: dict[str, str], product: str) -> None:
    """A process that is asked to sell, and to give money back, until it is dead."""
    folder = folder / moment
    folder.mkdir()
    async with (
        served(folder, "-m", "tests.orders.dying", moment, **environment) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        caller, order = await shopper(http, moment.lower(), product)
        with pytest.raises(httpx.HTTPError):
            placed = (await caller.ask(PLACE, input=order))["placeOrder"]
            await promote(environment["DATABASE_URL"], moment.lower())
            payment = placed["order"]["payments"][0]["id"]
            boss = await Caller(http).sign_in(f"{moment.lower()}@example.com", "correct horse battery")
            await boss.ask(REFUND, input={"paymentId": payment, "amount": "5", "idempotencyKey": moment})
        assert await server.process.wait() == -9


async def test_what_was_cut_off_is_put_in_order_after_a_restart(repositories: Repositories, database_url: str, tmp_path: Path) -> None:
    await migrate_all(database_url)
    store = await repositories.stores.create_with_settings(StoreCreate(name="Tea shop", domain="tea.example.com"))
    tea = await repositories.products.create_in_stores(ProductCreate(name="Tea", price=Decimal("2.50"), store_ids=frozenset({store.id})))
    await repositories.inventory.set_on_hand(tea.id, PIECES)
    environment = {"DATABASE_URL": database_url, "DEMO_DATA": "false", "PAYMENT_PATIENCE": "1", "ORDER_PATIENCE": "1", "RUN_JOBS": "false"}
    product = encode_id("Product", tea.id)
    await asyncio.gather(*(killed_in(moment, tmp_path, environment, product) for moment in Moment))

    connection = await asyncpg.connect(database_url)
    assert await connection.fetchval(UNSETTLED) > 0
    async with served(tmp_path, **{**environment, "RUN_JOBS": "true"}):

        async def settled() -> bool:
            return bool(await connection.fetchval(UNSETTLED) == 0)

        await eventually(settled, 40)
    money, stock = await connection.fetchrow(MONEY), await connection.fetchrow(STOCK)
    assert money is not None
    assert stock is not None
    # Those who died after the charge was made: the others took nothing.
    after = [Moment.ANSWERED, Moment.SETTLED, Moment.REFUND_OPENED, Moment.REFUND_ANSWERED]
    assert money["taken"] == money["sold"] == money["captured"] == Decimal("7.50") * len(after)
    assert money["returned"] == money["refunded"] == Decimal(10)
    assert (stock["on_hand"], stock["reserved"], stock["sold"]) == (PIECES - 3 * len(after), 0, 3 * len(after))
    assert await connection.fetchval(ORDERED_AND_ACTIVE) == 0
    await connection.close()
