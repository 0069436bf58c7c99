"""From a cart to an order: one transaction, whoever races."""

import asyncio
import itertools
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from pydantic import ValidationError

from app.core.errors import ErrorCode, NotFound, UserError
from app.core.money import line_total
from app.core.security import ANONYMOUS, ViewerKind
from app.orders.agreement import Agreement
from app.orders.models import OrderCreate, OrderItemCreate, OrderStatus, PaymentCreate, PaymentStatus
from app.orders.repository import PlacedOrder
from tests.shop import ADMINISTRATOR, Shop, refused

RACERS = 50


async def counts(shop: Shop) -> tuple[int, int, int]:
    """Orders, lines, converted carts."""
    rows = shop.repositories
    return await rows.orders.count(), await rows.order_items.count(), await rows.carts.count({"status": "CONVERTED"})


async def test_an_order_holds_what_the_cart_held_as_it_is_sold_now(shop: Shop) -> None:
    ann, tea, pot = await shop.viewer(), await shop.product("2.50", sku="TEA-1"), await shop.product("19.99")
    cart = await shop.cart(ann, (tea, 3), (pot, 1))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(3), "name": "Green tea"})
    order = await shop.of(ann).orders.create_from_cart(cart.id, "card", "key-1", Agreement(accept_price_changes=True))
    assert (order.status, order.total, order.currency, order.payment_method) == ("PENDING", Decimal("28.99"), "USD", "card")
    assert (order.user_id, order.cart_id, order.store_id) == (ann.user_id, cart.id, shop.store.id)
    items = await shop.of(ann).order_items.find_by_order(order.id)
    assert [(item.product_id, item.name, item.sku, item.quantity, item.price) for item in items] == [
        (tea.id, "Green tea", "TEA-1", 3, Decimal(3)),
        (pot.id, pot.name, None, 1, Decimal("19.99")),
    ]
    assert await shop.repositories.order_items.get_order_total(order.id) == order.total
    assert (await shop.stock(tea), await shop.stock(pot)) == ((100, 3, 97), (100, 1, 99))
    converted = await shop.of(ann).carts.get_by_id(cart.id)
    assert (converted.status, converted.total, converted.version) == ("CONVERTED", order.total, cart.version + 1)
    assert converted.converted_at is not None
    assert await shop.repositories.cart_items.get_cart_total_value(cart.id) == order.total


async def test_fifty_calls_make_one_order(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=1000)
    cart = await shop.cart(ann, (tea, 2))
    calls = (shop.of(ann).orders.create_from_cart(cart.id, "card") for _ in range(RACERS))
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert len(errors) == RACERS - 1
    assert {error.code for error in errors if isinstance(error, UserError)} == {ErrorCode.CART_NOT_ACTIVE}
    assert await counts(shop) == (1, 1, 1)
    assert await shop.stock(tea) == (1000, 2, 998)


async def test_fifty_calls_with_one_key_get_the_same_order(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=1000)
    cart = await shop.cart(ann, (tea, 2))
    orders = await asyncio.gather(*(shop.of(ann).orders.create_from_cart(cart.id, "card", "once") for _ in range(RACERS)))
    assert len({order.id for order in orders}) == 1
    assert await counts(shop) == (1, 1, 1)
    assert await shop.stock(tea) == (1000, 2, 998)


