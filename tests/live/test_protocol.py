"""What is wrong by graphql-transport-ws ends the connection with the protocol's close codes; what is right is answered."""

import asyncio
from typing import Any

import orjson
import pytest
from websockets.exceptions import InvalidStatus

from tests.live.conftest import Gateway
from tests.live.shopping import Shopper
from tests.live.speaking import CARTS, ORDERS, acquainted, speaking
from tests.serving import gateway, listening, running_app, settings_for

QUERY = "{ products(first: 1) { nodes { name } } }"
SUBSCRIBE: dict[str, Any] = {"type": "subscribe", "id": "1", "payload": {"query": QUERY}}


async def test_a_query_is_answered_once(live: Gateway) -> None:
    async with speaking(live.url) as speaker:
        await speaker.init()
        await speaker.subscribe("query ($first: Int!) { products(first: $first) { nodes { name } } }", first=2)
        assert len((await speaker.next())["products"]["nodes"]) == 2
        assert await speaker.hear() == {"type": "complete", "id": "1"}
        await speaker.subscribe(QUERY)
        assert (await speaker.next())["products"]["nodes"]


async def test_a_mutation_is_carried_out(live: Gateway, shopper: Shopper) -> None:
    add = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { itemCount } userErrors { message } } }"
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe(add, input={"productId": live.product_id, "quantity": 3})
        assert (await speaker.next())["addToCart"]["cart"] == {"itemCount": 3}
        assert (await speaker.hear())["type"] == "complete"
    assert (await shopper.ask("{ myCart { itemCount } }"))["myCart"] == {"itemCount": 3}


async def test_pings_are_answered_before_and_after_the_acknowledgement(live: Gateway) -> None:
    async with speaking(live.url) as speaker:
        await speaker.say(type="ping")
        assert await speaker.hear() == {"type": "pong"}
        await speaker.init()
        await speaker.say(type="ping", payload={"sent": 1})
        assert await speaker.hear() == {"type": "pong", "payload": {"sent": 1}}
        await speaker.say(type="pong")
        await speaker.say(type="complete", id="unknown")
        await speaker.nothing(0.2)


@pytest.mark.parametrize("protocol", ["graphql-ws", "soap", None])
async def test_another_subprotocol_is_not_spoken(live: Gateway, protocol: str | None) -> None:
    async with speaking(live.url, protocol=None, **({"Sec-WebSocket-Protocol": protocol} if protocol else {})) as speaker:
        assert await speaker.closed() == (4406, "Subprotocol not acceptable")


BEFORE: dict[str, tuple[Any, int]] = {
    "subscribe": (SUBSCRIBE, 4401),
    "not JSON": ("{", 4400),
    "a number": (5, 4400),
    "null": (None, 4400),
    "a list": ([SUBSCRIBE], 4400),
    "no type": ({"id": "1"}, 4400),
    "a type that is no text": ({"type": ["ping"]}, 4400),
    "an unknown type": ({"type": "start", "id": "1"}, 4400),
    "a server's message": ({"type": "connection_ack"}, 4400),
    "bytes": (b'{"type":"ping"}', 4400),
    "payload of init": ({"type": "connection_init", "payload": "token"}, 4400),
    "a token that is no text": ({"type": "connection_init", "payload": {"Authorization": 5}}, 4400),
    "another scheme": ({"type": "connection_init", "payload": {"Authorization": "Basic YTpi"}}, 4400),
    "a token of nobody": ({"type": "connection_init", "payload": {"token": "nobody"}}, 4401),
    "complete without id": ({"type": "complete"}, 4400),
}


@pytest.mark.parametrize("case", BEFORE)
async def test_flaws_before_the_acknowledgement(live: Gateway, case: str) -> None:
    message, code = BEFORE[case]
    async with speaking(live.url) as speaker:
        await _send(speaker, message)
        assert (await speaker.closed())[0] == code


AFTER: dict[str, tuple[Any, int]] = {
    "init": ({"type": "connection_init"}, 4429),
    "no id": ({"type": "subscribe", "payload": {"query": QUERY}}, 4400),
    "an empty id": ({**SUBSCRIBE, "id": ""}, 4400),
    "an id that is no text": ({**SUBSCRIBE, "id": ["1"]}, 4400),
    "a long id": ({**SUBSCRIBE, "id": "x" * 257}, 4400),
    "no payload": ({"type": "subscribe", "id": "1"}, 4400),
    "a payload that is a list": ({**SUBSCRIBE, "payload": [{"query": QUERY}]}, 4400),
    "no query": ({**SUBSCRIBE, "payload": {}}, 4400),
    "a query that is no text": ({**SUBSCRIBE, "payload": {"query": 5}}, 4400),
    "variables that are a list": ({**SUBSCRIBE, "payload": {"query": QUERY, "variables": []}}, 4400),
}


