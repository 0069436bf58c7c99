"""Webhooks and notifications as their mutations make, change and show them."""

from typing import Any
from uuid import uuid4

import pytest

from app.core.security import Viewer, ViewerKind
from app.engagement.delivery import DELIVER_JOB
from app.engagement.repository import MAX_WEBHOOKS, Attempted
from app.stores.events import StoreEvent
from tests.leaving import sql
from tests.shop import Shop, ids

HOOK = "webhook { id url eventType isActive failureCount previousSecretExpiresAt store { id } }"
KEEPER = ("webhooks:read", "webhooks:write")
URL = "https://hooks.example.com/hook"
QUEUED = "select count(*) from pgqueuer where entrypoint = $1"


def refusals(payload: dict[str, Any]) -> list[tuple[Any, str]]:
    return [(error["field"], error["code"]) for error in payload["userErrors"]]


@pytest.fixture
async def keeper(shop: Shop) -> Viewer:
    """Staff who keep the store's webhooks."""
    return await shop.viewer(ViewerKind.STAFF, *KEEPER)


async def changed(shop: Shop, viewer: Viewer, name: str, shown: str, kind: str = "IdInput", **input: Any) -> Any:
    document = f"mutation ($input: {kind}!) {{ {name}(input: $input) {{ {shown} userErrors {{ field code }} }} }}"
    answer = await shop.ask(viewer, document, input=input)
    assert "errors" not in answer, answer
    return answer["data"][name]


async def made(shop: Shop, viewer: Viewer, **input: Any) -> Any:
    given = {**ids(storeId=shop.store), "url": URL, "eventType": "ORDER_CREATED", **input}
    return await shop.change(viewer, "createWebhook", f"{HOOK} secret", **given)


async def test_a_webhook_is_made_and_its_secret_shown_once(shop: Shop, keeper: Viewer) -> None:
    payload = await made(shop, keeper)
    assert payload["userErrors"] == []
    hook = payload["webhook"]
    assert (hook["url"], hook["eventType"], hook["isActive"], hook["store"]) == (URL, "ORDER_CREATED", True, ids(id=shop.store))
    assert payload["secret"].startswith("whsec_")
    found = await shop.ask(keeper, '{ webhooks { nodes { id url metadata } } __type(name: "Webhook") { fields { name } } }')
    assert [node["id"] for node in found["data"]["webhooks"]["nodes"]] == [hook["id"]]
    assert payload["secret"] not in str(found)
    assert not {"secret", "previousSecret"} & {field["name"] for field in found["data"]["__type"]["fields"]}


@pytest.mark.parametrize(
    "url", ["http://hooks.example.com/", "https://localhost/", "https://10.0.0.1/", "https://[::1]/", "ftp://example.com", "nothing"]
)
async def test_an_address_that_nothing_may_be_sent_to_is_refused(shop: Shop, keeper: Viewer, url: str) -> None:
    assert refusals(await made(shop, keeper, url=url)) == [(["url"], "INVALID")]
    id = (await made(shop, keeper))["webhook"]["id"]
    payload = await shop.change(keeper, "updateWebhook", HOOK, id=id, url=url)
    assert refusals(payload) == [(["url"], "INVALID")]
    assert [row.url for row in await shop.repositories.webhooks.find_many({})] == [URL]


async def test_a_store_has_so_many_webhooks_and_staff_their_own_stores(shop: Shop, keeper: Viewer) -> None:
    other = await shop.open_store()
    assert refusals(await made(shop, keeper, **ids(storeId=other))) == [(["storeId"], "NOT_FOUND")]
    for _ in range(MAX_WEBHOOKS):
        assert (await made(shop, keeper))["userErrors"] == []
    assert refusals(await made(shop, keeper)) == [(["storeId"], "LIMIT_EXCEEDED")]
    assert await shop.repositories.webhooks.count() == MAX_WEBHOOKS


async def test_an_update_changes_what_it_says_and_forgives_failures(shop: Shop, keeper: Viewer) -> None:
    id = (await made(shop, keeper))["webhook"]["id"]
    await shop.repositories.webhooks.update_many({}, {"is_active": False, "failure_count": 7})
    kept = await shop.change(keeper, "updateWebhook", HOOK, id=id, eventType="CART_ABANDONED")
    assert (kept["webhook"]["eventType"], kept["webhook"]["isActive"], kept["webhook"]["failureCount"]) == ("CART_ABANDONED", False, 7)
    again = await shop.change(keeper, "updateWebhook", HOOK, id=id, isActive=True)
    assert (again["webhook"]["url"], again["webhook"]["isActive"], again["webhook"]["failureCount"]) == (URL, True, 0)


