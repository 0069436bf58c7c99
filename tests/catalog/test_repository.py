"""What is for sale where, and stock under buyers who race."""

import asyncio
from decimal import Decimal
from uuid import UUID, uuid4

import pytest

from app.catalog.models import ProductCreate, ProductStatus, ProductUpdate
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.security import ANONYMOUS, ViewerKind
from tests.shop import Shop, refused


async def test_what_is_for_sale_depends_on_the_store(shop: Shop) -> None:
    other = await shop.open_store()
    here, there, nowhere, archived = (
        await shop.product(),
        await shop.product(stores=(other.id,)),
        await shop.product(stores=()),
        await shop.product(),
    )
    products = shop.repositories.products
    await products.archive(archived.id)
    ids = [here.id, there.id, nowhere.id, archived.id, uuid4()]
    for find in (products.find_for_sale, products.lock_for_sale):
        assert set(await find(ids, shop.store.id)) == {here.id}
        assert set(await find(ids, other.id)) == {there.id}
        assert set(await find(ids, None)) == {here.id, there.id, nowhere.id}
    await shop.repositories.stores.update_by_id(other.id, {"status": "SUSPENDED"})
    assert set(await products.find_for_sale(ids, other.id)) == set()
    assert set(await products.find_for_sale(ids, None)) == {here.id, nowhere.id}
    await products.soft_delete(here.id)
    assert set(await products.find_for_sale(ids, shop.store.id)) == set()


async def test_staff_change_what_their_store_alone_sells(shop: Shop) -> None:
    other = await shop.open_store()
    staff = shop.of(await shop.viewer(ViewerKind.STAFF, "products:write", "inventory:write"))
    own = await staff.products.create_in_stores(ProductCreate(name="Own tea", price=Decimal(1)))
    assert (await staff.products.update_product(own.id, ProductUpdate(price=Decimal(2)))).price == 2
    assert (await staff.inventory.set_on_hand(own.id, 5)).on_hand == 5
    assert (await staff.products.archive(own.id)).status == "ARCHIVED"
    assert (await staff.products.unarchive(own.id)).status == "ACTIVE"
    for foreign in (
        await shop.product(stores=(other.id,)),
        await shop.product(stores=(shop.store.id, other.id)),
        await shop.product(stores=()),
    ):
        with pytest.raises(NotFound):
            await staff.products.update_product(foreign.id, ProductUpdate(price=Decimal(2)))
        assert await refused(staff.inventory.set_on_hand(foreign.id, 5)) == ("NOT_FOUND", "productId")
    for stores in (frozenset({other.id}), frozenset({shop.store.id, other.id}), frozenset[UUID]()):
        assert await refused(staff.products.update_product(own.id, ProductUpdate(store_ids=stores))) == ("FORBIDDEN", "storeIds")
    reader = shop.of(await shop.viewer(ViewerKind.STAFF, "products:read", "inventory:read"))
    with pytest.raises(NotFound):
        await reader.products.archive(own.id)


async def test_an_inventory_is_seen_with_its_product_and_by_who_counts_it(shop: Shop) -> None:
    products = await shop.product(), await shop.product(status=ProductStatus.INACTIVE)
    known = await shop.repositories.inventory.find_by_product_ids([product.id for product in products])
    ids = [inventory.id for inventory in known]
    for viewer, seen in (
        (ANONYMOUS, [True, False]),
        (await shop.viewer(), [True, False]),
        (await shop.viewer(ViewerKind.STAFF, "orders:read"), [True, False]),
        (await shop.viewer(ViewerKind.STAFF, "products:read"), [True, True]),
        (await shop.viewer(ViewerKind.STAFF, "inventory:read"), [True, True]),
    ):
        inventory = shop.of(viewer).inventory
        assert [row is not None for row in await inventory.find_by_ids(ids)] == seen
        assert await inventory.update_many({"id": {"in": ids}}, {"reserved": 0}) == 0


async def test_a_price_must_suit_the_currency_it_is_or_will_be_in(shop: Shop) -> None:
    tea = await shop.product("2.50")
    for change in ({"price": Decimal("2.505")}, {"currency": "JPY"}):
        with pytest.raises(UserError) as refused:
            await shop.repositories.products.update_product(tea.id, ProductUpdate.model_validate(change))
        assert (refused.value.code, refused.value.field) == (ErrorCode.INVALID, ("price",))
    both = ProductUpdate(currency="KWD", price=Decimal("2.505"))
    assert (await shop.repositories.products.update_product(tea.id, both)).price == Decimal("2.505")


async def test_reserved_pieces_are_sold_or_given_back(shop: Shop) -> None:
    tea, pot = await shop.product(stock=10), await shop.product(stock=3)
    stock = shop.repositories.inventory
    assert await stock.reserve({tea.id: 4, pot.id: 3}) == []
    assert (await shop.stock(tea), await shop.stock(pot)) == ((10, 4, 6), (3, 3, 0))
    assert await stock.commit({tea.id: 3}) == []
    assert await stock.release({pot.id: 2, tea.id: 1}) == []
    assert (await shop.stock(tea), await shop.stock(pot)) == ((7, 0, 7), (3, 1, 2))


async def test_what_was_not_reserved_is_neither_sold_nor_given_back(shop: Shop) -> None:
    tea, pot = await shop.product(stock=10), await shop.product(stock=3)
    stock = shop.repositories.inventory
    await stock.reserve({tea.id: 1})
    assert await stock.commit({tea.id: 2, pot.id: 1}) == [tea.id, pot.id]
    assert await stock.release({tea.id: 1, pot.id: 1}) == [pot.id]
    assert (await shop.stock(tea), await shop.stock(pot)) == ((10, 0, 10), (3, 0, 3))


async def test_missing_products_are_named_and_the_others_reserved_until_the_rollback(shop: Shop) -> None:
    tea, pot = await shop.product(stock=2), await shop.product(stock=2)
    unknown = uuid4()
    missing = await shop.repositories.inventory.reserve({pot.id: 3, tea.id: 2, unknown: 1})
    assert missing == [pot.id, unknown]
    assert await shop.stock(tea) == (2, 2, 0)


WAREHOUSE = """
insert into products (name, price) select 'Tea', 1 from generate_series(1, 5000);
insert into inventory (product_id, on_hand) select id, 9 from products on conflict do nothing;
"""


async def test_opposite_orders_of_products_never_deadlock(shop: Shop) -> None:
    """Each buyer reserves the same products, half of them the other way round, and holds them for a moment.

    In a large warehouse PostgreSQL looks products up one by one, in the order in which they are named.
    """
    await shop.database.execute_script(WAREHOUSE)
    products = [await shop.product(stock=100) for _ in range(4)]
    await shop.database.vacuum("inventory")

    async def buy(number: int) -> list[object]:
        ids = [product.id for product in products]
        async with shop.repositories.transaction() as tx:
            missing = await tx.inventory.reserve(dict.fromkeys(ids if number % 2 else ids[::-1], 1))
            await asyncio.sleep(0.002)
            return list(missing)

    assert await asyncio.gather(*(buy(number) for number in range(40))) == [[]] * 40
    assert [await shop.stock(product) for product in products] == [(100, 40, 60)] * 4
