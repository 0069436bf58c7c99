"""What happens to orders and carts becomes events of the platform's own, each once however often the outbox's jobs run."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import orjson
import pytest

from app.analytics.happenings import PlatformEvents
from app.analytics.models import EventSource, UserEvent
from app.analytics.periods import Period
from app.analytics.replay import replay
from app.api.scalars import encode_id
from app.carts.recovery import Recovery
from app.carts.repository import FeatureRequestRepository
from app.core.clickhouse import ClickHouse
from app.core.paging import PageRequest
from app.engagement.features import FeatureStore
from app.engagement.recomputing import Recomputation
from app.orders.models import OrderStatus
from app.repositories import Repositories
from app.stores.events import COUNTED_JOB, HAPPENED_JOB
from app.worker import make_happenings
from tests.engagement.test_feature_requests import SETTLED
from tests.shop import Shop, ids


@pytest.fixture
async def counted(shop: Shop, clickhouse: ClickHouse) -> Repositories:
    """The shop's repositories, with a ClickHouse, and nothing in the outbox."""
    async with shop.database.connection() as connection:
        await connection.execute("delete from pgqueuer")
    return replace(shop.repositories, clickhouse=clickhouse)


async def jobs(shop: Shop, name: str = HAPPENED_JOB) -> list[dict[str, Any]]:
    """The outbox, as it is."""
    async with shop.database.connection() as connection:
        rows = await connection.fetch("select payload from pgqueuer where entrypoint = $1 order by id", name)
    return [orjson.loads(row["payload"]) for row in rows]


async def events(repositories: Repositories, outbox: list[dict[str, Any]]) -> list[UserEvent]:
    """What is stored, oldest first: each job runs twice before its event is replayed, and, by a worker that died late, once after."""
    tell = make_happenings(repositories)
    for arguments in (*outbox, *outbox):
        await tell(arguments)
    await replay(repositories)
    for arguments in outbox:
        await tell(arguments)
    await replay(repositories)
    assert await repositories.event_spool.waiting() == 0
    return list((await repositories.user_events.find_page(PageRequest(last=100))).nodes)[::-1]


async def test_a_cart_is_counted_when_it_is_made_and_not_when_it_changes(shop: Shop, counted: Repositories) -> None:
    viewer = await shop.viewer()
    for product in (await shop.product("2.50"), await shop.product("30.00")):
        cart = (await shop.change(viewer, "addToCart", "cart { id store { id } }", **ids(productId=product)))["cart"]
    tell = PlatformEvents(counted).tell
    (made,) = await jobs(shop, COUNTED_JOB)
    for _ in range(2):
        await tell(made)
    await replay(counted)
    (event,) = (await counted.user_events.find_page(PageRequest(first=10))).nodes
    assert (event.event_type, event.source, event.metadata["cartId"]) == ("CART_CREATED", EventSource.PLATFORM, cart["id"])
    now = counted.now()
    figures = await counted.analytics.overview(Period(now - timedelta(hours=1), now + timedelta(hours=1)))
    assert (figures.carts, figures.orders) == (1, 0)


async def changes(repositories: Repositories) -> list[UserEvent]:
    """What carts that changed have become in ClickHouse, once they have settled and two workers have looked after them."""
    await repositories.database.execute_script(SETTLED)
    store = FeatureStore(repositories, on_settled=PlatformEvents(repositories).tell_changed)
    await asyncio.gather(*(store.compute_requested() for _ in range(2)))
    await replay(repositories)
    found = await repositories.user_events.find_page(PageRequest(first=100, where={"event_type": "CART_UPDATED"}))
    return list(found.nodes)


async def test_a_cart_that_has_changed_is_told_of_once_when_it_has_settled(shop: Shop, counted: Repositories) -> None:
    viewer, cup, pot = await shop.viewer(), await shop.product("2.50"), await shop.product("30.00")
    await shop.cart(viewer, (cup, 1))
    assert await changes(counted) == [], "it was made"
    cart = await shop.cart(viewer, *[(cup, 1)] * 9, (pot, 1))
    assert len(await jobs(shop, COUNTED_JOB)) == 1, "no change is a job"
    await shop.database.execute_script(SETTLED)
    requests = shop.repositories.of(FeatureRequestRepository)
    [dying] = await requests.claim(1)
    for _ in range(2):
        await PlatformEvents(counted).tell_changed(dying)

    [event] = await changes(counted)

    await PlatformEvents(counted).tell_changed(dying)
    await replay(counted)
    assert await changes(counted) == [event]
    assert await counted.user_events.count({"event_type": "CART_UPDATED"}) == 1
    lines = sorted(event.metadata.pop("items"), key=lambda line: line["quantity"])
    assert lines == [
        {"productId": encode_id("Product", pot.id), "quantity": 1, "price": "30.00"},
        {"productId": encode_id("Product", cup.id), "quantity": 10, "price": "2.50"},
    ]
    assert event.metadata == {"cartId": encode_id("Cart", cart.id), "total": "55.00", "currency": "USD"}
    told = (event.source, event.store_id, event.user_id, event.timestamp)
    assert told == (EventSource.PLATFORM, shop.store.id, viewer.user_id, cart.updated_at)

    await shop.cart(viewer, (pot, 1))
    assert len(await changes(counted)) == 2
    await shop.order(viewer, (cup, 1))
    assert len(await changes(counted)) == 2, "it was ordered"


