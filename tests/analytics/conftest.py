"""Events to look at: the repositories of a test with ClickHouse, and events made by hand."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from app.analytics.models import EventSource
from app.core.cache import Cache, memory_backend
from app.core.clickhouse import ClickHouse
from app.core.database import Database
from app.core.metrics import Metrics
from app.repositories import Repositories, create_repository_factory
from tests.shop import premises, schema, shop

__all__ = ["premises", "schema", "shop"]

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MakeEvent = Callable[..., dict[str, Any]]


@pytest.fixture
async def repositories(database: Database, clickhouse: ClickHouse) -> Repositories:
    """The system's repositories on databases of the test's own."""
    metrics = Metrics()
    return create_repository_factory(database, Cache(memory_backend(), metrics), metrics, clickhouse=clickhouse)


def event(number: int = 0, **given: Any) -> dict[str, Any]:
    """An event like any other, a minute after the one before."""
    happened = NOON + timedelta(minutes=number)
    made: dict[str, Any] = {
        "id": uuid7(),
        "store_id": UUID(int=1),
        "user_id": None,
        "session_id": "visit-1",
        "client_event_id": None,
        "event_type": "PAGE_VIEW",
        "timestamp": happened,
        "received_at": happened + timedelta(seconds=1),
        "metadata": {},
        "page_url": "https://shop.example/",
        "user_agent": "Mozilla/5.0",
        "ip_address": "192.0.2.1",
        "is_error": False,
        "error_msg": None,
        "source": EventSource.CLIENT,
    }
    return {**made, **given}
