"""Numbers that people call orders by."""

from uuid import UUID

from sqlalchemy import UniqueConstraint

from app.core import model
from app.core.model import Timestamped


class OrderCounter(Timestamped, table=True):
    """The last number that a store has given to an order; without a store, that of the orders which belong to none."""

    __tablename__ = "order_counters"
    __table_args__ = (UniqueConstraint("store_id", postgresql_nulls_not_distinct=True), *model.not_negative("last"))

    store_id: UUID | None = model.reference("stores.id", "CASCADE", None)
    last: int