async def test_a_cart_is_not_told_of_where_it_is_asked_for_without_a_change(shop: Shop, counted: Repositories) -> None:
    viewer, tea = await shop.viewer(), await shop.product()
    await shop.cart(viewer, (tea, 1))
    await shop.cart(viewer, (tea, 1))
    async with shop.database.connection() as connection:
        await connection.execute("update carts set updated_at = now() - interval '11 minutes'; delete from feature_requests")
    await FeatureStore(counted, "0.9").compute((await shop.cart(viewer)).id)
    await Recomputation(counted).run()
    assert await shop.repositories.of(FeatureRequestRepository).count() == 1
    assert await changes(counted) == []


async def test_a_cart_that_changes_while_it_is_looked_at_is_told_of_as_it_is_in_the_end(shop: Shop, counted: Repositories) -> None:
    """An event never has the lines of one version and the total of another."""
    viewer, tea = await shop.viewer(), await shop.product("1.00")
    for _ in range(2):
        await shop.cart(viewer, (tea, 1))
    [request] = await shop.repositories.of(FeatureRequestRepository).find_many()
    waits = "select exists (select from pg_locks where relation = 'cart_items'::regclass and not granted)"
    async with asyncio.timeout(10), shop.of(viewer).transaction() as tx:
        assert tx.session.current_transaction is not None
        connection = tx.session.current_transaction.connection
        await connection.execute("lock table cart_items in access exclusive mode")
        telling = asyncio.create_task(PlatformEvents(counted).tell_changed(request))
        while not await connection.fetchval(waits):
            pass
        await tx.carts.put_in(viewer.user_id, tea.id, 1)
    await telling
    [event] = await changes(counted)
    assert (event.metadata["total"], event.metadata["items"][0]["quantity"]) == ("3.00", 3)


async def test_an_order_is_told_of_when_it_is_placed_and_when_it_is_paid(shop: Shop, counted: Repositories) -> None:
    viewer = await shop.viewer()
    cup, pot = await shop.product("2.50"), await shop.product("30.00")
    order = await shop.order(viewer, (cup, 2), (pot, 1))
    before = await jobs(shop)
    paid = await shop.change(viewer, "processPayment", "order { status }", **ids(orderId=order), paymentToken="tok_success")
    assert paid["order"] == {"status": OrderStatus.COMPLETED}

    placed, completed = await events(counted, await jobs(shop))

    assert (placed.event_type, completed.event_type) == ("ORDER_PLACED", "ORDER_COMPLETED")
    assert len(before) == 1
    lines = placed.metadata.pop("items")
    assert sorted(lines, key=lambda line: line["quantity"]) == [
        {"productId": encode_id("Product", pot.id), "quantity": 1, "price": "30.00"},
        {"productId": encode_id("Product", cup.id), "quantity": 2, "price": "2.50"},
    ]
    assert completed.metadata.pop("items") == lines
    for event in (placed, completed):
        assert (event.source, event.store_id, event.user_id) == (EventSource.PLATFORM, shop.store.id, viewer.user_id)
        assert order.cart_id
        about = {"cartId": encode_id("Cart", order.cart_id), "orderId": encode_id("Order", order.id)}
        assert event.metadata == {**about, "total": "35.00", "currency": "USD"}
    assert order.created_at <= placed.timestamp <= completed.timestamp


async def test_a_cart_that_is_left_is_told_of(shop: Shop, counted: Repositories) -> None:
    viewer = await shop.viewer()
    cart = await shop.cart(viewer, (await shop.product("4.00"), 3))
    async with shop.database.connection() as connection:
        await connection.execute("update carts set updated_at = now() - interval '2 hours'")
    assert await Recovery(shop.repositories).abandon_idle() == 1

    (left,) = await events(counted, await jobs(shop))

    assert (left.event_type, left.source, left.user_id) == ("CART_ABANDONED", EventSource.PLATFORM, viewer.user_id)
    assert left.metadata["cartId"] == encode_id("Cart", cart.id)
    assert (left.metadata["total"], left.metadata["items"][0]["quantity"]) == ("12.00", 3)


async def test_what_did_not_happen_is_not_told_of(shop: Shop, counted: Repositories) -> None:
    """An order that is rolled back, something that analytics do not count, and an order that is gone."""
    viewer = await shop.viewer()
    product = await shop.product()
    with pytest.raises(ZeroDivisionError):
        async with shop.of(viewer).transaction() as tx:
            cart = await tx.carts.put_in(viewer.user_id, product.id, 1)
            await tx.orders.create_from_cart(cart.id, "card")
            raise ZeroDivisionError
    assert await jobs(shop) == []
    order = await shop.order(viewer, (product, 1))
    await shop.of(viewer).orders.cancel(order.id)
    created, cancelled = await jobs(shop)
    assert cancelled["event"] == "ORDER_CANCELLED"
    gone = {**created, "subjects": {"Order": str(shop.store.id)}}
    assert await events(counted, [cancelled, gone]) == []
