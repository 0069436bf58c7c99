"""What the database and the inputs refuse of features, notifications and webhooks."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from pydantic import ValidationError

from app.engagement.models import FeatureCreate, NotificationCreate, NotificationPriority, WebhookCreate, WebhookUpdate

Insert = Callable[..., Awaitable[UUID]]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ID = UUID(int=1)


@pytest.mark.parametrize(
    ("table", "values", "constraint"),
    [
        ("features", {"ttl": 0}, "ck_features_ttl_positive"),
        ("features", {"metadata": "1"}, "ck_features_metadata_is_object"),
        ("notifications", {"read": True}, "ck_notifications_read_at_set"),
        ("notifications", {"read_at": NOW}, "ck_notifications_read_at_set"),
        ("notifications", {"priority": "normal"}, "ck_notifications_priority"),
        ("notifications", {"metadata": "1"}, "ck_notifications_metadata_is_object"),
        ("webhooks", {"failure_count": -1}, "ck_webhooks_failure_count_not_negative"),
        ("webhooks", {"metadata": "1"}, "ck_webhooks_metadata_is_object"),
    ],
)
async def test_a_bad_row_is_refused(insert: Insert, table: str, values: dict[str, Any], constraint: str) -> None:
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await insert(table, **values)
    assert refused.value.constraint_name == constraint


async def test_a_feature_has_one_value_per_version(insert: Insert) -> None:
    cart = await insert("carts")
    await insert("features", cart_id=cart)
    await insert("features", cart_id=cart, version="2.0")
    with pytest.raises(asyncpg.UniqueViolationError, match="uq_features_cart_id_name_version"):
        await insert("features", cart_id=cart)


async def test_a_feature_may_be_null_in_json(insert: Insert) -> None:
    await insert("features", value="null")
    with pytest.raises(asyncpg.NotNullViolationError):
        await insert("features", value=None)


async def test_what_belongs_to_a_cart_or_a_user_goes_with_it(insert: Insert, connection: asyncpg.Connection) -> None:
    user = await insert("users")
    cart = await insert("carts", user_id=user)
    await insert("features", cart_id=cart)
    await insert("notifications", user_id=user)
    await connection.execute("delete from users where id = $1", user)
    assert await connection.fetchval("select count(*) from features where cart_id = $1", cart) == 0
    assert await connection.fetchval("select count(*) from notifications where user_id = $1", user) == 0


def refused_field(model: type[Any], **values: Any) -> str:
    with pytest.raises(ValidationError) as refused:
        model(**values)
    return str(refused.value.errors()[0]["loc"][0])


@pytest.mark.parametrize("value", [3, 2.5, "ORDER_PLACED", None, {"a": [1]}])
def test_features_hold_any_json(value: Any) -> None:
    feature = FeatureCreate(cart_id=ID, name="item_count", value=value)
    assert (feature.value, feature.version) == (value, "1.0")


@pytest.mark.parametrize(("field", "value"), [("name", ""), ("value", float("nan")), ("ttl", 0), ("ttl", 2**31), ("version", "1" * 33)])
def test_a_bad_feature_is_refused(field: str, value: Any) -> None:
    assert refused_field(FeatureCreate, **{"cart_id": ID, "name": "n", "value": 1} | {field: value}) == field


def test_a_notification() -> None:
    message = NotificationCreate(user_id=ID, type="order", message="Sent.", priority="high")  # type: ignore[arg-type]
    assert message.priority is NotificationPriority.HIGH
    assert NotificationCreate(user_id=ID, type="order", message="Sent.").priority is NotificationPriority.NORMAL


@pytest.mark.parametrize(
    ("field", "value"),
    [("message", ""), ("message", "a" * 1001), ("type", "a" * 65), ("priority", "urgent"), ("expires_at", "2027-01-01T00:00:00")],
)
def test_a_bad_notification_is_refused(field: str, value: Any) -> None:
    assert refused_field(NotificationCreate, **{"user_id": ID, "type": "order", "message": "Sent."} | {field: value}) == field


WEBHOOK: dict[str, Any] = {"store_id": ID, "url": "https://example.com/hook", "event_type": "ORDER_CREATED", "secret": "s" * 16}


@pytest.mark.parametrize(
    ("field", "value"), [("url", "ftp://example.com/"), ("event_type", ""), ("secret", "short"), ("secret", "s" * 256)]
)
def test_a_bad_webhook_is_refused(field: str, value: Any) -> None:
    assert refused_field(WebhookCreate, **WEBHOOK | {field: value}) == field


def test_a_webhook_keeps_its_secret_to_itself() -> None:
    assert "s" * 16 not in repr(WebhookCreate(**WEBHOOK))
    assert refused_field(WebhookUpdate, secret=None) == "secret"
