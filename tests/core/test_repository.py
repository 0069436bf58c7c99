"""What every repository does, shown on products and stores."""

import asyncio
from decimal import Decimal
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.catalog.models import ProductCreate, ProductStatus
from app.catalog.repository import ProductRepository
from app.core.errors import BadInput, Conflict, ErrorCode, NotFound, UserError
from app.core.paging import PageRequest, Sort, decode_cursor, encode_cursor, with_tie_break
from app.core.repository import transactional
from app.core.security import ANONYMOUS, SYSTEM, Viewer, ViewerKind
from app.core.statement import compile_statement
from app.repositories import Repositories
from app.stores.models import StoreCreate

ADMINISTRATOR = Viewer(kind=ViewerKind.ADMINISTRATOR, permissions=frozenset({"*:*"}))


def tea(number: int, **values: object) -> dict[str, object]:
    return {"name": f"Tea {number}", "price": Decimal(number % 3), "currency": "USD", "sku": f"TEA-{number}", **values}


async def test_create_gives_the_defaults_of_the_database(repositories: Repositories) -> None:
    row = await repositories.products.create({"name": "Tea", "price": Decimal("3.5")})
    assert (row.status, row.currency, row.is_deleted) == ("ACTIVE", "USD", False)
    assert row.id.version == 7


async def test_create_many_is_one_statement_and_all_or_nothing(repositories: Repositories) -> None:
    rows = await repositories.products.create_many([tea(n) for n in range(50)])
    assert [row.sku for row in rows] == [f"TEA-{n}" for n in range(50)]
    with pytest.raises(UserError) as refused:
        await repositories.products.create_many([tea(100), tea(1)])
    assert (refused.value.code, refused.value.field) == (ErrorCode.TAKEN, ("sku",))
    assert await repositories.products.count() == 50


async def test_find_many_takes_plain_values_lists_and_operators(repositories: Repositories) -> None:
    await repositories.products.create_many([tea(n) for n in range(6)])
    products = repositories.products
    assert [row.sku for row in await products.find_many({"sku": "TEA-3"})] == ["TEA-3"]
    assert len(await products.find_many({"sku": ["TEA-1", "TEA-2", "NONE"]})) == 2
    assert len(await products.find_many({"price": {"gte": Decimal(1), "lt": Decimal(2)}})) == 2
    assert len(await products.find_many({"not": {"name": {"contains": "tEA 1"}}})) == 5
    assert len(await products.find_many({"or": [{"sku": "TEA-1"}, {"sku": "TEA-2"}], "price": {"gt": Decimal(1)}})) == 1
    assert len(await products.find_many({"description": None})) == 6
    assert len(await products.find_many({"or": []})) == 0
    assert await products.exists({"sku": "TEA-1"})
    assert not await products.exists({"sku": "TEA-99"})


async def test_wildcards_in_a_filter_are_only_characters(repositories: Repositories) -> None:
    names = ("100% cotton", "100 g cotton", "a_b", "axb")
    await repositories.products.create_many([tea(n, name=name) for n, name in enumerate(names)])
    assert [row.name for row in await repositories.products.find_many({"name": {"contains": "0%"}})] == ["100% cotton"]
    assert [row.name for row in await repositories.products.find_many({"name": {"starts_with": "A_"}})] == ["a_b"]


async def test_unknown_columns_and_endless_filters_are_refused(repositories: Repositories) -> None:
    with pytest.raises(BadInput, match=r"filter\.password"):
        await repositories.products.find_many({"password": "x"})
    nested: dict[str, object] = {"name": "x"}
    for _ in range(10):
        nested = {"not": nested}
    with pytest.raises(BadInput, match="deeper"):
        await repositories.products.find_many(nested)
    with pytest.raises(BadInput, match="comparisons"):
        await repositories.products.find_many({"or": [{"name": "x"}] * 60})


