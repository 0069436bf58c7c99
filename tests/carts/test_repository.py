"""What happens to carts: limits, prices, versions, and shoppers who race."""

import asyncio
from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.carts.models import MAX_LINE_QUANTITY, MAX_LINES, CartStatus, RecoveryEventCreate, RecoveryStatus
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.money import line_total
from app.core.security import ANONYMOUS, ViewerKind
from app.stores.models import StoreSettingsUpdate
from tests.shop import ADMINISTRATOR, Shop, refused

RACERS = 50


STEPS = st.tuples(st.sampled_from(("put", "set", "remove", "clear", "price")), st.integers(0, 2), st.integers(1, 9))


async def test_adding_sums_pieces_at_the_products_present_price(shop: Shop) -> None:
    ann, tea, pot = await shop.viewer(), await shop.product("2.50"), await shop.product("19.99")
    cart = await shop.cart(ann, (tea, 2), (pot, 1), (tea, 3))
    assert (cart.total, cart.currency, cart.store_id, cart.user_id) == (Decimal("32.49"), "USD", shop.store.id, ann.user_id)
    lines = await shop.repositories.cart_items.find_by_cart_ids([cart.id])
    assert [(line.product_id, line.quantity, line.price) for line in lines[0]] == [
        (tea.id, 5, Decimal("2.50")),
        (pot.id, 1, Decimal("19.99")),
    ]
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(3)})
    assert (await shop.of(ann).carts.add_item(cart.id, tea.id)).total == Decimal("37.99")


