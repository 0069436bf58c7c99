"""Vouchers from the hand of staff to the order that holds them, also when many want the last ones."""

import asyncio
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import asyncpg
import pytest

from app.api.scalars import decode_id, encode_id
from app.carts.models import Voucher, VoucherCreate, VoucherUpdate
from app.catalog.models import Product
from app.core.errors import ErrorCode, UserError
from app.core.security import Viewer, ViewerKind, guest
from app.orders.agreement import Agreement
from app.orders.models import Order, OrderStatus
from app.orders.repository import SettlementRepository
from app.stores.models import StoreSettingsUpdate
from tests.shop import ADMINISTRATOR, Shop, ids, refused

CART = "cart { id version itemsTotal discount shipping tax includedTax total voucherCode }"
VOUCHER = """voucher { id code percent amount currency minimumAmount maxUses uses oncePerUser startsAt endsAt isActive store { id }
  author { id } }"""
NOT_APPLICABLE = (ErrorCode.VOUCHER_NOT_APPLICABLE, "code")


async def voucher(shop: Shop, code: str = "SPRING", **values: Any) -> Voucher:
    value = {} if "amount" in values else {"percent": Decimal(10)}
    return await shop.repositories.vouchers.create_within(VoucherCreate(store_id=shop.store.id, code=code, **{**value, **values}))


def amounts(row: Any) -> dict[str, Decimal]:
    return {name: getattr(row, name) for name in ("items_total", "discount", "shipping", "tax", "included_tax", "total")}


async def uses(shop: Shop, row: Voucher) -> int:
    return (await shop.repositories.vouchers.get_by_id(row.id)).uses


async def order_with(shop: Shop, row: Voucher, product: Product, viewer: Viewer | None = None, quantity: int = 1) -> Order:
    """An order of somebody's whose cart has the voucher."""
    buyer = viewer or await shop.viewer()
    cart = await shop.cart(buyer, (product, quantity))
    await shop.of(buyer).carts.apply_voucher(cart.id, row.code)
    return await shop.of(buyer).orders.create_from_cart(cart.id, "card")


async def outcomes(*actions: Awaitable[Any]) -> tuple[list[Any], list[UserError]]:
    """What was made, and what was refused; anything else is raised."""
    ended = await asyncio.gather(*actions, return_exceptions=True)
    refusals = [end for end in ended if isinstance(end, UserError)]
    made = [end for end in ended if not isinstance(end, UserError)]
    for end in made:
        if isinstance(end, BaseException):
            raise end
    return made, refusals


# --- Carts


async def test_a_cart_shows_what_it_costs_with_voucher_shipping_and_tax(shop: Shop) -> None:
    terms = StoreSettingsUpdate(shipping_price=Decimal("4.90"), free_shipping_from=Decimal(50), tax_rate=Decimal(10))
    await shop.repositories.stores.update_settings(shop.store.id, terms)
    ann, tea, row = await shop.viewer(), await shop.product("10.00"), await voucher(shop, "SPRING-10")
    added = (await shop.change(ann, "addToCart", CART, **ids(productId=tea), quantity=2))["cart"]
    same = {"itemsTotal": "20.00", "shipping": "4.90", "includedTax": "0.00"}
    assert same.items() <= added.items()
    assert (added["discount"], added["tax"], added["total"], added["voucherCode"]) == ("0.00", "2.00", "26.90", None)
    applied = (await shop.change(ann, "applyVoucher", CART, cartId=added["id"], code=" spring-10 ", cartVersion=added["version"]))["cart"]
    assert same.items() <= applied.items()
    assert (applied["discount"], applied["tax"], applied["total"]) == ("2.00", "1.80", "24.70")
    assert (applied["voucherCode"], applied["version"]) == (row.code, added["version"] + 1)
    more = (await shop.change(ann, "updateCartItem", CART, **ids(productId=tea), cartId=added["id"], quantity=6))["cart"]
    assert (more["discount"], more["shipping"], more["tax"], more["total"]) == ("6.00", "0.00", "5.40", "59.40")
    removed = (await shop.change(ann, "removeVoucher", CART, cartId=added["id"]))["cart"]
    assert (removed["discount"], removed["total"], removed["voucherCode"]) == ("0.00", "66.00", None)
    again = await shop.change(ann, "removeVoucher", CART, cartId=added["id"])
    assert (again["userErrors"], again["cart"]["version"]) == ([], removed["version"])
    assert await uses(shop, row) == 0


