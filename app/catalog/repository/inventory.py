"""The pieces of products: counted, reserved, sold and taken back.

Whoever changes several products locks their rows in the order of product ids, so concurrent buyers queue and never deadlock. What is on
hand changes by movements alone: they are written here, and the database moves the stock (`catalog.models.ledger`).

Where the free pieces of a product fall to the `low_stock_threshold` of a store that sells it, the store is told: once each time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, any_, bindparam, exists, false, func, insert, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as upsert

from app.catalog.models import (
    MAX_STOCK,
    Inventory,
    InventoryAdjust,
    InventoryMovement,
    InventoryPolicy,
    InventorySet,
    MovementKind,
    ProductStatus,
)
from app.catalog.repository.movements import InventoryMovementRepository
from app.catalog.repository.scope import LINKS, PRODUCTS, sold_by, sold_by_own_alone
from app.core.batch import one_by
from app.core.errors import ErrorCode, UserError
from app.core.repository import Repository, transactional
from app.core.scope import of_store
from app.core.security import ViewerKind
from app.stores.events import StoreEvent, happened
from app.stores.models import StoreSettings

MOVEMENTS = InventoryMovement.__table__  # type: ignore[attr-defined]
SETTINGS = StoreSettings.__table__  # type: ignore[attr-defined]
IDS = ARRAY(PG_UUID(as_uuid=True))
TOO_FEW = "more pieces are reserved for orders than would be on hand"


@dataclass(frozen=True)
class Cause:
    """What moves stock: an order, and somebody, where it is not the system itself."""

    order_id: UUID | None = None
    user_id: UUID | None = None


class InventoryRepository(Repository[Inventory]):
    """Pieces per product. What is on hand and reserved is for staff (the field says so); what is available is for all."""

    model = Inventory
    tagged = frozenset({"inventory"})
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "ck_inventory_reserved_on_hand": (ErrorCode.CONFLICT, "inventoryPolicy", TOO_FEW),
        "ck_inventory_on_hand_not_negative": (ErrorCode.CONFLICT, "inventoryPolicy", "pieces are owed to buyers; put them on hand first"),
    }

    find_by_product_ids = one_by("product_id", scoped=False)
    find_known_by_ids = one_by("id", scoped=False)
    """Inventories of movements that the viewer may see."""

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        """Those of products that the viewer may see; for staff who work with stock those of all that their store sells."""
        seen: ColumnElement[bool] = PRODUCTS.c.status == ProductStatus.ACTIVE.value
        if viewer is ViewerKind.STAFF:
            seen = or_(seen, *(sold_by(PRODUCTS, of_store(LINKS.c.store_id, resource)) for resource in ("products", "inventory")))
        return exists().where(PRODUCTS.c.id == table.c.product_id, ~PRODUCTS.c.is_deleted, seen)

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return false()

    # --- Counting

    async def set_on_hand(self, product_id: UUID, on_hand: int, reason: str | None = None) -> Inventory:
        """Say how many pieces there are now; the difference is an adjustment. Staff count what their store alone sells.

        Raises `UserError` when more are reserved, or there is no such product whose pieces the viewer may count; pydantic's
        `ValidationError` for an impossible number.
        """
        stock = InventorySet(product_id=product_id, on_hand=on_hand, reason=reason)
        return await self._count(product_id, stock.reason, field="onHand", on_hand=stock.on_hand)

    async def adjust(self, adjustment: InventoryAdjust) -> Inventory:
        """Add pieces that came, or take those that went, otherwise than by a sale. Raises `UserError` as `set_on_hand` does."""
        return await self._count(adjustment.product_id, adjustment.reason, field="delta", delta=adjustment.delta)

    async def set_policy(self, product_id: UUID, policy: InventoryPolicy) -> None:
        """Say what happens when a product is out of stock. Raises `UserError` where its pieces do not allow that."""
        if not await self.update_many({"product_id": product_id}, {"policy": policy.value}):
            await self.create({"product_id": product_id, "policy": policy.value})

    # --- Orders

    async def reserve(self, quantities: Mapping[UUID, int]) -> list[UUID]:
        """Reserve pieces for an order; returns the products of which too few are available (then nothing may be kept: roll back)."""
        await self._lock(quantities)
        reserved = await self.rows(self.statement("reserve", self._reserving), **_pieces(quantities))
        for row in reserved:
            await self._tell_low(row, row["low_in"])  # type: ignore[index]
        return _others(quantities, reserved)

    async def release(self, quantities: Mapping[UUID, int]) -> list[UUID]:
        """Give reserved pieces back; returns the products of which fewer were reserved, and which stay as they are."""
        await self._lock(quantities)
        statement = self.statement("release", lambda: self._releasing().returning(self.table.c.product_id))
        return _others(quantities, await self.rows(statement, **_pieces(quantities)))

    async def commit(self, quantities: Mapping[UUID, int], cause: Cause | None = None) -> list[UUID]:
        """Reserved pieces have been sold and are no longer on hand; returns as `release` does."""
        await self._lock(quantities)
        sold = await self.rows(self.statement("commit", self._selling), **_pieces(quantities), **vars(cause or Cause()))
        return _others(quantities, sold)

    async def take_back(self, quantities: Mapping[UUID, int], cause: Cause | None = None, reason: str | None = None) -> list[UUID]:
        """Sold pieces have come back and can be sold again; returns the products that have no inventory.

        Pieces that were not counted when their order was sold are not counted now either, whatever the policy has become.
        """
        await self._lock(quantities)
        values = {**_pieces(quantities), **vars(cause or Cause()), "reason": reason}
        return _others(quantities, await self.rows(self.statement("take_back", self._returning), **values))

    # --- Steps

    @transactional
    async def _count(
        self, product_id: UUID, reason: str | None, *, field: str, on_hand: int | None = None, delta: int | None = None
    ) -> Inventory:
        row = await self._lock_countable(product_id)
        new = row.on_hand + (delta or 0) if on_hand is None else on_hand
        if new > MAX_STOCK:
            raise UserError(ErrorCode.INVALID, f"at most {MAX_STOCK:,} pieces of a product can be on hand", field)
        if row.policy == InventoryPolicy.DENY and new < row.reserved:
            raise UserError(ErrorCode.CONFLICT, f"{TOO_FEW}: {row.reserved} are reserved", field)
        if new < min(0, row.on_hand) or (new < 0 and row.policy != InventoryPolicy.CONTINUE):
            raise UserError(ErrorCode.CONFLICT, f"there are only {row.on_hand} pieces on hand", field)
        if new == row.on_hand:
            return row
        movement = {"inventory_id": row.id, "kind": MovementKind.ADJUSTMENT.value, "quantity": new - row.on_hand, "reason": reason}
        system = self.repositories.unscoped
        await system.of(InventoryMovementRepository).create({**movement, "user_id": self.viewer.user_id})
        if row.policy != InventoryPolicy.UNTRACKED and new < row.on_hand:
            await self._tell_low(row, await self._low_in(row.product_id, row.on_hand - row.reserved, new - row.reserved))
        return await system.of(InventoryRepository).update_by_id(row.id, {})

    async def _low_in(self, product_id: UUID, before: int, after: int) -> list[UUID]:
        """The stores whose threshold lies between the free pieces of a product before and after."""
        bound = (bindparam(name, type_=SETTINGS.c.low_stock_threshold.type) for name in ("before", "after"))
        statement = self.statement("low_in", lambda: _low_stores(bindparam("product_id", type_=self.table.c.product_id.type), *bound))
        return [row["store_id"] for row in await self.rows(statement, product_id=product_id, before=before, after=after)]  # type: ignore[index]

    async def _tell_low(self, row: Inventory, store_ids: list[UUID] | None) -> None:
        await happened(self.repositories, StoreEvent.INVENTORY_LOW, store_ids or (), Product=row.product_id, Inventory=row.id)

    async def _lock_countable(self, product_id: UUID) -> Inventory:
        """The inventory of a product whose pieces the viewer may count, made where there is none, and locked."""
        found = await self.row(self.statement("lock_countable", self._countable), product_id=product_id)
        if found is None:
            await self.row(self.statement("make", self._make), product_id=product_id)
            found = await self.row(self.statement("lock_countable", self._countable), product_id=product_id)
        if found is None:
            raise UserError(ErrorCode.NOT_FOUND, "a product with this id does not exist", "productId")
        return found

    async def _lock(self, quantities: Mapping[UUID, int]) -> None:
        """Lock the rows in the order of products; a single one is locked by the change itself, one round trip earlier."""
        if len(quantities) < 2:
            return
        columns = self.table.c
        statement = self.statement(
            "lock",
            lambda: (
                select(columns.product_id)
                .where(columns.product_id == any_(bindparam("product_ids", type_=IDS)))
                .order_by(columns.product_id)
                .with_for_update()
            ),
        )
        await self.rows(statement, product_ids=list(quantities))

    # --- Statements

    def _given(self) -> Any:
        """The pieces that a statement is about."""
        quantities = bindparam("quantities", type_=ARRAY(self.table.c.on_hand.type))
        given = func.unnest(bindparam("product_ids", type_=IDS), quantities)
        return given.table_valued("product_id", "quantity", name="pieces").render_derived()

    def _reserving(self) -> Any:
        columns, pieces = self.table.c, self._given()
        free = columns.on_hand - columns.reserved
        low = _low_stores(columns.product_id, free + pieces.c.quantity, free).where(columns.policy != InventoryPolicy.UNTRACKED.value)
        enough = or_(columns.policy != InventoryPolicy.DENY.value, free >= pieces.c.quantity)
        return (
            update(self.table)
            .where(columns.product_id == pieces.c.product_id, enough)
            .values(reserved=columns.reserved + pieces.c.quantity, updated_at=func.now())
            .returning(columns.id, columns.product_id, func.array(low.correlate(self.table, pieces).scalar_subquery()).label("low_in"))
        )

    def _releasing(self, *returning: str) -> Any:
        columns, pieces = self.table.c, self._given()
        changed = (
            update(self.table)
            .where(columns.product_id == pieces.c.product_id, columns.reserved >= pieces.c.quantity)
            .values(reserved=columns.reserved - pieces.c.quantity, updated_at=func.now())
        )
        return changed.returning(*(columns[name] for name in returning), pieces.c.quantity) if returning else changed

    def _selling(self) -> Any:
        """Gives reserved pieces up and takes them from what is on hand, as far as they are counted."""
        sold = self._releasing("id", "product_id", "policy").cte("sold")
        counted = select(sold.c.id, literal(MovementKind.SALE.value), -sold.c.quantity, *_cause())
        moved = self._moved(counted.where(sold.c.policy != InventoryPolicy.UNTRACKED.value))
        return select(sold.c.product_id).add_cte(moved)

    def _returning(self) -> Any:
        columns, pieces = self.table.c, self._given()
        touched = update(self.table).where(columns.product_id == pieces.c.product_id).values(updated_at=func.now())
        back = touched.returning(columns.id, columns.product_id, columns.policy, pieces.c.quantity).cte("back")
        reason = bindparam("reason", type_=MOVEMENTS.c.reason.type)
        counted = select(back.c.id, literal(MovementKind.RETURN.value), back.c.quantity, *_cause(), reason)
        order_id = _cause()[0]
        sale = (MOVEMENTS.c.inventory_id == back.c.id, MOVEMENTS.c.order_id == order_id, MOVEMENTS.c.kind == MovementKind.SALE.value)
        was_counted = or_(order_id.is_(None), exists().where(*sale))
        moved = self._moved(counted.where(back.c.policy != InventoryPolicy.UNTRACKED.value, was_counted), "reason")
        return select(back.c.product_id).add_cte(moved)

    def _moved(self, movements: Any, *more: str) -> Any:
        return insert(MOVEMENTS).from_select(["inventory_id", "kind", "quantity", "order_id", "user_id", *more], movements).cte("moved")

    def _countable(self) -> Any:
        found = select(self.table).where(self.table.c.product_id == bindparam("product_id"), PRODUCTS.c.id == self.table.c.product_id)
        return found.where(*self._may_count()).with_for_update(of=self.table)

    def _make(self) -> Any:
        counted = select(PRODUCTS.c.id).where(PRODUCTS.c.id == bindparam("product_id"), *self._may_count())
        return upsert(self.table).from_select(["product_id"], counted).on_conflict_do_nothing().returning(*self.table.c)

    def _may_count(self) -> list[ColumnElement[bool]]:
        conditions: list[ColumnElement[bool]] = [~PRODUCTS.c.is_deleted]
        if not self.viewer.sees_everything:
            conditions.append(sold_by_own_alone(PRODUCTS, self.viewer.kind, "inventory"))
        return conditions


def _low_stores(product_id: Any, before: Any, after: Any) -> Any:
    """The stores that sell a product and whose threshold its free pieces have reached by falling from `before` to `after`."""
    threshold = SETTINGS.c.low_stock_threshold
    sold = (LINKS.c.product_id == product_id, SETTINGS.c.store_id == LINKS.c.store_id)
    return select(LINKS.c.store_id).where(*sold, threshold < before, threshold >= after)


def _cause() -> tuple[Any, Any]:
    return tuple(bindparam(name, type_=MOVEMENTS.c[name].type) for name in ("order_id", "user_id"))  # type: ignore[return-value]


def _pieces(quantities: Mapping[UUID, int]) -> dict[str, Any]:
    return {"product_ids": list(quantities), "quantities": list(quantities.values())}


def _others(quantities: Mapping[UUID, int], done: list[Any]) -> list[UUID]:
    """The products that a statement did not change."""
    changed = {row.product_id for row in done}
    return [product_id for product_id in quantities if product_id not in changed]
