"""What can be asked of carts."""

import strawberry

from app.accounts.types import CreatedOrder
from app.api.connection import Connection, connection
from app.api.lookup import single
from app.api.permissions import own, own_or_guests, public, requires
from app.api.scalars import decode_id
from app.carts.models import OPEN_STATUSES
from app.carts.types import Cart, CartFilter, CartOrder, RecoveryEvent, RecoveryEventFilter, Voucher, VoucherFilter, VoucherOrder
from app.core.security import Viewer
from app.execution.declarations import Where


def _cart(_viewer: Viewer, id: strawberry.ID) -> Where:
    return {"id": decode_id(id, "Cart")}


def _my_cart(viewer: Viewer) -> Where | None:
    if viewer.cart_token_hash is not None:
        return {"cart_token_hash": viewer.cart_token_hash, "status": list(OPEN_STATUSES)}
    return None if viewer.user_id is None else {"user_id": viewer.user_id, "status": list(OPEN_STATUSES)}


@strawberry.type
class CartQuery:
    cart: Cart | None = single("carts", _cart, access=own_or_guests("carts:read"), description="One cart by its id.")
    my_cart: Cart | None = single(
        "carts",
        _my_cart,
        access=public,
        description="The caller's newest cart to go on with, also a guest's: ACTIVE, or ABANDONED when it was left; null without one.",
    )
    carts: Connection[Cart] = connection(
        "carts",
        access=own("carts:read"),
        filter=CartFilter,
        order=CartOrder,
        description="The caller's carts; for staff those of their store.",
    )
    vouchers: Connection[Voucher] = connection(
        "vouchers",
        access=requires("vouchers:read"),
        filter=VoucherFilter,
        order=VoucherOrder,
        description="A store's vouchers, newest first.",
    )
    recovery_events: Connection[RecoveryEvent] = connection(
        "recovery_events",
        access=requires("recovery:read"),
        filter=RecoveryEventFilter,
        order=CreatedOrder,
        description="Attempts to win back the carts of the store that the caller works for, newest first.",
    )
