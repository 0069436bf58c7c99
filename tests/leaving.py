"""Shoppers who leave their carts, and what becomes of that."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from email.message import EmailMessage
from typing import Any

import orjson

from app.carts.models import Cart, RecoveryEvent
from app.carts.recovery import REMIND_JOB, Recovery
from app.core.mail import SmtpMailer, SmtpServer
from app.core.security import Viewer, guest, new_token
from app.core.signing import Seals
from app.engagement.reminders import CartReminders
from app.repositories import Repositories
from tests.mail_server import Mailbox, mail_server
from tests.shop import Shop

HOURS = timedelta(hours=1)
LINK = re.compile(r"https://shop\.example/restore-cart#token=(\S+)\s")
KEY = "k" * 32
SEALS = Seals([KEY])


@dataclass
class Leaving:
    """A shop whose shoppers leave, and the mailbox that all mails to them go to. `passed` is how much time has."""

    shop: Shop
    mailbox: Mailbox
    passed: timedelta = field(default_factory=timedelta)

    @property
    def repositories(self) -> Repositories:
        """The system's, some time from now."""
        return replace(self.shop.repositories, now=lambda: self.shop.repositories.now() + self.passed)

    async def cart(self, viewer: Viewer | None = None, **lines: int) -> tuple[Viewer, Cart]:
        """A cart of a shopper, of a new one unless it is given, with a product."""
        viewer = viewer or await self.shop.viewer()
        product = await self.shop.product(stock=50)
        return viewer, await self.shop.cart(viewer, (product, lines.get("quantity", 2)))

    async def guest_cart(self, email: str | None = "guest@example.com") -> tuple[Viewer, Cart]:
        """A cart of somebody without an account, who can be written to."""
        viewer, product = guest(new_token()), await self.shop.product(stock=50)
        cart = await self.shop.of(viewer).carts.put_in(None, product.id, 2)
        return viewer, await self.shop.of(viewer).carts.set_email(cart.id, email)

    async def sweep(self, *, after: timedelta = 2 * HOURS, times: int = 1) -> None:
        """The sweep, some time later; several at once."""
        self.passed += after
        await asyncio.gather(*(Recovery(self.repositories).run() for _ in range(times)))

    async def remind(self, *, twice: bool = False) -> int:
        """Do the work of all reminders that are enqueued, each by several workers if so; gives how many there were."""
        async with self.shop.database.connection() as connection:
            jobs = await connection.fetch("delete from pgqueuer where entrypoint = $1 returning payload", REMIND_JOB)
        mailer = SmtpMailer(SmtpServer.from_url(self.mailbox.url), "Shop <no-reply@shop.example>")
        reminders = CartReminders(self.repositories, mailer, SEALS, "https://shop.example", "https://gateway.example")
        work = [orjson.loads(job["payload"]) for job in jobs for _ in range(3 if twice else 1)]
        await asyncio.gather(*(reminders.send(arguments) for arguments in work))
        return len(jobs)

    async def leave(self, after: timedelta = 2 * HOURS) -> None:
        """Let time pass until the carts that were left are found, and their shoppers reminded."""
        await self.sweep(after=after)
        await self.remind()

    async def event(self, cart: Cart) -> RecoveryEvent:
        """The attempt to win a cart back, of which there is one."""
        [event] = await self.repositories.recovery_events.find_by_cart_id(cart.id)
        return event

    async def status(self, cart: Cart) -> tuple[str, str]:
        """How the cart stands, and the attempt to win it back."""
        return (await self.repositories.carts.get_by_id(cart.id)).status, (await self.event(cart)).status

    async def address(self, viewer: Viewer) -> str:
        assert viewer.user_id is not None
        return (await self.repositories.users.get_by_id(viewer.user_id)).email


def token_in(mail: EmailMessage) -> str:
    """The token of the link in a mail."""
    found = LINK.search(str(mail.get_content()))
    assert found is not None, mail
    return found[1]


@asynccontextmanager
async def leaving(shop: Shop) -> AsyncIterator[Leaving]:
    async with shop.database.connection() as connection:
        await connection.execute("delete from pgqueuer; delete from mail_opt_outs")
    async with mail_server() as mailbox:
        yield Leaving(shop, mailbox)


async def sql(shop: Shop, statement: str, *values: Any) -> Any:
    async with shop.database.connection() as connection:
        return await connection.fetchval(statement, *values)