async def test_a_cart_with_prices_that_include_the_tax(shop: Shop) -> None:
    store = await shop.open_store(currency="JPY", tax_rate=Decimal(10), prices_include_tax=True, shipping_price=Decimal(500))
    ann, tea = await shop.viewer(), await shop.product("1100", currency="JPY", stores=(store.id,))
    cart = (await shop.change(ann, "addToCart", CART, **ids(productId=tea)))["cart"]
    assert (cart["itemsTotal"], cart["tax"], cart["includedTax"], cart["shipping"], cart["total"]) == ("1100", "0", "100", "500", "1600")
    order = await shop.of(ann).orders.create_from_cart(decode_id(cart["id"], "Cart"), "card")
    assert amounts(order) == {"items_total": 1100, "discount": 0, "shipping": 500, "tax": 0, "included_tax": 100, "total": 1600}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"minimum_amount": Decimal("10.01")}, "for purchases from 10.01 USD on"),
        ({"starts_at": datetime(2100, 1, 1, tzinfo=UTC)}, "valid from 2100-01-01"),
        ({"ends_at": datetime(2020, 1, 1, tzinfo=UTC)}, "valid until 2020-01-01"),
    ],
)
async def test_a_voucher_that_is_not_good_is_not_taken(shop: Shop, values: dict[str, Any], message: str) -> None:
    ann, tea, row = await shop.viewer(), await shop.product("10.00"), await voucher(shop, **values)
    cart = await shop.cart(ann, (tea, 1))
    with pytest.raises(UserError, match=message) as error:
        await shop.of(ann).carts.apply_voucher(cart.id, row.code)
    assert (error.value.code, error.value.field) == (ErrorCode.VOUCHER_NOT_APPLICABLE, ("code",))
    assert (await shop.of(ann).carts.get_by_id(cart.id)).version == cart.version


async def test_unknown_codes_and_those_of_other_stores_are_the_same(shop: Shop) -> None:
    ann, tea, loose = await shop.viewer(), await shop.product(), await shop.product(stores=())
    other = await shop.open_store()
    await shop.repositories.vouchers.create_within(VoucherCreate(store_id=other.id, code="ELSEWHERE", percent=Decimal(10)))
    await voucher(shop)
    carts, cart = shop.of(ann).carts, await shop.cart(ann, (tea, 1))
    for code in ("ELSEWHERE", "NOWHERE", "", "\u0130", "x" * 300):
        assert await refused(carts.apply_voucher(cart.id, code)) == (ErrorCode.NOT_FOUND, "code")
    nowhere = await carts.put_in(ann.user_id, loose.id, 1)
    assert await refused(carts.apply_voucher(nowhere.id, "SPRING")) == (ErrorCode.NOT_FOUND, "code")
    assert await refused(carts.apply_voucher(cart.id, "SPRING", cart.version + 1)) == (ErrorCode.CONFLICT, "cart_version")


async def test_a_guests_voucher_comes_along_at_sign_in(shop: Shop) -> None:
    tea, row, someone = await shop.product("10.00"), await voucher(shop), guest("token-of-a-guest")
    cart = await shop.of(someone).carts.put_in(None, tea.id, 1)
    cart = await shop.of(someone).carts.apply_voucher(cart.id, row.code)
    assert (cart.discount, cart.total) == (Decimal(1), Decimal(9))
    ann = await shop.viewer()
    assert ann.user_id is not None
    assert someone.cart_token_hash is not None
    [taken] = await shop.repositories.guest_carts.give_to(ann.user_id, someone.cart_token_hash)
    assert (taken.voucher_code, taken.discount, taken.total) == (row.code, Decimal(1), Decimal(9))


