"""What can be asked of orders."""

import strawberry

from app.api.connection import Connection, connection
from app.api.lookup import single
from app.api.permissions import own
from app.api.scalars import decode_id
from app.core.security import Viewer
from app.execution.declarations import Where
from app.orders.types import Order, OrderFilter, OrderOrder


def _order(_viewer: Viewer, id: strawberry.ID) -> Where:
    return {"id": decode_id(id, "Order")}


@strawberry.type
class OrderQuery:
    order: Order | None = single("orders", _order, access=own("orders:read"), description="One order by its id.")
    orders: Connection[Order] = connection(
        "orders",
        access=own("orders:read"),
        filter=OrderFilter,
        order=OrderOrder,
        description="The caller's orders, newest first; for staff those of their store.",
    )
