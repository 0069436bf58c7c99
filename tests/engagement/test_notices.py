"""What buyers are told of their orders: once, in the words of what happened, and nothing of what was undone."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import orjson
import pytest

from app.accounts.notices import NOTIFY_JOB
from app.api.scalars import encode_id
from app.core.errors import UserError
from app.core.mail import MailFailed, SmtpMailer, SmtpServer
from app.core.security import Viewer
from app.engagement.notices import LETTER_JOB, Notices
from app.orders.models import Order, OrderStatus
from app.orders.payments import Payments
from app.orders.refunds import capture
from tests.mail_server import Mailbox, mail_server
from tests.shop import Shop


@dataclass
class Office:
    """A shop, the mailbox of its buyers, and who tells them."""

    shop: Shop
    mailbox: Mailbox

    def notices(self) -> Notices:
        mailer = SmtpMailer(SmtpServer.from_url(self.mailbox.url), "Shop <no-reply@shop.example>")
        return Notices(self.shop.repositories, mailer, "https://shop.example")

    async def jobs(self, name: str) -> list[Any]:
        async with self.shop.database.connection() as connection:
            found = await connection.fetch("delete from pgqueuer where entrypoint = $1 returning id, payload", name)
        return [orjson.loads(job["payload"]) for job in sorted(found, key=lambda job: int(job["id"]))]

    async def work(self, times: int = 1) -> None:
        """Do all jobs; so often, and at once."""
        for job in await self.jobs(NOTIFY_JOB):
            await asyncio.gather(*(self.notices().tell(job) for _ in range(times)))
        for letter in await self.jobs(LETTER_JOB):
            await self.notices().send(letter)

    async def told(self, viewer: Viewer) -> list[str]:
        """The kinds of the buyer's notifications, oldest first."""
        return [row.type for row in reversed(await self.shop.of(viewer).notifications.find_many({}))]

    async def bought(self, token: str = "tok_success") -> tuple[Viewer, Order]:  # noqa: S107 - a token of the test provider
        ann, tea = await self.shop.viewer(), await self.shop.product("5.00", stock=10)
        order = await self.shop.order(ann, (tea, 2))
        await Payments(self.shop.provider).pay(self.shop.of(ann), order.id, token)
        return ann, order


@pytest.fixture
async def office(shop: Shop) -> AsyncIterator[Office]:
    async with shop.database.connection() as connection:
        await connection.execute("delete from pgqueuer")
    async with mail_server() as mailbox:
        yield Office(shop, mailbox)


async def test_a_paid_order_is_confirmed_once_by_notification_and_mail(office: Office) -> None:
    ann, order = await office.bought()
    await office.work(times=4)
    [row] = await office.shop.of(ann).notifications.find_many({})
    assert (row.type, row.message) == ("order_confirmed", f"Thank you: your order {order.number} over 10.00 USD is confirmed.")
    [mail] = office.mailbox.mails
    assert mail["Subject"] == f"Your order {order.number}"
    [item] = await office.shop.repositories.order_items.find_by_order(order.id)
    assert f"  2 x {item.name}" in str(mail.get_content()).splitlines()
    assert mail["List-Unsubscribe"] is None
    shown = (await office.shop.ask(ann, "{ notifications { nodes { type metadata } } }"))["data"]["notifications"]
    assert shown == {"nodes": [{"type": "order_confirmed", "metadata": {"orderId": encode_id("Order", order.id)}}]}


async def test_a_declined_card_is_told_with_priority_and_the_order_confirmed_when_it_is_paid(office: Office) -> None:
    ann, order = await office.bought("tok_declined")
    await office.work()
    [row] = await office.shop.of(ann).notifications.find_many({})
    assert (row.type, row.priority) == ("payment_failed", "HIGH")
    assert office.mailbox.mails[0]["Subject"] == f"The payment of your order {order.number}"
    await Payments(office.shop.provider).pay(office.shop.of(ann), order.id, "tok_success")
    await office.work()
    assert await office.told(ann) == ["payment_failed", "order_confirmed"]


async def test_money_that_is_set_aside_confirms_the_order_once(office: Office) -> None:
    shop = office.shop
    await shop.repositories.store_settings.update_many({"store_id": shop.store.id}, {"config": {"paymentCapture": "MANUAL"}})
    ann, order = await office.bought()
    await office.work()
    assert await office.told(ann) == ["order_confirmed"]
    [payment] = await shop.repositories.payments.find_by_order(order.id)
    await capture(Payments(shop.provider), shop.repositories, payment, None)
    assert (await shop.repositories.orders.get_by_id(order.id)).status == "COMPLETED"
    await office.work()
    assert await office.told(ann) == ["order_confirmed"]


async def test_what_did_not_happen_is_told_to_nobody(office: Office) -> None:
    shop = office.shop
    ann, tea = await shop.viewer(), await shop.product(stock=10)
    order = await shop.order(ann, (tea, 2))
    with pytest.raises(RuntimeError):
        async with shop.repositories.transaction() as tx:
            await tx.orders.update_status(order.id, OrderStatus.COMPLETED)
            raise RuntimeError("stop")
    with pytest.raises(UserError):
        await Payments(shop.provider).pay(shop.of(ann), order.id, "tok_bogus")
    assert await office.jobs(NOTIFY_JOB) == []


async def test_each_buyer_is_told_of_its_own_orders(office: Office) -> None:
    ann, _ = await office.bought()
    bob, _ = await office.bought()
    await office.work()
    for viewer in (ann, bob):
        assert await office.told(viewer) == ["order_confirmed"]
    assert {mail["To"] for mail in office.mailbox.mails} == {await address(office, ann.user_id), await address(office, bob.user_id)}


async def address(office: Office, user_id: UUID | None) -> str:
    assert user_id is not None
    return (await office.shop.repositories.users.get_by_id(user_id)).email


async def test_mails_are_tried_again_or_given_up_as_the_server_says(office: Office) -> None:
    _, order = await office.bought()
    office.mailbox.replies = ["451 try again later", "550 no such mailbox"]
    letter = {"notice": "ORDER_CONFIRMED", "order_id": str(order.id)}
    with pytest.raises(MailFailed):
        await office.notices().send(letter)
    await office.notices().send(letter)
    assert office.mailbox.mails == []
    await office.notices().send(letter)
    assert len(office.mailbox.mails) == 1


async def test_who_may_not_act_any_more_is_not_written_to(office: Office) -> None:
    ann, order = await office.bought()
    await office.shop.repositories.users.update_by_id(order.user_id, {"status": "BANNED"})
    await office.work()
    assert (office.mailbox.mails, await office.told(ann)) == ([], ["order_confirmed"])
