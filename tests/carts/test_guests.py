"""Carts of those who have not signed in: whose they are, and how they become an account's."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import asyncpg
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.applications import Starlette

from app.carts.merging import merged
from app.carts.models import MAX_LINE_QUANTITY, MAX_LINES
from app.carts.offers import Offer
from app.core.security import guest, new_token, token_hash
from app.seed.people import SHOPPER
from tests.conftest import fresh_database
from tests.serving import Caller, reached, running_app, settings_for
from tests.shop import Shop, refused

PRODUCTS = "{ products(first: 20) { nodes { id price inventory { available } stores { id } } } }"
ADD = """mutation ($input: AddToCartInput!) { addToCart(input: $input) {
  cart { id total itemCount user { id } items { quantity availability product { id } } } cartToken userErrors { field code } } }"""
UPDATE = "mutation ($input: UpdateCartItemInput!) { updateCartItem(input: $input) { cart { itemCount } userErrors { field code } } }"
REMOVE = "mutation ($input: RemoveFromCartInput!) { removeFromCart(input: $input) { cart { itemCount } userErrors { field code } } }"
MINE = "{ myCart { id itemCount total } }"
ONE = "query ($id: ID!) { cart(id: $id) { id items { quantity } } node(id: $id) { id } }"
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { session { token user { id } } userErrors { code } } }"
SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } userErrors { code message } } }"
OWN = {"Origin": "http://gateway", "Sec-Fetch-Site": "same-origin"}


@pytest.fixture(scope="module")
async def dsn(postgres: str, demo: str) -> AsyncIterator[str]:
    async with fresh_database(postgres, demo) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def app(dsn: str) -> AsyncIterator[Starlette]:
    async with running_app(settings_for(dsn)) as app:
        yield app


@pytest.fixture
async def caller(app: Starlette) -> AsyncIterator[Caller]:
    async with reached(app) as caller:
        yield caller


class Guest:
    """Somebody without an account, who keeps the token of its carts."""

    def __init__(self, caller: Caller, token: str | None = None) -> None:
        self.caller = caller
        self.token = token

    async def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        headers = {"X-Cart-Token": self.token} if self.token else {}
        response = await self.caller.post(query, variables, **headers)
        body: dict[str, Any] = response.json()
        assert "errors" not in body, body
        return body["data"]  # type: ignore[no-any-return]

    async def add(self, product: str, quantity: int = 1, **more: Any) -> dict[str, Any]:
        payload: dict[str, Any] = (await self.ask(ADD, input={"productId": product, "quantity": quantity, **more}))["addToCart"]
        assert payload["userErrors"] == [], payload
        self.token = payload["cartToken"]
        return payload["cart"]  # type: ignore[no-any-return]


async def for_sale(caller: Caller) -> list[dict[str, Any]]:
    """Products of one store, with pieces to sell."""
    nodes = (await caller.ask(PRODUCTS))["products"]["nodes"]
    store = nodes[0]["stores"][0]["id"]
    return [node for node in nodes if node["stores"][0]["id"] == store and node["inventory"]["available"] >= 12]


async def test_a_guest_has_a_cart_by_its_token(caller: Caller) -> None:
    tea, pot, *_ = await for_sale(caller)
    ann = Guest(caller)
    first = await ann.add(tea["id"], 2)
    assert (first["user"], first["itemCount"]) == (None, 2)
    assert len(ann.token or "") >= 43
    token = ann.token
    second = await ann.add(pot["id"])
    assert (second["id"], second["itemCount"], ann.token) == (first["id"], 3, token)
    assert (await ann.ask(MINE))["myCart"]["itemCount"] == 3
    assert len((await ann.ask(ONE, id=first["id"]))["cart"]["items"]) == 2
    changed = await ann.ask(UPDATE, input={"cartId": first["id"], "productId": tea["id"], "quantity": 5})
    assert changed["updateCartItem"] == {"cart": {"itemCount": 6}, "userErrors": []}
    removed = await ann.ask(REMOVE, input={"cartId": first["id"], "productId": tea["id"]})
    assert removed["removeFromCart"]["cart"] == {"itemCount": 1}


async def test_nobody_else_has_it(caller: Caller) -> None:
    tea, *_ = await for_sale(caller)
    ann = Guest(caller)
    cart = await ann.add(tea["id"])
    shopper = await caller.sign_in(SHOPPER.email, SHOPPER.password)
    other = Guest(caller)
    await other.add(tea["id"])
    for stranger in (Guest(caller), other, Guest(caller, new_token()), Guest(caller, "x" * 5000), Guest(caller, "*"), shopper):
        assert await stranger.ask(ONE, id=cart["id"]) == {"cart": None, "node": None}
        for document, name, more in ((UPDATE, "updateCartItem", {"quantity": 3}), (REMOVE, "removeFromCart", {})):
            payload = (await stranger.ask(document, input={"cartId": cart["id"], "productId": tea["id"], **more}))[name]
            assert payload == {"cart": None, "userErrors": [{"field": ["cartId"], "code": "NOT_FOUND"}]}
    assert (await Guest(caller).ask(MINE))["myCart"] is None
    assert (await ann.ask(MINE))["myCart"]["itemCount"] == 1


async def test_a_guest_may_do_nothing_else_with_its_token(caller: Caller) -> None:
    tea, *_ = await for_sale(caller)
    ann = Guest(caller)
    cart = await ann.add(tea["id"])
    order = 'mutation ($id: ID!) { createOrder(input: { cartId: $id, paymentMethod: "card" }) { order { id } } }'
    for document in (order, "query ($id: ID!) { carts { nodes { id } } cart(id: $id) { id } }", "{ orders { nodes { id } } }"):
        response = await caller.post(document, {"id": cart["id"]} if "$id" in document else None, **{"X-Cart-Token": ann.token or ""})
        assert {error["extensions"]["code"] for error in response.json()["errors"]} == {"UNAUTHENTICATED"}


async def test_the_token_is_stored_as_its_hash_and_never_the_callers_choice(caller: Caller, dsn: str) -> None:
    tea, *_ = await for_sale(caller)
    ann = Guest(caller, "chosen-by-the-caller")
    await ann.add(tea["id"])
    assert ann.token not in (None, "chosen-by-the-caller")
    connection = await asyncpg.connect(dsn, timeout=10)
    stored = await connection.fetchval("select count(*) from carts where cart_token_hash = $1", token_hash(ann.token or ""))
    plain = await connection.fetchval("select count(*) from carts c where to_jsonb(c)::text like '%' || $1 || '%'", ann.token)
    await connection.close()
    assert (stored, plain) == (1, 0)


async def test_signing_in_takes_the_cart_over_and_voids_the_token(caller: Caller) -> None:
    tea, pot, *_ = await for_sale(caller)
    name = f"guest{uuid4().hex[:8]}"
    account = {"email": f"{name}@example.com", "username": name, "password": "correct horse battery"}
    early = Guest(caller)
    await early.add(tea["id"], 2)
    signed_up = await early.ask(SIGN_UP, input=account)
    ann = Caller(caller.http, signed_up["signUp"]["session"]["token"])
    mine = (await ann.ask(MINE))["myCart"]
    assert mine["itemCount"] == 2
    assert await early.ask(MINE) == {"myCart": None}
    late = Guest(caller)
    await late.add(tea["id"], 3)
    cart = await late.add(pot["id"], 1)
    signed_in = (await late.ask(SIGN_IN, input={"email": account["email"], "password": account["password"]}))["signIn"]
    again = Caller(caller.http, signed_in["session"]["token"])
    assert (await again.ask(MINE))["myCart"] == {
        "id": mine["id"],
        "itemCount": 6,
        "total": str(5 * Decimal(tea["price"]) + Decimal(pot["price"])),
    }
    assert await late.ask(ONE, id=cart["id"]) == {"cart": None, "node": None}
    assert (await late.ask(MINE))["myCart"] is None
    assert (await again.ask("{ carts { totalCount } }"))["carts"]["totalCount"] == 1
    ordered = 'mutation ($id: ID!) { createOrder(input: { cartId: $id, paymentMethod: "card" }) { order { total } userErrors { code } } }'
    assert (await again.ask(ordered, id=mine["id"]))["createOrder"]["userErrors"] == []
    await Guest(caller, late.token).add(tea["id"])


async def post(caller: Caller, query: str, headers: dict[str, str], **variables: Any) -> httpx.Response:
    return await caller.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)


async def test_a_browser_keeps_the_token_as_a_cookie(caller: Caller) -> None:
    tea, *_ = await for_sale(caller)
    added = await post(caller, ADD, OWN, input={"productId": tea["id"]})
    name, _, rest = added.headers["Set-Cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert (name, value) == ("cart", added.json()["data"]["addToCart"]["cartToken"])
    assert {"HttpOnly", "Path=/", "SameSite=lax", "Max-Age=2592000"} <= set(attributes)
    assert (await post(caller, MINE, OWN)).json()["data"]["myCart"]["itemCount"] == 1
    foreign = await post(caller, ADD, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, input={"productId": tea["id"]})
    assert foreign.status_code == 403
    signed_in = await post(caller, SIGN_IN, OWN, input={"email": SHOPPER.email, "password": SHOPPER.password})
    cookies = {cookie.partition("=")[0]: cookie for cookie in signed_in.headers.get_list("Set-Cookie")}
    assert set(cookies) == {"session", "cart"}
    assert "Max-Age=0" in cookies["cart"]
    assert "cart" not in caller.http.cookies
    assert (await post(caller, MINE, OWN)).json()["data"]["myCart"]["itemCount"] >= 1


async def test_a_caller_that_is_no_browser_gets_no_cookie(caller: Caller) -> None:
    tea, *_ = await for_sale(caller)
    for headers in ({}, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}):
        assert "Set-Cookie" not in (await post(caller, ADD, headers, input={"productId": tea["id"]})).headers


async def test_carts_begun_from_one_network_are_limited(dsn: str, app: Starlette) -> None:
    async with running_app(settings_for(dsn, rate_limits=True, guest_carts_per_hour=2)) as limited, reached(limited) as caller:
        tea, *_ = await for_sale(caller)
        first, second, third = Guest(caller), Guest(caller), Guest(caller)
        await first.add(tea["id"])
        await second.add(tea["id"])
        payload = (await third.ask(ADD, input={"productId": tea["id"]}))["addToCart"]
        assert (payload["cart"], payload["cartToken"], payload["userErrors"]) == (
            None,
            None,
            [{"field": ["cartId"], "code": "LIMIT_EXCEEDED"}],
        )
        assert (await first.add(tea["id"]))["itemCount"] == 2


# --- Merging


async def guest_cart(shop: Shop, *lines: tuple[Any, int]) -> tuple[str, Any]:
    token = new_token()
    for product, quantity in lines:
        cart = await shop.of(guest(token)).carts.put_in(None, product.id, quantity)
    return token_hash(token), cart


async def held(shop: Shop, cart: Any) -> dict[Any, tuple[int, Decimal]]:
    items = await shop.repositories.cart_items.find_by_cart_id(cart.id)
    return {item.product_id: (item.quantity, item.price) for item in items}


async def test_quantities_are_added_up_to_what_is_there_at_prices_of_now(shop: Shop) -> None:
    ann, tea, pot, cup = await shop.viewer(), await shop.product("2.00", stock=7), await shop.product("5.00"), await shop.product("9.00")
    own = await shop.cart(ann, (tea, 4), (cup, 1))
    hashed, _ = await guest_cart(shop, (tea, 5), (pot, 2))
    await shop.repositories.products.update_by_id(pot.id, {"price": Decimal("5.50")})
    assert ann.user_id is not None
    [cart] = await shop.repositories.guest_carts.give_to(ann.user_id, hashed)
    assert await held(shop, cart) == {tea.id: (7, Decimal(2)), cup.id: (1, Decimal(9)), pot.id: (2, Decimal("5.5"))}
    assert (cart.id, cart.total, cart.version) == (own.id, Decimal("34.00"), own.version + 1)
    assert await shop.repositories.guest_carts.give_to(ann.user_id, hashed) == []


async def test_each_store_has_its_own_cart(shop: Shop) -> None:
    ann, other = await shop.viewer(), await shop.open_store()
    tea, pot = await shop.product(), await shop.product(stores=(other.id,))
    hashed, _ = await guest_cart(shop, (tea, 1), (pot, 2))
    assert ann.user_id is not None
    given = await shop.repositories.guest_carts.give_to(ann.user_id, hashed)
    assert {cart.store_id for cart in given} == {shop.store.id, other.id}
    assert await shop.of(ann).carts.count() == 2
    assert await shop.repositories.carts.count({"cart_token_hash": hashed}) == 0


async def test_sign_ins_that_race_take_a_cart_over_once(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product(stock=1000)
    assert ann.user_id is not None
    hashed, _ = await guest_cart(shop, (tea, 3))
    calls = [shop.repositories.guest_carts.give_to(ann.user_id, hashed) for _ in range(10)]
    adds = [shop.of(ann).carts.put_in(ann.user_id, tea.id, 1) for _ in range(10)]
    await asyncio.gather(*calls, *adds)
    cart = await shop.repositories.carts.find_active_by_user(ann.user_id)
    assert (await held(shop, cart))[tea.id][0] == 13


async def test_old_carts_of_guests_are_removed_and_no_others(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    await shop.cart(ann, (tea, 1))
    hashed, _ = await guest_cart(shop, (tea, 1))
    guests, now = shop.repositories.guest_carts, shop.repositories.now()
    assert await guests.remove_old(now - timedelta(hours=1)) == 0
    assert await guests.is_known(hashed)
    assert await guests.remove_old(now + timedelta(hours=1)) == 1
    assert not await guests.is_known(hashed)
    assert await shop.repositories.carts.count() == 1
    assert await shop.repositories.cart_items.count() == 1


async def test_a_guests_repositories_show_its_carts_alone(shop: Shop) -> None:
    ann, tea = await shop.viewer(), await shop.product()
    cart = await shop.cart(ann, (tea, 1))
    _, guests = await guest_cart(shop, (tea, 2))
    nobody = shop.of(guest(new_token()))
    for id in (cart.id, guests.id):
        assert await nobody.carts.find_by_id(id) is None
        assert await refused(nobody.carts.update_item(id, tea.id, 5)) == ("NOT_FOUND", "cart_id")
    assert await nobody.cart_items.count() == 0
    assert await shop.of(ann).carts.count() == 1


OFFERS = st.builds(
    Offer,
    product_id=st.uuids(),
    quantity=st.integers(1, MAX_LINE_QUANTITY),
    currency=st.sampled_from(("USD", "EUR")),
    price=st.just(Decimal(1)),
    current_price=st.one_of(st.none(), st.just(Decimal(2))),
    is_for_sale=st.booleans(),
    free=st.one_of(st.none(), st.integers(0, 2000)),
)


@given(st.lists(OFFERS, max_size=30, unique_by=lambda offer: offer.product_id), st.integers(0, MAX_LINES))
def test_a_merged_cart_stays_within_its_limits(brought: list[Offer], others: int) -> None:
    own = [Offer(uuid4(), 1, "USD", Decimal(1), None, True, None) for _ in range(others)]
    own = (own + brought[::3])[:MAX_LINES]
    lines = {line["product_id"]: line for line in merged(own, brought, "USD")}
    before = {line.product_id: line.quantity for line in own}
    assert len(before.keys() | lines.keys()) <= MAX_LINES
    for offer in brought:
        if offer.currency != "USD":
            assert offer.product_id not in lines
        elif offer.product_id in lines:
            quantity, had = lines[offer.product_id]["quantity"], before.get(offer.product_id, 0)
            assert max(1, had) <= quantity <= max(1, had, min(MAX_LINE_QUANTITY, had + offer.quantity))
            assert offer.free is None or quantity <= max(1, had, offer.free)
            assert lines[offer.product_id]["price"] == (offer.current_price or offer.price)
