"""What is said of a shop's books is true of one that is in order, and each sentence is found false where somebody tampers with it."""

from datetime import timedelta

import asyncpg

from app.accounts.models import address_hash
from app.carts.models import RecoveryEventCreate, RecoveryStatus
from app.core.security import ViewerKind
from app.orders.models import Order
from tests.invariants import INVARIANTS, breaches, left_open
from tests.orders.test_vouchers import voucher
from tests.shop import Shop, ids

SOLD = "(select id from orders where status = 'COMPLETED')"
TAMPERED = {
    "what is on hand is the sum of its movements": """
        alter table inventory disable trigger stock_is_recorded; update inventory set on_hand = on_hand + 1""",
    "what is reserved is what pending orders wait for": "update inventory set reserved = 0",
    "pieces leave with a completed order, each line once": f"""
        insert into inventory_movements (inventory_id, kind, quantity, order_id) select id, 'SALE', -1, {SOLD} from inventory""",
    "pieces of a completed order have left": "update orders set status = 'COMPLETED', completed_at = now() where status = 'PENDING'",
    "pieces come back only where they have left, with a refund that says so": f"""
        insert into inventory_movements (inventory_id, kind, quantity, order_id) select id, 'RETURN', 1, {SOLD} from inventory""",
    "the total of an order is that of its lines": "update orders set total = total + 1, tax = tax + 1",
    "the total of a cart is that of its lines": "update carts set total = total + 1, items_total = items_total + 1 where status = 'ACTIVE'",
    "a cart is ordered or it is not": "update orders set cart_id = null",
    "a shopper has one active cart per store": """
        drop index uq_carts_active_of_user; update carts set status = 'ACTIVE', converted_at = null""",
    "orders are numbered without gaps": "update orders set number = 9 where number = 1",
    "an order is charged once if it is completed, and else not at all": """
        update test_charges set state = 'SUCCEEDED', captured = amount where state = 'FAILED'""",
    "payments say what the provider did": "update test_charges set captured = captured - 1 where state = 'SUCCEEDED'",
    "what is given back is no more than was taken": "update payments set refunded_amount = 0",
    "refunds say what the provider gave back": "update test_refunds set amount = amount + 1",
    "the book of the provider adds up": "update test_charges set refunded = 0",
    "a voucher is used as often as orders hold it, and no more than it may be": "update vouchers set uses = uses + 1",
    "an order holds its voucher while it waits or is paid, and else none": "update voucher_redemptions set released_at = now()",
    "a shopper holds once what is for one purchase of each": """
        insert into voucher_redemptions (voucher_id, user_id, order_id)
        select v.voucher_id, v.user_id, o.id from voucher_redemptions v, orders o where o.status = 'PENDING'""",
    "a cart that was won back is an order, and one attempt has done it": "update recovery_events set order_id = null",
    "a reader is reminded once in the days of the store": """
        insert into recovery_events (cart_id, store_id, event_type, status, recipient_hash, sent_at)
        select cart_id, store_id, event_type, 'EXPIRED', recipient_hash, sent_at from recovery_events""",
    "what happened to an order is in its log": f"insert into order_events (order_id, kind) values ({SOLD}, 'CREATED')",
}


async def traded(shop: Shop) -> Order:
    """A shop with an active cart, an order that waits, and one with a voucher of a cart that had been left.

    Its card was declined at first, and some of its money was given back.
    """
    ann, staff, tea = await shop.viewer(), await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*"), await shop.product("5.00", stock=10)
    once = await voucher(shop, once_per_user=True)
    cart = await shop.cart(ann, (tea, 2))
    await shop.of(ann).carts.apply_voucher(cart.id, once.code)
    attempts, expires_at = shop.repositories.recovery_events, shop.repositories.now() + timedelta(days=7)
    left = RecoveryEventCreate(
        cart_id=cart.id, store_id=shop.store.id, event_type="cart_abandoned", recipient_hash=address_hash("ann@"), expires_at=expires_at
    )
    await attempts.update_status((await attempts.create(left)).id, RecoveryStatus.SENT)
    order = await shop.of(ann).orders.create_from_cart(cart.id, "card")
    for token in ("tok_declined", "tok_success"):
        await shop.payments.pay(shop.of(ann), order.id, token)
    back = await shop.change(staff, "refundPayment", "order { id }", **ids(orderId=order), amount="3", idempotencyKey="k")
    assert back["userErrors"] == []
    waiting = await shop.order(ann, (tea, 1))
    await shop.cart(ann, (tea, 1))
    return waiting


async def test_each_sentence_is_found_false_where_somebody_tampers(shop: Shop) -> None:
    await traded(shop)
    connection = await asyncpg.connect(shop.database.dsn)
    assert await breaches(connection) == []
    assert TAMPERED.keys() == INVARIANTS.keys()
    for name, statement in TAMPERED.items():
        tampering = connection.transaction()
        await tampering.start()
        await connection.execute(statement)
        found = {breach.partition(":")[0] for breach in await breaches(connection)}
        await tampering.rollback()
        assert name in found, (name, found)
    assert await breaches(connection) == []
    await connection.close()


async def test_what_nobody_has_settled_is_found(shop: Shop) -> None:
    waiting = await traded(shop)
    connection = await asyncpg.connect(shop.database.dsn)
    [found] = await left_open(connection)
    assert found.startswith("an order waits for nothing")
    assert str(waiting.id) in found
    await connection.execute(
        "update payments set status = 'PENDING', failed_at = null, failure_code = null, failure_message = null where status = 'FAILED'"
    )
    await connection.execute("update refunds set status = 'PENDING', completed_at = null")
    assert {breach.partition(":")[0] for breach in await left_open(connection)} == {
        "a payment is open",
        "a refund is open",
        "an order waits for nothing",
    }
    await connection.close()
