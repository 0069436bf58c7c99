"""What shoppers and staff are told of carts as it happens."""

from uuid import UUID

import strawberry

from app.api.permissions import own_or_guests
from app.api.scalars import decode_id
from app.api.updates import updates
from app.carts.types import Cart
from app.core.security import Viewer


def _cart(_viewer: Viewer, cart_id: strawberry.ID | None = None) -> UUID | None:
    return None if cart_id is None else decode_id(cart_id, "Cart", "cartId")


@strawberry.type
class CartSubscription:
    cart_updated: Cart = updates(
        "carts",
        _cart,
        access=own_or_guests("carts:read"),
        description="A cart whenever it is made or changes: one by its id, or all of the caller, for staff those of their store. Always as "
        "it is now; what happened meanwhile is left out.",
    )
