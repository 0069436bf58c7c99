"""The statements that find the carts which nobody has changed for long."""

from datetime import timedelta
from typing import Any, Final

from sqlalchemy import any_, bindparam, exists, func, literal, select, update

from app.carts.models import CartStatus
from app.carts.repository.scope import CARTS, ITEMS
from app.core.model import TIMESTAMP
from app.stores.models import LEAST_IDLE, StoreSettings

SETTINGS = StoreSettings.__table__  # type: ignore[attr-defined]
FORGOTTEN: Final = timedelta(days=60)
"""After which nobody is told of a cart that was left. Most are empty, or of stores that leave carts alone."""


def abandoning() -> Any:
    """Makes the carts ABANDONED that have been left for as long as their store says: up to `:row_limit`, longest idle first."""
    cart, now = CARTS.alias("idle").c, bindparam("now", type_=TIMESTAMP)
    longest = func.make_interval(0, 0, 0, 0, 0, SETTINGS.c.cart_idle_minutes)
    bounds = (cart.updated_at < now - literal(timedelta(minutes=LEAST_IDLE)), cart.updated_at > now - literal(FORGOTTEN))
    left = (
        select(cart.id)
        .join(SETTINGS, SETTINGS.c.store_id == cart.store_id)
        .where(cart.status == CartStatus.ACTIVE.value, ~cart.is_deleted, *bounds, cart.updated_at < now - longest)
        .where(exists().where(ITEMS.c.cart_id == cart.id))
    )
    return _abandoned(left, cart)


def forgetting() -> Any:
    """Makes the carts ABANDONED that have been forgotten, whatever is in them and whosever they are: as `abandoning` does."""
    cart, now = CARTS.alias("idle").c, bindparam("now", type_=TIMESTAMP)
    forgotten = (cart.status == CartStatus.ACTIVE.value, ~cart.is_deleted, cart.updated_at <= now - literal(FORGOTTEN))
    return _abandoned(select(cart.id).where(*forgotten), cart)


def _abandoned(left: Any, cart: Any) -> Any:
    """Those that somebody is changing or abandoning are left to them."""
    first = left.order_by(cart.updated_at).limit(bindparam("row_limit")).with_for_update(skip_locked=True, of=cart.id)
    chosen = func.array(first.scalar_subquery())
    return update(CARTS).where(CARTS.c.id == any_(chosen)).values(status=CartStatus.ABANDONED.value).returning(*CARTS.c)
