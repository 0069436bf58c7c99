"""Products and the stores that sell them."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, Select, any_, bindparam, func, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as upsert

from app.catalog.models import Product, ProductCreate, ProductStatus, ProductUpdate
from app.catalog.repository.inventory import InventoryRepository
from app.catalog.repository.scope import LINKS, STORES, sold_by, sold_by_own_alone, sold_in, sold_somewhere
from app.core.batch import one_by
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.money import InvalidAmount, exact
from app.core.repository import Repository, as_values, transactional
from app.core.scope import of_store
from app.core.security import ViewerKind
from app.stores.events import StoreEvent, happened
from app.stores.repository import StoreRepository


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
        return or_(active, sold_by(table, of_store(LINKS.c.store_id, "products"))) if viewer is ViewerKind.STAFF else active

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return sold_by_own_alone(table, viewer, "products")

    async def find_by_sku(self, sku: str) -> Product | None:
        return await self.find_first({"sku": sku})

    @transactional
    async def create_in_stores(self, product: ProductCreate) -> Product:
        """A new product, its inventory of 0 pieces and the stores that sell it: all or nothing; unless staff name a store, theirs does.

        Raises `UserError` for a store that is not the viewer's.
        """
        values = as_values(product)
        store_ids = await self._own_stores(values.pop("store_ids") or self._default_stores())
        policy = values.pop("inventory_policy")
        row = await self.create(values)
        await self._stock().create({"product_id": row.id, "policy": policy.value})
        await self._sell_in(row.id, store_ids)
        return row

    @transactional
    async def update_product(self, id: UUID, product: ProductUpdate) -> Product:
        """Change a product and, where given, the stores that sell it and what happens when it is out of stock. Its stores are told, also
        one that no longer sells it.

        Raises `NotFound`; `UserError` where the price does not suit the currency, for a store that is not the viewer's, or where its pieces
        do not allow the policy.
        """
        current = await self.lock_by_id(id)
        if current is None:
            raise NotFound("no Product has this id")
        values = as_values(product)
        store_ids, policy = values.pop("store_ids", None), values.pop("inventory_policy", None)
        _check_price(values.get("price", current.price), values.get("currency", current.currency))
        told = await self._store_ids(id)
        if store_ids is not None:
            await self._sell_in(id, await self._own_stores(store_ids))
            told |= store_ids
        if policy is not None:
            await self._stock().set_policy(id, policy)
        changed = await self.update_by_id(id, values) if values else current
        await happened(self.repositories, StoreEvent.PRODUCT_UPDATED, told, Product=id)
        return changed

    async def sell_in_stores(self, links: Sequence[tuple[UUID, UUID]]) -> None:
        """Have stores sell products, many at once: pairs of a product's id and a store's. Pairs that are there stay."""
        statement = self.statement("sell_in_stores", self._many_links)
        await self.rows(statement, product_ids=[product for product, _ in links], store_ids=[store for _, store in links])

    async def archive(self, id: UUID) -> Product:
        """Take a product off sale; carts that hold it show that it is gone. Raises `NotFound`."""
        return await self._set_status(id, ProductStatus.ARCHIVED)

    async def unarchive(self, id: UUID) -> Product:
        """Put an archived product on sale again; raises `NotFound`."""
        return await self._set_status(id, ProductStatus.ACTIVE)

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

    @transactional
    async def _set_status(self, id: UUID, status: ProductStatus) -> Product:
        row = await self.update_by_id(id, {"status": status.value})
        await happened(self.repositories, StoreEvent.PRODUCT_UPDATED, await self._store_ids(id), Product=id)
        return row

    async def _store_ids(self, product_id: UUID) -> set[UUID]:
        """The stores that sell a product, whoever sees them."""
        sold = self.statement("store_ids", lambda: select(LINKS.c.store_id).where(LINKS.c.product_id == bindparam("product_id")))
        return {row["store_id"] for row in await self.rows(sold, product_id=product_id)}  # type: ignore[index]

    def _stock(self) -> InventoryRepository:
        return self.repositories.unscoped.of(InventoryRepository)

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
        store_id = bindparam("store_id", type_=PG_UUID(as_uuid=True))
        sold = sold_in(self.table, store_id) if in_store else sold_somewhere(self.table)
        return self.base(scoped=False).where(given, active, ~columns.is_deleted, sold)

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


def _check_price(price: Decimal, currency: str) -> None:
    try:
        exact(price, currency)
    except InvalidAmount as error:
        raise UserError(ErrorCode.INVALID, str(error), "price") from error
