"""Stripe's events at the running gateway: real sockets on both sides, signed, forged, old, twice, and in the wrong order."""

import hashlib
import hmac
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import httpx
import pytest

from app.catalog.models import ProductCreate
from app.resources import open_resources
from app.stores.models import StoreCreate
from tests.conftest import fresh_database
from tests.orders.stripe_server import SECRET, StripeServer
from tests.serving import SIGN_UP, Caller, listening, running_app, settings_for
from tests.shop import ids

PATH = "/webhooks/payments/stripe"
ADD = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } } }"
PLACE = "mutation ($input: PlaceOrderInput!) { placeOrder(input: $input) { order { id status } userErrors { code } } }"
READ = "query ($id: ID!) { order(id: $id) { status payments { status transactionId } events { kind } } }"
SUCCEEDED, CREATED = "payment_intent.succeeded", "payment_intent.created"


@dataclass
class Till:
    """A gateway that takes money by Stripe, Stripe, and a buyer."""

    http: httpx.AsyncClient
    stripe: StripeServer
    buyer: Caller
    product: str

    async def lost_payment(self, key: str) -> tuple[str, dict[str, Any]]:
        """An order whose payment was made, but whose answer never came; with Stripe's intent."""
        cart = (await self.buyer.ask(ADD, input={"productId": self.product}))["addToCart"]["cart"]["id"]
        known = set(self.stripe.intents)
        self.stripe.broken = {"confirm"}
        input = {"cartId": cart, "paymentMethod": "card", "paymentToken": "pm_card_visa", "idempotencyKey": key}
        placed = (await self.buyer.ask(PLACE, input=input))["placeOrder"]
        self.stripe.broken = set()
        assert [error["code"] for error in placed["userErrors"]] == ["PAYMENT_TIMEOUT"]
        [intent] = [intent for id, intent in self.stripe.intents.items() if id not in known]
        return placed["order"]["id"], intent

    async def order(self, id: str) -> Any:
        return (await self.buyer.ask(READ, id=id))["order"]

    async def tell(self, body: bytes, headers: dict[str, str], path: str = PATH) -> int:
        return (await self.http.post(path, content=body, headers=headers)).status_code


@pytest.fixture(scope="module")
async def till(postgres: str, migrated: str) -> AsyncIterator[Till]:
    stripe = StripeServer()
    async with fresh_database(postgres, migrated) as dsn, listening(stripe.app()) as api:
        given = {"payment_provider": "stripe", "stripe_api_key": "sk_test", "stripe_webhook_secret": SECRET, "stripe_api_url": api}
        settings = settings_for(dsn, **given)
        async with open_resources(settings) as resources:
            store = await resources.repositories.stores.create_with_settings(StoreCreate(name="Tea", domain="tea.example.com"))
            tea = ProductCreate(name="Tea", price=Decimal("12.50"), store_ids=frozenset({store.id}))
            product = await resources.repositories.products.create_in_stores(tea)
            await resources.repositories.inventory.set_on_hand(product.id, 100)
        async with running_app(settings) as app, listening(app) as url, httpx.AsyncClient(base_url=url, timeout=30) as http:
            account = {"email": "ann@example.com", "username": "ann", "password": "correct horse battery"}
            token = (await Caller(http).ask(SIGN_UP, input=account))["signUp"]["session"]["token"]
            yield Till(http, stripe, Caller(http, token), ids(id=product)["id"])


def signed(body: bytes, moment: int, secret: str = SECRET) -> dict[str, str]:
    signature = hmac.new(secret.encode(), f"{moment}.".encode() + body, hashlib.sha256).hexdigest()
    return {"stripe-signature": f"t={moment},v1={signature}"}


async def test_an_event_completes_the_order_once_whatever_comes_when(till: Till) -> None:
    id, intent = await till.lost_payment("events")
    assert (await till.order(id))["status"] == "PENDING"
    done = till.stripe.event("evt_2", SUCCEEDED, intent)
    before = till.stripe.event("evt_1", CREATED, {**intent, "status": "requires_payment_method", "amount_received": 0})
    assert [await till.tell(*event) for event in (done, done, before, before, done)] == [200] * 5
    order = await till.order(id)
    assert (order["status"], order["payments"]) == ("COMPLETED", [{"status": "COMPLETED", "transactionId": intent["id"]}])
    assert [event["kind"] for event in order["events"]] == ["CREATED", "RESERVED", "CHARGED", "COMPLETED"]


async def test_what_is_not_signed_as_it_must_be_changes_nothing(till: Till) -> None:
    id, intent = await till.lost_payment("forged")
    body, good = till.stripe.event("evt_3", SUCCEEDED, intent)
    now = int(time.time())
    forged: list[dict[str, str]] = [
        {},
        {"stripe-signature": ""},
        {"stripe-signature": "t=now,v1=x"},
        signed(body, now, "whsec_other"),
        signed(body, now - 3_600),
        signed(body + b" ", now),
        {"stripe-signature": good["stripe-signature"].replace("v1=", "v0=")},
    ]
    assert [await till.tell(body, headers) for headers in forged] == [400] * len(forged)
    assert await till.tell(body.replace(b"succeeded", b"failed"), good) == 400
    assert await till.tell(body, good, "/webhooks/payments/test") == 404
    assert (await till.http.get(PATH)).status_code == 405
    assert (await till.order(id))["status"] == "PENDING"
    assert await till.tell(body, good) == 200
    assert (await till.order(id))["status"] == "COMPLETED"


async def test_events_of_others_and_of_nothing_are_taken_and_change_nothing(till: Till) -> None:
    id, intent = await till.lost_payment("others")
    for number, metadata in enumerate(({}, {"payment_id": "no id"}, {"payment_id": "00000000-0000-0000-0000-000000000000"})):
        assert await till.tell(*till.stripe.event(f"evt_o{number}", SUCCEEDED, {**intent, "metadata": metadata})) == 200
    body = json.dumps({"id": "evt_o9", "object": "event", "type": "account.updated", "data": {"object": {"object": "account"}}}).encode()
    assert await till.tell(body, signed(body, int(time.time()))) == 200
    assert (await till.order(id))["status"] == "PENDING"


async def test_a_forged_story_is_checked_with_stripe(till: Till) -> None:
    """Even a signed event only says where to look: an intent that Stripe has not charged is not charged."""
    id, intent = await till.lost_payment("story")
    real = {**intent}
    intent |= {"status": "processing", "amount_received": 0}
    assert await till.tell(*till.stripe.event("evt_s1", SUCCEEDED, real)) == 200
    assert (await till.order(id))["status"] == "PENDING"
    intent |= real
    assert await till.tell(*till.stripe.event("evt_s2", SUCCEEDED, real)) == 200
    assert (await till.order(id))["status"] == "COMPLETED"
