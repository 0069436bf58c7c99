"""Notifications and mails about orders, worked off from the outbox (`accounts.notices`).

The notification has the id of its job, so that it is made once however often the job runs, and the job of its mail with it. What a mail
says is read when it is sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self
from uuid import UUID

import structlog

from app.accounts.models import is_active_user
from app.accounts.notices import Notice
from app.api.scalars import encode_id
from app.core.mail import Mail, Mailer, MailRefused
from app.core.money import format_amount
from app.engagement.letters import Line, order_letter
from app.engagement.models import NotificationCreate, NotificationPriority
from app.orders.models import Order, OrderEventKind
from app.settings import Settings

LETTER_JOB: Final = "engagement.letter"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Wording:
    """How a notice reads: the subject of its mail, and what it says of an order."""

    subject: str
    message: str
    priority: NotificationPriority = NotificationPriority.NORMAL


WORDINGS: Final = {
    Notice.ORDER_CONFIRMED: Wording("Your order {number}", "Thank you: your order {number} over {total} is confirmed."),
    Notice.PAYMENT_FAILED: Wording(
        "The payment of your order {number}",
        "The payment of your order {number} over {total} did not go through. You can pay again, perhaps with another card.",
        NotificationPriority.HIGH,
    ),
}


class Notices:
    """Tells shoppers. Repositories are the system's."""

    def __init__(self, repositories: Any, mailer: Mailer, base: str) -> None:
        self._repositories = repositories
        self._mailer = mailer
        self._base = base

    @classmethod
    def from_settings(cls, settings: Settings, repositories: Any, mailer: Mailer) -> Self:
        return cls(repositories, mailer, settings.public_url)

    async def tell(self, arguments: Mapping[str, Any]) -> None:
        """The work of a job: the notification, and the job of its mail."""
        id, notice, subjects = UUID(arguments["id"]), Notice(arguments["notice"]), arguments["subjects"]
        async with self._repositories.transaction() as tx:
            order = await tx.orders.get_by_id(UUID(subjects["Order"]))
            if notice is Notice.ORDER_CONFIRMED and await _was_confirmed(tx, order, subjects.get("Payment")):
                return
            wording = WORDINGS[notice]
            notification = NotificationCreate(
                user_id=order.user_id,
                type=notice.value.lower(),
                message=wording.message.format(**_facts(order)),
                priority=wording.priority,
                metadata={"orderId": encode_id("Order", order.id)},
            )
            if await tx.notifications.create_once(id, notification):
                await tx.enqueue(LETTER_JOB, notice=notice.value, order_id=order.id)

    async def send(self, arguments: Mapping[str, Any]) -> None:
        """The work of a mail's job. Raises `MailFailed` where trying again may help."""
        notice, order = Notice(arguments["notice"]), await self._repositories.orders.get_by_id(UUID(arguments["order_id"]))
        user = await self._repositories.users.find_by_id(order.user_id)
        if user is None or not is_active_user(user):
            return
        wording, facts = WORDINGS[notice], _facts(order)
        lines = [Line(item.name, item.quantity) for item in await self._repositories.order_items.find_by_order(order.id)]
        text = order_letter(wording.message.format(**facts), lines, self._base)
        try:
            await self._mailer.send(Mail(user.email, wording.subject.format(**facts), text))
        except MailRefused as refused:
            log.warning("mail_refused", notice=notice.value, reason=str(refused))


async def _was_confirmed(tx: Any, order: Order, payment_id: str | None) -> bool:
    """Whether the buyer was told when the money was set aside: then this is about the same money being taken."""
    if payment_id is not None:
        return False
    set_aside = {"order_id": order.id, "kind": OrderEventKind.AUTHORIZED.value, "payment_id": order.payment_id}
    return bool(await tx.order_events.exists(set_aside))


def _facts(order: Order) -> dict[str, object]:
    number = order.number if order.number is not None else ""
    return {"number": number, "total": f"{format_amount(order.total, order.currency)} {order.currency}"}