async def test_update_stamps_the_row_and_misses_nothing(repositories: Repositories) -> None:
    row = await repositories.products.create(tea(1))
    changed = await repositories.products.update_by_id(row.id, {"name": "Coffee"})
    assert changed.name == "Coffee"
    assert changed.updated_at > row.updated_at
    with pytest.raises(NotFound, match=r"products\.update_by_id"):
        await repositories.products.update_by_id(uuid4(), {"name": "x"})
    assert await repositories.products.update_many({"name": "Coffee"}, {"name": "Cocoa"}) == 1


async def test_soft_deletion_hides_and_restoring_shows(repositories: Repositories) -> None:
    row = await repositories.products.create(tea(1))
    assert await repositories.products.delete_by_id(row.id)
    assert await repositories.products.find_by_id(row.id) is None
    assert not await repositories.products.delete_by_id(row.id)
    again = await repositories.products.create(tea(1))
    assert again.id != row.id
    assert await repositories.products.delete_by_id(again.id)
    assert (await repositories.products.restore(row.id)).status == "ACTIVE"
    with pytest.raises(NotFound):
        await repositories.products.restore(row.id)


async def test_only_administrators_see_deleted_rows_and_only_when_they_ask(repositories: Repositories) -> None:
    row = await repositories.products.create(tea(1))
    await repositories.products.soft_delete(row.id)
    deleted = {"is_deleted": True}
    assert len(await repositories.scoped(ADMINISTRATOR).products.find_many(deleted)) == 1
    assert await repositories.scoped(ADMINISTRATOR).products.find_many() == []
    assert await repositories.scoped(ANONYMOUS).products.find_many(deleted) == []


async def test_a_scope_holds_for_every_read_and_write(repositories: Repositories) -> None:
    store = await repositories.stores.create_with_settings(StoreCreate(name="Tea shop", domain="tea.example.com"))
    own = await repositories.products.create_in_stores(
        ProductCreate(name="Ours", price=Decimal(1), status=ProductStatus.INACTIVE, store_ids=frozenset({store.id}))
    )
    foreign = await repositories.products.create(tea(2, status="INACTIVE"))
    catalog = frozenset({"products:write"})
    staff = repositories.scoped(Viewer(kind=ViewerKind.STAFF, user_id=uuid4(), store_id=store.id, permissions=catalog))
    for viewer, seen in ((staff, [own.id]), (repositories.scoped(ANONYMOUS), [])):
        assert [row.id for row in await viewer.products.find_many({"status": "INACTIVE"})] == seen
        assert await viewer.products.count({"or": [{"status": "INACTIVE"}, {"status": "ACTIVE"}]}) == len(seen)
        assert [row and row.id for row in await viewer.products.find_by_ids([foreign.id, own.id])] == [None, seen[0] if seen else None]
        with pytest.raises(NotFound):
            await viewer.products.update_by_id(foreign.id, {"name": "stolen"})
        assert await viewer.products.delete_many({"id": foreign.id}) == 0
    assert (await repositories.products.get_by_id(foreign.id)).name == "Tea 2"


async def test_a_repository_without_a_scope_shows_nothing_to_the_public(repositories: Repositories) -> None:
    await repositories.config.create({"key": "secret", "value": 1})
    for kind in (ViewerKind.ANONYMOUS, ViewerKind.SHOPPER, ViewerKind.STAFF):
        assert await repositories.scoped(Viewer(kind=kind, user_id=uuid4())).config.find_many() == []


async def test_batches_come_in_the_order_of_their_keys(repositories: Repositories) -> None:
    rows = await repositories.products.create_many([tea(n) for n in range(5)])
    ids = [row.id for row in rows]
    wanted = [ids[3], uuid4(), ids[0], ids[3]]
    assert [row and row.id for row in await repositories.products.find_by_ids(wanted)] == [ids[3], None, ids[0], ids[3]]


