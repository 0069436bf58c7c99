"""How many pieces there are of a product, and the ledger of how that came about."""

from enum import StrEnum
from typing import Annotated
from uuid import UUID

from pydantic import Field
from sqlalchemy import CheckConstraint

from app.catalog.models.ledger import keep_ledger
from app.core import model
from app.core.inputs import Input, Line
from app.core.model import Created, Timestamped

MAX_STOCK = 1_000_000_000
"""The most pieces of one product that may be on hand."""


class InventoryPolicy(StrEnum):
    """What happens when a product is out of stock.

    DENY: it cannot be ordered. CONTINUE: it can, and the pieces are owed (backorder), so more may be reserved than are on hand.
    UNTRACKED: its pieces are not counted, as of a service or a download.
    """

    DENY = "DENY"
    CONTINUE = "CONTINUE"
    UNTRACKED = "UNTRACKED"


class MovementKind(StrEnum):
    """Why the quantity on hand changed: it was counted or corrected, sold, or came back from a buyer.

    Reservations are no movements: they change nothing on hand, and the pending orders themselves explain them, so the busiest write of the
    shop pays nothing for the ledger.
    """

    ADJUSTMENT = "ADJUSTMENT"
    SALE = "SALE"
    RETURN = "RETURN"


class Inventory(Timestamped, table=True):
    """The pieces of one product: on hand, those of them reserved for orders not yet paid, and the rest.

    What is on hand is the sum of the movements, whoever writes (`ledger`). It is below zero only where pieces are owed.
    """

    __tablename__ = "inventory"
    __table_args__ = (
        model.one_of("policy", InventoryPolicy),
        CheckConstraint("on_hand >= 0 or policy = 'CONTINUE'", name="on_hand_not_negative"),
        *model.not_negative("reserved"),
        CheckConstraint("reserved <= on_hand or policy <> 'DENY'", name="reserved_on_hand"),
    )

    product_id: UUID = model.reference("products.id", "CASCADE", unique=True)
    on_hand: int = model.column(0)
    reserved: int = model.column(0)
    available: int = model.generated("greatest(on_hand - reserved, 0)", stored=False)
    policy: InventoryPolicy = model.choice(InventoryPolicy.DENY)


class InventoryMovement(Created, table=True):
    """A change of what is on hand: never altered, and gone only with its inventory.

    `quantity` is what came (above zero) or went; `user_id` is who said so, null for the system's own doing.
    """

    __tablename__ = "inventory_movements"
    __table_args__ = (
        model.one_of("kind", MovementKind),
        CheckConstraint("quantity <> 0", name="quantity_not_zero"),
        CheckConstraint("kind <> 'SALE' or quantity < 0", name="sale_takes"),
        CheckConstraint("kind <> 'RETURN' or quantity > 0", name="return_gives"),
        model.newest_first("inventory_movements", "inventory_id"),
        model.sparse_index("inventory_movements", "order_id"),
        model.sparse_index("inventory_movements", "user_id"),
    )

    inventory_id: UUID = model.reference("inventory.id", "CASCADE")
    kind: MovementKind = model.choice()
    quantity: int
    reason: str | None = model.column(None, max_length=255)
    order_id: UUID | None = model.reference("orders.id", "SET NULL", None)
    user_id: UUID | None = model.reference("users.id", "SET NULL", None)


keep_ledger(InventoryMovement.__table__)  # type: ignore[attr-defined]

Stock = Annotated[int, Field(ge=0, le=MAX_STOCK)]
Delta = Annotated[int, Field(ge=-MAX_STOCK, le=MAX_STOCK)]
Reason = Annotated[str, Line(255)]


class InventorySet(Input):
    """How many pieces of a product there are now; fewer than are reserved is refused."""

    product_id: UUID
    on_hand: Stock
    reason: Reason | None = None


class InventoryAdjust(Input):
    """Pieces that came or went otherwise than by a sale."""

    product_id: UUID
    delta: Delta
    reason: Reason