async def test_a_secret_is_replaced_and_the_former_one_good_for_a_while(shop: Shop, keeper: Viewer) -> None:
    first = await made(shop, keeper)
    payload = await changed(shop, keeper, "rotateWebhookSecret", f"{HOOK} secret", id=first["webhook"]["id"])
    assert (payload["userErrors"], payload["secret"] != first["secret"]) == ([], True)
    assert payload["webhook"]["previousSecretExpiresAt"] is not None
    [row] = await shop.repositories.webhooks.find_many({})
    assert (row.secret, row.previous_secret) == (payload["secret"], first["secret"])


async def test_a_webhook_goes_with_its_log(shop: Shop, keeper: Viewer) -> None:
    id = (await made(shop, keeper))["webhook"]["id"]
    await shop.repositories.webhook_deliveries.open_for(shop.store.id, StoreEvent.ORDER_CREATED, uuid4(), {"type": "order.created"})
    assert await changed(shop, keeper, "deleteWebhook", "deleted", id=id) == {"deleted": True, "userErrors": []}
    assert refusals(await changed(shop, keeper, "deleteWebhook", "deleted", id=id)) == [(["id"], "NOT_FOUND")]
    assert await shop.repositories.webhook_deliveries.count() == 0


async def test_a_message_is_delivered_again_when_it_has_ended(shop: Shop, keeper: Viewer) -> None:
    await made(shop, keeper)
    deliveries = shop.repositories.webhook_deliveries
    [id] = await deliveries.open_for(shop.store.id, StoreEvent.ORDER_CREATED, uuid4(), {"type": "order.created"})
    row, shown = await deliveries.get_by_id(id), "delivery { status attempts payload }"
    assert refusals(await changed(shop, keeper, "redeliverWebhook", shown, **ids(id=row))) == [(["id"], "CONFLICT")]
    await deliveries.settle(row, Attempted(False, shop.repositories.now(), error="answered 500"))
    before = await sql(shop, QUEUED, DELIVER_JOB)
    payload = await changed(shop, keeper, "redeliverWebhook", shown, **ids(id=row))
    assert payload["delivery"] == {"status": "PENDING", "attempts": 0, "payload": {"type": "order.created"}}
    assert await sql(shop, QUEUED, DELIVER_JOB) == before + 1
    log = await shop.ask(keeper, "{ webhooks { nodes { deliveries { totalCount nodes { status error } } } } }")
    assert log["data"]["webhooks"]["nodes"] == [{"deliveries": {"totalCount": 1, "nodes": [{"status": "PENDING", "error": None}]}}]


async def test_notifications_are_sent_listed_and_read(shop: Shop) -> None:
    ann, bob = await shop.viewer(), await shop.viewer()
    boss = await shop.viewer(ViewerKind.ADMINISTRATOR, "*:*")
    reader = await shop.repositories.users.get_by_id(ann.user_id)  # type: ignore[arg-type]
    for number in range(3):
        input = {**ids(userId=reader), "type": "news", "message": f"News {number}", "priority": "HIGH"}
        assert await shop.change(boss, "sendNotification", "sent", **input) == {"sent": True, "userErrors": []}
    bad = await shop.change(boss, "sendNotification", "sent", **ids(userId=reader), type="news", message=" ")
    assert [field for field, _ in refusals(bad)] == [["message"]]
    shown = "query ($unread: Boolean!) { notifications(unreadOnly: $unread) { totalCount nodes { id message priority read readAt } } }"
    listed = (await shop.ask(ann, shown, unread=True))["data"]["notifications"]
    assert [node["message"] for node in listed["nodes"]] == ["News 2", "News 1", "News 0"]
    first = listed["nodes"][0]["id"]
    stranger = await changed_or_errors(shop, bob, first)
    assert stranger == ["NOT_FOUND"]
    read = await changed(shop, ann, "markNotificationAsRead", "notification { read readAt }", id=first)
    again = await changed(shop, ann, "markNotificationAsRead", "notification { read readAt }", id=first)
    assert (read["notification"]["read"], read) == (True, again)
    document = "mutation { markAllNotificationsAsRead { read userErrors { code } } }"
    assert [(await shop.ask(ann, document))["data"]["markAllNotificationsAsRead"]["read"] for _ in range(2)] == [2, 0]
    assert (await shop.ask(ann, shown, unread=True))["data"]["notifications"]["totalCount"] == 0
    assert (await shop.ask(ann, shown, unread=False))["data"]["notifications"]["totalCount"] == 3
    assert (await shop.ask(bob, shown, unread=False))["data"]["notifications"]["totalCount"] == 0


async def changed_or_errors(shop: Shop, viewer: Viewer, id: str) -> list[str]:
    document = "mutation ($input: IdInput!) { markNotificationAsRead(input: $input) { notification { id } userErrors { code } } }"
    answer = await shop.ask(viewer, document, input={"id": id})
    return [error["extensions"]["code"] for error in answer.get("errors", ())]
