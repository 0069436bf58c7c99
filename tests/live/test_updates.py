"""What subscribers are told: of what is theirs, by whichever process it changes, for as long as they may know."""

import asyncio
from typing import Any

import asyncpg
import pytest
from websockets.exceptions import ConnectionClosed

from app.accounts.notices import NOTIFY_JOB
from app.core.jobs import Worker
from app.core.mail import NoMailer
from app.engagement.notices import Notices
from app.resources import Resources
from app.seed.people import ADMINISTRATOR
from tests.live.conftest import Gateway
from tests.live.shopping import Shopper, metric, uuid_of
from tests.live.speaking import CARTS, ORDERS, Speaker, acquainted, speaking, streaming
from tests.serving import Caller, eventually

NOTIFICATIONS = "subscription { notificationReceived { message type priority read } }"
SIGN_OUT = "mutation { signOut { signedOut } }"


async def under_way(live: Gateway, count: int) -> None:
    """Wait until so many subscriptions are: nothing tells a client when its own has begun."""

    async def begun() -> bool:
        return await metric(live.http, "live_subscriptions") == count

    await eventually(begun)


async def told(speaker: Speaker, status: str) -> set[str]:
    """The ids of all orders that are told of, up to the first with this status: what changed just before may be told as well."""
    ids = set()
    while True:
        order = (await speaker.next())["orderUpdated"]
        ids.add(order["id"])
        if order["status"] == status:
            return ids


async def test_a_shopper_is_told_of_the_whole_way_from_cart_to_order(live: Gateway, shopper: Shopper) -> None:
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe(CARTS, "carts")
        await speaker.subscribe(ORDERS, "orders")
        await under_way(live, 2)

        cart = await shopper.fill_cart(live.product_id, 2)
        total = (await shopper.ask("{ myCart { total } }"))["myCart"]["total"]
        shown = {"id": cart, "total": total, "itemCount": 2, "user": {"email": shopper.email}}
        assert (await speaker.next("carts"))["cartUpdated"] == shown
        order = await shopper.order(cart)
        # An order may be told of more than once on its way to the next state.
        heard: dict[str, dict[str, Any]] = {}
        while heard.keys() != {"carts", "orders"}:
            message = await speaker.hear()
            heard[message["id"]] = message["payload"]["data"]
        assert heard["carts"]["cartUpdated"]["id"] == cart
        assert (heard["orders"]["orderUpdated"]["id"], heard["orders"]["orderUpdated"]["status"]) == (order, "PENDING")
        await shopper.cancel(order)
        while (await speaker.next("orders"))["orderUpdated"]["status"] != "CANCELLED":
            pass


async def test_one_order_is_followed_by_its_id(live: Gateway, shopper: Shopper) -> None:
    followed = await shopper.order(await shopper.fill_cart(live.product_id))
    other = await shopper.order(await shopper.fill_cart(live.product_id))
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe("subscription ($orderId: ID) { orderUpdated(orderId: $orderId) { id status } }", orderId=followed)
        await under_way(live, 1)
        await shopper.cancel(other)
        await shopper.cancel(followed)
        assert await told(speaker, "CANCELLED") == {followed}
        await speaker.nothing()


async def test_changes_by_another_process_are_told(live: Gateway, shopper: Shopper, elsewhere: Resources) -> None:
    order = await shopper.order(await shopper.fill_cart(live.product_id))
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe(ORDERS)
        await under_way(live, 1)
        await elsewhere.repositories.orders.cancel(uuid_of(order))
        assert await told(speaker, "CANCELLED") == {order}