async def test_a_voucher_that_falls_short_stays_and_takes_nothing_off(shop: Shop) -> None:
    ann, tea, row = await shop.viewer(), await shop.product("10.00"), await voucher(shop, minimum_amount=Decimal(20))
    cart = await shop.cart(ann, (tea, 2))
    carts = shop.of(ann).carts
    assert (await carts.apply_voucher(cart.id, row.code)).discount == Decimal(2)
    less = await carts.update_item(cart.id, tea.id, 1)
    assert (less.discount, less.total, less.voucher_code) == (Decimal(0), Decimal(10), row.code)
    order = await shop.of(ann).orders.create_from_cart(cart.id, "card")
    assert (order.total, order.discount, order.voucher_code, await uses(shop, row)) == (Decimal(10), Decimal(0), None, 0)


# --- Orders


async def test_an_order_keeps_each_amount_and_is_paid_as_a_whole(shop: Shop) -> None:
    terms = StoreSettingsUpdate(shipping_price=Decimal("4.90"), tax_rate=Decimal("7.7"))
    await shop.repositories.stores.update_settings(shop.store.id, terms)
    ann, tea, pot, row = (
        await shop.viewer(),
        await shop.product("3.33"),
        await shop.product("10.00"),
        await voucher(shop, amount=Decimal(5)),
    )
    cart = await shop.cart(ann, (tea, 1), (pot, 1))
    cart = await shop.of(ann).carts.apply_voucher(cart.id, row.code)
    shown = """order { id itemsTotal discount shipping tax includedTax total voucherCode items { lineTotal discount tax includedTax }
      payments { amount capturedAmount } }"""
    placed = await shop.change(ann, "placeOrder", shown, **ids(cartId=cart), paymentMethod="card", paymentToken="tok_success")
    order = placed["order"]
    assert placed["userErrors"] == []
    assert {name: order[name] for name in ("itemsTotal", "discount", "shipping", "tax", "includedTax", "total", "voucherCode")} == {
        "itemsTotal": "13.33",
        "discount": "5.00",
        "shipping": "4.90",
        "tax": "0.64",
        "includedTax": "0.00",
        "total": "13.87",
        "voucherCode": "SPRING",
    }
    # 5.00 of 13.33 on 3.33 are 1.24(9), and the rest on 10.00; 7.7 % of 2.09 and of 6.24 are 0.16 and 0.48.
    assert sorted((line["lineTotal"], line["discount"], line["tax"]) for line in order["items"]) in (
        [("10.00", "3.75", "0.48"), ("3.33", "1.25", "0.16")],
        [("10.00", "3.76", "0.48"), ("3.33", "1.24", "0.16")],
    )
    assert order["payments"] == [{"amount": "13.87", "capturedAmount": "13.87"}]
    administrator = await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")
    refund = await shop.change(administrator, "refundPayment", "order { status }", orderId=order["id"], idempotencyKey="all of it")
    assert refund["userErrors"] == []
    assert await uses(shop, row) == 1