async def test_transactions_nest_and_share_one_connection(repositories: Repositories) -> None:
    async with repositories.transaction() as outer:
        await outer.products.create(tea(1))
        with pytest.raises(UserError):
            async with outer.transaction() as inner:
                await inner.products.create(tea(2))
                await inner.products.create(tea(1))
        assert await outer.products.count() == 1
        assert await repositories.products.count() == 0
    assert await repositories.products.count() == 1


async def test_failures_name_their_place_and_are_counted(repositories: Repositories) -> None:
    with pytest.raises(NotFound) as missing:
        await repositories.stores.get_by_id(uuid4())
    assert (missing.value.entity, missing.value.operation) == ("stores", "get_by_id")
    counted = repositories.metrics.registry.get_sample_value
    labels = {"entity": "stores", "operation": "get_by_id", "result": "error"}
    assert counted("repository_operation_seconds_count", labels) == 1


# --- Pages

SORTS = [(), (Sort("price"),), (Sort("price", descending=True), Sort("name"))]


@pytest.mark.parametrize("sorts", SORTS)
@pytest.mark.parametrize("backward", [False, True])
async def test_pages_cover_the_list_once_whatever_the_order(repositories: Repositories, sorts: tuple[Sort, ...], backward: bool) -> None:
    await repositories.products.create_many([tea(n) for n in range(17)])
    whole = [row.id for row in (await repositories.products.find_page(PageRequest(first=100, sorts=sorts))).nodes]
    seen: list[UUID] = []
    cursor, more = None, True
    while more:
        request = PageRequest(last=5, before=cursor, sorts=sorts) if backward else PageRequest(first=5, after=cursor, sorts=sorts)
        page = await repositories.products.find_page(request)
        ids = [row.id for row in page.nodes]
        seen = ids + seen if backward else seen + ids
        cursor = page.cursor(page.nodes[0] if backward else page.nodes[-1])
        more = page.has_previous_page if backward else page.has_next_page
    assert seen == whole
    assert len(whole) == 17


async def test_a_cursor_outlives_its_row_and_new_rows(repositories: Repositories) -> None:
    await repositories.products.create_many([tea(n) for n in range(6)])
    page = await repositories.products.find_page(PageRequest(first=3))
    rest = [row.id for row in (await repositories.products.find_page(PageRequest(after=page.cursor(page.nodes[-1])))).nodes]
    await repositories.products.delete_by_id(page.nodes[-1].id)
    await repositories.products.create(tea(99))
    again = await repositories.products.find_page(PageRequest(after=page.cursor(page.nodes[-1])))
    assert [row.id for row in again.nodes] == rest


@pytest.mark.parametrize(
    ("request_", "place"),
    [
        (PageRequest(first=0), "first"),
        (PageRequest(first=-1), "first"),
        (PageRequest(first=101), "first"),
        (PageRequest(last=101), "last"),
        (PageRequest(first=1, last=1), "last"),
        (PageRequest(after="x"), "after"),
        (PageRequest(before="!" * 2000), "before"),
        (PageRequest(after=encode_cursor("products,created_at-,id-", ["yesterday", "x"])), "after"),
        (PageRequest(after=encode_cursor("orders,created_at-,id-", ["2026-01-01T00:00:00.000000Z", uuid4()])), "after"),
        (PageRequest(after=encode_cursor("products,created_at-,id-", ["2026-01-01T00:00:00.000000Z"])), "after"),
    ],
)
async def test_impossible_pages_name_the_argument(repositories: Repositories, request_: PageRequest, place: str) -> None:
    with pytest.raises(BadInput) as refused:
        await repositories.products.find_page(request_)
    assert refused.value.argument == place


@given(st.lists(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20), min_size=1, max_size=4))
def test_cursors_give_back_their_keys(keys: list[str]) -> None:
    tag = ",".join(["list", *(f"k{n}+" for n in range(len(keys)))])
    assert decode_cursor(encode_cursor(tag, keys), tag, "after") == keys


