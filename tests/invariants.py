"""What must be true of a shop at any time, whatever happens in it, as SQL that finds what is not so.

The test provider's own book (`test_charges`, `test_refunds`) stands for the bank's: what the shop says of its money is held against it.
"""

from collections.abc import Collection
from typing import Final
from uuid import UUID

from app.core.database import Connection

INVARIANTS: Final = {
    "what is on hand is the sum of its movements": """
        select i.product_id, i.on_hand, sum(m.quantity) as moved from inventory i left join inventory_movements m on m.inventory_id = i.id
        group by i.id having i.on_hand <> coalesce(sum(m.quantity), 0)""",
    "what is reserved is what pending orders wait for": """
        select i.product_id, i.reserved, sum(w.quantity) as waited_for from inventory i left join (
          select l.product_id, l.quantity from order_items l join orders o on o.id = l.order_id where o.status = 'PENDING') w
        on w.product_id = i.product_id group by i.id having i.reserved <> coalesce(sum(w.quantity), 0)""",
    "pieces leave with a completed order, each line once": """
        select m.order_id, m.inventory_id, count(*), sum(m.quantity) as sold, max(l.quantity) as ordered from inventory_movements m
        join inventory i on i.id = m.inventory_id left join orders o on o.id = m.order_id and o.status = 'COMPLETED'
        left join order_items l on l.order_id = o.id and l.product_id = i.product_id where m.kind = 'SALE'
        group by m.order_id, m.inventory_id having count(*) <> 1 or -sum(m.quantity) is distinct from max(l.quantity)""",
    "pieces of a completed order have left": """
        select o.id, l.product_id from orders o join order_items l on l.order_id = o.id join inventory i on i.product_id = l.product_id
        where o.status = 'COMPLETED' and i.policy <> 'UNTRACKED' and l.product_id <> all ($1::uuid[]) and not exists (
          select from inventory_movements m where m.order_id = o.id and m.inventory_id = i.id and m.kind = 'SALE')""",
    "pieces come back only where they have left, with a refund that says so": """
        select m.order_id, m.inventory_id from inventory_movements m where m.kind = 'RETURN' group by m.order_id, m.inventory_id
        having sum(m.quantity) > coalesce((select -sum(s.quantity) from inventory_movements s
            where s.order_id = m.order_id and s.inventory_id = m.inventory_id and s.kind = 'SALE'), 0)
          or not exists (select from refunds r join payments p on p.id = r.payment_id
            where p.order_id = m.order_id and r.restock and r.status = 'COMPLETED')""",
    "the total of an order is that of its lines": """
        select o.id, o.items_total, sum(l.quantity * l.price) as lines from orders o join order_items l on l.order_id = o.id
        group by o.id
        having (o.items_total, o.discount, o.tax, o.included_tax)
          <> (sum(l.quantity * l.price), sum(l.discount), sum(l.tax), sum(l.included_tax)) or bool_or(l.currency <> o.currency)""",
    "the total of a cart is that of its lines": """
        select c.id, c.items_total, sum(l.quantity * l.price) as lines from carts c left join cart_items l on l.cart_id = c.id
        where not c.is_deleted group by c.id
        having c.items_total <> coalesce(sum(l.quantity * l.price), 0) or bool_or(l.currency <> c.currency)""",
    "a cart is ordered or it is not": """
        select c.id, c.status, o.id as order_id, o.total from carts c left join orders o on o.cart_id = c.id
        where (c.status = 'CONVERTED') <> (o.id is not null) or c.total <> o.total or c.currency <> o.currency""",
    "a shopper has one active cart per store": """
        select user_id, cart_token_hash, store_id from carts where status = 'ACTIVE' and not is_deleted
        group by user_id, cart_token_hash, store_id having count(*) > 1""",
    "orders are numbered without gaps": """
        select o.store_id, count(*), max(o.number), max(n.last) from orders o
        left join order_counters n on n.store_id is not distinct from o.store_id
        group by o.store_id having count(*) <> max(o.number) or count(*) <> count(distinct o.number) or max(o.number) <> max(n.last)""",
    "an order is charged once if it is completed, and else not at all": """
        select o.id, o.status, o.total, count(b.id) as charges, sum(b.captured) as taken from orders o
        left join payments p on p.order_id = o.id left join test_charges b on b.key = p.id::text and b.state = 'SUCCEEDED'
        group by o.id having case o.status when 'COMPLETED' then
          count(b.id) <> 1 or sum(b.captured) > o.total or bool_or(b.currency <> o.currency)
          or (bool_or(p.capture = 'AUTOMATIC' and b.id is not null) and sum(b.captured) <> o.total)
          or not coalesce(bool_or(b.id is not null and p.id = o.payment_id), false)
        else count(b.id) > count(p.id) filter (where p.status = 'PENDING') end""",
    "payments say what the provider did": """
        select p.id, p.status, p.captured_amount, b.state, b.captured from payments p full join test_charges b on b.key = p.id::text
        where p.id is null or case p.status when 'PENDING' then p.captured_amount <> 0
          when 'FAILED' then coalesce(b.captured, 0) <> 0 or coalesce(b.state, 'FAILED') not in ('FAILED')
          else b.state is distinct from 'SUCCEEDED' or b.captured <> p.captured_amount or b.transaction_id <> p.transaction_id end""",
    "what is given back is no more than was taken": """
        select p.id, p.status, p.captured_amount, p.refunded_amount, sum(r.amount) as refunds from payments p
        left join refunds r on r.payment_id = p.id and r.status <> 'FAILED' group by p.id
        having p.refunded_amount <> coalesce(sum(r.amount), 0) or p.refunded_amount > p.captured_amount
          or (p.status = 'REFUNDED') <> (p.captured_amount > 0 and p.captured_amount = coalesce(sum(r.amount) filter (
            where r.status = 'COMPLETED'), 0))""",
    "refunds say what the provider gave back": """
        select r.id, r.status, r.amount, b.amount as given from refunds r full join test_refunds b on b.key = r.id::text
        where r.id is null or case r.status when 'PENDING' then false
          when 'FAILED' then b.id is not null else b.amount is distinct from r.amount end""",
    "the book of the provider adds up": """
        select c.id, c.captured, c.refunded, sum(r.amount) as given from test_charges c left join test_refunds r on r.charge_id = c.id
        group by c.id having c.refunded <> coalesce(sum(r.amount), 0) or c.refunded > c.captured""",
    "a voucher is used as often as orders hold it, and no more than it may be": """
        select v.id, v.uses, v.max_uses, count(h.id) as held from vouchers v
        left join voucher_redemptions h on h.voucher_id = v.id and h.released_at is null
        group by v.id having v.uses <> count(h.id) or v.uses > v.max_uses""",
    "an order holds its voucher while it waits or is paid, and else none": """
        select o.id, o.status, o.voucher_id, h.voucher_id as held from orders o
        left join voucher_redemptions h on h.order_id = o.id and h.released_at is null where h.user_id <> o.user_id
          or h.voucher_id is distinct from case when o.status in ('PENDING', 'COMPLETED') then o.voucher_id end""",
    "a shopper holds once what is for one purchase of each": """
        select v.id, h.user_id, count(*) as held from vouchers v join voucher_redemptions h on h.voucher_id = v.id
        where v.once_per_user and h.released_at is null group by v.id, h.user_id having count(*) > 1""",
    "a cart that was won back is an order, and one attempt has done it": """
        select e.order_id, count(*) as attempts from recovery_events e left join orders o on o.id = e.order_id and o.cart_id = e.cart_id
        where e.status = 'RECOVERED' group by e.order_id
        having count(*) > 1 or count(o.id) = 0 or bool_or((o.total, o.currency) <> (e.recovered_amount, e.currency))""",
    "a reader is reminded once in the days of the store": """
        select e.id, e.sent_at, other.sent_at as soon from recovery_events e join store_settings s on s.store_id = e.store_id
        join recovery_events other on other.store_id = e.store_id and other.recipient_hash = e.recipient_hash and other.id > e.id
        where abs(extract(epoch from e.sent_at - other.sent_at)) < s.recovery_days * 86400""",
    "what happened to an order is in its log": """
        select o.id, o.status, array_agg(e.kind) as log from orders o left join order_events e on e.order_id = o.id group by o.id having
          count(*) filter (where e.kind = 'CREATED') <> 1
          or count(*) filter (where e.kind = 'COMPLETED') <> (o.status = 'COMPLETED')::int
          or count(*) filter (where e.kind = 'CANCELLED') <> (o.status = 'CANCELLED')::int
          or count(*) filter (where e.kind = 'CHARGED')
            <> (select count(*) from payments p where p.order_id = o.id and p.status in ('COMPLETED', 'REFUNDED'))
          or coalesce(sum(e.amount) filter (where e.kind = 'REFUNDED'), 0) <> (select coalesce(sum(r.amount), 0) from refunds r
            join payments p on p.id = r.payment_id where p.order_id = o.id and r.status = 'COMPLETED')""",
}

UNSETTLED: Final = {
    "a payment is open": "select id, status, authorized_at from payments where status = 'PENDING' and authorized_at is null",
    "a refund is open": "select id from refunds where status = 'PENDING'",
    "an order waits for nothing": """
        select id from orders o where status = 'PENDING' and not exists (
          select from payments p where p.order_id = o.id and p.status = 'PENDING')""",
}
"""What there may be for a while, and no longer once the sweep has been there."""


def _all(queries: dict[str, str]) -> str:
    found = "select '{}' as name, to_jsonb(found)::text as row from ({}) as found"
    return " union all ".join(found.format(name, query) for name, query in queries.items())


BREACHES: Final = _all(INVARIANTS)
LEFT_OPEN: Final = _all(UNSETTLED) + " limit 20"


async def breaches(connection: Connection, once_untracked: Collection[UUID] = ()) -> list[str]:
    """What is not as it must be. Of products that were not counted for a time, sales without a movement are none."""
    return [f"{found['name']}: {found['row']}" for found in await connection.fetch(BREACHES, list(once_untracked))]


async def left_open(connection: Connection) -> list[str]:
    """What nobody has settled."""
    return [f"{found['name']}: {found['row']}" for found in await connection.fetch(LEFT_OPEN)]
