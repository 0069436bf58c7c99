"""Finding carts that were left, so that their shoppers are reminded once (`engagement.reminders`) and their stores told.

A cart is ABANDONED, the attempt to win it back written, the store told and the reminder enqueued in one transaction: whoever dies leaves
all of it or nothing, and sweeps at once take different carts.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog

from app.accounts.models import User, address_hash, is_active_user
from app.carts.models import Cart, RecoveryEventCreate, RecoveryStatus
from app.stores.events import StoreEvent, happened
from app.stores.models import StoreSettings

REMIND_JOB: Final = "carts.remind"
PER_TURN: Final = 200
LOST: Final = timedelta(hours=3)
"""After which a reminder whose job was lost is enqueued again: longer than a job waits for its next attempt."""

REMINDED = "the shopper has been reminded before"
NO_ADDRESS = "there is no address to write to"
LEFT_LONG_AGO = "the cart was left too long ago"

log = structlog.get_logger(__name__)


async def enqueue_reminder(repositories: Any, id: Any, attempts: int, delay: timedelta | None = None) -> None:
    """Have the mail after so many sent if the open transaction commits."""
    await repositories.enqueue_later(delay, REMIND_JOB, id=id, attempts=attempts)


@dataclass(frozen=True)
class Recovery:
    """Looks after carts that were left. Repositories are the system's."""

    repositories: Any

    async def run(self) -> None:
        """One turn: ends attempts whose time is over, takes up those that were lost, and finds carts that have been left since."""
        await self.repositories.recovery_events.expire()
        await self.take_up_lost()
        found = await self.abandon_idle()
        if found:
            log.info("carts_abandoned", carts=found)

    async def abandon_idle(self) -> int:
        """Every cart that nobody has changed for as long as its store's setting says; gives how many."""
        total, found = 0, PER_TURN
        while found == PER_TURN:
            async with self.repositories.transaction() as tx:
                carts = await tx.carts.abandon_idle(PER_TURN)
                await _Batch(tx, carts).open()
            found = len(carts)
            total += found
        return total

    async def forget(self) -> None:
        """End what nobody will be told of any more: a cart that was forgotten is ABANDONED too, for its shopper to go on with if ever."""
        found = PER_TURN
        while found == PER_TURN:
            found = len(await self.repositories.carts.abandon_forgotten(PER_TURN))

    async def take_up_lost(self) -> None:
        async with self.repositories.transaction() as tx:
            for event in await tx.recovery_events.take_up_lost(tx.now() - LOST):
                await enqueue_reminder(tx, event.id, event.attempts)


@dataclass(frozen=True)
class _Batch:
    """Carts that have been left, in the transaction that says so."""

    tx: Any
    carts: list[Cart]

    async def open(self) -> None:
        users = {user.id: user for user in await self.tx.users.find_by_ids([cart.user_id for cart in self.carts if cart.user_id]) if user}
        settings = await self.tx.store_settings.find_by_store_ids([cart.store_id for cart in self.carts])
        for cart, of_store in zip(self.carts, settings, strict=True):
            await self._open(cart, address_of(cart, users.get(cart.user_id)), of_store)
            await happened(self.tx, StoreEvent.CART_ABANDONED, [cart.store_id], Cart=cart.id)

    async def _open(self, cart: Cart, address: str | None, settings: StoreSettings) -> None:
        window = timedelta(days=settings.recovery_days)
        now, events = self.tx.now(), self.tx.recovery_events
        event = RecoveryEventCreate(
            cart_id=cart.id,
            store_id=cart.store_id,
            user_id=cart.user_id,
            event_type="cart_abandoned",
            recipient_hash=address and address_hash(address),
            expires_at=now + window,
        )
        reason = NO_ADDRESS if address is None else LEFT_LONG_AGO if cart.updated_at < now - window else None
        opened = await events.open(event, now - window) if reason is None else None
        if opened is None:
            await events.create(event.model_copy(update={"status": RecoveryStatus.SUPPRESSED, "outcome": reason or REMINDED}))
        else:
            await enqueue_reminder(self.tx, opened.id, opened.attempts)


def address_of(cart: Cart, user: User | None) -> str | None:
    """Where the shopper of a cart can be written to: an account that may act at its own address, a guest where it has said."""
    if cart.user_id is None:
        return cart.email
    return user.email if user is not None and is_active_user(user) else None
