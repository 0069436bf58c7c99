"""Carts that are left: found once, told once, and counted as won back when they are ordered in time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal

import pytest

from app.carts.models import MAX_RECOVERY_ATTEMPTS, CartStatus, RecoveryStatus
from app.carts.recovery import LEFT_LONG_AGO, LOST, NO_ADDRESS, PER_TURN, REMIND_JOB, REMINDED, Recovery
from app.carts.repository.idle import FORGOTTEN
from app.carts.repository.recovery import ORDERED_BEFORE
from app.core.errors import ErrorCode, UserError
from app.core.security import ViewerKind
from app.stores.events import StoreEvent
from app.stores.models import StoreSettingsUpdate
from tests.leaving import HOURS, Leaving, leaving, sql
from tests.orders.test_vouchers import uses, voucher
from tests.shop import ADMINISTRATOR, Shop, ids, refused
from tests.telling import listen, subject, told

DAY = timedelta(days=1)
QUEUED = "select count(*) from pgqueuer where entrypoint = $1"


@pytest.fixture
async def left(shop: Shop) -> AsyncIterator[Leaving]:
    async with leaving(shop) as left:
        yield left


async def test_a_cart_is_abandoned_after_the_minutes_of_its_store(left: Leaving) -> None:
    _, cart = await left.cart()
    await left.sweep(after=timedelta(minutes=59))
    assert await left.repositories.recovery_events.count() == 0
    await left.sweep(after=timedelta(minutes=2))
    assert await left.status(cart) == ("ABANDONED", "PENDING")
    assert (await left.repositories.carts.get_by_id(cart.id)).version == cart.version
    assert await sql(left.shop, QUEUED, REMIND_JOB) == 1


async def test_stores_say_how_long_a_cart_may_be_left(left: Leaving) -> None:
    shop = left.shop
    shown = "settings { cartIdleMinutes recoveryDays }"
    given = {**ids(storeId=shop.store), "cartIdleMinutes": 5, "recoveryDays": 3}
    payload = await shop.change(ADMINISTRATOR, "updateStoreSettings", shown, **given)
    assert payload == {"settings": {"cartIdleMinutes": 5, "recoveryDays": 3}, "userErrors": []}
    _, cart = await left.cart()
    await left.sweep(after=timedelta(minutes=6))
    event = await left.event(cart)
    assert event.expires_at is not None
    assert timedelta(days=3) - HOURS < event.expires_at - left.repositories.now() <= timedelta(days=3)
    await shop.change(ADMINISTRATOR, "updateStoreSettings", "settings { id }", **ids(storeId=shop.store), cartIdleMinutes=None)
    _, other = await left.cart()
    await left.sweep(after=20 * DAY)
    assert (await left.repositories.carts.get_by_id(other.id)).status == "ACTIVE"
    for bad in ({"cartIdleMinutes": 4}, {"cartIdleMinutes": 43_201}, {"recoveryDays": 0}, {"recoveryDays": 31}, {"recoveryDays": None}):
        refusal = await shop.change(ADMINISTRATOR, "updateStoreSettings", "settings { id }", **ids(storeId=shop.store), **bad)
        assert [error["field"] for error in refusal["userErrors"]] == [list(bad)]


async def test_what_is_empty_deleted_or_ordered_is_not_abandoned(left: Leaving) -> None:
    shop = left.shop
    empty = await shop.cart(await shop.viewer())
    ann, ordered = await left.cart()
    await shop.of(ann).orders.create_from_cart(ordered.id, "card")
    bob, gone = await left.cart()
    await shop.of(bob).carts.soft_delete(gone.id)
    await left.sweep()
    assert await left.repositories.recovery_events.count() == 0
    assert (await left.repositories.carts.get_by_id(empty.id)).status == "ACTIVE"


async def test_sweeps_at_once_find_each_cart_once(left: Leaving) -> None:
    await listen(left.shop, StoreEvent.CART_ABANDONED)
    carts = {(await left.cart())[1].id for _ in range(25)}
    await left.sweep(times=8)
    assert {event.cart_id for event in await left.repositories.recovery_events.find_by_status(RecoveryStatus.PENDING)} == carts
    assert await sql(left.shop, QUEUED, REMIND_JOB) == 25
    payloads = await told(left.shop, StoreEvent.CART_ABANDONED)
    assert {subject(payload, "cartId") for payload in payloads} == carts
    assert len(payloads) == 25
    assert await left.remind(twice=True) == 25
    assert len({mail["To"] for mail in left.mailbox.mails}) == len(left.mailbox.mails) == 25


async def test_more_carts_than_one_statement_takes_are_found_in_one_turn(left: Leaving) -> None:
    shop = left.shop
    tea = await shop.product()
    await sql(
        shop,
        """with made as (insert into users (email, username) select 'many' || n || '@example.com', 'many' || n
           from generate_series(1, $1::int) n returning id),
           filled as (insert into carts (user_id, store_id) select id, $2 from made returning id)
           insert into cart_items (cart_id, product_id, price) select id, $3, 10 from filled""",
        PER_TURN + 5,
        shop.store.id,
        tea.id,
    )
    await left.sweep()
    assert await left.repositories.recovery_events.count() == PER_TURN + 5


async def test_whoever_dies_in_the_midst_leaves_the_cart_as_it_was(left: Leaving) -> None:
    """The mark, the attempt, what the store is told and the job of the mail are one transaction."""
    await listen(left.shop, StoreEvent.CART_ABANDONED)
    _, cart = await left.cart()
    left.passed += 2 * HOURS

    class Died(BaseException):
        """The process is gone."""

    with pytest.raises(Died):
        async with left.repositories.transaction() as tx:
            assert await Recovery(tx).abandon_idle() == 1
            raise Died
    assert (await left.repositories.carts.get_by_id(cart.id)).status == "ACTIVE"
    assert await left.repositories.recovery_events.count() == await sql(left.shop, QUEUED, REMIND_JOB) == 0
    assert await told(left.shop, StoreEvent.CART_ABANDONED) == []
    await left.leave(timedelta())
    assert await left.status(cart) == ("ABANDONED", "SENT")


async def test_what_is_forgotten_is_abandoned_without_a_word_and_there_for_whoever_comes_back(left: Leaving) -> None:
    shop = left.shop
    await listen(shop, StoreEvent.CART_ABANDONED)
    await shop.repositories.stores.update_settings(shop.store.id, StoreSettingsUpdate(cart_idle_minutes=None))
    ann, full = await left.cart()
    empty = await shop.cart(await shop.viewer())
    visitor, of_guest = await left.guest_cart()
    nowhere = await shop.of(ann).carts.put_in(ann.user_id, (await shop.product(stores=())).id, 1)
    left.passed = FORGOTTEN - HOURS
    await Recovery(left.repositories).forget()
    assert await left.repositories.carts.count({"status": "ABANDONED"}) == 0
    left.passed += 2 * HOURS
    _, fresh = await left.cart()
    await sql(shop, "update carts set updated_at = now() + interval '60 days' where id = $1", fresh.id)
    await Recovery(left.repositories).forget()
    for cart in (full, empty, of_guest, nowhere):
        found = await left.repositories.carts.get_by_id(cart.id)
        assert (found.status, found.version, found.total) == ("ABANDONED", cart.version, cart.total)
    assert (await left.repositories.carts.get_by_id(fresh.id)).status == "ACTIVE"
    assert await left.repositories.recovery_events.count() == await sql(shop, QUEUED, REMIND_JOB) == 0
    assert await told(shop, StoreEvent.CART_ABANDONED) == []
    tea = await shop.product()
    for viewer, own in ((ann, full), (visitor, of_guest)):
        back = await shop.of(viewer).carts.put_in(viewer.user_id, tea.id, 1, store_id=shop.store.id)
        assert (back.id, back.status) == (own.id, "ACTIVE")


async def test_however_many_are_forgotten_go_in_turns_that_take_none_away_from_its_shopper(left: Leaving) -> None:
    shop = left.shop
    ann, cart = await left.cart()
    await sql(
        shop,
        """with made as (insert into users (email, username) select 'many' || n || '@example.com', 'many' || n
           from generate_series(1, $1::int) n returning id)
           insert into carts (user_id, store_id) select id, $2 from made""",
        PER_TURN + 5,
        shop.store.id,
    )
    left.passed = FORGOTTEN + HOURS
    async with shop.of(ann).transaction() as tx:
        await tx.carts.lock_active(cart.id)
        assert len(await left.repositories.carts.abandon_forgotten(3)) == 3
        await asyncio.gather(*(Recovery(left.repositories).forget() for _ in range(3)))
    assert await left.repositories.carts.count({"status": "ABANDONED"}) == PER_TURN + 5
    assert (await left.repositories.carts.get_by_id(cart.id)).status == "ACTIVE"


async def test_a_cart_that_is_being_changed_is_let_be(left: Leaving) -> None:
    ann, cart = await left.cart()
    async with left.shop.of(ann).transaction() as tx:
        await tx.carts.lock_active(cart.id)
        await left.sweep()
    assert (await left.repositories.carts.get_by_id(cart.id)).status == "ACTIVE"


async def test_a_shopper_who_comes_back_goes_on_with_the_cart_and_is_not_reminded(left: Leaving) -> None:
    shop = left.shop
    ann, cart = await left.cart()
    await left.sweep()
    assert (await shop.ask(ann, "{ myCart { id status } }"))["data"]["myCart"] == {**ids(id=cart), "status": "ABANDONED"}
    tea = await shop.product()
    added = await shop.change(ann, "addToCart", "cart { id status itemCount }", **ids(productId=tea), cartVersion=cart.version)
    assert added == {"cart": {**ids(id=cart), "status": "ACTIVE", "itemCount": 3}, "userErrors": []}
    await left.remind()
    event = await left.event(cart)
    assert (event.status, left.mailbox.mails) == ("SUPPRESSED", [])


async def test_an_abandoned_cart_is_ordered_as_it_is(left: Leaving) -> None:
    shop = left.shop
    ann, cart = await left.cart()
    await left.sweep()
    order = await shop.of(ann).orders.create_from_cart(cart.id, "card")
    assert order.status == "PENDING"
    event = await left.event(cart)
    assert (event.status, event.outcome, event.order_id) == ("SUPPRESSED", ORDERED_BEFORE, None)
    assert await left.remind() == 1
    assert left.mailbox.mails == []


async def test_an_order_in_time_is_won_back_with_its_amount(left: Leaving) -> None:
    await listen(left.shop, StoreEvent.CART_RECOVERED)
    ann, cart = await left.cart()
    await left.leave()
    assert await left.status(cart) == ("ABANDONED", "SENT")
    order = await left.repositories.scoped(ann).orders.create_from_cart(cart.id, "card")
    event = await left.event(cart)
    assert (event.status, event.order_id, event.recovered_amount, event.currency) == ("RECOVERED", order.id, Decimal(20), "USD")
    [payload] = await told(left.shop, StoreEvent.CART_RECOVERED)
    assert payload["type"] == "cart.recovered"
    assert (subject(payload, "cartId"), subject(payload, "orderId")) == (cart.id, order.id)


async def test_what_is_won_back_is_what_the_order_costs_with_voucher_and_shipping(left: Leaving) -> None:
    terms = StoreSettingsUpdate(shipping_price=Decimal("4.90"))
    await left.repositories.stores.update_settings(left.shop.store.id, terms)
    row = await voucher(left.shop)
    ann, cart = await left.cart()
    await left.shop.of(ann).carts.apply_voucher(cart.id, row.code)
    await left.leave()
    assert (await left.status(cart), await uses(left.shop, row)) == (("ABANDONED", "SENT"), 0)
    order = await left.shop.of(ann).orders.create_from_cart(cart.id, "card")
    assert (order.items_total, order.discount, order.total) == (Decimal(20), Decimal(2), Decimal("22.90"))
    event = await left.event(cart)
    assert (event.status, event.order_id, event.recovered_amount) == ("RECOVERED", order.id, order.total)
    assert await uses(left.shop, row) == 1


async def test_a_voucher_for_a_cart_that_was_left_makes_it_active(left: Leaving) -> None:
    row = await voucher(left.shop)
    ann, cart = await left.cart()
    await left.leave()
    carts = left.shop.of(ann).carts
    applied = await carts.apply_voucher(cart.id, row.code, cart.version)
    assert (applied.status, applied.discount, applied.total) == ("ACTIVE", Decimal(2), Decimal(18))
    assert await left.status(cart) == ("ACTIVE", "SENT")


async def test_an_order_too_late_is_its_shoppers_own_doing(left: Leaving) -> None:
    await listen(left.shop, StoreEvent.CART_RECOVERED)
    ann, cart = await left.cart()
    await left.leave()
    left.passed += 8 * DAY
    await left.repositories.scoped(ann).orders.create_from_cart(cart.id, "card")
    await left.sweep(after=timedelta())
    assert (await left.event(cart)).status == "EXPIRED"
    assert await told(left.shop, StoreEvent.CART_RECOVERED) == []


async def test_nobody_is_written_to_twice_within_the_days(left: Leaving) -> None:
    shop = left.shop
    ann, cart = await left.cart()
    await left.leave()
    await left.repositories.scoped(ann).carts.add_item(cart.id, (await shop.product()).id)
    await sql(shop, "update carts set updated_at = now() + interval '2 hours'")
    await left.leave(3 * DAY)
    again, first = await left.repositories.recovery_events.find_by_cart_id(cart.id)
    assert (first.status, again.status, again.outcome) == ("SENT", "SUPPRESSED", REMINDED)
    assert len(left.mailbox.mails) == 1
    await left.repositories.scoped(ann).orders.create_from_cart(cart.id, "card")
    assert (await left.repositories.recovery_events.get_by_id(first.id)).status == "RECOVERED"
    _, next_cart = await left.cart(ann)
    await sql(shop, "update carts set updated_at = now() + interval '4 days' where id = $1", next_cart.id)
    await left.leave(2 * DAY)
    assert ((await left.event(next_cart)).status, len(left.mailbox.mails)) == ("SUPPRESSED", 1)
    await left.repositories.scoped(ann).carts.reopen(next_cart.id)
    await sql(shop, "update carts set updated_at = now() + interval '8 days' where id = $1", next_cart.id)
    await left.leave(4 * DAY)
    assert len(left.mailbox.mails) == 2


async def test_carts_of_one_reader_that_are_left_at_once_give_one_mail(left: Leaving) -> None:
    for _ in range(6):
        await left.guest_cart("Reader@example.com")
    await left.sweep(times=4)
    assert await left.remind() == 1
    statuses = sorted(event.status for event in await left.repositories.recovery_events.find_many({}))
    assert statuses == ["SENT", *["SUPPRESSED"] * 5]


async def test_who_cannot_be_written_to_and_what_was_left_long_ago_is_noted_and_told(left: Leaving) -> None:
    await listen(left.shop, StoreEvent.CART_ABANDONED)
    _, silent = await left.guest_cart(None)
    _, old = await left.cart()
    bob, closed = await left.cart()
    await left.repositories.users.update_by_id(bob.user_id, {"status": "BANNED"})  # type: ignore[arg-type]
    await sql(left.shop, "update carts set updated_at = now() - interval '20 days' where id = $1", old.id)
    await left.leave()
    outcomes = [(await left.event(cart)).outcome for cart in (silent, old, closed)]
    assert (outcomes, left.mailbox.mails) == ([NO_ADDRESS, LEFT_LONG_AGO, NO_ADDRESS], [])
    assert len(await told(left.shop, StoreEvent.CART_ABANDONED)) == 3


async def test_a_reminder_whose_job_is_lost_is_enqueued_again_and_given_up_in_the_end(left: Leaving) -> None:
    _, cart = await left.cart()
    await left.sweep()
    await sql(left.shop, "delete from pgqueuer")
    await left.sweep(after=LOST + HOURS, times=4)
    assert await sql(left.shop, QUEUED, REMIND_JOB) == 1
    await left.remind()
    assert await left.status(cart) == ("ABANDONED", "SENT")
    _, other = await left.cart()
    await sql(left.shop, "update carts set updated_at = now() + interval '5 hours' where id = $1", other.id)
    await left.sweep(after=4 * HOURS)
    await sql(left.shop, "update recovery_events set attempts = $1 where status = 'PENDING'", MAX_RECOVERY_ATTEMPTS)
    await left.sweep(after=LOST + HOURS)
    assert (await left.event(other)).status == "FAILED"


@pytest.mark.parametrize("status", RecoveryStatus)
async def test_an_attempt_goes_only_along_its_ways(left: Leaving, status: RecoveryStatus) -> None:
    _, cart = await left.cart()
    await left.sweep()
    id = (await left.event(cart)).id
    paid = ", recovered_at = now(), recovered_amount = 1, currency = 'USD'"
    unpaid = ", recovered_at = null, recovered_amount = null, currency = null"
    for wanted in set(RecoveryStatus) - {RecoveryStatus.RECOVERED}:
        more = paid if status is RecoveryStatus.RECOVERED else unpaid
        await sql(left.shop, f"update recovery_events set status = $1{more}", status.value)
        change = left.repositories.recovery_events.update_status(id, wanted)
        if status in wanted.sources:
            assert (await change).status == wanted
        else:
            with pytest.raises(UserError, match=rf"is {status} and cannot become {wanted}"):
                await change


async def test_staff_see_the_attempts_of_their_store(left: Leaving) -> None:
    shop = left.shop
    ann, cart = await left.cart()
    await left.leave()
    staff, other = await shop.viewer(ViewerKind.STAFF, "recovery:read", "carts:read"), await shop.viewer(ViewerKind.STAFF, "carts:read")
    shown = """query ($cart: ID) { recoveryEvents(filter: { cartId: { eq: $cart } }) { totalCount nodes {
        status eventType attempts outcome recoveredAmount cart { status } order { id } } } }"""
    found = (await shop.ask(staff, shown, **ids(cart=cart)))["data"]["recoveryEvents"]
    attempt = {"status": "SENT", "eventType": "cart_abandoned", "attempts": 1, "outcome": None, "recoveredAmount": None, "order": None}
    assert found == {"totalCount": 1, "nodes": [{**attempt, "cart": {"status": "ABANDONED"}}]}
    for viewer in (ann, other):
        assert [error["extensions"]["code"] for error in (await shop.ask(viewer, shown))["errors"]] == ["FORBIDDEN"]


async def test_only_guests_say_where_they_can_be_written_to(left: Leaving) -> None:
    ann, cart = await left.cart()
    visitor, own = await left.guest_cart()
    other, _ = await left.guest_cart()
    carts = left.shop.of
    assert await refused(carts(ann).carts.set_email(cart.id, "other@example.com")) == (ErrorCode.INVALID, "cart_id")
    assert await refused(carts(other).carts.set_email(own.id, "other@example.com")) == (ErrorCode.NOT_FOUND, "cart_id")
    assert (await carts(visitor).carts.set_email(own.id, None)).email is None
    assert (await left.repositories.carts.get_by_id(cart.id)).status == CartStatus.ACTIVE


async def test_an_order_of_two_carts_is_won_back_by_one_attempt(left: Leaving) -> None:
    """A guest who turns out to have an account was reminded of both carts: what they come to is counted once."""
    await listen(left.shop, StoreEvent.CART_RECOVERED)
    ann, cart = await left.cart()
    visitor, own = await left.guest_cart()
    await left.leave()
    assert len(left.mailbox.mails) == 2
    assert ann.user_id is not None
    assert visitor.cart_token_hash is not None
    await left.repositories.guest_carts.give_to(ann.user_id, visitor.cart_token_hash)
    attempts = await left.repositories.recovery_events.find_by_cart_id(cart.id)
    assert [attempt.status for attempt in attempts] == ["SENT", "SENT"]
    order = await left.shop.of(ann).orders.create_from_cart(cart.id, "card")
    attempts = await left.repositories.recovery_events.find_by_cart_id(cart.id)
    assert sorted((attempt.status, attempt.order_id) for attempt in attempts) == [("EXPIRED", None), ("RECOVERED", order.id)]
    assert len(await told(left.shop, StoreEvent.CART_RECOVERED)) == 1
    assert await left.repositories.recovery_events.count({"cart_id": own.id}) == 0
