"""Whose carts are seen: a shopper's own, a guest's by its token, a store's by its staff."""

from typing import Any

from sqlalchemy import ColumnElement, bindparam

from app.carts.models import Cart, CartItem
from app.core.scope import Action, own_or_of_store
from app.core.security import ViewerKind

CARTS = Cart.__table__  # type: ignore[attr-defined]
ITEMS = CartItem.__table__  # type: ignore[attr-defined]


def cart_rows(table: Any, viewer: ViewerKind, action: Action = "read") -> ColumnElement[bool]:
    """Carts that the viewer may read, or change. Whoever has neither an account nor a token has none: the token's hash is null then."""
    if viewer is ViewerKind.ANONYMOUS:
        return table.c.cart_token_hash == bindparam("viewer_cart_token_hash")  # type: ignore[no-any-return]
    return own_or_of_store(table, viewer, "carts", action)
