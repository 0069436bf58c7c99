"""The statement that finds the carts which nobody has changed for long."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import any_, bindparam, exists, func, literal, select, update

from app.carts.models import CartStatus
from app.carts.repository.scope import CARTS, ITEMS
from app.core.model import TIMESTAMP
from app.stores.models import LEAST_IDLE, StoreSettings

SETTINGS = StoreSettings.__table__  # type: ignore[attr-defined]
FORGOTTEN: Final = timedelta(days=60)
"""Carts that were left before are not looked at: those are empty, or of stores that leave carts alone, and there are ever more of them."""


def abandoning() -> Any:
    """Makes carts ABANDONED, longest idle first, up to `:row_limit`; skips those that somebody is changing or abandoning."""
    cart, now = CARTS.alias("idle").c, bindparam("now", type_=TIMESTAMP)
    longest = func.make_interval(0, 0, 0, 0, 0, SETTINGS.c.cart_idle_minutes)
    bounds = (cart.updated_at < now - literal(timedelta(minutes=LEAST_IDLE)), cart.updated_at > now - literal(FORGOTTEN))
    left = (
        select(cart.id)
        .join(SETTINGS, SETTINGS.c.store_id == cart.store_id)
        .where(cart.status == CartStatus.ACTIVE.value, ~cart.is_deleted, *bounds, cart.updated_at < now - longest)
        .where(exists().where(ITEMS.c.cart_id == cart.id))
        .order_by(cart.updated_at)
        .limit(bindparam("row_limit"))
        .with_for_update(skip_locked=True, of=cart.id)
    )
    chosen = func.array(left.scalar_subquery())
    return update(CARTS).where(CARTS.c.id == any_(chosen)).values(status=CartStatus.ABANDONED.value).returning(*CARTS.c)
