"""The mirror of orders in ClickHouse, for questions over all of them: what its rows hold."""

from typing import Final

MIRROR: Final = "orders_mirror"
MIRRORED: Final = (
    "id",
    "store_id",
    "number",
    "status",
    "currency",
    "items_total",
    "discount",
    "shipping",
    "tax",
    "total",
    "created_at",
    "updated_at",
    "completed_at",
)
"""The columns of an order that are mirrored. Nothing of them is about a person."""

MIRROR_COLUMNS: Final = (*MIRRORED, "synced_at", "is_deleted")
"""`synced_at` is when the order was read: the latest version of a row counts, and none where that says `is_deleted`."""