@pytest.mark.parametrize("case", AFTER)
async def test_flaws_after_the_acknowledgement(live: Gateway, case: str) -> None:
    message, code = AFTER[case]
    async with speaking(live.url) as speaker:
        await speaker.init()
        await _send(speaker, message)
        assert (await speaker.closed())[0] == code


async def _send(speaker: Any, message: Any) -> None:
    await speaker.socket.send(message if isinstance(message, (str, bytes)) else orjson.dumps(message).decode())


async def test_an_id_belongs_to_one_operation_at_a_time(live: Gateway, shopper: Shopper) -> None:
    async with acquainted(live.url, shopper) as speaker:
        await speaker.subscribe(ORDERS, "same")
        await speaker.subscribe(CARTS, "same")
        assert await speaker.closed() == (4409, "Subscriber for same already exists")


async def test_an_id_is_free_again_once_its_operation_is_over(live: Gateway, shopper: Shopper) -> None:
    async with acquainted(live.url, shopper) as speaker:
        for _ in range(3):
            await speaker.subscribe(CARTS, "same")
            await speaker.say(type="complete", id="same")
        await speaker.subscribe(CARTS, "same")
        await asyncio.sleep(0.3)
        await shopper.fill_cart(live.product_id)
        assert (await speaker.next("same"))["cartUpdated"]["itemCount"] == 1


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "syntax": ("subscription {", {}, "GRAPHQL_PARSE_FAILED"),
    "an unknown field": ("subscription { nothing }", {}, "GRAPHQL_VALIDATION_FAILED"),
    "two root fields": ("subscription { orderUpdated { id } cartUpdated { id } }", {}, "GRAPHQL_VALIDATION_FAILED"),
    "too deep": (f"subscription {{ orderUpdated {{ {'cart { order { ' * 8} id {'} } ' * 8} }} }}", {}, "TOO_COMPLEX"),
    "too many aliases": (f"subscription {{ orderUpdated {{ {' '.join(f'a{n}: id' for n in range(40))} }} }}", {}, "TOO_COMPLEX"),
    "too many tokens": (f"subscription {{ orderUpdated {{ {'id ' * 6000} }} }}", {}, "GRAPHQL_PARSE_FAILED"),
    "a variable of another type": ("subscription ($id: ID) { orderUpdated(orderId: $id) { id } }", {"id": {}}, "BAD_USER_INPUT"),
    "another kind of id": ('subscription { orderUpdated(orderId: "x") { id } }', {}, "BAD_USER_INPUT"),
    "an order of nobody": (
        'subscription { orderUpdated(orderId: "T3JkZXI6MDAwMDAwMDAtMDAwMC0wMDAwLTAwMDAtMDAwMDAwMDAwMDAw") { id } }',
        {},
        "NOT_FOUND",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_an_operation_that_may_not_run_is_refused_and_the_connection_stays(live: Gateway, shopper: Shopper, case: str) -> None:
    query, variables, code = REFUSED[case]
    async with acquainted(live.url, shopper) as speaker:
        await speaker.say(type="subscribe", id="1", payload={"query": query, "variables": variables})
        message = await speaker.hear()
        assert (message["type"], message["id"]) == ("error", "1"), message
        assert {error["extensions"]["code"] for error in message["payload"]} == {code}, message
        await speaker.subscribe(QUERY)
        assert (await speaker.next())["products"]


async def test_visitors_have_no_orders_and_no_notifications(live: Gateway) -> None:
    async with speaking(live.url) as speaker:
        await speaker.init()
        for id, field in enumerate(("orderUpdated", "notificationReceived")):
            await speaker.subscribe(f"subscription {{ {field} {{ id }} }}", str(id))
            message = await speaker.hear()
            assert message["payload"][0]["extensions"]["code"] == "UNAUTHENTICATED"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
async def test_pages_of_other_sites_get_no_connection(live: Gateway, shopper: Shopper, origin: str) -> None:
    cookie = f"session={shopper.headers['Authorization'].partition(' ')[2]}"
    with pytest.raises(InvalidStatus) as refused:
        async with speaking(live.url, Origin=origin, Cookie=cookie):
            pass
    assert refused.value.response.status_code == 403


async def test_a_page_of_this_host_subscribes_by_its_session_cookie(live: Gateway, shopper: Shopper) -> None:
    cookie = f"session={shopper.headers['Authorization'].partition(' ')[2]}"
    async with speaking(live.url, Origin=live.url, Cookie=cookie) as speaker:
        await speaker.init()
        await speaker.subscribe("{ me { email } }")
        assert await speaker.next() == {"me": {"email": shopper.email}}


async def test_an_allowed_origin_may_connect(database_url: str) -> None:
    settings = settings_for(database_url, cors_origins=("https://shop.example",))
    async with running_app(settings) as app, listening(app) as url, speaking(url, Origin="https://shop.example") as speaker:
        await speaker.init()


async def test_a_token_in_the_payload_wins_over_the_cookie(live: Gateway, shopper: Shopper, stranger: Shopper) -> None:
    cookie = f"session={stranger.headers['Authorization'].partition(' ')[2]}"
    async with speaking(live.url, Cookie=cookie) as speaker:
        await speaker.init({"token": shopper.headers["Authorization"].partition(" ")[2]})
        await speaker.subscribe("{ me { email } }")
        assert await speaker.next() == {"me": {"email": shopper.email}}


async def test_limits(database_url: str) -> None:
    settings = settings_for(
        database_url, live_init_timeout=0.3, live_operations=2, live_connections_per_user=2, live_connections_per_address=4
    )
    async with running_app(settings) as app, listening(app) as url, gateway(settings_for(database_url)) as caller:
        shopper = await Shopper(caller.http).join()
        async with speaking(url) as late:
            assert await late.closed(2) == (4408, "Connection initialisation timeout")
        async with acquainted(url, shopper) as first, acquainted(url, shopper):
            for id in ("1", "2", "3"):
                await first.subscribe(ORDERS, id)
            message = await first.hear()
            assert (message["type"], message["id"]) == ("error", "3")
            assert message["payload"][0]["extensions"]["code"] == "TOO_MANY_SUBSCRIPTIONS"
            async with speaking(url) as third:
                await third.say(type="connection_init", payload=shopper.headers)
                assert (await third.closed())[0] == 1013
            async with speaking(url), speaking(url):
                with pytest.raises(InvalidStatus) as refused:
                    async with speaking(url):
                        pass
                assert refused.value.response.status_code == 429
                assert int(refused.value.response.headers["retry-after"]) > 0
        async with acquainted(url, shopper):
            pass


async def test_messages_are_bounded_in_size_and_number(live: Gateway) -> None:
    async with speaking(live.url) as speaker:
        await speaker.say(type="ping", payload={"x": "x" * 1_100_000})
        assert (await speaker.closed())[0] == 1009
    async with speaking(live.url) as flooding:
        for _ in range(600):
            await flooding.say(type="pong")
        assert (await flooding.closed())[0] == 1008


async def test_subscribing_too_often_is_refused(database_url: str) -> None:
    settings = settings_for(database_url, rate_limits=True, rate_limit_per_address=5)
    async with running_app(settings) as app, listening(app) as url, speaking(url) as speaker:
        await speaker.init()
        for n in range(8):
            await speaker.subscribe("{ __typename }", str(n))
        kinds = [await speaker.hear() for _ in range(12)]
        limited = [message["payload"][0]["extensions"] for message in kinds if message["type"] == "error"]
        assert len(limited) == 4
        assert {extensions["code"] for extensions in limited} == {"RATE_LIMITED"}
        assert all(extensions["retryAfter"] > 0 for extensions in limited)
        with pytest.raises(InvalidStatus) as refused:
            async with speaking(url):
                pass
        assert refused.value.response.status_code == 429


async def test_only_trusted_documents_are_run(database_url: str, tmp_path: Any) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text('{"abc": "{ products { totalCount } }"}')
    settings = settings_for(database_url, trusted_documents="only", trusted_documents_file=manifest)
    async with running_app(settings) as app, listening(app) as url, speaking(url) as speaker:
        await speaker.init()
        await speaker.subscribe(QUERY)
        assert (await speaker.hear())["payload"][0]["extensions"]["code"] == "DOCUMENT_NOT_TRUSTED"
        await speaker.say(type="subscribe", id="1", payload={"documentId": "abc"})
        assert await speaker.next() == {"products": {"totalCount": 0}}
