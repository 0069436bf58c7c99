"""What can be asked of carts."""

import strawberry

from app.api.connection import Connection, connection
from app.api.lookup import single
from app.api.permissions import own, own_or_guests, public, requires
from app.api.scalars import decode_id
from app.carts.types import Cart, CartFilter, CartOrder, Voucher, VoucherFilter, VoucherOrder
from app.core.security import Viewer
from app.execution.declarations import Where


def _cart(_viewer: Viewer, id: strawberry.ID) -> Where:
    return {"id": decode_id(id, "Cart")}


def _my_cart(viewer: Viewer) -> Where | None:
    if viewer.cart_token_hash is not None:
        return {"cart_token_hash": viewer.cart_token_hash, "status": "ACTIVE"}
    return None if viewer.user_id is None else {"user_id": viewer.user_id, "status": "ACTIVE"}


@strawberry.type
class CartQuery:
    cart: Cart | None = single("carts", _cart, access=own_or_guests("carts:read"), description="One cart by its id.")
    my_cart: Cart | None = single(
        "carts", _my_cart, access=public, description="The caller's newest active cart, also a guest's; null when there is none."
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
