"""Which products a store sells, and which belong to the store that staff work for."""

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false, or_

from app.catalog.models import Product, ProductStore
from app.core.scope import of_store
from app.core.security import ViewerKind
from app.stores.models import Store, StoreStatus

PRODUCTS = Product.__table__  # type: ignore[attr-defined]
LINKS = ProductStore.__table__  # type: ignore[attr-defined]
STORES = Store.__table__  # type: ignore[attr-defined]


def sold_by(table: Any, store: ColumnElement[bool]) -> ColumnElement[bool]:
    """That such a store has the product."""
    return exists().where(LINKS.c.product_id == table.c.id, store)


def sold_by_own_alone(table: Any, viewer: ViewerKind, resource: str) -> ColumnElement[bool]:
    """For staff who may write the resource: that their store has the product, and no other."""
    if viewer is not ViewerKind.STAFF:
        return false()
    own = of_store(LINKS.c.store_id, resource, "write")
    return and_(sold_by(table, own), ~sold_by(table, own.is_not(True)))


def sold_in(products: Any, store_id: Any) -> ColumnElement[bool]:
    """That the store is open and sells the product."""
    return _open_store(products).where(LINKS.c.store_id == store_id)  # type: ignore[no-any-return]


def sold_somewhere(products: Any) -> ColumnElement[bool]:
    """That any open store sells the product, or that no store ever had it."""
    return or_(_open_store(products), ~exists().where(LINKS.c.product_id == products.c.id))


def _open_store(products: Any) -> Any:
    store = (STORES.c.id == LINKS.c.store_id, STORES.c.status == StoreStatus.ACTIVE.value, ~STORES.c.is_deleted)
    return exists().where(LINKS.c.product_id == products.c.id, *store)
