"""Reminders of carts that were left: to whom, how often, and what they say."""

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from app.accounts.models import address_hash
from app.engagement.letters import MOST_LINES, Line, listed
from app.engagement.reminders import UNSUBSCRIBED, WAITS
from tests.leaving import Leaving, leaving, sql, token_in
from tests.shop import Shop


@pytest.fixture
async def left(shop: Shop) -> AsyncIterator[Leaving]:
    async with leaving(shop) as left:
        yield left


async def test_a_shopper_is_reminded_by_mail_and_by_a_notification(left: Leaving) -> None:
    ann, cart = await left.cart(quantity=3)
    await left.leave()
    [mail] = left.mailbox.mails
    assert mail["To"] == await left.address(ann)
    text = str(mail.get_content()).splitlines()
    [line] = await left.repositories.cart_items.find_by_cart_id(cart.id)
    product = await left.repositories.products.get_by_id(line.product_id)
    assert f"  3 x {product.name}" in text
    assert any("30.00 USD" in part for part in text)
    assert token_in(mail)
    event = await left.event(cart)
    assert (event.status, event.attempts, event.sent_at is not None) == ("SENT", 1, True)
    [notification] = await left.shop.of(ann).notifications.find_many({})
    assert (notification.type, notification.read) == ("cart_abandoned", False)


async def test_a_mail_can_be_ended_by_one_click_and_by_its_text(left: Leaving) -> None:
    await left.cart()
    await left.leave()
    [mail] = left.mailbox.mails
    link = str(mail["List-Unsubscribe"]).strip("<>")
    assert mail["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert link.startswith("https://gateway.example/unsubscribe/")
    assert link in mail.get_content()
    assert "@" not in link


async def test_a_guest_gets_the_mail_only(left: Leaving) -> None:
    _, cart = await left.guest_cart("guest@example.com")
    await left.leave()
    assert [mail["To"] for mail in left.mailbox.mails] == ["guest@example.com"]
    assert await left.status(cart) == ("ABANDONED", "SENT")
    assert await left.repositories.notifications.count() == 0


async def test_who_has_unsubscribed_is_left_alone_at_every_address_form(left: Leaving) -> None:
    ann, cart = await left.cart()
    _, guests = await left.guest_cart("Reader@Example.com")
    await left.sweep()
    for address in (await left.address(ann), "reader@example.com"):
        await left.repositories.mail_opt_outs.add(address_hash(address))
    await left.remind()
    for one in (cart, guests):
        event = await left.event(one)
        assert (event.status, event.outcome) == ("SUPPRESSED", UNSUBSCRIBED)
    assert left.mailbox.mails == []
    assert await left.repositories.notifications.count() == 0


async def test_a_mail_that_fails_is_tried_later_and_given_up_after_the_third(left: Leaving) -> None:
    _, cart = await left.cart()
    left.mailbox.replies = ["451 try again later"] * 3
    await left.leave()
    assert await left.status(cart) == ("ABANDONED", "PENDING")
    for wait in WAITS:
        due = await sql(left.shop, "select execute_after - now() from pgqueuer where entrypoint = 'carts.remind'")
        assert wait - timedelta(minutes=1) < due <= wait
        await left.remind()
    event = await left.event(cart)
    assert (event.status, event.attempts) == ("FAILED", 3)
    assert (await left.remind(), left.mailbox.mails) == (0, [])


async def test_a_mail_that_fails_once_arrives_once(left: Leaving) -> None:
    _, cart = await left.cart()
    left.mailbox.replies = ["451 try again later"]
    await left.leave()
    await left.remind(twice=True)
    assert (await left.event(cart)).status == "SENT"
    assert len(left.mailbox.mails) == 1


async def test_a_mailbox_that_is_not_there_is_not_tried_again(left: Leaving) -> None:
    _, cart = await left.cart()
    left.mailbox.replies = ["550 no such mailbox"]
    await left.leave()
    event = await left.event(cart)
    assert (event.status, event.outcome) == ("FAILED", "the recipient was refused with 550")
    assert await left.remind() == 0


async def test_a_cart_that_is_gone_by_then_stops_nobody(left: Leaving) -> None:
    await left.guest_cart()
    await left.sweep()
    await sql(left.shop, "delete from carts")
    assert (await left.remind(), left.mailbox.mails) == (1, [])


async def test_names_cannot_add_headers_or_lines(left: Leaving) -> None:
    await left.repositories.stores.update_by_id(left.shop.store.id, {"name": "Tea\r\nBcc: other@example.com"})
    await left.cart()
    await left.leave()
    [mail] = left.mailbox.mails
    assert (mail["Subject"], mail["Bcc"]) == ("Your cart at Tea Bcc: other@example.com", None)


def test_a_long_list_is_cut() -> None:
    text = listed([Line(f"Tea {n}", n) for n in range(1, MOST_LINES + 4)])
    assert text.splitlines()[-2:] == ["  20 x Tea 20", "  and 3 more"]
    assert listed([Line("Green\ntea", 1)]) == "  1 x Green tea"
