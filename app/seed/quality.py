"""The demo shop's checks: they run by themselves from the first minute on, so that there are runs and anomalies to look at."""

from datetime import datetime
from typing import Any, Final

from app.quality.models import QualityCheckType
from app.seed.draw import Values

CHECKS: Final[tuple[tuple[str, str | None, QualityCheckType, dict[str, Any]], ...]] = (
    ("orders", None, QualityCheckType.CONSISTENCY_CHECK, {"rule": "LINES_TOTAL"}),
    ("orders", None, QualityCheckType.CONSISTENCY_CHECK, {"rule": "PAID"}),
    ("carts", None, QualityCheckType.CONSISTENCY_CHECK, {"rule": "LINES_TOTAL"}),
    ("orders", "created_at", QualityCheckType.FRESHNESS_CHECK, {"maxAgeSeconds": 7 * 86_400}),
    ("users", "email", QualityCheckType.FORMAT_CHECK, {"format": "EMAIL"}),
    ("products", "sku", QualityCheckType.DUPLICATE_CHECK, {}),
    ("inventory", "on_hand", QualityCheckType.RANGE_CHECK, {"min": 1}),
    ("order_items", "product_id", QualityCheckType.REFERENCE_CHECK, {"table": "products"}),
    ("user_events", "session_id", QualityCheckType.NULL_CHECK, {}),
)


def schedule_rows(now: datetime) -> list[Values]:
    """A schedule of each check, once a day, the first time at once."""
    names = ("table_name", "column_name", "check_type", "parameters")
    return [{**dict(zip(names, check, strict=True)), "interval_minutes": 1440, "enabled": True, "next_run_at": now} for check in CHECKS]