def test_the_id_makes_an_order_total() -> None:
    assert with_tie_break((Sort("price", descending=True),)) == (Sort("price", descending=True), Sort("id", descending=True))
    assert with_tie_break((Sort("id"),)) == (Sort("id"),)


# --- Stock


async def test_concurrent_reservations_never_exceed_what_is_available(repositories: Repositories) -> None:
    product = await repositories.products.create_in_stores(ProductCreate(name="Teapot", price=Decimal(20)))
    await repositories.inventory.set_on_hand(product.id, 10)
    short = await asyncio.gather(*(repositories.inventory.reserve({product.id: 1}) for _ in range(30)))
    assert sum(missing == [] for missing in short) == 10
    row = await repositories.inventory.find_first({"product_id": product.id})
    assert row is not None
    assert (row.on_hand, row.reserved, row.available) == (10, 10, 0)


async def test_less_stock_than_is_reserved_is_refused(repositories: Repositories) -> None:
    product = await repositories.products.create_in_stores(ProductCreate(name="Teapot", price=Decimal(20)))
    await repositories.inventory.set_on_hand(product.id, 5)
    await repositories.inventory.reserve({product.id: 4})
    with pytest.raises(UserError) as refused:
        await repositories.inventory.set_on_hand(product.id, 3)
    assert refused.value.field == ("onHand",)
    with pytest.raises(UserError) as unknown:
        await repositories.inventory.set_on_hand(uuid4(), 3)
    assert unknown.value.code == ErrorCode.NOT_FOUND


async def test_a_stale_version_is_told_from_a_missing_row(repositories: Repositories) -> None:
    carts = repositories.carts
    user = await repositories.users.create({"email": "a@example.com", "username": "a"})
    cart = await carts.create({"user_id": user.id})
    await carts.update_by_id(cart.id, {"currency": "EUR"}, version=1)
    with pytest.raises(Conflict, match="changed"):
        await carts.update_by_id(cart.id, {"currency": "USD"}, version=1)
    with pytest.raises(NotFound):
        await carts.update_by_id(uuid4(), {"currency": "USD"}, version=1)


def test_the_system_sees_everything() -> None:
    assert SYSTEM.sees_everything
    assert SYSTEM.can("anything:at-all")


async def test_a_conflict_keeps_the_cause_that_says_whether_to_try_again(repositories: Repositories) -> None:
    """Deadlocks inside a repository's own transaction are retried, so what passed through its operations must still tell the cause."""
    first, second = [await repositories.products.create(tea(number)) for number in range(2)]
    both_hold_one = asyncio.Barrier(2)
    attempts = 0

    class Crossing(ProductRepository):
        @transactional
        async def cross(self, one: UUID, other: UUID) -> None:
            nonlocal attempts
            attempts += 1
            await self.update_by_id(one, {"description": "x"})
            if attempts <= 2:
                await both_hold_one.wait()
            await self.update_by_id(other, {"description": "x"})

    crossing = repositories.of(Crossing)
    await asyncio.gather(crossing.cross(first.id, second.id), crossing.cross(second.id, first.id))
    assert attempts == 3


@pytest.mark.parametrize(("table", "column", "index"), [("products", "sku", "uq_products_sku"), ("stores", "domain", "uq_stores_domain")])
async def test_rows_that_exist_are_found_in_the_indexes_of_those(repositories: Repositories, table: str, column: str, index: str) -> None:
    """PostgreSQL proves `not is_deleted` of an index only where a statement says it in the same words."""
    repository = getattr(repositories, table)
    statement = compile_statement(repository.base().where(repository.table.c[column] == "x"))
    async with repositories.database.transaction() as transaction:
        await transaction.connection.execute("set local enable_seqscan = off")
        plan = await transaction.connection.fetch(f"explain {statement.text}", *statement.arguments({}))
    assert index in str(plan)
