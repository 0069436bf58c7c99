"""Products and their inventory: every statement on them."""

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, and_, any_, bindparam, exists, false, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as upsert

from app.catalog.models import Inventory, Product, ProductCreate, ProductStatus, ProductStore, ProductUpdate
from app.core.batch import one_by
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.money import InvalidAmount, exact
from app.core.repository import Repository, as_values, transactional
from app.core.scope import of_store
from app.core.security import ViewerKind
from app.stores.models import Store, StoreStatus
from app.stores.repository import StoreRepository

PRODUCTS = Product.__table__  # type: ignore[attr-defined]
LINKS = ProductStore.__table__  # type: ignore[attr-defined]
STORES = Store.__table__  # type: ignore[attr-defined]


class ProductRepository(Repository[Product]):
    """The public sees what is for sale; staff of a store also what it sells, whatever its status.

    Staff who may write products change what their store alone sells: what others sell as well, or nobody, is for administrators.
    """

    model = Product
    tagged = frozenset({"products", "product_stores"})
    cached_for = frozenset({ViewerKind.ANONYMOUS, ViewerKind.SHOPPER})
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_products_sku": (ErrorCode.TAKEN, "sku", "another product has this SKU"),
        "fk_product_stores_store_id_stores": (ErrorCode.NOT_FOUND, "storeIds", "a store with this id does not exist"),
    }

    find_by_ids = one_by("id")
    find_sold_by_ids = one_by("id", scoped=False)
    """Products of lines that the viewer may see: an archived or deleted product is still what was sold."""

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        active: ColumnElement[bool] = table.c.status == ProductStatus.ACTIVE.value
        return or_(active, _sold_by(table, of_store(LINKS.c.store_id, "products"))) if viewer is ViewerKind.STAFF else active

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return _sold_by_own_alone(table, viewer, "products")

    async def find_by_sku(self, sku: str) -> Product | None:
        return await self.find_first({"sku": sku})

    @transactional
    async def create_in_stores(self, product: ProductCreate) -> Product:
        """A new product, its inventory of 0 pieces and the stores that sell it: all or nothing; unless staff name a store, theirs does.

        Raises `UserError` for a store that is not the viewer's.
        """
        values = as_values(product)
        store_ids = await self._own_stores(values.pop("store_ids") or self._default_stores())
        row = await self.create(values)
        await self.repositories.unscoped.of(InventoryRepository).create({"product_id": row.id})
        await self._sell_in(row.id, store_ids)
        return row

    @transactional
    async def update_product(self, id: UUID, product: ProductUpdate) -> Product:
        """Change a product and, where given, the stores that sell it.

        Raises `NotFound`; `UserError` where the price does not suit the currency, or for a store that is not the viewer's.
        """
        current = await self.lock_by_id(id)
        if current is None:
            raise NotFound("no Product has this id")
        values = as_values(product)
        store_ids = values.pop("store_ids", None)
        _check_price(values.get("price", current.price), values.get("currency", current.currency))
        if store_ids is not None:
            await self._sell_in(id, await self._own_stores(store_ids))
        return await self.update_by_id(id, values) if values else current

    async def sell_in_stores(self, links: Sequence[tuple[UUID, UUID]]) -> None:
        """Have stores sell products, many at once: pairs of a product's id and a store's. Pairs that are there stay."""
        statement = self.statement("sell_in_stores", self._many_links)
        await self.rows(statement, product_ids=[product for product, _ in links], store_ids=[store for _, store in links])

    async def archive(self, id: UUID) -> Product:
        """Take a product off sale; carts that hold it show that it is gone. Raises `NotFound`."""
        return await self.update_by_id(id, {"status": ProductStatus.ARCHIVED.value})

    async def unarchive(self, id: UUID) -> Product:
        """Put an archived product on sale again; raises `NotFound`."""
        return await self.update_by_id(id, {"status": ProductStatus.ACTIVE.value})

    async def find_oldest_store_id(self, product_id: UUID) -> UUID | None:
        """The store that sells the product and was made first: where it is bought unless the caller says otherwise."""
        statement = self.statement("find_oldest_store_id", self._oldest_store)
        return await self.value(statement, product_id=product_id)  # type: ignore[no-any-return]

    async def find_for_sale(self, ids: Sequence[UUID], store_id: UUID | None) -> dict[UUID, Product]:
        """Those of the products that the store sells now; without a store, those that any store sells or that belong to none."""
        in_store = store_id is not None
        statement = self.statement(("find_for_sale", in_store), lambda: self._for_sale(in_store=in_store))
        return {row.id: row for row in await self.rows(statement, ids=list(ids), store_id=store_id)}

    async def lock_for_sale(self, ids: Sequence[UUID], store_id: UUID | None) -> dict[UUID, Product]:
        """As `find_for_sale`, and kept from changing until the transaction ends; in the order of ids, so that no two buyers deadlock."""
        in_store = store_id is not None
        statement = self.statement(
            ("lock_for_sale", in_store),
            lambda: self._for_sale(in_store=in_store).order_by(self.table.c.id).with_for_update(read=True, of=self.table),
        )
        return {row.id: row for row in await self.rows(statement, ids=list(ids), store_id=store_id)}

    def _default_stores(self) -> frozenset[UUID]:
        store_id = self.viewer.store_id
        return frozenset({store_id}) if self.viewer.kind is ViewerKind.STAFF and store_id else frozenset()

    async def _own_stores(self, store_ids: AbstractSet[UUID]) -> AbstractSet[UUID]:
        """The stores, where the viewer may have them sell something. Staff must leave a product one of them, or it would be nobody's."""
        if self.viewer.sees_everything:
            return store_ids
        if not store_ids or store_ids - await self.repositories.of(StoreRepository).changeable_ids(store_ids):
            raise UserError(ErrorCode.FORBIDDEN, "name stores that you work for", "storeIds")
        return store_ids

    async def _sell_in(self, product_id: UUID, store_ids: AbstractSet[UUID]) -> None:
        ids = PG_UUID(as_uuid=True)
        wanted = bindparam("store_ids", type_=ARRAY(ids))
        drop = self.statement(
            "sell_in_drop", lambda: LINKS.delete().where(LINKS.c.product_id == bindparam("product_id"), ~(LINKS.c.store_id == any_(wanted)))
        )
        add = self.statement(
            "sell_in_add",
            lambda: (
                upsert(LINKS)
                .from_select(["product_id", "store_id"], select(bindparam("product_id", type_=ids), func.unnest(wanted)))
                .on_conflict_do_nothing()
            ),
        )
        for statement in (drop, add):
            await self.rows(statement, product_id=product_id, store_ids=list(store_ids))

    def _for_sale(self, *, in_store: bool) -> Select[Any]:
        columns = self.table.c
        given = columns.id == any_(bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True))))
        active = columns.status == ProductStatus.ACTIVE.value
        return self.base(scoped=False).where(given, active, ~columns.is_deleted, self._sold(in_store))

    def _sold(self, in_store: bool) -> ColumnElement[bool]:
        """That the store `:store_id` sells the product and is open; or that any store does, or that no store ever had it."""
        link = LINKS.c.product_id == self.table.c.id
        store = (STORES.c.id == LINKS.c.store_id, STORES.c.status == StoreStatus.ACTIVE.value, ~STORES.c.is_deleted)
        open_store = exists().where(link, *store)
        if in_store:
            return open_store.where(LINKS.c.store_id == bindparam("store_id", type_=PG_UUID(as_uuid=True)))
        return or_(open_store, ~exists().where(link))

    def _many_links(self) -> Any:
        ids = ARRAY(PG_UUID(as_uuid=True))
        given = func.unnest(bindparam("product_ids", type_=ids), bindparam("store_ids", type_=ids))
        pairs = given.table_valued("product_id", "store_id", name="pairs").render_derived()
        return upsert(LINKS).from_select(["product_id", "store_id"], select(pairs.c.product_id, pairs.c.store_id)).on_conflict_do_nothing()

    def _oldest_store(self) -> Select[Any]:
        return (
            select(STORES.c.id)
            .join(LINKS, LINKS.c.store_id == STORES.c.id)
            .where(LINKS.c.product_id == bindparam("product_id"), STORES.c.status == "ACTIVE", ~STORES.c.is_deleted)
            .order_by(STORES.c.created_at, STORES.c.id)
            .limit(1)
        )


