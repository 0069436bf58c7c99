"""Notifications, and the service that tracks events."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from app.core.paging import PageRequest
from app.engagement.features import FeatureStore
from app.engagement.models import FeatureCreate, Notification, NotificationCreate, NotificationPriority
from app.repositories import Repositories
from tests.specification.conftest import World, global_id
from tests.specification.contents import GRAPHQL, operation

SEND = "mutation ($input: SendNotificationInput!) { sendNotification(input: $input) { sent userErrors { code } } }"
OWN = "query ($unread: Boolean!) { notifications(unreadOnly: $unread, first: 50) { nodes { id message read } } }"
READ = "mutation ($id: ID!) { markNotificationAsRead(input: { id: $id }) { notification { read readAt } userErrors { code } } }"


async def send_notification(factory: Repositories, user_id: UUID, type: str, message: str) -> Notification:
    return await factory.notifications.create(
        NotificationCreate(
            user_id=user_id,
            type=type,
            message=message,
            priority=NotificationPriority.NORMAL,
            expires_at=factory.now() + timedelta(days=7),
        )
    )


async def get_user_notifications(factory: Repositories, user_id: UUID, unread_only: bool = False) -> list[Notification]:
    return await factory.notifications.find_by_user_id(user_id, unread_only=unread_only)


FEATURES = {"item_count": 1, "total_value": 5.0, "avg_item_price": 2.5}


async def _computed(world: World, cart_id: UUID) -> dict[str, Any]:
    """The features of a cart as the database has them; the engagement score is some share of 1."""
    rows = await world.database.fetch("select name, value::text, version, description from features where cart_id = $1", cart_id)
    assert all(row["version"] == "1.0" and row["description"] for row in rows)
    values = {row["name"]: float(row["value"]) for row in rows}
    assert 0 <= values.pop("user_engagement_score") <= 1
    return values


@operation("computeCartFeatures")
async def test_compute_cart_features(world: World) -> None:
    cart = await world.cart(await world.user(), (await world.product(await world.store(), "2.50"), 2))
    for _ in range(2):
        computed = await FeatureStore(world.factory).compute(cart.id)
        assert {feature.name for feature in computed.features} == {*FEATURES, "user_engagement_score"}
    assert await _computed(world, cart.id) == FEATURES


COMPUTE = "mutation ($id: ID!) { computeCartFeatures(input: { cartId: $id }) { features { name } userErrors { code } } }"


@operation("computeCartFeatures", GRAPHQL)
async def test_compute_cart_features_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    cart = await world.cart(user, (await world.product(await world.store(), "2.50"), 2))
    assert len((await caller.ask(COMPUTE, id=global_id(cart)))["computeCartFeatures"]["features"]) == len(FEATURES) + 1
    assert await _computed(world, cart.id) == FEATURES


@operation("sendNotification")
async def test_send_notification(world: World) -> None:
    user = await world.user()
    sent = await send_notification(world.factory, user.id, "order", "It is on its way.")
    row = await world.row("notifications", sent.id)
    assert (row["user_id"], row["type"], row["message"], row["read"]) == (user.id, "order", "It is on its way.", False)
    assert row["priority"] == "NORMAL"
    assert timedelta(days=6, hours=23) < row["expires_at"] - row["created_at"] < timedelta(days=7, hours=1)


@operation("sendNotification", GRAPHQL)
async def test_send_notification_over_graphql(world: World) -> None:
    user = await world.user()
    input = {"userId": global_id(user), "type": "order", "message": "It is on its way."}
    answer = await world.administrator.ask(SEND, input=input)
    assert answer["sendNotification"] == {"sent": True, "userErrors": []}
    row = await world.found("select * from notifications where user_id = $1", user.id)
    assert (row["message"], row["read"], row["priority"]) == ("It is on its way.", False, "NORMAL")


async def _three(world: World, user: Any) -> list[Notification]:
    """Notifications of a user, the second of which is read."""
    sent = [await send_notification(world.factory, user.id, "order", f"Number {n}") for n in range(3)]
    await world.factory.notifications.mark_as_read(sent[1].id)
    return sent


@operation("getUserNotifications")
async def test_get_user_notifications(world: World) -> None:
    user, other = await world.user(), await world.user()
    await _three(world, user)
    await send_notification(world.factory, other.id, "order", "Another's")
    for unread, messages in ((False, ["Number 2", "Number 1", "Number 0"]), (True, ["Number 2", "Number 0"])):
        assert [row.message for row in await get_user_notifications(world.factory, user.id, unread)] == messages
    await world.factory.notifications.create_many([{"user_id": user.id, "type": "order", "message": str(n)} for n in range(60)])
    assert len(await get_user_notifications(world.factory, user.id)) == 50


@operation("getUserNotifications", GRAPHQL)
async def test_get_user_notifications_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    await _three(world, user)
    for unread, messages in ((False, ["Number 2", "Number 1", "Number 0"]), (True, ["Number 2", "Number 0"])):
        assert [node["message"] for node in (await caller.ask(OWN, unread=unread))["notifications"]["nodes"]] == messages


@operation("markNotificationAsRead")
async def test_mark_notification_as_read(world: World) -> None:
    user = await world.user()
    sent = await send_notification(world.factory, user.id, "order", "It is on its way.")
    await world.factory.notifications.mark_as_read(sent.id)
    first = await world.row("notifications", sent.id)
    assert first["read"]
    assert first["read_at"] is not None
    await world.factory.notifications.mark_as_read(sent.id)
    assert (await world.row("notifications", sent.id))["read_at"] == first["read_at"]


@operation("markNotificationAsRead", GRAPHQL)
async def test_mark_notification_as_read_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    other, _ = await world.caller()
    sent = await send_notification(world.factory, user.id, "order", "It is on its way.")
    refused = await other.refusals(READ, id=global_id(sent))
    assert refused[0]["extensions"]["code"] == "NOT_FOUND"
    assert not (await world.row("notifications", sent.id))["read"]
    assert (await caller.ask(READ, id=global_id(sent)))["markNotificationAsRead"]["notification"]["read"]
    assert (await world.row("notifications", sent.id))["read"]


class AnalyticsService:
    """The specification's service: an event goes to ClickHouse, and what it says of a cart is the cart's feature."""

    def __init__(self, factory: Repositories) -> None:
        self.factory = factory

    async def track_user_event(self, event: Mapping[str, Any]) -> None:
        await self.factory.user_events.insert_batch([event], str(event["id"]))
        cart_id = event["metadata"].get("cartId")
        if cart_id is not None:
            feature = FeatureCreate(cart_id=cart_id, name="user_interaction", value=event["event_type"], version="1.0")
            await self.factory.features.create_many([feature])


async def _interaction(world: World, cart_id: UUID) -> list[tuple[str, str, str]]:
    rows = await world.database.fetch("select name, value #>> '{}' as value, version from features where cart_id = $1", cart_id)
    return [(row["name"], row["value"], row["version"]) for row in rows]


@operation("AnalyticsService.trackUserEvent")
async def test_the_analytics_service_tracks_an_event(world: World) -> None:
    user, now, id = await world.user(), world.factory.now(), uuid4()
    cart = await world.factory.carts.create({"user_id": user.id})
    event: dict[str, Any] = {
        "id": id,
        "store_id": None,
        "user_id": user.id,
        "session_id": "visit",
        "client_event_id": None,
        "event_type": "CART_UPDATED",
        "timestamp": now,
        "received_at": now,
        "metadata": {"cartId": str(cart.id)},
        "page_url": "https://shop.example/cart",
        "user_agent": "test",
        "ip_address": "192.0.2.1",
        "is_error": False,
        "error_msg": None,
    }
    for _ in range(2):
        await AnalyticsService(world.factory).track_user_event(event)
    assert await world.factory.user_events.count({"user_id": user.id}) == 1
    stored = await world.factory.user_events.find_by_id(id)
    assert stored is not None
    assert {name: getattr(stored, name) for name in ("event_type", "session_id", "page_url", "ip_address", "metadata")} == {
        name: event[name] for name in ("event_type", "session_id", "page_url", "ip_address", "metadata")
    }
    assert await _interaction(world, cart.id) == [("user_interaction", "CART_UPDATED", "1.0")]


TRACK = "mutation ($input: TrackEventsInput!) { trackEvents(input: $input) { accepted rejected { index message } userErrors { code } } }"


@operation("AnalyticsService.trackUserEvent", GRAPHQL)
async def test_track_an_event_over_graphql(world: World) -> None:
    caller, user = await world.caller()
    cart = await world.factory.carts.create({"user_id": user.id})
    event = {"eventType": "CART_UPDATED", "pageUrl": "https://shop.example/cart", "metadata": {"cartId": global_id(cart)}}
    answer = await caller.ask(TRACK, input={"sessionId": "visit", "events": [event]})
    assert answer["trackEvents"] == {"accepted": 1, "rejected": [], "userErrors": []}
    [stored] = (await world.factory.user_events.find_page(PageRequest(where={"user_id": user.id}))).nodes
    assert (stored.event_type, stored.session_id, stored.page_url, stored.ip_address) == (
        "CART_UPDATED",
        "visit",
        "https://shop.example/cart",
        "127.0.0.1",
    )
    assert await _interaction(world, cart.id) == [("user_interaction", "CART_UPDATED", "1.0")]
