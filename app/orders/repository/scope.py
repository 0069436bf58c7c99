"""Which rows belong to an order that the viewer may see."""

from typing import Any

from sqlalchemy import ColumnElement, exists, false

from app.carts.repository import own_or_of_store
from app.core.security import ViewerKind
from app.orders.models import Order

ORDERS = Order.__table__  # type: ignore[attr-defined]


def of_visible_order(table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
    """Rows whose order the viewer may see."""
    if viewer is ViewerKind.ANONYMOUS:
        return false()
    return exists().where(ORDERS.c.id == table.c.order_id, own_or_of_store(ORDERS, viewer))
