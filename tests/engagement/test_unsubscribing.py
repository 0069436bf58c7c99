"""From a cart that is left to an order, and to the end of all reminders, over HTTP and SMTP, by the gateway's own jobs."""

from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import pytest

from app.accounts.models import address_hash
from app.carts.recovery import Recovery
from app.catalog.models import ProductCreate
from app.resources import Resources, open_resources
from app.stores.models import StoreCreate
from tests.accounts.mailing import Shop, mailing
from tests.conftest import fresh_database
from tests.leaving import token_in
from tests.serving import Caller, settings_for
from tests.shop import ids

ADD = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id version } cartToken userErrors { code } } }"
TELL = "mutation ($input: SetCartEmailInput!) { setCartEmail(input: $input) { cart { id } userErrors { field code } } }"
RESTORE = """mutation ($input: RestoreCartInput!) { restoreCart(input: $input) {
  cart { id status itemCount } cartToken userErrors { field code } } }"""
PROFILE = """mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) {
  user { acceptsReminders } userErrors { field code } } }"""
ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { code } } }"
BROWSER = {"Sec-Fetch-Site": "same-origin", "Origin": "http://gateway"}
ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture(scope="module")
async def dsn(postgres: str, migrated: str) -> AsyncIterator[str]:
    async with fresh_database(postgres, migrated) as dsn:
        yield dsn


@pytest.fixture(scope="module")
async def shop(dsn: str) -> AsyncIterator[Shop]:
    async with mailing(dsn) as shop:
        yield shop


@pytest.fixture(scope="module")
async def beside(dsn: str) -> AsyncIterator[Resources]:
    """What another process has over the same database, and a product to buy."""
    async with open_resources(settings_for(dsn)) as resources:
        yield resources


@pytest.fixture(scope="module")
async def product(beside: Resources) -> str:
    repositories = beside.repositories
    store = await repositories.stores.create_with_settings(StoreCreate(name="Tea shop", domain="tea.example.com"))
    given = ProductCreate(name="Green tea", price=Decimal(10), store_ids=frozenset({store.id}))
    tea = await repositories.products.create_in_stores(given)
    await repositories.inventory.set_on_hand(tea.id, 1_000)
    return ids(id=tea)["id"]


async def left(shop: Shop, beside: Resources) -> None:
    """Two hours later."""
    await shop.sql("update carts set updated_at = now() - interval '2 hours' where status = 'ACTIVE'")
    await Recovery(beside.repositories).run()
    await shop.idle()


async def reminder(shop: Shop, address: str) -> Any:
    await shop.mailbox.last_to(address, "Your cart at Tea shop")
    return shop.mailbox.to(address, "Your cart at Tea shop")[-1]


def path_of(mail: Any) -> str:
    """Of the link that ends reminders."""
    return str(mail["List-Unsubscribe"]).strip("<>").removeprefix("https://shop.example")


async def test_a_guest_comes_back_by_the_link_and_orders_with_an_account(shop: Shop, beside: Resources, product: str) -> None:
    added = (await shop.caller.ask(ADD, input={"productId": product}))["addToCart"]
    visitor = Caller(shop.caller.http)
    visitor.headers = {"X-Cart-Token": added["cartToken"]}
    for email, error in (("no address", [{"field": ["email"], "code": "INVALID"}]), ("guest@example.com", [])):
        told = (await visitor.ask(TELL, input={"cartId": added["cart"]["id"], "email": email}))["setCartEmail"]
        assert told["userErrors"] == error
    await left(shop, beside)
    token = token_in(await reminder(shop, "guest@example.com"))
    response = await shop.caller.post(RESTORE, {"input": {"token": token}}, **BROWSER)
    restored = response.json()["data"]["restoreCart"]
    assert restored["cart"] == {"id": added["cart"]["id"], "status": "ACTIVE", "itemCount": 1}
    assert response.cookies["cart"] == restored["cartToken"] != added["cartToken"]
    shop.caller.http.cookies.clear()
    ann, _ = await shop.sign_up()
    taken = (await ann.ask(RESTORE, input={"token": token}))["restoreCart"]
    assert (taken["cart"]["itemCount"], taken["cartToken"]) == (1, None)
    made = (await ann.ask(ORDER, input={"cartId": taken["cart"]["id"], "paymentMethod": "card"}))["createOrder"]
    assert made["userErrors"] == []
    assert await shop.sql("select count(*) from recovery_events where status = 'RECOVERED'") == 1
    late = (await shop.caller.ask(RESTORE, input={"token": token}))["restoreCart"]
    assert late == {"cart": None, "cartToken": None, "userErrors": [{"field": ["token"], "code": "NOT_FOUND"}]}


