"""Which rows belong to an order whose rows the viewer may see."""

from typing import Any

from sqlalchemy import ColumnElement, exists

from app.core.scope import own_or_of_store
from app.core.security import ViewerKind
from app.orders.models import Order

ORDERS = Order.__table__  # type: ignore[attr-defined]


def of_order(table: Any, viewer: ViewerKind, resource: str) -> ColumnElement[bool]:
    """Rows of the viewer's orders; for staff who work with the resource those of their store's orders as well."""
    return exists().where(ORDERS.c.id == table.c.order_id, own_or_of_store(ORDERS, viewer, resource))
