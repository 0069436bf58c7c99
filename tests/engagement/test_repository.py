"""Features, notifications and webhooks as the specification uses them."""

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from pydantic import SecretStr

from app.core.clock import system_clock
from app.core.errors import NotFound, UserError
from app.core.security import ANONYMOUS, Viewer, ViewerKind
from app.engagement.models import FeatureCreate, NotificationCreate, WebhookCreate
from app.repositories import Repositories
from app.stores.events import StoreEvent
from app.stores.models import StoreCreate


@pytest.fixture
async def user(repositories: Repositories):  # type: ignore[no-untyped-def]
    return await repositories.users.create({"email": "reader@example.com", "username": "reader"})


@pytest.fixture
async def cart(repositories: Repositories, user):  # type: ignore[no-untyped-def]
    return await repositories.carts.create({"user_id": user.id})


async def test_writing_a_feature_again_replaces_its_value(repositories: Repositories, cart) -> None:  # type: ignore[no-untyped-def]
    features = repositories.features
    await features.create_many([FeatureCreate(cart_id=cart.id, name=name, value=1) for name in ("item_count", "total_value")])
    await features.create_many([FeatureCreate(cart_id=cart.id, name="item_count", value={"now": [2, None]}, description="lines")])
    await features.create_many([FeatureCreate(cart_id=cart.id, name="item_count", value="3", version="2.0")])
    found = await features.find_by_cart_id(cart.id)
    assert [(row.name, row.version, row.value) for row in found] == [
        ("item_count", "1.0", {"now": [2, None]}),
        ("item_count", "2.0", "3"),
        ("total_value", "1.0", 1),
    ]
    assert [row.value for row in await features.find_by_cart_id(cart.id, "2.0")] == ["3"]
    assert await features.clear_cart_features(cart.id) == 3


async def test_features_of_no_cart_are_refused(repositories: Repositories) -> None:
    with pytest.raises(UserError) as refused:
        await repositories.features.create_many([FeatureCreate(cart_id=uuid4(), name="item_count", value=1)])
    assert refused.value.field == ("cart_id",)


async def test_expired_features_are_hidden(repositories: Repositories, cart) -> None:  # type: ignore[no-untyped-def]
    past = system_clock() - timedelta(hours=1)
    await repositories.features.create({"cart_id": cart.id, "name": "old", "value": 1, "ttl": 60, "updated_at": past})
    await repositories.features.create({"cart_id": cart.id, "name": "fresh", "value": 1, "ttl": 7200, "updated_at": past})
    assert [row.name for row in await repositories.features.find_by_cart_id(cart.id)] == ["fresh"]
    assert [row.name for row in await repositories.features.get_expired_features()] == ["old"]


async def test_features_follow_their_cart(repositories: Repositories, cart, user) -> None:  # type: ignore[no-untyped-def]
    await repositories.features.create_many([FeatureCreate(cart_id=cart.id, name="item_count", value=1)])
    owner = Viewer(kind=ViewerKind.SHOPPER, user_id=user.id)
    for viewer, seen in ((owner, 1), (Viewer(kind=ViewerKind.SHOPPER, user_id=uuid4()), 0), (ANONYMOUS, 0)):
        assert len(await repositories.scoped(viewer).features.find_by_cart_id(cart.id)) == seen


async def test_notifications_are_read_once_and_by_their_reader_alone(repositories: Repositories, user) -> None:  # type: ignore[no-untyped-def]
    given = [NotificationCreate(user_id=user.id, type="order", message=f"Order {n}", priority="high") for n in range(3)]  # type: ignore[arg-type]
    rows = await repositories.notifications.create_many(given)
    reader = repositories.scoped(Viewer(kind=ViewerKind.SHOPPER, user_id=user.id)).notifications
    stranger = repositories.scoped(Viewer(kind=ViewerKind.SHOPPER, user_id=uuid4())).notifications

    first = await reader.mark_as_read(rows[0].id)
    assert (await reader.mark_as_read(rows[0].id)).read_at == first.read_at
    with pytest.raises(NotFound):
        await stranger.mark_as_read(rows[1].id)
    assert await stranger.mark_all_as_read(user.id) == 0
    assert len(await reader.find_by_user_id(user.id, unread_only=True)) == 2
    assert await reader.get_unread_count(user.id) == 2
    assert await reader.mark_multiple_as_read([rows[0].id, rows[1].id]) == 1
    assert await reader.mark_all_as_read(user.id) == 1
    assert len(await reader.find_by_user_id(user.id)) == 3
    assert await repositories.notifications.cleanup_old_read_notifications(system_clock() + timedelta(minutes=1)) == 3


async def test_webhooks_are_found_by_store_and_event(repositories: Repositories) -> None:
    store = await repositories.stores.create_with_settings(StoreCreate(name="Tea", domain="tea.example.com"))
    for event, active in ((StoreEvent.ORDER_CREATED, True), (StoreEvent.ORDER_CREATED, False), (StoreEvent.ORDER_REFUNDED, True)):
        hook: dict[str, Any] = {"store_id": store.id, "url": "https://hooks.example.com/", "secret": SecretStr("s" * 32)}
        await repositories.webhooks.create(WebhookCreate(**hook, event_type=event, is_active=active))
    found = await repositories.webhooks.find_active(store.id, StoreEvent.ORDER_CREATED)
    assert [row.is_active for row in found] == [True]
    assert (await repositories.webhooks.update_last_triggered(found[0].id, system_clock())).last_triggered_at is not None
    assert await repositories.scoped(Viewer(kind=ViewerKind.STAFF, store_id=uuid4())).webhooks.count() == 0
