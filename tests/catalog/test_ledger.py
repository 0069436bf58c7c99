"""The ledger of stock: whatever happens, and whoever writes, the movements add up to what is on hand."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.catalog.models import InventoryAdjust, InventoryPolicy, ProductUpdate
from app.catalog.repository.inventory import Cause
from app.core.errors import ErrorCode, UserError
from app.core.security import ANONYMOUS, Viewer, ViewerKind
from app.orders.models import OrderStatus
from tests.shop import Shop, ids, refused

Insert = Callable[..., Awaitable[UUID]]
BUYERS = 200

MOVEMENTS = """query ($id: ID!) { product(id: $id) { inventory { onHand reserved available policy
  movements { totalCount nodes { kind quantity reason user { username } order { id } } } } } }"""

UPSERT = """insert into inventory (product_id, on_hand) select product_id, 3 from inventory
  on conflict (product_id) do update set on_hand = excluded.on_hand"""

# --- The database


async def balances(connection: asyncpg.Connection) -> list[tuple[int, int]]:
    """What is on hand, and what was moved, of every inventory."""
    rows = await connection.fetch(
        "select on_hand, (select coalesce(sum(quantity), 0) from inventory_movements where inventory_id = i.id) as moved from inventory i"
    )
    return [(row["on_hand"], row["moved"]) for row in rows]


@pytest.mark.parametrize(
    ("statement", "on_hand"),
    [
        ("update inventory set on_hand = 4", [4, 4]),
        ("update inventory set on_hand = on_hand - 3, reserved = 1", [7, 2]),
        ("update inventory set policy = 'CONTINUE', on_hand = -2", [-2, -2]),
        ("update inventory set on_hand = on_hand, reserved = 2", [10, 5]),
        ("insert into inventory (product_id, on_hand) select id, 8 from products where name = 'New' returning id", [10, 5, 8]),
        (UPSERT, [3, 3]),
        ("insert into inventory_movements (inventory_id, kind, quantity) select id, 'ADJUSTMENT', 2 from inventory", [12, 7]),
        ("with gone as (update inventory set on_hand = 0 returning id, product_id) select * from gone", [0, 0]),
        ("delete from inventory where on_hand = 5", [10]),
        ("delete from products where name = 'Teapot'", []),
    ],
)
async def test_no_statement_parts_the_stock_from_its_ledger(
    insert: Insert, connection: asyncpg.Connection, statement: str, on_hand: list[int]
) -> None:
    await insert("inventory", on_hand=10)
    await insert("inventory", on_hand=5)
    await insert("products", name="New")
    await connection.execute(statement)
    found = await balances(connection)
    assert sorted(on for on, _ in found) == sorted(on_hand)
    assert all(on == moved for on, moved in found)


@pytest.mark.parametrize(
    "statement",
    [
        "update inventory_movements set quantity = 11",
        "update inventory_movements set reason = 'x'",
        "delete from inventory_movements",
        "truncate inventory_movements",
        "insert into inventory_movements (inventory_id, kind, quantity) select id, 'ADJUSTMENT', -11 from inventory",
        "insert into inventory_movements (inventory_id, kind, quantity) select id, 'SALE', 1 from inventory",
        "insert into inventory_movements (inventory_id, kind, quantity) select id, 'RETURN', -1 from inventory",
        "insert into inventory_movements (inventory_id, kind, quantity) select id, 'ADJUSTMENT', 0 from inventory",
    ],
)
async def test_the_ledger_cannot_be_rewritten(insert: Insert, connection: asyncpg.Connection, statement: str) -> None:
    await insert("inventory", on_hand=10)
    with pytest.raises((asyncpg.RestrictViolationError, asyncpg.CheckViolationError)):
        async with connection.transaction():
            await connection.execute(statement)
    assert await balances(connection) == [(10, 10)]


async def test_the_ledger_outlives_who_wrote_it(insert: Insert, connection: asyncpg.Connection) -> None:
    user, order = await insert("users"), await insert("orders")
    movement = await insert("inventory_movements", quantity=3, user_id=user, order_id=order)
    await connection.execute("delete from users where id = $1", user)
    await connection.execute("delete from orders where id = $1", order)
    row = await connection.fetchrow("select quantity, user_id, order_id from inventory_movements where id = $1", movement)
    assert row is not None
    assert tuple(row) == (3, None, None)


# --- Histories

MOVES = st.tuples(
    st.sampled_from(("set", "adjust", "reserve", "release", "commit", "take_back", "policy")), st.integers(0, 1), st.integers(1, 6)
)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(history=st.lists(MOVES, min_size=1, max_size=15))
async def test_every_history_adds_up(shop: Shop, history: list[tuple[str, int, int]]) -> None:
    products = [await shop.product(stock=5), await shop.product(stock=0)]
    stock = shop.repositories.inventory
    for move, which, number in history:
        pieces, id = {products[which].id: number}, products[which].id
        actions: dict[str, Callable[[], Awaitable[Any]]] = {
            "set": lambda id=id, n=number: stock.set_on_hand(id, n - 1),  # type: ignore[misc]
            "adjust": lambda id=id, n=number: stock.adjust(InventoryAdjust(product_id=id, delta=3 - n, reason="counted")),  # type: ignore[misc]
            "reserve": lambda pieces=pieces: stock.reserve(pieces),  # type: ignore[misc]
            "release": lambda pieces=pieces: stock.release(pieces),  # type: ignore[misc]
            "commit": lambda pieces=pieces: stock.commit(pieces),  # type: ignore[misc]
            "take_back": lambda pieces=pieces: stock.take_back(pieces),  # type: ignore[misc]
            "policy": lambda id=id, n=number: stock.set_policy(id, list(InventoryPolicy)[n % 3]),  # type: ignore[misc]
        }
        with suppress(UserError):
            await actions[move]()
        assert await shop.repositories.inventory_movements.find_unbalanced() == []
        for row in await stock.find_by_product_ids([product.id for product in products]):
            assert row.reserved >= 0
            assert row.policy != "DENY" or row.reserved <= row.on_hand
            assert row.policy == "CONTINUE" or row.on_hand >= 0


async def test_two_hundred_buyers_of_one_product(shop: Shop, record_property: Callable[[str, object], None]) -> None:
    """Each reserves and pays for a piece of the same product, half of them with one of another; some give it up."""
    hot, other = await shop.product(stock=BUYERS), await shop.product(stock=BUYERS)

    async def buy(number: int) -> None:
        pieces = {hot.id: 1} if number % 2 else {other.id: 1, hot.id: 1}
        async with shop.repositories.transaction() as tx:
            assert await tx.inventory.reserve(pieces) == []
        async with shop.repositories.transaction() as tx:
            settle = tx.inventory.release if number % 10 == 0 else tx.inventory.commit
            assert await settle(dict(reversed(pieces.items()))) == []

    before = await shop.deadlocks()
    started = asyncio.get_running_loop().time()
    await asyncio.gather(*(buy(number) for number in range(BUYERS)))
    seconds = asyncio.get_running_loop().time() - started
    assert await shop.stock(hot) == (20, 0, 20)
    assert await shop.stock(other) == (120, 0, 120)
    assert await shop.repositories.inventory_movements.find_unbalanced() == []
    assert await shop.deadlocks() == before
    record_property("figures", f"{BUYERS} buyers of one product: {BUYERS / seconds:.0f} purchases a second, no deadlock")


# --- Who sees and says what


async def test_a_sale_and_a_return_are_in_the_ledger(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 3))
    await shop.of(ann).orders.update_status(order.id, OrderStatus.COMPLETED)
    assert await shop.repositories.inventory.take_back({tea.id: 2}, Cause(order.id), "unopened") == []
    staff = await shop.viewer(ViewerKind.STAFF, "inventory:read", "products:read", "orders:read")
    found = (await shop.ask(staff, MOVEMENTS, **ids(id=tea)))["data"]["product"]["inventory"]
    assert (found["onHand"], found["reserved"], found["movements"]["totalCount"]) == (9, 0, 3)
    shown = [(node["kind"], node["quantity"], node["reason"], node["order"]) for node in found["movements"]["nodes"]]
    its_order = {"id": ids(id=order)["id"]}
    assert shown == [("RETURN", 2, "unopened", its_order), ("SALE", -3, None, its_order), ("ADJUSTMENT", 100 - 90, None, None)]
    assert [bool(node["user"]) for node in found["movements"]["nodes"]] == [False, True, False]


async def test_movements_are_for_the_staff_of_a_store_that_sells_the_product(shop: Shop) -> None:
    tea = await shop.product(stock=10)
    other = await shop.open_store()
    elsewhere = Viewer(ViewerKind.STAFF, (await shop.viewer()).user_id, other.id, permissions=frozenset({"inventory:read"}))
    assert (await shop.ask(elsewhere, MOVEMENTS, **ids(id=tea)))["data"]["product"]["inventory"]["movements"]["nodes"] == []
    for viewer in (ANONYMOUS, await shop.viewer(), await shop.viewer(ViewerKind.STAFF, "orders:read")):
        answer = await shop.ask(viewer, MOVEMENTS, **ids(id=tea))
        assert answer["data"]["product"]["inventory"]["movements"] is None
        assert {error["extensions"]["code"] for error in answer["errors"]} <= {"UNAUTHENTICATED", "FORBIDDEN"}


async def test_adjusting_says_who_and_why(shop: Shop) -> None:
    staff = await shop.viewer(ViewerKind.STAFF, "inventory:write", "inventory:read", "products:read", "users:read")
    tea = await shop.product(stock=10)
    shown = "inventory { onHand movements(first: 1) { nodes { kind quantity reason user { id } } } }"
    made = await shop.change(staff, "adjustInventory", shown, **ids(productId=tea), delta=-4, reason="broken")
    assert made["userErrors"] == []
    [movement] = made["inventory"]["movements"]["nodes"]
    assert (made["inventory"]["onHand"], movement["quantity"], movement["reason"]) == (6, -4, "broken")
    assert movement["user"] is not None
    counted = await shop.change(staff, "setInventory", shown, **ids(productId=tea), onHand=8, reason="stocktaking")
    assert counted["inventory"]["movements"]["nodes"][0]["quantity"] == 2
    same = await shop.change(staff, "setInventory", shown, **ids(productId=tea), onHand=8)
    assert same["inventory"]["movements"]["nodes"][0]["reason"] == "stocktaking"
    for input, field in (
        ({"delta": -9, "reason": "x"}, "delta"),
        ({"delta": 2**30, "reason": "x"}, "delta"),
        ({"delta": 1, "reason": " "}, "reason"),
    ):
        denied = await shop.change(staff, "adjustInventory", shown, **ids(productId=tea), **input)
        assert (denied["inventory"], denied["userErrors"][0]["field"]) == (None, [field])


async def test_what_is_reserved_stays_on_hand(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=5)
    await shop.order(ann, (tea, 3))
    assert await refused(shop.repositories.inventory.set_on_hand(tea.id, 2)) == (ErrorCode.CONFLICT, "onHand")
    fewer = InventoryAdjust(product_id=tea.id, delta=-3, reason="lost")
    assert await refused(shop.repositories.inventory.adjust(fewer)) == (ErrorCode.CONFLICT, "delta")
    assert await shop.stock(tea) == (5, 3, 2)


# --- Out of stock


async def test_backorders_are_owed_and_untracked_products_are_not_counted(shop: Shop) -> None:
    ann, tea, talk = await shop.viewer(), await shop.product(stock=1), await shop.product(stock=0)
    products = shop.repositories.products
    await products.update_product(tea.id, ProductUpdate(inventory_policy=InventoryPolicy.CONTINUE))
    await products.update_product(talk.id, ProductUpdate(inventory_policy=InventoryPolicy.UNTRACKED))
    order = await shop.order(ann, (tea, 3), (talk, 2))
    assert (await shop.stock(tea), await shop.stock(talk)) == ((1, 3, 0), (0, 2, 0))
    strict = ProductUpdate(inventory_policy=InventoryPolicy.DENY)
    assert await refused(products.update_product(tea.id, strict)) == (ErrorCode.CONFLICT, "inventoryPolicy")
    await shop.repositories.orders.update_status(order.id, OrderStatus.COMPLETED)
    assert (await shop.stock(tea), await shop.stock(talk)) == ((-2, 0, 0), (0, 0, 0))
    assert await refused(products.update_product(tea.id, strict)) == (ErrorCode.CONFLICT, "inventoryPolicy")
    await shop.repositories.inventory.adjust(InventoryAdjust(product_id=tea.id, delta=5, reason="delivery"))
    await products.update_product(tea.id, strict)
    assert await shop.stock(tea) == (3, 0, 3)
    assert await shop.repositories.inventory_movements.find_unbalanced() == []


@pytest.mark.parametrize(("then", "now"), [("UNTRACKED", "DENY"), ("DENY", "UNTRACKED")])
async def test_what_comes_back_is_counted_if_it_was_when_it_left(shop: Shop, then: str, now: str) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=5)
    stock = shop.repositories.inventory
    await stock.set_policy(tea.id, InventoryPolicy(then))
    order = await shop.order(ann, (tea, 2))
    await shop.repositories.orders.update_status(order.id, OrderStatus.COMPLETED)
    left = await shop.stock(tea)
    await stock.set_policy(tea.id, InventoryPolicy(now))
    assert await stock.take_back({tea.id: 2}, Cause(order.id)) == []
    assert (await shop.stock(tea))[0] == left[0] == (5 if then == "UNTRACKED" else 3)


async def test_the_policy_is_set_with_the_product(shop: Shop) -> None:
    create = """mutation ($policy: InventoryPolicy) { createProduct(input: { name: "Gift", price: "1", inventoryPolicy: $policy }) {
      product { id inventory { policy available } } userErrors { message } } }"""
    owner = await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")
    made = (await shop.ask(owner, create, policy="UNTRACKED"))["data"]["createProduct"]
    assert made["product"]["inventory"] == {"policy": "UNTRACKED", "available": 0}
    changed = await shop.change(
        owner, "updateProduct", "product { inventory { policy } }", id=made["product"]["id"], inventoryPolicy="CONTINUE"
    )
    assert changed["product"]["inventory"] == {"policy": "CONTINUE"}
    bare = await shop.repositories.products.create({"name": "Loose", "price": 1})
    await shop.repositories.products.update_product(bare.id, ProductUpdate(inventory_policy=InventoryPolicy.UNTRACKED))
    [stock] = await shop.repositories.inventory.find_by_product_ids([bare.id])
    assert stock.policy == "UNTRACKED"