async def test_the_database_holds_the_total_together(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    order = await shop.order(ann, (tea, 1))
    connection = await asyncpg.connect(shop.database.dsn)
    for change in ("total = total + 1", "discount = 1", "shipping = 1", "tax = 1", "items_total = 11"):
        with pytest.raises(asyncpg.CheckViolationError, match="ck_orders_total_adds_up"):
            await connection.execute(f"update orders set {change} where id = $1", order.id)
    with pytest.raises(asyncpg.CheckViolationError, match="ck_orders_tax_once"):
        await connection.execute("update orders set tax = 1, total = total + 1, included_tax = 1 where id = $1", order.id)
    with pytest.raises(asyncpg.CheckViolationError, match="ck_orders_discount_of_items"):
        await connection.execute("update orders set discount = 11, shipping = 11 where id = $1", order.id)
    await connection.close()


@pytest.mark.parametrize("ending", [OrderStatus.CANCELLED, OrderStatus.FAILED])
async def test_an_order_that_comes_to_nothing_lets_go_of_its_voucher(shop: Shop, ending: OrderStatus) -> None:
    ann, tea, row = await shop.viewer(), await shop.product(), await voucher(shop, max_uses=1, once_per_user=True)
    order = await order_with(shop, row, tea, ann)
    assert await uses(shop, row) == 1
    assert await refused(order_with(shop, row, tea)) == NOT_APPLICABLE
    await shop.repositories.orders.update_status(order.id, ending)
    assert await uses(shop, row) == 0
    assert (await order_with(shop, row, tea, ann)).discount > 0
    assert await uses(shop, row) == 1


async def test_an_order_that_expires_lets_go_of_its_voucher(shop: Shop) -> None:
    row = await voucher(shop, max_uses=1)
    order = await order_with(shop, row, await shop.product())
    assert await shop.repositories.of(SettlementRepository).expire(order.id, datetime.now(UTC) + timedelta(seconds=1))
    assert await uses(shop, row) == 0


async def test_a_failed_order_takes_its_voucher_again_when_it_is_tried_again(shop: Shop) -> None:
    ann, tea, row = await shop.viewer(), await shop.product("10.00"), await voucher(shop, max_uses=1, once_per_user=True)
    order = await order_with(shop, row, tea, ann)
    paying = {"orderId": encode_id("Order", order.id)}
    declined = await shop.change(ann, "processPayment", "order { status }", **paying, paymentToken="tok_declined")
    assert (declined["order"]["status"], await uses(shop, row)) == ("FAILED", 0)
    other = await order_with(shop, row, tea)
    short = await shop.change(ann, "processPayment", "order { status }", **paying, paymentToken="tok_success")
    assert [error["code"] for error in short["userErrors"]] == ["VOUCHER_NOT_APPLICABLE"]
    assert (await shop.repositories.orders.get_by_id(order.id)).status == OrderStatus.FAILED
    await shop.repositories.orders.update_status(other.id, OrderStatus.CANCELLED)
    paid = await shop.change(ann, "processPayment", "order { status total }", **paying, paymentToken="tok_success")
    assert (paid["order"], paid["userErrors"], await uses(shop, row)) == ({"status": "COMPLETED", "total": "9.00"}, [], 1)


# --- What was shown


async def test_nothing_that_became_dearer_is_charged_silently(shop: Shop) -> None:
    ann, tea, row = await shop.viewer(), await shop.product("10.00"), await voucher(shop, amount=Decimal(3))
    orders, carts = shop.of(ann).orders, shop.of(ann).carts
    cart = await carts.apply_voucher((await shop.cart(ann, (tea, 1))).id, row.code)
    stores, vouchers = shop.repositories.stores, shop.repositories.vouchers
    changes = (
        (stores.update_settings(shop.store.id, StoreSettingsUpdate(shipping_price=Decimal(2))), "shipping is 2.00 USD instead of 0.00"),
        (stores.update_settings(shop.store.id, StoreSettingsUpdate(tax_rate=Decimal(10))), "the tax is 0.70 USD instead of 0.00"),
        (vouchers.update_voucher(row.id, VoucherUpdate(amount=Decimal(2))), "the discount is 2.00 USD instead of 3.00"),
        (vouchers.update_voucher(row.id, VoucherUpdate(is_active=False)), "SPRING takes nothing off any more: it is no longer valid"),
    )
    for change, told in changes:
        code = ErrorCode.VOUCHER_NOT_APPLICABLE if "SPRING" in told else ErrorCode.PRICE_CHANGED
        await change
        with pytest.raises(UserError, match=told) as error:
            await orders.create_from_cart(cart.id, "card")
        assert (error.value.code, error.value.field) == (code, ("cart_id",))
        accepted = await carts.accept_prices(cart.id)
        assert accepted.version == cart.version + 1
        cart = accepted
    assert (await carts.accept_prices(cart.id)).version == cart.version
    order = await orders.create_from_cart(cart.id, "card")
    assert amounts(order) == {"items_total": 10, "discount": 0, "shipping": 2, "tax": 1, "included_tax": 0, "total": 13}


async def test_what_became_cheaper_is_charged_as_it_is(shop: Shop) -> None:
    terms = StoreSettingsUpdate(shipping_price=Decimal(5), tax_rate=Decimal(20))
    await shop.repositories.stores.update_settings(shop.store.id, terms)
    ann, tea, row = await shop.viewer(), await shop.product("10.00"), await voucher(shop)
    cart = await shop.of(ann).carts.apply_voucher((await shop.cart(ann, (tea, 1))).id, row.code)
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(8)})
    less = StoreSettingsUpdate(shipping_price=Decimal(4), tax_rate=Decimal(10))
    await shop.repositories.stores.update_settings(shop.store.id, less)
    order = await shop.of(ann).orders.create_from_cart(cart.id, "card")
    taxed = {"tax": Decimal("0.72"), "included_tax": 0, "total": Decimal("11.92")}
    assert amounts(order) == {"items_total": 8, "discount": Decimal("0.8"), "shipping": 4, **taxed}