async def test_the_last_ten_pieces_make_ten_orders(shop: Shop) -> None:
    tea = await shop.product(stock=10)
    shoppers = [await shop.viewer() for _ in range(RACERS)]
    carts = [await shop.cart(shopper, (tea, 1)) for shopper in shoppers]
    calls = (shop.of(shopper).orders.create_from_cart(cart.id, "card") for shopper, cart in zip(shoppers, carts, strict=True))
    results = await asyncio.gather(*calls, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    assert len(errors) == RACERS - 10
    assert {error.code for error in errors if isinstance(error, UserError)} == {ErrorCode.OUT_OF_STOCK}
    assert await shop.stock(tea) == (10, 10, 0)
    assert await counts(shop) == (10, 10, 10)
    assert await shop.repositories.carts.count({"status": "ACTIVE"}) == RACERS - 10


async def test_carts_with_the_same_products_in_any_order_never_deadlock(shop: Shop) -> None:
    products = [await shop.product(stock=1000) for _ in range(5)]
    shoppers = [await shop.viewer() for _ in range(24)]
    carts = [
        await shop.cart(shopper, *((product, 1) for product in (products if n % 2 else products[::-1])))
        for n, shopper in enumerate(shoppers)
    ]
    before = await shop.deadlocks()
    calls = (shop.of(shopper).orders.create_from_cart(cart.id, "card") for shopper, cart in zip(shoppers, carts, strict=True))
    orders = await asyncio.gather(*calls)
    cancelled = await asyncio.gather(*(shop.of(shopper).orders.cancel(order.id) for shopper, order in zip(shoppers, orders, strict=True)))
    assert {order.status for order in cancelled} == {"CANCELLED"}
    assert [await shop.stock(product) for product in products] == [(1000, 0, 1000)] * 5
    assert await shop.deadlocks() == before


async def test_a_deadlock_would_be_seen_though_it_is_retried(shop: Shop) -> None:
    """What the tests that look for deadlocks rely on: two transactions that lock two products in opposite orders."""
    products = [await shop.product() for _ in range(2)]
    both_hold_one = asyncio.Barrier(2)
    before = await shop.deadlocks()

    async def lock(first: Any, second: Any) -> None:
        async def work(transaction: Any) -> None:
            stock = shop.repositories.bound_to(transaction).inventory
            await stock.reserve({first.id: 1})
            if not held.done():
                await both_hold_one.wait()
                if not held.done():
                    held.set_result(None)
            await stock.reserve({second.id: 1})

        await shop.database.retry(work)

    held: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    await asyncio.gather(lock(*products), lock(*reversed(products)))
    assert [await shop.stock(product) for product in products] == [(100, 2, 98)] * 2
    assert await shop.deadlocks() == before + 1


async def test_one_key_for_two_carts_orders_one_of_them(shop: Shop) -> None:
    ann, tea, other = await shop.viewer(), await shop.product(), await shop.open_store()
    pot = await shop.product(stores=(other.id,))
    carts = [await shop.cart(ann, (product, 1)) for product in (tea, pot)]
    calls = (shop.of(ann).orders.create_from_cart(carts[n % 2].id, "card", "key") for n in range(20))
    results = await asyncio.gather(*calls, return_exceptions=True)
    made = {result.id for result in results if not isinstance(result, BaseException)}
    errors = [result for result in results if isinstance(result, UserError)]
    assert len(made) == 1
    assert len(errors) == 10
    assert {(error.code, error.field) for error in errors} == {(ErrorCode.CONFLICT, ("idempotency_key",))}
    assert await counts(shop) == (1, 1, 1)


async def test_a_key_is_the_users_own_and_stands_for_one_request(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    orders = shop.of(ann).orders
    first = await shop.order(ann, (tea, 1), key="key")
    assert first.cart_id is not None
    assert (await shop.order(bob, (tea, 1), key="key")).id != first.id
    assert (await orders.create_from_cart(first.cart_id, "card", " key ")).id == first.id
    conflict = (ErrorCode.CONFLICT, "idempotency_key")
    assert await refused(orders.create_from_cart(first.cart_id, "paypal", "key")) == conflict
    assert await refused(orders.create_from_cart(uuid4(), "card", "key")) == conflict
    second = await shop.cart(ann, (tea, 1))
    assert await refused(orders.create_from_cart(second.id, "card", "key")) == conflict
    assert (await orders.create_from_cart(second.id, "card", "another")).id != first.id


async def test_carts_that_cannot_be_ordered(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    staff = await shop.viewer(ViewerKind.STAFF, "carts:read", "orders:read")
    empty = await shop.cart(ann)
    assert await refused(shop.of(ann).orders.create_from_cart(empty.id, "card")) == (ErrorCode.EMPTY_CART, "cart_id")
    cart = await shop.cart(ann, (tea, 1))
    for viewer in (bob, staff, ANONYMOUS):
        assert await refused(shop.of(viewer).orders.create_from_cart(cart.id, "card")) == (ErrorCode.NOT_FOUND, "cart_id")
    assert await refused(shop.of(ann).orders.create_from_cart(uuid4(), "card")) == (ErrorCode.NOT_FOUND, "cart_id")
    guests = await shop.repositories.carts.create({"cart_token_hash": "a" * 64})
    assert await refused(shop.repositories.orders.create_from_cart(guests.id, "card")) == (ErrorCode.FORBIDDEN, "cart_id")
    await shop.repositories.products.archive(tea.id)
    assert await refused(shop.of(ann).orders.create_from_cart(cart.id, "card")) == (ErrorCode.PRODUCT_UNAVAILABLE, "cart_id")
    assert await counts(shop) == (0, 0, 0)
    assert await shop.stock(tea) == (100, 0, 100)


async def test_what_is_no_longer_for_sale_is_not_ordered(shop: Shop) -> None:
    ann, tea, pot, cup = await shop.viewer(), await shop.product(), await shop.product(), await shop.product()
    cart = await shop.cart(ann, (tea, 1), (pot, 1), (cup, 1))
    changes = (
        (tea, shop.repositories.products.soft_delete(tea.id)),
        (pot, shop.repositories.products.update_by_id(pot.id, {"currency": "EUR"})),
        (cup, shop.repositories.stores.update_by_id(shop.store.id, {"status": "SUSPENDED"})),
    )
    for product, change in changes:
        await change
        with pytest.raises(UserError, match=product.name) as error:
            await shop.of(ann).orders.create_from_cart(cart.id, "card")
        assert error.value.code == ErrorCode.PRODUCT_UNAVAILABLE
    assert (await shop.repositories.carts.get_by_id(cart.id)).status == "ACTIVE"


async def test_out_of_stock_names_the_products_and_keeps_nothing(shop: Shop) -> None:
    ann, tea, pot = await shop.viewer(), await shop.product(stock=5), await shop.product(stock=1)
    cart = await shop.cart(ann, (tea, 2), (pot, 3))
    with pytest.raises(UserError, match=rf"{pot.name} \(3 wanted, 1 available\)") as error:
        await shop.of(ann).orders.create_from_cart(cart.id, "card")
    assert (error.value.code, error.value.field) == (ErrorCode.OUT_OF_STOCK, ("cart_id",))
    assert await counts(shop) == (0, 0, 0)
    assert (await shop.stock(tea), await shop.stock(pot)) == ((5, 0, 5), (1, 0, 1))


async def test_texts_that_cannot_be_stored_are_refused(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    for method, key in (("", None), ("x" * 65, None), ("card", ""), ("card", "k" * 256), ("card\0", None), ("card", "\ud800")):
        with pytest.raises(ValidationError):
            await shop.of(ann).orders.create_from_cart(cart.id, method, key)


# --- Orders without a cart


def wanted(user_id: Any, *lines: tuple[Any, int], currency: str = "USD") -> tuple[OrderCreate, list[OrderItemCreate]]:
    items = [OrderItemCreate(product_id=product.id, quantity=quantity, price=product.price) for product, quantity in lines]
    total = sum((line_total(item.price, item.quantity, item.currency) for item in items), Decimal(0))
    return OrderCreate(user_id=user_id, total=total, currency=currency), items


async def test_an_order_comes_with_its_items_and_its_stock(shop: Shop) -> None:
    ann, tea, pot = await shop.viewer(), await shop.product("1.50", sku="TEA-9"), await shop.product()
    order = await shop.repositories.orders.create_with_items(*wanted(ann.user_id, (tea, 2), (pot, 1)))
    items = await shop.repositories.order_items.find_by_order_ids([order.id])
    assert [(item.name, item.sku, item.quantity) for item in items[0]] == [(tea.name, "TEA-9", 2), (pot.name, None, 1)]
    assert (await shop.stock(tea), await shop.stock(pot)) == ((100, 2, 98), (100, 1, 99))


async def test_an_order_that_does_not_add_up_is_refused(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    orders = shop.repositories.orders
    order, items = wanted(ann.user_id, (tea, 2))
    assert await refused(orders.create_with_items(order, [])) == (ErrorCode.INVALID, "items")
    assert await refused(orders.create_with_items(order, items * 201)) == (ErrorCode.INVALID, "items")
    assert await refused(orders.create_with_items(order.model_copy(update={"total": Decimal(1)}), items)) == (ErrorCode.INVALID, "total")
    assert await refused(orders.create_with_items(*wanted(ann.user_id, (tea, 2), currency="EUR"))) == (
        ErrorCode.CURRENCY_MISMATCH,
        "items",
    )
    assert await refused(orders.create_with_items(*wanted(ann.user_id, (tea, 1), (tea, 1)))) == (ErrorCode.INVALID, "items")
    lost = [items[0].model_copy(update={"product_id": uuid4()})]
    assert await refused(orders.create_with_items(order, lost)) == (ErrorCode.PRODUCT_UNAVAILABLE, "items")
    assert await counts(shop) == (0, 0, 0)


async def test_steps_run_in_their_turn_and_a_failing_one_undoes_everything(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    seen: list[str] = []

    async def note(placed: PlacedOrder) -> None:
        assert [item.order_id for item in placed.items] == [placed.order.id]
        await placed.repositories.of(type(shop.repositories.config)).create({"key": "noted", "value": str(placed.order.id)})
        seen.append("note")

    async def fail(_placed: PlacedOrder) -> None:
        seen.append("fail")
        raise RuntimeError("no")

    orders = shop.repositories.orders
    with pytest.raises(RuntimeError):
        await orders.create_with_inventory_check(*wanted(ann.user_id, (tea, 2)), note, fail)
    assert seen == ["note", "fail"]
    assert await counts(shop) == (0, 0, 0)
    assert await shop.stock(tea) == (100, 0, 100)
    assert await shop.repositories.config.count() == 0
    order = await orders.create_with_inventory_check(*wanted(ann.user_id, (tea, 2)), note)
    assert (await shop.repositories.config.find_by_key("noted")).value == str(order.id)  # type: ignore[union-attr]
    assert await shop.stock(tea) == (100, 2, 98)


# --- Status


async def test_stock_follows_the_status(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    orders = shop.repositories.orders
    failing = await shop.order(ann, (tea, 4))
    failed = await orders.update_status(failing.id, OrderStatus.FAILED)
    assert (failed.failed_at is not None, await shop.stock(tea)) == (True, (10, 0, 10))
    retried = await orders.update_status(failing.id, OrderStatus.PENDING)
    assert (retried.failed_at, await shop.stock(tea)) == (None, (10, 4, 6))
    completed = await orders.update_status(failing.id, OrderStatus.COMPLETED)
    assert (completed.completed_at is not None, await shop.stock(tea)) == (True, (6, 0, 6))
    cancelled = await orders.update_status((await shop.order(ann, (tea, 6))).id, OrderStatus.CANCELLED)
    assert (cancelled.cancelled_at is not None, await shop.stock(tea)) == (True, (6, 0, 6))


async def test_a_failed_order_is_not_retried_without_stock(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product(stock=3)
    failed = await shop.order(ann, (tea, 2))
    await shop.repositories.orders.update_status(failed.id, OrderStatus.FAILED)
    await shop.order(bob, (tea, 2))
    assert await refused(shop.repositories.orders.update_status(failed.id, OrderStatus.PENDING)) == (ErrorCode.OUT_OF_STOCK, "order_id")
    assert (await shop.repositories.orders.get_by_id(failed.id)).status == "FAILED"
    assert await shop.stock(tea) == (3, 2, 1)


async def test_transitions_are_guarded(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    orders = shop.repositories.orders
    for current, following in itertools.product(OrderStatus, OrderStatus):
        order = await shop.order(ann, (tea, 1))
        if current is not OrderStatus.PENDING:
            await orders.update_status(order.id, current)
        if current.can_become(following):
            assert (await orders.update_status(order.id, following)).status == following
            continue
        with pytest.raises(UserError, match=f"{current} and cannot become {following}") as error:
            await orders.update_status(order.id, following)
        assert error.value.code == ErrorCode.INVALID_TRANSITION
        assert (await orders.get_by_id(order.id)).status == current


async def test_of_racing_transitions_one_wins_and_the_stock_moves_once(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 4))
    ways = [OrderStatus.COMPLETED, OrderStatus.CANCELLED, OrderStatus.FAILED] * 6
    results = await asyncio.gather(*(shop.repositories.orders.update_status(order.id, way) for way in ways), return_exceptions=True)
    [won] = [result.status for result in results if not isinstance(result, BaseException)]
    assert await shop.stock(tea) == ((6, 0, 6) if won == "COMPLETED" else (10, 0, 10))


async def test_an_unknown_order_has_no_status(shop: Shop) -> None:
    with pytest.raises(NotFound):
        await shop.repositories.orders.update_status(uuid4(), OrderStatus.COMPLETED)


async def test_cancelling_is_for_the_buyer_while_the_order_is_pending(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product(stock=10)
    staff = await shop.viewer(ViewerKind.STAFF, "orders:read")
    order = await shop.order(ann, (tea, 4))
    for viewer in (bob, staff, ANONYMOUS):
        assert await refused(shop.of(viewer).orders.cancel(order.id)) == (ErrorCode.NOT_FOUND, "id")
    results = await asyncio.gather(*(shop.of(ann).orders.cancel(order.id) for _ in range(10)), return_exceptions=True)
    errors = {result.code for result in results if isinstance(result, UserError)}
    assert (len([result for result in results if not isinstance(result, BaseException)]), errors) == (1, {ErrorCode.INVALID_TRANSITION})
    assert await shop.stock(tea) == (10, 0, 10)
    for_ann = await shop.order(ann, (tea, 1))
    assert (await shop.of(ADMINISTRATOR).orders.cancel(for_ann.id)).status == "CANCELLED"


# --- Whose orders, and how many


async def test_orders_items_and_payments_are_seen_by_their_buyer_and_the_stores_staff(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    staff = await shop.viewer(ViewerKind.STAFF, "orders:read", "payments:read")
    order = await shop.order(ann, (tea, 1))
    payment = PaymentCreate(amount=order.total, status=PaymentStatus.COMPLETED, transaction_id="t1", provider="test")
    paid = await shop.of(ann).orders.create_payment(order.id, payment)
    assert paid.completed_at is not None
    for viewer, sees in ((ann, True), (staff, True), (ADMINISTRATOR, True), (bob, False), (ANONYMOUS, False)):
        rows = shop.of(viewer)
        for repository in (rows.orders, rows.order_items, rows.payments):
            assert await repository.count() == sees
        assert (await rows.payments.find_by_transaction_id("t1", "test") is not None) is sees
        assert len(await rows.payments.find_by_order(order.id)) == sees
    clerk = shop.of(await shop.viewer(ViewerKind.STAFF, "carts:write"))
    cart = await shop.cart(ann, (tea, 1))
    assert await refused(clerk.orders.create_from_cart(cart.id, "card")) == ("NOT_FOUND", "cart_id")
    packer, baker = [shop.of(await shop.viewer(ViewerKind.STAFF, permission)) for permission in ("orders:write", "carts:read")]
    for rows, seen in ((packer, (1, 1, 0)), (baker, (0, 0, 0))):
        assert (await rows.orders.count(), await rows.order_items.count(), await rows.payments.count()) == seen
    with pytest.raises(NotFound):
        await shop.of(bob).orders.create_payment(order.id, payment)


async def test_finders_and_figures(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    first, second = await shop.order(ann, (tea, 1)), await shop.order(ann, (tea, 2))
    await shop.order(bob, (tea, 1))
    await shop.repositories.orders.update_status(first.id, OrderStatus.CANCELLED)
    orders = shop.repositories.orders
    assert ann.user_id is not None
    assert second.cart_id is not None
    assert [order.id for order in await orders.find_by_user(ann.user_id)] == [second.id, first.id]
    assert [order.id for order in await orders.find_by_status(OrderStatus.CANCELLED)] == [first.id]
    assert (await orders.find_by_cart(second.cart_id)) == second
    assert await orders.get_order_stats() == {"total": 3, "pending": 2, "completed": 0, "cancelled": 1, "failed": 0}
    assert await shop.of(bob).orders.get_order_stats() == {"total": 1, "pending": 1, "completed": 0, "cancelled": 0, "failed": 0}
