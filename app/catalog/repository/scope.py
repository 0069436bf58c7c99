"""Which products belong to the store that staff work for."""

from typing import Any

from sqlalchemy import ColumnElement, and_, exists, false

from app.catalog.models import Product, ProductStore
from app.core.scope import of_store
from app.core.security import ViewerKind

PRODUCTS = Product.__table__  # type: ignore[attr-defined]
LINKS = ProductStore.__table__  # type: ignore[attr-defined]


def sold_by(table: Any, store: ColumnElement[bool]) -> ColumnElement[bool]:
    """That such a store has the product."""
    return exists().where(LINKS.c.product_id == table.c.id, store)


def sold_by_own_alone(table: Any, viewer: ViewerKind, resource: str) -> ColumnElement[bool]:
    """For staff who may write the resource: that their store has the product, and no other."""
    if viewer is not ViewerKind.STAFF:
        return false()
    own = of_store(LINKS.c.store_id, resource, "write")
    return and_(sold_by(table, own), ~sold_by(table, own.is_not(True)))