async def test_a_cheaper_product_that_costs_the_free_shipping_is_dearer(shop: Shop) -> None:
    terms = StoreSettingsUpdate(shipping_price=Decimal(5), free_shipping_from=Decimal(10))
    await shop.repositories.stores.update_settings(shop.store.id, terms)
    ann, tea = await shop.viewer(), await shop.product("10.00")
    cart = await shop.cart(ann, (tea, 1))
    await shop.repositories.products.update_by_id(tea.id, {"price": Decimal(9)})
    orders = shop.of(ann).orders
    assert await refused(orders.create_from_cart(cart.id, "card")) == (ErrorCode.PRICE_CHANGED, "cart_id")
    order = await orders.create_from_cart(cart.id, "card", agreement=Agreement(accept_price_changes=True))
    assert order.total == (await shop.of(ann).carts.get_by_id(cart.id)).total == 14


# --- Who races


async def test_of_a_hundred_shoppers_as_many_get_a_voucher_as_there_are(shop: Shop) -> None:
    tea, row, last = await shop.product(stock=1000), await voucher(shop, max_uses=7), 7
    buyers = [await shop.viewer() for _ in range(100)]
    carts = [await shop.cart(buyer, (tea, 1)) for buyer in buyers]
    for buyer, cart in zip(buyers, carts, strict=True):
        await shop.of(buyer).carts.apply_voucher(cart.id, row.code)
    ordering = [shop.of(buyer).orders.create_from_cart(cart.id, "card") for buyer, cart in zip(buyers, carts, strict=True)]
    made, refusals = await outcomes(*ordering)
    assert (len(made), len(refusals)) == (last, 100 - last)
    assert {error.message.partition(". ")[0] for error in refusals} == {"SPRING takes nothing off any more: it has been used up"}
    assert (await uses(shop, row), await shop.stock(tea)) == (last, (1000, last, 1000 - last))
    assert await shop.repositories.orders.count({"voucher_id": row.id}) == last
    # Those that were cancelled are free for as many others, whoever else gives up at the same time.
    await asyncio.gather(*(shop.repositories.orders.update_status(order.id, OrderStatus.CANCELLED) for order in made))
    assert await uses(shop, row) == 0


