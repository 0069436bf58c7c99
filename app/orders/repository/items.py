"""The lines of orders."""

from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, select

from app.core.batch import many_by
from app.core.errors import ErrorCode
from app.core.paging import NEWEST_FIRST, Sort
from app.core.repository import Repository
from app.core.security import ViewerKind
from app.orders.models import OrderItem
from app.orders.repository.scope import of_order


class OrderItemRepository(Repository[OrderItem]):
    """Lines are seen through their order."""

    model = OrderItem
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_order_items_order_id_product_id": (ErrorCode.INVALID, "items", "a product stands in one line only; add its quantities"),
    }

    find_by_order_ids = many_by("order_id", scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return of_order(table, viewer, "orders")

    async def find_by_order(self, order_id: UUID) -> list[OrderItem]:
        """The lines in the order of their products, in which stock is locked."""
        return await self.find_many({"order_id": order_id}, (Sort("product_id"),))

    async def find_by_product(self, product_id: UUID) -> list[OrderItem]:
        return await self.find_many({"product_id": product_id}, NEWEST_FIRST)

    async def get_order_total(self, order_id: UUID) -> Decimal:
        """The sum of the lines, in the order's currency."""
        total = func.coalesce(func.sum(self.table.c.quantity * self.table.c.price), 0)
        statement = self.statement(
            "get_order_total", lambda: select(total).where(self.table.c.order_id == bindparam("order_id"), self.visible(self.table))
        )
        return Decimal(await self.value(statement, order_id=order_id))
