"""The numbers of orders: 1, 2, 3 and so on in each store.

A number is taken by the last statement of the transaction that makes the order, from the counter of its store. So the counter is locked for
that statement and the commit alone, and the checkouts of a store queue for no longer; and an order that fails gives its number back, so
that there are no gaps, except where somebody removes an order. Numbers follow the order of commits, not of `created_at`.
"""

from typing import Any

from sqlalchemy import bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.orders.models import Order, OrderCounter

ORDERS = Order.__table__  # type: ignore[attr-defined]
COUNTERS = OrderCounter.__table__  # type: ignore[attr-defined]


def numbering() -> Any:
    """Gives the order `:id` the next number of its store, and all its columns back."""
    first = select(ORDERS.c.store_id, 1).where(ORDERS.c.id == bindparam("id"))
    counter = upsert(COUNTERS).from_select(["store_id", "last"], first)
    more = {"last": COUNTERS.c.last + 1, "updated_at": func.now()}
    taken = counter.on_conflict_do_update(index_elements=["store_id"], set_=more).returning(COUNTERS.c.last).cte("taken")
    return update(ORDERS).where(ORDERS.c.id == bindparam("id")).values(number=taken.c.last).returning(*ORDERS.c)


def numbering_of_all() -> Any:
    """Gives every order that has none a number, the oldest first: after a bulk load."""
    place = func.row_number().over(partition_by=ORDERS.c.store_id, order_by=(ORDERS.c.created_at, ORDERS.c.id))
    before = select(COUNTERS.c.last).where(COUNTERS.c.store_id.is_not_distinct_from(ORDERS.c.store_id)).scalar_subquery()
    number = (place + func.coalesce(before, 0)).label("number")
    waiting = select(ORDERS.c.id, ORDERS.c.store_id, number).where(ORDERS.c.number.is_(None)).cte("waiting")
    last = select(waiting.c.store_id, func.max(waiting.c.number)).group_by(waiting.c.store_id)
    counter = upsert(COUNTERS).from_select(["store_id", "last"], last)
    counted = counter.on_conflict_do_update(index_elements=["store_id"], set_={"last": counter.excluded.last}).cte("counted")
    changed = update(ORDERS).where(ORDERS.c.id == waiting.c.id).values(number=waiting.c.number).add_cte(counted)
    return changed.returning(ORDERS.c.id)
