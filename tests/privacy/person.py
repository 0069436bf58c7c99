"""A person who has left traces wherever the gateway keeps any, and what finds them."""

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx
from uuid_utils.compat import uuid7

from app.accounts.mail import MAIL_JOB
from app.accounts.models import address_hash
from app.analytics.repository import EventSpoolRepository, encoded
from app.api.scalars import decode_id, encode_id
from app.carts.recovery import Recovery
from app.core.clickhouse import ClickHouse
from app.core.security import token_hash
from app.repositories import Repositories
from app.stores.models import StoreCreate
from tests.mail_server import Mailbox
from tests.serving import SIGN_UP, Caller

EMAIL = "Robin.Quillfeather@example.com"
PASSWORD = "plum-harbour-lantern-9"
ADDRESS, AGENT, VISIT = "198.51.100.77", "QuillBrowser/9.7", "visit-of-quill"
PLACE = {"X-Forwarded-For": ADDRESS, "User-Agent": AGENT}

ADD = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } cartToken userErrors { code message } } }"
CONTACT = "mutation ($input: SetCartEmailInput!) { setCartEmail(input: $input) { cart { id } userErrors { code } } }"
PROFILE = "mutation ($input: UpdateProfileInput!) { updateProfile(input: $input) { user { id } userErrors { code } } }"
KEY = "mutation ($input: CreateApiKeyInput!) { createApiKey(input: $input) { keySecret userErrors { code } } }"
ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { code } } }"
PAY = "mutation ($input: ProcessPaymentInput!) { processPayment(input: $input) { order { id } userErrors { code } } }"
CANCEL = "mutation ($id: ID!) { cancelOrder(input: { id: $id }) { order { id } userErrors { code } } }"
REFUND = "mutation ($input: RefundPaymentInput!) { refundPayment(input: $input) { order { id } userErrors { code } } }"
NOTIFY = "mutation ($input: SendNotificationInput!) { sendNotification(input: $input) { sent userErrors { code } } }"
HOOK = "mutation ($input: CreateWebhookInput!) { createWebhook(input: $input) { secret userErrors { code } } }"
TRACK = "mutation ($input: TrackEventsInput!) { trackEvents(input: $input) { accepted userErrors { code } } }"
RESET = "mutation ($email: String!) { requestPasswordReset(input: { email: $email }) { requested } }"
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { code } } }"
DELETE = "mutation ($password: String!) { deleteAccount(input: { password: $password }) { deleted userErrors { code field message } } }"


async def done(caller: Caller, document: str, **variables: Any) -> dict[str, Any]:
    """The payload of a mutation that takes effect."""
    [payload] = (await caller.ask(document, **variables)).values()
    assert payload.get("userErrors", []) == [], payload
    return dict(payload)


def elsewhere(http: httpx.AsyncClient, token: str | None = None) -> Caller:
    """The person's own device."""
    caller = Caller(http, token)
    caller.headers = {**caller.headers, **PLACE}
    return caller


@dataclass
class Person:
    """Who it is, the order that stays, and the words by which it can be found."""

    id: UUID
    caller: Caller
    key: Caller
    order: str
    words: list[str] = field(default_factory=list)


async def buy(caller: Caller, product: str, key: str, token: str | None) -> str:
    """An order, paid with a token of the test provider or not at all."""
    cart = (await done(caller, ADD, input={"productId": product}))["cart"]["id"]
    order = (await done(caller, ORDER, input={"cartId": cart, "paymentMethod": "card", "idempotencyKey": key}))["order"]["id"]
    if token is not None:
        await caller.ask(PAY, input={"orderId": order, "paymentToken": token, "idempotencyKey": key})
    return str(order)


async def shop_around(me: Caller, id: UUID, product: str, administrator: Caller) -> str:
    """Orders that are paid, given back in part, and declined; a cart that is left; a notification."""
    bought = await buy(me, product, f"order of {EMAIL}", "tok_success")
    await buy(me, product, f"another order of {EMAIL}", "tok_declined")
    await done(administrator, REFUND, input={"orderId": bought, "amount": "1", "reason": "Robinetta asked", "idempotencyKey": "refund-1"})
    await done(me, ADD, input={"productId": product})
    user = encode_id("User", id)
    await done(administrator, NOTIFY, input={"userId": user, "type": "order", "message": "Dear Robinetta, your tea is on its way."})
    return bought


async def work_in_background(me: Caller, id: UUID, repositories: Repositories) -> None:
    """A cart is won back, a check finds the account, and a mail waits to be sent."""
    async with repositories.transaction() as tx:
        await tx.carts.update_many({"status": "ACTIVE"}, {"updated_at": tx.now() - timedelta(hours=3)})
    await Recovery(repositories).run()
    await done(me, PROFILE, input={"acceptsReminders": False})
    await repositories.quality_anomalies.create(
        {"type": "INVALID_FORMAT", "table_name": "users", "record_id": str(id), "sample_data": [{"email": EMAIL, "username": "robinquill"}]}
    )
    await repositories.enqueue_later(timedelta(hours=1), MAIL_JOB, kind="PASSWORD_RESET", email=EMAIL.upper(), ip_address=ADDRESS)