def _sold_by(table: Any, store: ColumnElement[bool]) -> ColumnElement[bool]:
    """That such a store has the product."""
    return exists().where(LINKS.c.product_id == table.c.id, store)


def _sold_by_own_alone(table: Any, viewer: ViewerKind, resource: str) -> ColumnElement[bool]:
    """For staff who may write the resource: that their store has the product, and no other."""
    if viewer is not ViewerKind.STAFF:
        return false()
    own = of_store(LINKS.c.store_id, resource, "write")
    return and_(_sold_by(table, own), ~_sold_by(table, own.is_not(True)))


def _check_price(price: Decimal, currency: str) -> None:
    try:
        exact(price, currency)
    except InvalidAmount as error:
        raise UserError(ErrorCode.INVALID, str(error), "price") from error


class InventoryRepository(Repository[Inventory]):
    """Pieces per product. What is on hand and reserved is for staff (the field says so); what is available is for all."""

    model = Inventory
    tagged = frozenset({"inventory"})
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "ck_inventory_reserved_on_hand": (ErrorCode.CONFLICT, "onHand", "more pieces are reserved for orders than would be on hand"),
    }

    find_by_product_ids = one_by("product_id", scoped=False)

    async def set_on_hand(self, product_id: UUID, on_hand: int) -> Inventory:
        """Say how many pieces there are now. Staff count what their store alone sells.

        Raises `UserError` when more are reserved, or there is no such product whose pieces the viewer may count.
        """
        statement = self.statement("set_on_hand", self._set_on_hand)
        row = await self.row(statement, product_id=product_id, on_hand=on_hand)
        if row is None:
            raise UserError(ErrorCode.NOT_FOUND, "a product with this id does not exist", "productId")
        return row

    async def reserve(self, quantities: Mapping[UUID, int]) -> list[UUID]:
        """Reserve pieces for an order; returns the products of which too few are available (then nothing may be kept: roll back).

        One statement in the order of product ids, so concurrent buyers queue instead of deadlocking.
        """
        await self._lock(list(quantities))
        done = await self._move(quantities, on_hand=0, reserved=1, enough=self.table.c.on_hand - self.table.c.reserved)
        return [product_id for product_id in quantities if product_id not in done]

    async def release(self, quantities: Mapping[UUID, int]) -> list[UUID]:
        """Give reserved pieces back; returns the products of which fewer were reserved, and which stay as they are."""
        return await self._take_reserved(quantities, on_hand=0)

    async def commit(self, quantities: Mapping[UUID, int]) -> list[UUID]:
        """Reserved pieces have been sold and are no longer on hand; returns as `release` does."""
        return await self._take_reserved(quantities, on_hand=-1)

    async def _take_reserved(self, quantities: Mapping[UUID, int], *, on_hand: int) -> list[UUID]:
        await self._lock(list(quantities))
        done = await self._move(quantities, on_hand=on_hand, reserved=-1, enough=self.table.c.reserved)
        return [product_id for product_id in quantities if product_id not in done]

    async def _lock(self, product_ids: list[UUID]) -> None:
        statement = self.statement(
            "lock",
            lambda: (
                select(self.table.c.product_id)
                .where(self.table.c.product_id == any_(bindparam("product_ids", type_=ARRAY(PG_UUID(as_uuid=True)))))
                .order_by(self.table.c.product_id)
                .with_for_update()
            ),
        )
        await self.rows(statement, product_ids=product_ids)

    async def _move(self, quantities: Mapping[UUID, int], *, on_hand: int, reserved: int, enough: Any) -> set[UUID]:
        statement = self.statement(("move", on_hand, reserved), lambda: self._moved(on_hand, reserved, enough))
        moved = await self.rows(statement, product_ids=list(quantities), quantities=list(quantities.values()))
        return {row.product_id for row in moved}

    def _moved(self, on_hand: int, reserved: int, enough: Any) -> Any:
        pieces = (
            func.unnest(
                bindparam("product_ids", type_=ARRAY(PG_UUID(as_uuid=True))),
                bindparam("quantities", type_=ARRAY(self.table.c.on_hand.type)),
            )
            .table_valued("product_id", "quantity", name="pieces")
            .render_derived()
        )
        return (
            update(self.table)
            .where(self.table.c.product_id == pieces.c.product_id, enough >= pieces.c.quantity)
            .values(
                on_hand=self.table.c.on_hand + on_hand * pieces.c.quantity,
                reserved=self.table.c.reserved + reserved * pieces.c.quantity,
                updated_at=func.now(),
            )
            .returning(self.table.c.product_id)
        )

    def _set_on_hand(self) -> Any:
        counted = select(PRODUCTS.c.id, bindparam("on_hand", type_=self.table.c.on_hand.type))
        counted = counted.where(PRODUCTS.c.id == bindparam("product_id"), ~PRODUCTS.c.is_deleted)
        if not self.viewer.sees_everything:
            counted = counted.where(_sold_by_own_alone(PRODUCTS, self.viewer.kind, "inventory"))
        row = upsert(self.table).from_select(["product_id", "on_hand"], counted)
        changed = row.on_conflict_do_update(index_elements=["product_id"], set_={"on_hand": row.excluded.on_hand, "updated_at": func.now()})
        return changed.returning(*self.table.c)
