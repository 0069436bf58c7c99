"""What shoppers and staff are told of orders as it happens."""

from uuid import UUID

import strawberry

from app.api.permissions import own
from app.api.scalars import decode_id
from app.api.updates import updates
from app.core.security import Viewer
from app.orders.types import Order


def _order(_viewer: Viewer, order_id: strawberry.ID | None = None) -> UUID | None:
    return None if order_id is None else decode_id(order_id, "Order", "orderId")


@strawberry.type
class OrderSubscription:
    order_updated: Order = updates(
        "orders",
        _order,
        access=own("orders:read"),
        description="An order whenever it is made, changes, or is charged: one by its id, or all of the caller, for staff those of their "
        "store. Always as it is now; what happened meanwhile is left out.",
    )