async def test_one_click_ends_all_reminders(shop: Shop, beside: Resources, product: str) -> None:
    ann, email = await shop.sign_up()
    await ann.ask(ADD, input={"productId": product})
    await left(shop, beside)
    mail = await reminder(shop, email)
    path, http = path_of(mail), shop.caller.http

    page = await http.get(path)
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert '<form method="post">' in page.text
    assert await shop.sql("select count(*) from mail_opt_outs") == 0
    assert (await ann.ask("{ me { acceptsReminders } }"))["me"] == {"acceptsReminders": True}

    for _ in range(2):
        done = await http.post(path, data=ONE_CLICK)
        assert (done.status_code, len(done.cookies), len(done.history)) == (200, 0, 0)
    assert await shop.sql("select array_agg(address_hash) from mail_opt_outs") == [address_hash(email)]
    assert (await ann.ask("{ me { acceptsReminders } }"))["me"] == {"acceptsReminders": False}

    await shop.sql("update recovery_events set status = 'EXPIRED', sent_at = now() - interval '30 days' where status = 'SENT'")
    await ann.ask(ADD, input={"productId": product})
    await left(shop, beside)
    assert len(shop.mailbox.to(email, "Your cart")) == 1
    assert await shop.sql("select count(*) from recovery_events where status = 'SUPPRESSED'") == 1


async def test_a_link_is_good_whole_and_for_what_it_is(shop: Shop, beside: Resources, product: str) -> None:
    ann, email = await shop.sign_up()
    await ann.ask(ADD, input={"productId": product})
    await left(shop, beside)
    mail, before = await reminder(shop, email), await shop.sql("select count(*) from mail_opt_outs")
    for path in (path_of(mail)[:-1], f"/unsubscribe/{token_in(mail)}", "/unsubscribe/x", f"/unsubscribe/{'x' * 4_000}"):
        for method in ("GET", "POST"):
            assert (await shop.caller.http.request(method, path)).status_code == 404
    assert (await shop.caller.http.put(path_of(mail))).status_code == 405
    assert await shop.sql("select count(*) from mail_opt_outs") == before


async def test_an_account_says_whether_it_accepts_reminders(shop: Shop) -> None:
    ann, email = await shop.sign_up()
    off, on = ({"acceptsReminders": accepts} for accepts in (False, True))
    assert (await ann.ask(PROFILE, input=on))["updateProfile"] == {"user": {"acceptsReminders": True}, "userErrors": []}
    for _ in range(2):
        assert (await ann.ask(PROFILE, input=off))["updateProfile"] == {"user": {"acceptsReminders": False}, "userErrors": []}
    refusal = {"user": None, "userErrors": [{"field": ["acceptsReminders"], "code": "FORBIDDEN"}]}
    assert (await ann.ask(PROFILE, input={**on, "firstName": "Ann"}))["updateProfile"] == refusal
    assert await shop.sql("select first_name from users where email = $1", email) is None
    await shop.sql("update users set email_verified = true where email = $1", email)
    assert (await ann.ask(PROFILE, input=on))["updateProfile"]["user"] == {"acceptsReminders": True}
    null = (await ann.ask(PROFILE, input={"acceptsReminders": None}))["updateProfile"]["userErrors"]
    assert null == [{"field": ["acceptsReminders"], "code": "INVALID"}]
