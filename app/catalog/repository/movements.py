"""The ledger of stock: every change of what is on hand."""

from typing import Any

from sqlalchemy import ColumnElement, bindparam, exists, false, func, select

from app.catalog.models import Inventory, InventoryMovement
from app.catalog.repository.scope import LINKS
from app.core.repository import Repository
from app.core.scope import of_store
from app.core.security import ViewerKind

INVENTORY = Inventory.__table__  # type: ignore[attr-defined]


class InventoryMovementRepository(Repository[InventoryMovement]):
    """Movements are for the staff of a store that sells the product. They are added and never changed (`catalog.models.ledger`)."""

    model = InventoryMovement

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        if viewer is not ViewerKind.STAFF:
            return false()
        sold = (INVENTORY.c.id == table.c.inventory_id, LINKS.c.product_id == INVENTORY.c.product_id)
        return exists().where(*sold, of_store(LINKS.c.store_id, "inventory"))

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return false()

    async def find_unbalanced(self, limit: int = 100) -> list[Any]:
        """Inventories whose movements do not add up to what is on hand, with both numbers: there are none while the triggers are on."""
        return await self.rows(self.statement("find_unbalanced", self._unbalanced), row_limit=limit)

    def _unbalanced(self) -> Any:
        moved = func.coalesce(func.sum(self.table.c.quantity), 0)
        return (
            select(INVENTORY.c.id, INVENTORY.c.product_id, INVENTORY.c.on_hand, moved.label("moved"))
            .outerjoin(self.table, self.table.c.inventory_id == INVENTORY.c.id)
            .group_by(INVENTORY.c.id)
            .having(moved != INVENTORY.c.on_hand)
            .order_by(INVENTORY.c.id)
            .limit(bindparam("row_limit"))
        )
