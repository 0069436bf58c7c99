"""Reminders of carts that were left: the mail with the link back, and the notification of an account.

A job says which attempt to win a cart back (`carts.recovery`) and after how many mails. Whoever claims that attempt sends the mail, and
nobody else does. One that dies after that is found by the sweep hours later: a shopper rather gets a mail late than twice.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, Self
from uuid import UUID

import structlog

from app.accounts.models import address_hash
from app.api.scalars import encode_id
from app.carts.models import MAX_RECOVERY_ATTEMPTS, Cart, CartStatus, RecoveryEvent, RecoveryStatus
from app.carts.recovery import address_of, enqueue_reminder
from app.carts.restoring import seal_of
from app.core.errors import UserError
from app.core.mail import Mail, Mailer, MailFailed, MailRefused
from app.core.signing import Seals
from app.engagement.letters import Line, cart_reminder
from app.engagement.models import NotificationCreate
from app.engagement.unsubscribing import unsubscribe_url
from app.settings import Settings

WAITS: Final = (timedelta(minutes=5), timedelta(hours=1))
"""Before the second mail and the third, where the one before was not taken."""

CAME_BACK = "the shopper came back before anybody was reminded"
UNSUBSCRIBED = "the address wants no reminders"

log = structlog.get_logger(__name__)


class CartReminders:
    """Writes and sends the reminders. Repositories are the system's; `base` is the storefront's address, `gateway` ours."""

    def __init__(self, repositories: Any, mailer: Mailer, seals: Seals, base: str, gateway: str) -> None:
        self._repositories = repositories
        self._mailer = mailer
        self._seals = seals
        self._base = base
        self._gateway = gateway

    @classmethod
    def from_settings(cls, settings: Settings, repositories: Any, mailer: Mailer) -> Self:
        return cls(repositories, mailer, Seals(settings.link_keys), settings.public_url, settings.gateway_url or settings.public_url)

    async def send(self, arguments: Mapping[str, Any]) -> None:
        """The work of a job: one mail at most, which enqueues the next attempt where it failed."""
        event = await self._repositories.recovery_events.claim(UUID(arguments["id"]), arguments["attempts"])
        if event is None:
            return
        cart = await self._repositories.carts.get_by_id(event.cart_id)
        user = await self._repositories.users.find_by_id(cart.user_id) if cart.user_id else None
        address = address_of(cart, user)
        reason = await self._reason_against(cart, address)
        if address is None or reason is not None:
            await self._end(event, RecoveryStatus.SUPPRESSED, reason)
            return
        try:
            await self._mailer.send(await self._mail(event, cart, address))
        except MailRefused as refused:
            await self._end(event, RecoveryStatus.FAILED, str(refused))
        except MailFailed as failed:
            await self._try_later(event, str(failed))
        else:
            await self._sent(event, cart)

    async def _reason_against(self, cart: Cart, address: str | None) -> str | None:
        if cart.status != CartStatus.ABANDONED:
            return CAME_BACK
        if address is None:
            return "there is no address to write to any more"
        refusing = await self._repositories.mail_opt_outs.among([address_hash(address)])
        return UNSUBSCRIBED if refusing else None

    async def _mail(self, event: RecoveryEvent, cart: Cart, address: str) -> Mail:
        store = await self._repositories.stores.get_by_id(cart.store_id)
        link = f"{self._base}/restore-cart#token={seal_of(self._seals, event)}"
        end = unsubscribe_url(self._gateway, self._seals, address_hash(address))
        subject, text = cart_reminder(store.name, await self._lines(cart), cart, link, end)
        return Mail(address, subject, text, end)

    async def _lines(self, cart: Cart) -> list[Line]:
        items = await self._repositories.cart_items.find_by_cart_id(cart.id)
        products = await self._repositories.products.find_sold_by_ids([item.product_id for item in items])
        return [Line(product.name, item.quantity) for item, product in zip(items, products, strict=True)]

    async def _sent(self, event: RecoveryEvent, cart: Cart) -> None:
        async with self._repositories.transaction() as tx:
            await tx.recovery_events.update_status(event.id, RecoveryStatus.SENT)
            if cart.user_id is not None:
                notification = NotificationCreate(
                    user_id=cart.user_id,
                    type="cart_abandoned",
                    message="You have left something in your cart. It is still there.",
                    expires_at=event.expires_at,
                    metadata={"cartId": encode_id("Cart", cart.id)},
                )
                await tx.notifications.create(notification)

    async def _try_later(self, event: RecoveryEvent, reason: str) -> None:
        if event.attempts >= MAX_RECOVERY_ATTEMPTS:
            await self._end(event, RecoveryStatus.FAILED, reason)
            return
        await enqueue_reminder(self._repositories, event.id, event.attempts, WAITS[event.attempts - 1])

    async def _end(self, event: RecoveryEvent, status: RecoveryStatus, reason: str | None) -> None:
        try:
            await self._repositories.recovery_events.update_status(event.id, status, reason)
        except UserError as error:
            log.info("reminder_overtaken", event=str(event.id), reason=error.message)