async def test_only_new_notifications_of_the_caller_are_told(
    live: Gateway, shopper: Shopper, stranger: Shopper, elsewhere: Resources, database: asyncpg.Connection
) -> None:
    notifications = elsewhere.repositories.notifications
    administrator = await Caller(live.http).sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
    user_id = await database.fetchval("select id from users where email = $1", shopper.email)
    async with (
        acquainted(live.url, shopper) as hers,
        acquainted(live.url, stranger) as other,
        acquainted(live.url, administrator) as staff,
    ):
        for speaker in (hers, other, staff):
            await speaker.subscribe(NOTIFICATIONS)
        await under_way(live, 3)
        sent = await notifications.create({"user_id": user_id, "type": "order", "message": "On its way.", "priority": "HIGH"})
        await notifications.mark_as_read(sent.id)
        found = (await hers.next())["notificationReceived"]
        assert (found["message"], found["type"], found["priority"]) == ("On its way.", "order", "HIGH")
        await hers.nothing()
        await other.nothing(0.1)
        await staff.nothing(0.1)


async def test_a_buyer_is_told_that_its_order_is_confirmed(live: Gateway, shopper: Shopper, elsewhere: Resources) -> None:
    worker = Worker(live.dsn)
    worker.job(NOTIFY_JOB, Notices(elsewhere.repositories, NoMailer(), "https://shop.example").tell)
    place = "mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { order { status } } }"
    order = {"cartId": await shopper.fill_cart(live.product_id), "paymentMethod": "card", "paymentToken": "tok_success"}
    async with acquainted(live.url, shopper) as speaker, worker.running():
        await speaker.subscribe(NOTIFICATIONS)
        await under_way(live, 1)
        assert (await shopper.ask(place, input=order))["placeOrder"]["order"] == {"status": "COMPLETED"}
        told = (await speaker.next())["notificationReceived"]
        assert (told["type"], told["read"]) == ("order_confirmed", False)
        assert "is confirmed" in told["message"]


async def test_nobody_is_told_of_what_is_anothers(live: Gateway, shopper: Shopper, stranger: Shopper) -> None:
    order = await shopper.order(await shopper.fill_cart(live.product_id))
    administrator = await Caller(live.http).sign_in(ADMINISTRATOR.email, ADMINISTRATOR.password)
    async with (
        acquainted(live.url, stranger) as curious,
        acquainted(live.url, administrator) as staff,
        streaming(live.url, stranger, CARTS) as listener,
    ):
        await curious.subscribe(ORDERS, "all")
        await curious.subscribe(f'subscription {{ orderUpdated(orderId: "{order}") {{ id }} }}', "one")
        refused = await curious.hear()
        assert (refused["type"], refused["id"]) == ("error", "one")
        assert refused["payload"][0]["extensions"]["code"] == "NOT_FOUND"
        await staff.subscribe(ORDERS)
        await under_way(live, 3)
        await shopper.cancel(order)
        await shopper.fill_cart(live.product_id)
        assert (await staff.next())["orderUpdated"]["user"] == {"email": shopper.email}
        await curious.nothing()
        with pytest.raises(TimeoutError):
            await listener.event(0.2)


async def test_guests_follow_the_carts_of_their_token_alone(live: Gateway) -> None:
    add = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } cartToken } }"
    first, other = [(await Caller(live.http).ask(add, input={"productId": live.product_id}))["addToCart"] for _ in range(2)]
    guest = Caller(live.http)
    guest.headers = {"X-Cart-Token": first["cartToken"]}
    query = "subscription { cartUpdated { id itemCount } }"
    async with (
        speaking(live.url) as by_payload,
        speaking(live.url, Cookie=f"cart={first['cartToken']}", Origin=live.url) as by_cookie,
        speaking(live.url) as curious,
        speaking(live.url) as nobody,
    ):
        await by_payload.init(guest.headers)
        await by_cookie.init()
        await curious.init({"X-Cart-Token": other["cartToken"]})
        await nobody.init()
        for speaker in (by_payload, by_cookie, curious, nobody):
            await speaker.subscribe(query)
        await under_way(live, 4)
        await curious.subscribe(f'subscription {{ cartUpdated(cartId: "{first["cart"]["id"]}") {{ id }} }}', "one")
        assert (await curious.hear())["payload"][0]["extensions"]["code"] == "NOT_FOUND"
        await guest.ask(add, input={"productId": live.product_id, "quantity": 4})
        for speaker in (by_payload, by_cookie):
            assert (await speaker.next())["cartUpdated"] == {"id": first["cart"]["id"], "itemCount": 5}
        await curious.nothing()
        await nobody.nothing(0.1)