async def leave_traces(http: httpx.AsyncClient, administrator: Caller, repositories: Repositories, mailbox: Mailbox) -> Person:
    """Live through everything that leaves traces of a person, by the API where it has a way."""
    store = await repositories.stores.create_with_settings(StoreCreate(name="Tea shop", domain="tea.example.com"))
    shop = encode_id("Store", store.id)
    created = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { product { id } userErrors { code } } }"
    product = (await done(administrator, created, input={"name": "Tea", "price": "5", "storeIds": [shop]}))["product"]["id"]
    await repositories.inventory.set_on_hand(decode_id(product, "Product", "id"), 100)
    await done(administrator, HOOK, input={"storeId": shop, "url": "https://hooks.example.com/", "eventType": "ORDER_CREATED"})

    guest = elsewhere(http)
    left = await done(guest, ADD, input={"productId": product})
    guest.headers["X-Cart-Token"] = left["cartToken"]
    await done(guest, CONTACT, input={"cartId": left["cart"]["id"], "email": EMAIL.lower()})
    await done(
        elsewhere(http), TRACK, input={"sessionId": VISIT, "events": [{"eventType": "PAGE_VIEW", "pageUrl": "https://tea.example.com/"}]}
    )

    given = {"email": EMAIL, "username": "robinquill", "password": PASSWORD, "firstName": "Robinetta", "lastName": "Quillfeather"}
    token = (await done(elsewhere(http), SIGN_UP, input=given))["session"]["token"]
    me = elsewhere(http, token)
    id = decode_id((await me.ask("{ me { id } }"))["me"]["id"], "User", "id")
    await mailbox.last_to(EMAIL, "Is this your address?")
    await done(me, PROFILE, input={"phone": "+4915112345678", "imageUrl": "https://img.example/quill.png"})
    secret = (await done(me, KEY, input={"name": "Quill's till", "scopes": ["carts:read"]}))["keySecret"]
    await elsewhere(http).ask(SIGN_IN, input={"email": EMAIL, "password": "wrong"})
    await elsewhere(http).ask(RESET, email=EMAIL)
    await mailbox.last_to(EMAIL, "Your new password")

    event = {"eventType": "PAGE_VIEW", "clientEventId": "quill-1", "pageUrl": f"https://tea.example.com/?mail={EMAIL}"}
    failed = {"eventType": "SEARCH", "metadata": {"who": EMAIL, "name": "Robinetta"}, "isError": True, "errorMsg": f"no {EMAIL}"}
    await done(me, TRACK, input={"sessionId": VISIT, "events": [event, failed]})
    waiting = {
        **dict.fromkeys(("store_id", "client_event_id", "error_msg")),
        "event_type": "PAGE_VIEW",
        "timestamp": repositories.now(),
        "received_at": repositories.now(),
        "page_url": f"https://tea.example.com/?mail={EMAIL}",
        "user_agent": AGENT,
        "ip_address": ADDRESS,
        "is_error": False,
        "session_id": VISIT,
    }
    lines = encoded([{**waiting, "id": uuid7(), "user_id": id}, {**waiting, "id": uuid7(), "user_id": None}])
    async with repositories.transaction() as tx:
        await tx.of(EventSpoolRepository).add(uuid7(), 2, lines, 100)
        await tx.event_spool.update_many({}, {"due_at": tx.now() + timedelta(hours=1)})

    bought = await shop_around(me, id, product, administrator)
    await work_in_background(me, id, repositories)
    words = [EMAIL, "robinquill", "Robinetta", "Quill", "+4915112345678", ADDRESS, VISIT, address_hash(EMAIL), token_hash(token)]
    words += [token_hash(left["cartToken"]), secret.partition(".")[0]]
    return Person(id, me, Caller(http, secret), bought, words)


# --- What finds them


async def found_in_postgres(connection: asyncpg.Connection, words: list[str]) -> dict[str, set[str]]:
    """By word, the columns of all tables in which it is, whatever its case; also in byte columns and in the queue of jobs."""
    columns = await connection.fetch(
        "select table_name, column_name, data_type from information_schema.columns join pg_class on relname = table_name "
        "where table_schema = 'public' and relkind = 'r' and data_type in ('text', 'character varying', 'jsonb', 'bytea', 'ARRAY', 'json')"
    )
    found: dict[str, set[str]] = {word: set() for word in words}
    for table, column, kind in columns:
        text = f"encode({column}, 'escape')" if kind == "bytea" else f"{column}::text"
        query = f"select word from unnest($1::text[]) word where exists (select from {table} where strpos(lower({text}), lower(word)) > 0)"
        for row in await connection.fetch(query, words):
            found[row["word"]].add(f"{table}.{column}")
    return found


async def found_in_clickhouse(clickhouse: ClickHouse, words: list[str]) -> dict[str, set[str]]:
    """By word, the tables in any stored version of whose rows it is."""
    found: dict[str, set[str]] = {word: set() for word in words}
    tables = await clickhouse.fetch("SELECT name FROM system.tables WHERE database = currentDatabase() AND engine LIKE '%MergeTree'")
    for table in (row["name"] for row in tables):
        for word in words:
            query = f"SELECT count() FROM {table} WHERE positionCaseInsensitive(formatRow('JSONEachRow', *), {{word:String}}) > 0"
            if await clickhouse.fetch_value(query, {"word": word}):
                found[word].add(table)
    return found