async def test_a_shopper_who_is_many_times_at_once_uses_it_once(shop: Shop) -> None:
    """Orders whose cards were declined are paid again, and the same cart is ordered twice, all at the same time."""
    ann, tea, row = await shop.viewer(), await shop.product(), await voucher(shop, once_per_user=True)
    declined = []
    for _ in range(5):
        order = await order_with(shop, row, tea, ann)
        declined.append(await shop.repositories.orders.update_status(order.id, OrderStatus.FAILED))
    cart = await shop.cart(ann, (tea, 1))
    await shop.of(ann).carts.apply_voucher(cart.id, row.code)
    again = [shop.repositories.orders.update_status(order.id, OrderStatus.PENDING) for order in declined]
    made, refusals = await outcomes(*again, *(shop.of(ann).orders.create_from_cart(cart.id, "card") for _ in range(5)))
    assert len(made) == 1
    assert {error.code for error in refusals} <= {ErrorCode.VOUCHER_NOT_APPLICABLE, ErrorCode.CART_NOT_ACTIVE}
    assert await uses(shop, row) == 1
    cart = await shop.cart(ann, (tea, 1))
    assert await refused(shop.of(ann).carts.apply_voucher(cart.id, row.code)) == NOT_APPLICABLE


async def test_orders_and_cancellations_of_one_voucher_never_deadlock(shop: Shop) -> None:
    tea, row = await shop.product(stock=1000), await voucher(shop)

    async def come_and_go() -> None:
        order = await order_with(shop, row, tea)
        await shop.repositories.orders.update_status(order.id, OrderStatus.CANCELLED)

    await asyncio.gather(*(come_and_go() for _ in range(20)))
    assert (await uses(shop, row), await shop.stock(tea)) == (0, (1000, 0, 1000))


# --- Staff


async def test_staff_make_change_and_end_the_vouchers_of_their_store(shop: Shop) -> None:
    staff = await shop.viewer(ViewerKind.STAFF, "vouchers:read", "vouchers:write", "users:read")
    given = {
        "code": "spring",
        "amount": "5.00",
        "minimumAmount": "20",
        "maxUses": 100,
        "oncePerUser": True,
        "endsAt": "2100-01-01T00:00:00Z",
    }
    made = await shop.change(staff, "createVoucher", VOUCHER, **ids(storeId=shop.store), **given)
    assert made == {
        "voucher": {
            **given,
            "id": made["voucher"]["id"],
            "code": "SPRING",
            "percent": None,
            "currency": "USD",
            "minimumAmount": "20.00",
            "uses": 0,
            "startsAt": None,
            "endsAt": "2100-01-01T00:00:00+00:00",
            "isActive": True,
            **ids(store=shop.store)
            | {"store": {"id": encode_id("Store", shop.store.id)}, "author": {"id": encode_id("User", staff.user_id)}},  # type: ignore[arg-type]
        },
        "userErrors": [],
    }
    id = made["voucher"]["id"]
    changed = await shop.change(staff, "updateVoucher", VOUCHER, id=id, amount=None, percent="12.5", minimumAmount=None, oncePerUser=False)
    shown = {name: changed["voucher"][name] for name in ("percent", "amount", "minimumAmount", "maxUses", "oncePerUser")}
    assert shown == {"percent": "12.5", "amount": None, "minimumAmount": None, "maxUses": 100, "oncePerUser": False}
    document = "mutation ($id: ID!) { deactivateVoucher(input: {id: $id}) { voucher { isActive } userErrors { code } } }"
    assert (await shop.ask(staff, document, id=id))["data"]["deactivateVoucher"] == {"voucher": {"isActive": False}, "userErrors": []}
    listed = await shop.ask(staff, '{ vouchers(filter: {code: {eq: "SPRING"}}) { totalCount nodes { id isActive } } }')
    assert listed["data"]["vouchers"] == {"totalCount": 1, "nodes": [{"id": id, "isActive": False}]}


