"""What a store does to be ordered from: vouchers, and reminders of carts that were left."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, Self

import orjson

from app.carts.models import CartStatus, RecoveryStatus, Voucher, VoucherCreate, VoucherUpdate
from app.carts.recovery import REMIND_JOB, Recovery
from app.carts.restoring import restore, seal_of
from app.core.clock import Clock
from app.core.mail import Mail, MailFailed
from app.core.money import exponent
from app.core.security import token_hash
from app.engagement.reminders import CartReminders
from tests.leaving import SEALS
from tests.orders.world import DAY, GUEST, HOUR, World, one_of

READER: Final = "guest@example.com"
ONCE: Final = 7 * DAY
"""In which a reader gets one mail of a store."""

OPEN: Final = [RecoveryStatus.SENT.value, RecoveryStatus.OPENED.value]
QUEUED: Final = "delete from pgqueuer where entrypoint = $1 returning payload"


@dataclass
class Post:
    """The mails that were taken; the next ones may not be."""

    now: Clock
    troubles: list[type[Exception]] = field(default_factory=list)
    mails: list[tuple[str, datetime]] = field(default_factory=list)

    async def send(self, mail: Mail) -> None:
        if self.troubles:
            raise self.troubles.pop()("the server is away")
        now = self.now()
        soon = [at for to, at in self.mails if to == mail.to and abs(now - at) < ONCE]
        assert not soon, (mail, now, soon)
        self.mails.append((mail.to, now))


@dataclass
class Promotions:
    """The vouchers of the world's store: one for few, one of an amount, and one for one purchase of each."""

    world: World
    vouchers: list[Voucher]
    post: Post

    @classmethod
    async def begin(cls, world: World) -> Self:
        rows, store_id = world.shop.repositories, world.shop.store.id
        [currency] = {product.currency for product in world.products}
        kinds: Sequence[dict[str, Any]] = (
            {"percent": Decimal(10), "max_uses": 2},
            {"amount": Decimal(300).scaleb(-exponent(currency))},
            {"percent": Decimal(25), "once_per_user": True},
        )
        given = [VoucherCreate(store_id=store_id, code=f"CODE-{number}", currency=currency, **kind) for number, kind in enumerate(kinds)]
        return cls(world, await rows.vouchers.create_many(given), Post(rows.now))

    # --- Vouchers

    async def apply(self, who: int, voucher: int, copies: int) -> bool:
        carts, cart = self.world.shop.of(self.world.viewer(who)).carts, await self.world.filled(who)
        if cart is not None:
            await self.world.at_once(copies, lambda: carts.apply_voucher(cart.id, self.vouchers[voucher].code))
        return cart is not None

    async def redeem(self, voucher: int, token: str, most: int | None) -> bool:
        """All shoppers use a voucher at once, each from two windows, while staff change how often it may be used."""
        for who in range(len(self.world.shoppers)):
            await self.apply(who, voucher, 1)
        vouchers, change = self.world.shop.repositories.vouchers, VoucherUpdate(max_uses=most)
        await asyncio.gather(
            self.world.rush(token), self.world.at_once(1, lambda: vouchers.update_voucher(self.vouchers[voucher].id, change))
        )
        return True

    async def try_again(self, who: int, voucher: int, token: str) -> bool:
        """An order whose card was declined is paid while its shopper uses the voucher that it let go of for the next."""
        placed = await self.apply(who, voucher, 1) and await self.world.place(who, "tok_declined", 1)
        if not placed or not await self.apply(who, voucher, 1):
            return False
        failed = await one_of(self.world.shop.of(self.world.shoppers[who]).orders, 0, ["FAILED"])
        if failed is None:
            return False
        rows = self.world.shop.of(self.world.shoppers[who])
        await asyncio.gather(
            self.world.place(who, token, 1), self.world.at_once(2, lambda: self.world.shop.payments.pay(rows, failed.id, token))
        )
        return True

    # --- Carts that were left

    async def neglect(self, who: int, later: timedelta, copies: int, failures: int = 0) -> bool:
        """Nobody changes a cart for a time; sweeps find it, and workers remind whoever left it."""
        viewer, cart = self.world.viewer(who), await self.world.filled(who)
        if cart is None:
            return False
        if who == GUEST:
            await self.world.at_once(1, lambda: self.world.shop.of(viewer).carts.set_email(cart.id, READER))
        self.world.jump(later)
        self.post.troubles = [MailFailed] * failures
        await asyncio.gather(*(Recovery(self.world.shop.repositories).run() for _ in range(copies)))
        await self._remind()
        return True

    async def follow(self, which: int, who: int, copies: int) -> bool:
        """Somebody has the link of a mail, perhaps of another's."""
        event = await self._open_attempt(which, who)
        return event is not None and await self._restore(event, who, copies)

    async def win_back(self, who: int, token: str, copies: int) -> bool:
        """A cart is left, and ordered from the link: the attempt has won it back if that made an order, and only then."""
        await self.neglect(who, 2 * HOUR, 1)
        rows, own = self.world.shop.repositories, {"user_id": self.world.shoppers[who].user_id}
        carts = await rows.carts.find_many({**own, "status": CartStatus.ABANDONED.value})
        event = await rows.recovery_events.find_first({"cart_id": [cart.id for cart in carts], "status": OPEN})
        if event is None or not await self._restore(event, who, copies):
            return False
        await self.world.place(who, token, copies)
        converted = (await rows.carts.get_by_id(event.cart_id)).status == CartStatus.CONVERTED
        assert ((await rows.recovery_events.get_by_id(event.id)).status == RecoveryStatus.RECOVERED) == converted
        return True

    # --- Steps

    async def _remind(self) -> None:
        """Do what is enqueued, each job by two workers, until nothing is."""
        base = "https://shop.example"
        reminders = CartReminders(self.world.shop.repositories, self.post, SEALS, base, base)
        while jobs := await self.world.books.fetch(QUEUED, REMIND_JOB):
            await asyncio.gather(*(reminders.send(orjson.loads(job["payload"])) for job in jobs for _ in range(2)))

    async def _open_attempt(self, which: int, who: int) -> Any:
        attempts = self.world.shop.repositories.recovery_events
        found = await one_of(attempts, which, OPEN)
        if found is None and await self.neglect(who, 2 * HOUR, 1):
            found = await one_of(attempts, which, OPEN)
        return found

    async def _restore(self, event: Any, who: int, copies: int) -> bool:
        shop, link = self.world.shop, seal_of(SEALS, event)
        opened = await self.world.at_once(copies, lambda: restore(shop.of(self.world.viewer(who)), SEALS, link))
        for _, given in opened:
            if given is not None and await shop.repositories.guest_carts.is_known(token_hash(given)):
                self.world.guest_token = given
        return bool(opened)
