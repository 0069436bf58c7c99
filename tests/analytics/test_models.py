"""What is refused of events."""

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from app.analytics.models import UserEventCreate

EVENT: dict[str, Any] = {"event_type": "product_view", "timestamp": datetime(2026, 1, 1, tzinfo=UTC)}


def test_an_event() -> None:
    event = UserEventCreate(**EVENT, metadata={"cartId": "1"})
    assert (event.is_error, event.metadata) == (False, {"cartId": "1"})


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("event_type", ""),
        ("event_type", "a" * 129),
        ("timestamp", datetime(2026, 1, 1)),  # noqa: DTZ001 - the naive time is the point
        ("metadata", [1]),
        ("metadata", {"a": float("nan")}),
        ("page_url", "a" * 2049),
        ("user_agent", "a\x00"),
        ("user_id", "1"),
    ],
)
def test_a_bad_event_is_refused(field: str, value: Any) -> None:
    with pytest.raises(ValidationError) as refused:
        UserEventCreate(**EVENT | {field: value})
    assert refused.value.errors()[0]["loc"][0] == field