async def test_a_connection_ends_with_its_session(live: Gateway, shopper: Shopper) -> None:
    other = await shopper.again()
    async with (
        acquainted(live.url, shopper) as ending,
        acquainted(live.url, other) as staying,
        streaming(live.url, shopper, CARTS) as stream,
    ):
        await ending.subscribe(ORDERS)
        await staying.subscribe(CARTS)
        await under_way(live, 3)
        await shopper.ask(SIGN_OUT)
        assert (await ending.closed(5))[0] == 4401
        name, data = await stream.event(5)
        assert (name, data["errors"][0]["extensions"]["code"]) == ("next", "UNAUTHENTICATED")
        assert (await stream.event(5))[0] == "complete"
        assert (await stream.event(5))[0] == "end"
        await other.fill_cart(live.product_id)
        assert (await staying.next())["cartUpdated"]["itemCount"] == 1
    await under_way(live, 0)


async def test_nothing_is_told_between_the_end_of_a_session_and_that_of_its_connection(
    live: Gateway, shopper: Shopper, elsewhere: Resources
) -> None:
    cart = await shopper.fill_cart(live.product_id)
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe(ORDERS)
        await under_way(live, 1)
        await shopper.ask(SIGN_OUT)
        order = await elsewhere.repositories.orders.create_from_cart(uuid_of(cart), "card")
        with pytest.raises(ConnectionClosed):
            await speaker.hear(5)
        assert speaker.socket.close_code == 4401
        assert order.status == "PENDING"


async def test_an_account_that_may_not_act_any_more_is_cut_off(
    live: Gateway, shopper: Shopper, elsewhere: Resources, database: asyncpg.Connection
) -> None:
    user_id = await database.fetchval("select id from users where email = $1", shopper.email)
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe(ORDERS)
        await elsewhere.repositories.users.soft_delete(user_id)
        assert (await speaker.closed(5))[0] == 4401


async def test_a_connection_ends_when_the_account_may_do_other_things_than_before(
    live: Gateway, shopper: Shopper, elsewhere: Resources, database: asyncpg.Connection
) -> None:
    user_id = await database.fetchval("select id from users where email = $1", shopper.email)
    analyst = await database.fetchval("select id from roles where name = 'ANALYST'")
    await elsewhere.repositories.users.update_role(user_id, analyst, None)
    await asyncio.sleep(0.2)
    async with acquainted(live.url, shopper) as speaker, streaming(live.url, shopper, CARTS) as stream:
        await speaker.subscribe(ORDERS)
        await under_way(live, 2)
        await elsewhere.repositories.users.update_role(user_id, None, None)
        assert (await speaker.closed(5))[0] == 4403
        assert (await stream.event(5))[0] == "end"


async def test_a_key_subscribes_to_what_its_scopes_name(live: Gateway, shopper: Shopper) -> None:
    create = "mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { keySecret apiKey { id } userErrors { message } } }"
    made = (await shopper.ask(create, input={"name": "Till", "scopes": ["orders:read"]}))["createApiKey"]
    async with speaking(live.url) as speaker:
        await speaker.init({"Authorization": f"Bearer {made['keySecret']}"})
        await speaker.subscribe("subscription { cartUpdated { id } }", "carts")
        refused = await speaker.hear()
        assert (refused["type"], refused["payload"][0]["extensions"]["code"]) == ("error", "FORBIDDEN")
        await speaker.subscribe("subscription { orderUpdated { id status } }", "orders")
        await under_way(live, 1)
        order = await shopper.order(await shopper.fill_cart(live.product_id))
        assert (await speaker.next("orders"))["orderUpdated"]["id"] == order
        revoke = "mutation ($input: IdInput!) { revokeApiKey(input: $input) { userErrors { message } } }"
        await shopper.ask(revoke, input={"id": made["apiKey"]["id"]})
        assert (await speaker.closed(5))[0] == 4401