@pytest.mark.parametrize(
    ("values", "field", "code"),
    [
        ({"percent": "10", "amount": "5"}, ["percent"], "INVALID"),
        ({}, ["percent"], "INVALID"),
        ({"percent": "0"}, ["percent"], "INVALID"),
        ({"percent": "100.1"}, ["percent"], "INVALID"),
        ({"amount": "0"}, ["amount"], "INVALID"),
        ({"amount": "1.001"}, ["amount"], "INVALID"),
        ({"percent": "10", "minimumAmount": "1.001"}, ["minimumAmount"], "INVALID"),
        ({"percent": "10", "currency": "EUR"}, ["currency"], "CURRENCY_MISMATCH"),
        ({"percent": "10", "currency": "XXX"}, ["currency"], "INVALID"),
        ({"percent": "10", "code": "a b"}, ["code"], "INVALID"),
        ({"percent": "10", "code": "TAKEN"}, ["code"], "TAKEN"),
        ({"percent": "10", "maxUses": 0}, ["maxUses"], "INVALID"),
        ({"percent": "10", "startsAt": "2030-01-01T00:00:00Z", "endsAt": "2030-01-01T00:00:00Z"}, ["endsAt"], "INVALID"),
    ],
)
async def test_a_voucher_that_makes_no_sense_is_refused(shop: Shop, values: dict[str, Any], field: list[str], code: str) -> None:
    await voucher(shop, "TAKEN")
    made = await shop.change(ADMINISTRATOR, "createVoucher", "voucher { id }", **ids(storeId=shop.store), **{"code": "NEW", **values})
    assert (made["voucher"], [(error["field"], error["code"]) for error in made["userErrors"]]) == (None, [(field, code)])
    assert await shop.repositories.vouchers.count() == 1


async def test_a_limit_below_what_was_used_is_refused(shop: Shop) -> None:
    row = await voucher(shop)
    await order_with(shop, row, await shop.product())
    await order_with(shop, row, await shop.product())
    made = await shop.change(ADMINISTRATOR, "updateVoucher", "voucher { id }", **ids(id=row), maxUses=1)
    assert [(error["field"], error["code"]) for error in made["userErrors"]] == [(["maxUses"], "INVALID")]


@pytest.mark.parametrize("permissions", [("vouchers:read",), ("vouchers:write",), ("orders:write",)])
async def test_staff_of_another_store_have_nothing_to_do_with_it(shop: Shop, permissions: tuple[str, ...]) -> None:
    row, other = await voucher(shop), await shop.open_store()
    rival = Viewer(ViewerKind.STAFF, (await shop.viewer()).user_id, other.id, permissions=frozenset(permissions))
    vouchers = shop.of(rival).vouchers
    assert await vouchers.find_by_id(row.id) is None
    create = vouchers.create_within(VoucherCreate(store_id=shop.store.id, code="MINE", percent=Decimal(100)))
    assert await refused(create) == (ErrorCode.NOT_FOUND, "storeId")


# --- Settings


async def test_amounts_of_a_store_suit_its_currency(shop: Shop) -> None:
    shown = "settings { currency shippingPrice freeShippingFrom taxRate pricesIncludeTax }"
    given = {"shippingPrice": "4.90", "freeShippingFrom": "50", "taxRate": "7.7", "pricesIncludeTax": True}
    made = await shop.change(ADMINISTRATOR, "updateStoreSettings", shown, **ids(storeId=shop.store), **given)
    assert made["settings"] == {"currency": "USD", **given, "freeShippingFrom": "50.00"}
    for values, field in (
        ({"currency": "JPY"}, "shippingPrice"),
        ({"shippingPrice": "0.001"}, "shippingPrice"),
        ({"freeShippingFrom": "0.001"}, "freeShippingFrom"),
        ({"taxRate": "100.5"}, "taxRate"),
        ({"taxRate": "-1"}, "taxRate"),
        ({"shippingPrice": None}, "shippingPrice"),
    ):
        refusal = await shop.change(ADMINISTRATOR, "updateStoreSettings", shown, **ids(storeId=shop.store), **values)
        assert [error["field"] for error in refusal["userErrors"]] == [[field]], values
    free = await shop.change(ADMINISTRATOR, "updateStoreSettings", shown, **ids(storeId=shop.store), freeShippingFrom=None)
    assert free["settings"]["freeShippingFrom"] is None
