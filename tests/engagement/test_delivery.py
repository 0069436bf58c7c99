"""Messages to a store's own system: signed, tried again, logged, and given up."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import SecretStr
from standardwebhooks import Webhook as Verifier
from standardwebhooks import WebhookVerificationError

from app.api.scalars import encode_id
from app.core.errors import UserError
from app.core.jobs import Worker
from app.engagement.delivery import DELIVER_JOB, KEPT, LATE, Backoff, Deliveries
from app.engagement.happenings import Happenings
from app.engagement.models import WebhookCreate
from app.engagement.outbound import AddressRules, Sender
from app.engagement.webhooks import Webhooks, new_secret
from app.repositories import Repositories
from app.stores.events import HAPPENED_JOB, StoreEvent, happened
from app.stores.models import StoreCreate
from tests.engagement.receiving import Receiver, receiving
from tests.serving import eventually

SOON = Backoff(attempts=4, first=timedelta(milliseconds=10), factor=2)
LOOPBACK = AddressRules(loopback=True)


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
async def hook(repositories: Repositories, receiver: Receiver) -> Any:
    return await new_hook(repositories, receiver.url)


async def new_hook(repositories: Repositories, url: str, **values: Any) -> Any:
    store = await repositories.stores.create_with_settings(StoreCreate(name="Tea", domain=f"{uuid4().hex}.example.com"))
    given = {"store_id": store.id, "url": url, "event_type": StoreEvent.ORDER_CREATED, "secret": SecretStr(new_secret()), **values}
    return await repositories.webhooks.create(WebhookCreate(**given))


async def opened(repositories: Repositories, hook: Any) -> UUID:
    """A delivery that waits for its first attempt."""
    payload = {"type": "order.created", "data": {"orderId": "1"}}
    (id,) = await repositories.webhook_deliveries.open_for(hook.store_id, StoreEvent.ORDER_CREATED, uuid4(), payload)
    return id


def deliveries(repositories: Repositories, *, failures: int = 3, backoff: Backoff = SOON, timeout: float = 5) -> Deliveries:
    return Deliveries(repositories, Sender(LOOPBACK, timeout), failures, backoff)


async def attempt(repositories: Repositories, id: UUID, attempts: int = 0, **options: Any) -> Any:
    """One attempt at a delivery; the delivery after it."""
    await deliveries(repositories, **options).deliver({"id": str(id), "attempts": attempts})
    return await repositories.webhook_deliveries.get_by_id(id)


async def ended(repositories: Repositories, id: UUID, **options: Any) -> Any:
    """A delivery after all the attempts that it takes."""
    for number in range(SOON.attempts + 1):
        row = await attempt(repositories, id, number, **options)
        if row.status != "PENDING":
            return row
    raise AssertionError("it goes on for ever")


@asynccontextmanager
async def working(repositories: Repositories) -> AsyncIterator[None]:
    worker = Worker(repositories.database.dsn)
    worker.job(HAPPENED_JOB, Happenings(repositories).tell)
    worker.job(DELIVER_JOB, deliveries(repositories).deliver)
    async with worker.running():
        yield


async def test_an_event_is_delivered_signed_to_the_store_s_webhook_alone(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    other = await new_hook(repositories, receiver.url)
    await new_hook(repositories, receiver.url, store_id=hook.store_id, event_type=StoreEvent.ORDER_COMPLETED)
    await new_hook(repositories, receiver.url, store_id=hook.store_id, is_active=False)
    order_id = uuid4()
    async with working(repositories):
        async with repositories.transaction() as tx:
            await happened(tx, StoreEvent.ORDER_CREATED, [hook.store_id], Order=order_id)
        await eventually(lambda: _delivered(repositories))
    (message,) = receiver.messages
    body = Verifier(hook.secret).verify(message.body, message.headers)
    assert body["type"] == "order.created"
    assert body["data"] == {"storeId": encode_id("Store", hook.store_id), "orderId": encode_id("Order", order_id)}
    with pytest.raises(WebhookVerificationError):
        Verifier(other.secret).verify(message.body, message.headers)
    (row,) = await repositories.webhook_deliveries.find_many({})
    assert (row.status, row.attempts, row.response_status, row.error) == ("DELIVERED", 1, 204, None)
    assert message.headers["webhook-id"] == str(row.event_id)
    assert (await repositories.webhooks.get_by_id(hook.id)).last_triggered_at is not None


async def _delivered(repositories: Repositories) -> bool:
    return await repositories.webhook_deliveries.exists({"status": "DELIVERED"})


async def test_what_is_rolled_back_is_told_to_nobody_and_what_is_told_twice_is_delivered_once(
    repositories: Repositories, hook: Any
) -> None:
    with pytest.raises(RuntimeError):
        async with repositories.transaction() as tx:
            await happened(tx, StoreEvent.ORDER_CREATED, [hook.store_id], Order=uuid4())
            raise RuntimeError("stop")
    told = {"id": str(uuid4()), "event": "ORDER_CREATED", "at": "2026-01-01T00:00:00Z", "store_ids": [str(hook.store_id)], "subjects": {}}
    await asyncio.gather(*(Happenings(repositories).tell(told) for _ in range(4)))
    assert await repositories.webhook_deliveries.count() == 1


async def test_a_failure_is_tried_again_by_a_job_of_its_own_under_the_same_id(
    repositories: Repositories, receiver: Receiver, hook: Any
) -> None:
    receiver.statuses = [500, 429, 200]
    async with working(repositories):
        async with repositories.transaction() as tx:
            await happened(tx, StoreEvent.ORDER_CREATED, [hook.store_id])
        await eventually(lambda: _delivered(repositories), 40)
    assert len(receiver.messages) == 3
    assert len({message.headers["webhook-id"] for message in receiver.messages}) == 1
    for message in receiver.messages:
        Verifier(hook.secret).verify(message.body, message.headers)
    (row,) = await repositories.webhook_deliveries.find_many({})
    assert (row.attempts, row.response_status, row.next_attempt_at) == (3, 200, None)


async def test_a_failure_says_why_and_when_it_is_tried_again(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    receiver.statuses = [302]
    row = await attempt(repositories, await opened(repositories, hook))
    assert (row.status, row.attempts, row.response_status) == ("PENDING", 1, 302)
    assert row.error == "answered 302; redirects are not followed"
    assert row.next_attempt_at is not None
    assert receiver.elsewhere == []


async def test_who_does_not_answer_is_tried_again(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    receiver.seconds = 1
    row = await attempt(repositories, await opened(repositories, hook), timeout=0.1)
    assert (row.status, row.response_status, row.error) == ("PENDING", None, "no answer within 0.1 seconds")
    assert row.duration_ms >= 90


async def test_the_same_attempt_made_twice_is_counted_once(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    receiver.statuses = [500]
    id = await opened(repositories, hook)
    await asyncio.gather(*(attempt(repositories, id) for _ in range(3)))
    row = await repositories.webhook_deliveries.get_by_id(id)
    assert row.attempts == 1
    assert (await attempt(repositories, id)).attempts == 1


async def test_deliveries_that_fail_in_a_row_make_a_webhook_inactive(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    receiver.statuses = [500]
    for count in (1, 2):
        row = await ended(repositories, await opened(repositories, hook))
        assert (row.status, row.attempts, row.next_attempt_at) == ("FAILED", SOON.attempts, None)
        now = await repositories.webhooks.get_by_id(hook.id)
        assert (now.failure_count, now.is_active) == (count, True)
    waiting = await opened(repositories, hook)
    await ended(repositories, await opened(repositories, hook))
    now = await repositories.webhooks.get_by_id(hook.id)
    assert (now.failure_count, now.is_active) == (3, False)
    sent = len(receiver.messages)
    assert (await attempt(repositories, waiting)).error == "the webhook is inactive"
    assert len(receiver.messages) == sent


async def test_a_success_between_failures_keeps_a_webhook_active(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    for status in (500, 200, 500, 200):
        receiver.statuses = [status]
        await ended(repositories, await opened(repositories, hook), failures=2)
    now = await repositories.webhooks.get_by_id(hook.id)
    assert (now.failure_count, now.is_active) == (0, True)


async def test_an_address_that_is_gone_is_not_tried_again(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    receiver.statuses = [410]
    assert (await attempt(repositories, await opened(repositories, hook))).status == "FAILED"
    assert not (await repositories.webhooks.get_by_id(hook.id)).is_active


async def test_an_address_of_our_own_network_is_not_tried_at_all(repositories: Repositories) -> None:
    hook = await new_hook(repositories, "https://169.254.169.254/latest/meta-data/")
    row = await attempt(repositories, await opened(repositories, hook))
    assert (row.status, row.error) == ("FAILED", "the URL leads to an address that is not public")


async def test_both_secrets_sign_while_one_is_replaced(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    webhooks = Webhooks(LOOPBACK, timedelta(hours=1))
    issued = await webhooks.rotate_secret(repositories, hook.id)
    assert issued.secret != hook.secret
    await attempt(repositories, await opened(repositories, hook))
    for secret in (hook.secret, issued.secret):
        Verifier(secret).verify(receiver.messages[-1].body, receiver.messages[-1].headers)

    await repositories.webhooks.update_by_id(hook.id, {"previous_secret_expires_at": repositories.now() - timedelta(seconds=1)})
    await attempt(repositories, await opened(repositories, hook))
    Verifier(issued.secret).verify(receiver.messages[-1].body, receiver.messages[-1].headers)
    with pytest.raises(WebhookVerificationError):
        Verifier(hook.secret).verify(receiver.messages[-1].body, receiver.messages[-1].headers)


async def test_an_ended_delivery_is_made_again_as_it_was(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    webhooks, id = Webhooks(LOOPBACK, timedelta()), await opened(repositories, hook)
    with pytest.raises(UserError, match="still tried"):
        await webhooks.redeliver(repositories, id)
    await attempt(repositories, id)
    again = await webhooks.redeliver(repositories, id)
    assert (again.status, again.attempts, again.response_status) == ("PENDING", 0, None)
    await attempt(repositories, id)
    first, second = receiver.messages
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    await repositories.webhooks.update_by_id(hook.id, {"is_active": False})
    with pytest.raises(UserError, match="inactive"):
        await webhooks.redeliver(repositories, id)


async def test_a_delivery_whose_job_is_lost_is_taken_up_and_the_log_ends(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    late, old = await opened(repositories, hook), await opened(repositories, hook)
    now = repositories.now()
    await repositories.webhook_deliveries.update_by_id(late, {"next_attempt_at": now - LATE * 2})
    await repositories.webhook_deliveries.update_by_id(old, {"created_at": now - KEPT * 2, "next_attempt_at": now})
    await deliveries(repositories).remove_old()
    assert await repositories.webhook_deliveries.count() == 1
    async with working(repositories):
        await deliveries(repositories).take_up_lost()
        await eventually(lambda: _delivered(repositories))
    assert len(receiver.messages) == 1


@pytest.mark.parametrize("chance", [0.0, 0.5, 0.999])
def test_attempts_take_longer_and_longer_and_no_more_than_a_day(chance: float) -> None:
    backoff = Backoff(chance=lambda: chance)
    waits = [wait for attempts in range(1, 50) if (wait := backoff.after(attempts)) is not None]
    assert waits == sorted(waits)
    assert waits[0] <= timedelta(seconds=5)
    assert timedelta(hours=6) < sum(waits, timedelta()) <= timedelta(days=1)


async def test_orders_are_told_in_the_transaction_that_makes_them_so(repositories: Repositories, receiver: Receiver, hook: Any) -> None:
    user = await repositories.users.create({"email": "buyer@example.com", "username": "buyer"})
    order = await repositories.orders.create({"user_id": user.id, "store_id": hook.store_id, "items_total": 10, "total": 10})
    await repositories.webhooks.update_by_id(hook.id, {"event_type": "ORDER_CANCELLED"})
    async with working(repositories):
        await repositories.orders.cancel(order.id)
        await eventually(lambda: _delivered(repositories))
    (message,) = receiver.messages
    body = Verifier(hook.secret).verify(message.body, message.headers)
    assert (body["type"], body["data"]["orderId"]) == ("order.cancelled", encode_id("Order", order.id))