async def test_every_change_counts_the_version(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    carts = shop.of(ann).carts
    cart = await shop.cart(ann)
    steps: list[Callable[[], Awaitable[Any]]] = [
        lambda: carts.add_item(cart.id, tea.id, 2),
        lambda: carts.update_item(cart.id, tea.id, 5),
        lambda: carts.remove_item(cart.id, tea.id),
        lambda: carts.clear_cart(cart.id),
        lambda: carts.update_status(cart.id, CartStatus.ABANDONED),
        lambda: carts.soft_delete(cart.id),
        lambda: carts.restore(cart.id),
    ]
    assert [(await step()).version for step in steps] == list(range(cart.version + 1, cart.version + 1 + len(steps)))


async def test_racing_adds_make_one_cart_and_lose_no_piece(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product("1.10")
    assert ann.user_id is not None
    await asyncio.gather(*(shop.of(ann).carts.put_in(ann.user_id, tea.id, n % 3 + 1) for n in range(RACERS)))
    [cart] = await shop.repositories.carts.find_by_user(ann.user_id)
    pieces = sum(n % 3 + 1 for n in range(RACERS))
    assert await shop.repositories.cart_items.get_cart_items_count(cart.id) == pieces
    assert cart.total == pieces * Decimal("1.10")


async def test_the_cart_that_is_being_ordered_is_not_filled_any_more(shop: Shop) -> None:
    """Whoever comes first: every piece is either in the order or in the next active cart."""
    ann, tea = await shop.viewer(), await shop.product(stock=1000)
    assert ann.user_id is not None
    cart = await shop.cart(ann, (tea, 1))
    adding = [shop.of(ann).carts.put_in(ann.user_id, tea.id, 1) for _ in range(RACERS)]
    order, *_ = await asyncio.gather(shop.of(ann).orders.create_from_cart(cart.id, "card"), *adding)
    [line] = await shop.repositories.order_items.find_by_order(order.id)
    following = await shop.repositories.carts.find_active_by_user(ann.user_id, shop.store.id)
    left = 0 if following is None else await shop.repositories.cart_items.get_cart_items_count(following.id)
    assert line.quantity + left == RACERS + 1
    assert order.total == line.quantity * tea.price


@given(st.lists(STEPS, min_size=1, max_size=12))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_total_is_always_the_sum_of_the_lines(shop: Shop, steps: list[tuple[str, int, int]]) -> None:
    ann = await shop.viewer()
    store = await shop.open_store(currency="KWD")
    products = [await shop.product(price, currency="KWD", stores=(store.id,)) for price in ("0.125", "3.999", "1000000.001")]
    cart = await shop.cart(ann, (products[0], 1))
    held = {products[0].id: (1, products[0].price)}
    carts = shop.of(ann).carts
    for action, which, quantity in steps:
        product = products[which]
        if action == "put":
            cart = await carts.add_item(cart.id, product.id, quantity)
            held[product.id] = (held.get(product.id, (0, None))[0] + quantity, product.price)
        elif action == "price":
            products[which] = await shop.repositories.products.update_by_id(
                product.id, {"price": product.price + Decimal("0.007") * quantity}
            )
        elif action == "clear":
            cart, held = await carts.clear_cart(cart.id), {}
        elif product.id not in held:
            assert await refused(carts.remove_item(cart.id, product.id)) == (ErrorCode.NOT_FOUND, "product_id")
        elif action == "set":
            cart = await carts.update_item(cart.id, product.id, quantity)
            held[product.id] = (quantity, held[product.id][1])
        else:
            cart = await carts.remove_item(cart.id, product.id)
            del held[product.id]
        assert cart.total == sum((line_total(price, pieces, "KWD") for pieces, price in held.values()), Decimal(0))
    assert cart.total == await shop.repositories.cart_items.get_cart_total_value(cart.id)
    assert (await carts.recalculate_total(cart.id)).total == cart.total


# --- What may be put in


async def test_what_is_not_for_sale_is_refused(shop: Shop) -> None:
    ann, other = await shop.viewer(), await shop.open_store()
    carts, user_id = shop.of(ann).carts, ann.user_id
    assert user_id is not None
    archived, foreign = await shop.product(), await shop.product(stores=(other.id,))
    await shop.repositories.products.archive(archived.id)
    cart = await shop.cart(ann)
    unavailable = (ErrorCode.PRODUCT_UNAVAILABLE, "product_id")
    assert await refused(carts.put_in(user_id, archived.id, 1)) == unavailable
    assert await refused(carts.add_item(cart.id, archived.id)) == unavailable
    assert await refused(carts.add_item(cart.id, foreign.id)) == unavailable
    assert await refused(carts.put_in(user_id, foreign.id, 1, store_id=shop.store.id)) == unavailable
    assert await refused(carts.put_in(user_id, foreign.id, 1, store_id=uuid4())) == unavailable
    assert await refused(carts.put_in(user_id, uuid4(), 1)) == (ErrorCode.NOT_FOUND, "product_id")
    await shop.repositories.stores.update_by_id(other.id, {"status": "SUSPENDED"})
    assert await refused(carts.put_in(user_id, foreign.id, 1)) == unavailable
    assert (await carts.get_by_id(cart.id)).version == cart.version


async def test_a_product_is_bought_at_its_oldest_store_or_where_the_shopper_says(shop: Shop) -> None:
    ann, other = await shop.viewer(), await shop.open_store()
    tea = await shop.product(stores=(other.id, shop.store.id))
    loose = await shop.product(stores=())
    carts = shop.of(ann).carts
    assert ann.user_id is not None
    assert (await carts.put_in(ann.user_id, tea.id, 1)).store_id == shop.store.id
    elsewhere = await carts.put_in(ann.user_id, tea.id, 1, store_id=other.id)
    assert elsewhere.store_id == other.id
    assert (await carts.put_in(ann.user_id, loose.id, 1)).store_id is None
    assert await refused(carts.put_in(ann.user_id, tea.id, 1, cart_id=elsewhere.id, store_id=shop.store.id)) == (
        ErrorCode.INVALID,
        "store_id",
    )
    assert len(await carts.find_by_user(ann.user_id)) == 3


async def test_a_cart_is_in_the_currency_of_its_store_alone(shop: Shop) -> None:
    ann, dollars, yen = await shop.viewer(), await shop.product("1.00"), await shop.product("150", currency="JPY")
    carts = shop.of(ann).carts
    assert await refused(carts.put_in(ann.user_id, yen.id, 1)) == (ErrorCode.CURRENCY_MISMATCH, "product_id")
    assert await carts.count() == 0
    cart = await shop.cart(ann, (dollars, 1))
    for _ in ("full", "empty"):
        assert await refused(carts.add_item(cart.id, yen.id)) == (ErrorCode.CURRENCY_MISMATCH, "product_id")
        cart = await carts.clear_cart(cart.id)
    assert (cart.currency, cart.total) == ("USD", Decimal(0))


async def test_a_store_that_changes_its_currency_takes_no_more_into_carts_of_the_former_one(shop: Shop) -> None:
    ann, store = await shop.viewer(), await shop.open_store(currency="EUR", shipping_price=Decimal("4.50"))
    tea, yen = [await shop.product("150", currency=code, stores=(store.id,)) for code in ("EUR", "JPY")]
    carts, cart = shop.of(ann).carts, await shop.cart(ann, (tea, 1))
    change = StoreSettingsUpdate(currency="JPY", shipping_price=Decimal(450))
    await shop.repositories.stores.update_settings(store.id, change)
    for product in (tea, yen):
        assert await refused(carts.add_item(cart.id, product.id)) == (ErrorCode.CURRENCY_MISMATCH, "product_id")
    assert await refused(shop.of(ann).orders.create_from_cart(cart.id, "card")) == (ErrorCode.CURRENCY_MISMATCH, "cart_id")
    assert (await carts.update_item(cart.id, tea.id, 2)).total == Decimal(300)
    await carts.clear_cart(cart.id)
    cart = await carts.add_item(cart.id, yen.id, 2)
    assert (cart.currency, cart.items_total, cart.shipping, cart.total) == ("JPY", Decimal(300), Decimal(450), Decimal(750))


async def test_without_a_store_the_first_product_says_the_currency(shop: Shop) -> None:
    ann, dollars, yen = await shop.viewer(), await shop.product("1.00", stores=()), await shop.product("150", currency="JPY", stores=())
    carts = shop.of(ann).carts
    cart = await carts.put_in(ann.user_id, yen.id, 2)
    assert (cart.currency, cart.total) == ("JPY", Decimal(300))
    assert await refused(carts.add_item(cart.id, dollars.id)) == (ErrorCode.CURRENCY_MISMATCH, "product_id")
    await carts.clear_cart(cart.id)
    assert (await carts.add_item(cart.id, dollars.id)).currency == "USD"


async def test_limits_of_pieces_lines_and_totals(shop: Shop) -> None:
    ann, tea, dear = await shop.viewer(), await shop.product(), await shop.product("999999999999999.99")
    carts = shop.of(ann).carts
    cart = await shop.cart(ann, (tea, MAX_LINE_QUANTITY))
    assert await refused(carts.add_item(cart.id, tea.id)) == (ErrorCode.LIMIT_EXCEEDED, "quantity")
    for quantity in (-1, 0, MAX_LINE_QUANTITY + 1):
        assert await refused(carts.add_item(cart.id, tea.id, quantity)) == (ErrorCode.INVALID, "quantity")
    for quantity in (-1, MAX_LINE_QUANTITY + 1):
        assert await refused(carts.update_item(cart.id, tea.id, quantity)) == (ErrorCode.INVALID, "quantity")
    assert await refused(carts.add_item(cart.id, dear.id, 2)) == (ErrorCode.LIMIT_EXCEEDED, "quantity")
    assert (await carts.get_by_id(cart.id)).version == cart.version
    assert await shop.repositories.cart_items.get_cart_items_count(cart.id) == MAX_LINE_QUANTITY


async def test_a_cart_has_at_most_200_lines(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann)
    rows = await shop.repositories.products.create_many(
        [{"name": f"Tea {n}", "price": Decimal(1), "currency": "USD"} for n in range(MAX_LINES)]
    )
    await shop.repositories.products.sell_in_stores([(row.id, shop.store.id) for row in rows])
    await shop.repositories.cart_items.create_many(
        [{"cart_id": cart.id, "product_id": row.id, "quantity": 1, "price": row.price, "currency": "USD"} for row in rows]
    )
    assert (await shop.of(ann).carts.add_item(cart.id, rows[0].id)).total == MAX_LINES + 1
    assert await refused(shop.of(ann).carts.add_item(cart.id, tea.id)) == (ErrorCode.LIMIT_EXCEEDED, "product_id")
    assert await shop.repositories.cart_items.count({"cart_id": cart.id}) == MAX_LINES


# --- Status


async def test_only_active_carts_change(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    carts, closed_cart = shop.of(ann).carts, (ErrorCode.CART_NOT_ACTIVE, "cart_id")
    for status in (CartStatus.CONVERTED, CartStatus.EXPIRED):
        cart = await shop.cart(ann, (tea, 1))
        closed = await shop.repositories.carts.update_status(cart.id, status)
        assert (closed.converted_at is None) == (status is not CartStatus.CONVERTED)
        assert await refused(carts.add_item(cart.id, tea.id)) == closed_cart
        assert await refused(carts.update_item(cart.id, tea.id, 0)) == closed_cart
        assert await refused(carts.clear_cart(cart.id)) == closed_cart
        assert await refused(shop.of(ann).orders.create_from_cart(cart.id, "card")) == closed_cart
    assert await carts.count() == 2


async def test_an_abandoned_cart_that_changes_is_active_again(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    carts = shop.of(ann).carts
    cart = await shop.cart(ann, (tea, 1))
    for change in (carts.add_item(cart.id, tea.id), carts.update_item(cart.id, tea.id, 5), carts.put_in(ann.user_id, tea.id, 1)):
        left = await shop.repositories.carts.update_status(cart.id, CartStatus.ABANDONED)
        assert await refused(carts.update_item(cart.id, tea.id, 1, left.version - 1)) == (ErrorCode.CONFLICT, "cart_version")
        assert (await carts.get_by_id(cart.id)).status == "ABANDONED"
        assert (await change).status == "ACTIVE"
    assert await carts.count() == 1


async def test_of_carts_that_were_left_the_last_is_gone_on_with(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    older, newer = [
        await shop.repositories.carts.create({"user_id": ann.user_id, "store_id": shop.store.id, "status": "ABANDONED"}) for _ in "ab"
    ]
    [first, *others] = await asyncio.gather(*(shop.cart(ann, (tea, 1)) for _ in range(5)))
    assert {first.id, *(cart.id for cart in others)} == {newer.id}
    assert (await shop.repositories.carts.get_by_id(older.id)).status == "ABANDONED"


async def test_a_status_changes_only_along_its_ways(shop: Shop) -> None:
    ann = await shop.viewer()
    cart = await shop.cart(ann)
    carts = shop.repositories.carts
    await carts.update_status(cart.id, CartStatus.ABANDONED)
    await carts.update_status(cart.id, CartStatus.ACTIVE)
    await carts.update_status(cart.id, CartStatus.CONVERTED)
    for status in CartStatus:
        with pytest.raises(UserError, match=rf"CONVERTED and cannot become {status}"):
            await carts.update_status(cart.id, status)
    with pytest.raises(NotFound):
        await carts.update_status(uuid4(), CartStatus.EXPIRED)


async def test_an_abandoned_cart_does_not_become_a_second_active_one(shop: Shop) -> None:
    ann = await shop.viewer()
    await shop.cart(ann)
    left = await shop.repositories.carts.create({"user_id": ann.user_id, "store_id": shop.store.id, "status": "ABANDONED"})
    assert await refused(shop.repositories.carts.update_status(left.id, CartStatus.ACTIVE)) == (ErrorCode.CONFLICT, "cart_id")


# --- Whose carts


async def test_carts_are_seen_by_their_shopper_and_the_stores_staff_and_changed_by_their_shopper(shop: Shop) -> None:
    ann, bob, tea = await shop.viewer(), await shop.viewer(), await shop.product()
    staff, clerk = await shop.viewer(ViewerKind.STAFF, "carts:read"), await shop.viewer(ViewerKind.STAFF, "carts:write")
    cart = await shop.cart(ann, (tea, 1))
    for viewer, sees in ((ann, True), (staff, True), (ADMINISTRATOR, True), (bob, False), (ANONYMOUS, False)):
        carts = shop.of(viewer).carts
        assert (await carts.find_by_id(cart.id) is not None) is sees
        assert await carts.count() == sees
        assert await shop.of(viewer).cart_items.count() == sees
    for viewer in (bob, staff, ANONYMOUS):
        carts = shop.of(viewer).carts
        for change in (carts.add_item(cart.id, tea.id), carts.update_item(cart.id, tea.id, 2), carts.clear_cart(cart.id)):
            assert await refused(change) == (ErrorCode.NOT_FOUND, "cart_id")
    assert (await shop.repositories.carts.get_by_id(cart.id)).version == cart.version
    for viewer in (clerk, ADMINISTRATOR):
        assert (await shop.of(viewer).carts.update_item(cart.id, tea.id, 7)).total == Decimal(70)


async def test_finders(shop: Shop) -> None:
    ann, bob, tea, other = await shop.viewer(), await shop.viewer(), await shop.product(), await shop.open_store()
    assert ann.user_id is not None
    here = await shop.cart(ann, (tea, 1))
    there = await shop.repositories.carts.obtain_active(ann.user_id, other.id)
    await shop.cart(bob, (tea, 2))
    carts = shop.repositories.carts
    assert (await carts.find_active_by_user(ann.user_id)) == there
    assert (await carts.find_active_by_user(ann.user_id, shop.store.id)) == await carts.get_by_id(here.id)
    assert await carts.find_active_by_user(uuid4()) is None
    assert len(await carts.find_by_status(CartStatus.ACTIVE)) == 3
    assert sorted(item.quantity for item in await shop.repositories.cart_items.find_by_product_id(tea.id)) == [1, 2]
    assert [item.quantity for item in await shop.of(ann).cart_items.find_by_product_id(tea.id)] == [1]


async def test_attempts_to_win_a_cart_back_are_for_its_stores_staff(shop: Shop) -> None:
    ann, staff = await shop.viewer(), await shop.viewer(ViewerKind.STAFF, "recovery:read")
    cart = await shop.cart(ann)
    events = shop.repositories.recovery_events
    event = await events.create(RecoveryEventCreate(cart_id=cart.id, store_id=shop.store.id, event_type="cart_abandoned"))
    ended = await events.update_status(event.id, RecoveryStatus.FAILED, "no such mailbox")
    assert (ended.status, ended.outcome) == ("FAILED", "no such mailbox")
    assert [row.id for row in await events.find_by_status(RecoveryStatus.FAILED)] == [event.id]
    for viewer, seen in ((staff, 1), (ann, 0), (ANONYMOUS, 0), (ADMINISTRATOR, 1)):
        assert len(await shop.of(viewer).recovery_events.find_by_cart_id(cart.id)) == seen


async def test_lines_of_a_deleted_cart_are_gone(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    await shop.of(ann).carts.soft_delete(cart.id)
    assert await shop.of(ann).cart_items.find_by_cart_and_product(cart.id, tea.id) is None
    assert await refused(shop.of(ann).carts.add_item(cart.id, tea.id)) == (ErrorCode.NOT_FOUND, "cart_id")
