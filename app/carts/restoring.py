"""Links to carts that were left: each opens one cart, for a time, to whoever may have it.

A link in a mail is signed and names an attempt to win a cart back; nothing else is in it. It opens an account's cart to that account
alone, wherever it has signed in. A guest's cart it gives a new token, since whoever reads the mail is whom the guest has named; somebody
who has signed in gets it into the account's own cart.
"""

from datetime import datetime
from typing import Any, Final
from uuid import UUID

from app.carts.models import OPEN_STATUSES, Cart, CartStatus, RecoveryEvent, RecoveryStatus
from app.core.errors import ErrorCode, UserError
from app.core.security import new_token, token_hash
from app.core.signing import Seals

PURPOSE: Final = "restore-cart"


def seal_of(seals: Seals, event: RecoveryEvent) -> str:
    """The token of an attempt's link."""
    return seals.seal(PURPOSE, event.id.hex, event.expires_at)


async def restore(repositories: Any, seals: Seals, token: str) -> tuple[Cart, str | None]:
    """The cart behind a link, active again, and a guest's new token for it. `repositories` are the viewer's.

    Raises `UserError` on `token`: not ours, too late, ordered since, another account's; another cart is active at the store.
    """
    subject = seals.open(PURPOSE, token, repositories.now())
    if subject is None:
        raise _gone()
    async with repositories.unscoped.transaction() as tx:
        event = await tx.recovery_events.find_by_id(UUID(hex=subject))
        cart = await tx.carts.lock_by_id(event.cart_id) if event else None
        if cart is None or not _is_good(event, cart, tx.now()):
            raise _gone()
        _check_owner(cart, repositories.viewer)
        if event.status == RecoveryStatus.SENT:
            await tx.recovery_events.update_status(event.id, RecoveryStatus.OPENED)
        return await _restored(tx, cart, repositories.viewer)


def _is_good(event: RecoveryEvent, cart: Cart, now: datetime) -> bool:
    in_time = event.expires_at is not None and now < event.expires_at
    sent = event.status in (RecoveryStatus.SENT, RecoveryStatus.OPENED)
    return in_time and sent and cart.status in OPEN_STATUSES


def _check_owner(cart: Cart, viewer: Any) -> None:
    if cart.user_id not in (None, viewer.user_id):
        raise UserError(ErrorCode.FORBIDDEN, "sign in with the account that the mail was sent to", "token")


async def _restored(tx: Any, cart: Cart, viewer: Any) -> tuple[Cart, str | None]:
    if cart.user_id is None and viewer.user_id is not None:
        return await tx.guest_carts.take_over(cart, viewer.user_id), None
    if cart.status == CartStatus.ABANDONED:
        cart = await tx.carts.reopen(cart.id)
    if cart.user_id is not None:
        return cart, None
    given = new_token()
    return await tx.carts.update_by_id(cart.id, {"cart_token_hash": token_hash(given)}), given


def _gone() -> UserError:
    return UserError(ErrorCode.NOT_FOUND, "the link is not good any more; the cart may have been ordered", "token")
