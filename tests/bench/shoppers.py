"""A crowd of shoppers over HTTP: how many checkouts a gateway bears, how long each step takes, and whether the books are right afterwards.

Every shopper goes on as long as the load lasts: looks around, fills a cart, signed in or as a guest who then signs in, changes its mind,
uses a voucher, leaves the cart for hours and comes back by a link, orders, pays with cards of all kinds, reads the order back,
and at times cancels it; the administrator gives some of the money back.
"""

import asyncio
import random
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import count
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx
import psutil
from prometheus_client.parser import text_string_to_metric_families

from app.api.scalars import decode_id
from app.carts.models import RecoveryStatus, VoucherCreate
from app.carts.recovery import Recovery
from app.carts.restoring import seal_of
from app.catalog.models import ProductCreate
from app.core.cache import Cache, memory_backend
from app.core.database import Database
from app.core.metrics import Metrics
from app.repositories import Repositories, create_repository_factory
from app.resources import migrate_all
from app.stores.models import StoreCreate, StoreSettingsUpdate
from tests.bench.gateway import process
from tests.bench.process import BenchError
from tests.bench.tables import table
from tests.invariants import INVARIANTS, breaches, left_open
from tests.leaving import KEY, SEALS
from tests.serving import SIGN_UP, Caller, new_administrator

PRODUCTS: Final = 40
SCARCE: Final = 4
"""So many of the products run out."""

CARDS: Final = ("tok_success",) * 6 + ("tok_declined", "tok_insufficient_funds", "tok_timeout", "tok_response_lost", "tok_async")
UNKNOWN: Final = {"PAYMENT_TIMEOUT", "PAYMENT_IN_PROGRESS"}
EXPECTED: Final = UNKNOWN | {"PAYMENT_DECLINED", "PAYMENT_INSUFFICIENT_FUNDS", "OUT_OF_STOCK", "CONFLICT", "VOUCHER_NOT_APPLICABLE"}
"""What a shopper of this shop may be refused for."""

TERMS: Final = StoreSettingsUpdate(shipping_price=Decimal("1.90"), free_shipping_from=Decimal(20), tax_rate=Decimal("7.7"))
VOUCHERS: Final[dict[str, dict[str, Any]]] = {
    "FEW": {"amount": Decimal(1), "max_uses": 20},
    "TENTH": {"percent": Decimal(10)},
    "WELCOME": {"percent": Decimal(25), "once_per_user": True},
}
LEFT: Final = "update carts set updated_at = updated_at - interval '2 hours' where id = $1"
MADE: Final = """select count(*) as orders, count(*) filter (where voucher_id is not null) as with_voucher,
  (select count(*) from recovery_events where status = 'RECOVERED') as won_back from orders"""
REMINDING_SECONDS: Final = 15
SETTLING_SECONDS: Final = 60
SETTINGS: Final = {
    "RATE_LIMITS": "false",
    "RUN_JOBS": "true",
    "PAYMENT_PATIENCE": "3",
    "ORDER_PATIENCE": "3",
    "SIGN_UPS_AT_ONCE": "1000000",
    "GUEST_CARTS_PER_HOUR": "1000000",
    "SECRET_KEY": KEY,
    # What is measured are checkouts, not how dear it is to guess a password: the least that production takes.
    "ARGON2_TIME_COST": "2",
    "ARGON2_MEMORY_KIB": "19456",
    "ARGON2_PARALLELISM": "1",
}
ERRORS: Final = "userErrors { field message code }"
BROWSE: Final = """query Browse($after: String) { products(first: 10, after: $after, orderBy: { field: PRICE, direction: ASC }) {
  nodes { id name price currency inventory { available } } pageInfo { endCursor hasNextPage } } }"""
ADD: Final = f"mutation ($input: AddToCartInput!) {{ addToCart(input: $input) {{ cart {{ id total itemCount }} cartToken {ERRORS} }} }}"
CHANGE: Final = f"mutation ($input: UpdateCartItemInput!) {{ updateCartItem(input: $input) {{ cart {{ id total }} {ERRORS} }} }}"
SIGN_IN: Final = f"mutation ($input: SignInInput!) {{ signIn(input: $input) {{ session {{ token }} {ERRORS} }} }}"
VOUCHER: Final = f"mutation ($input: ApplyVoucherInput!) {{ applyVoucher(input: $input) {{ cart {{ total }} {ERRORS} }} }}"
RESTORE: Final = f"mutation ($input: RestoreCartInput!) {{ restoreCart(input: $input) {{ cart {{ id }} {ERRORS} }} }}"
CART: Final = "{ myCart { id total items { quantity lineTotal priceChanged availability product { id name } } } }"
ORDER: Final = f"mutation ($input: CreateOrderInput!) {{ createOrder(input: $input) {{ order {{ id }} {ERRORS} }} }}"
PAY: Final = f"mutation ($input: ProcessPaymentInput!) {{ processPayment(input: $input) {{ order {{ id status }} {ERRORS} }} }}"
PLACE: Final = f"mutation ($input: PlaceOrderInput!) {{ placeOrder(input: $input) {{ order {{ id status }} {ERRORS} }} }}"
READ: Final = """query ($id: ID!) { order(id: $id) { number status total currency items { name quantity price }
  payments { amount status } events { kind } } }"""
CANCEL: Final = f"mutation ($input: IdInput!) {{ cancelOrder(input: $input) {{ order {{ status }} {ERRORS} }} }}"
REFUND: Final = f"mutation ($input: RefundPaymentInput!) {{ refundPayment(input: $input) {{ order {{ id }} {ERRORS} }} }}"


@dataclass
class Seen:
    """What the crowd has seen: milliseconds by operation, refusals by code, and how many orders were completed."""

    milliseconds: dict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    refusals: Counter[str] = field(default_factory=Counter)
    checkouts: int = 0

    def rows(self) -> list[list[str]]:
        return [
            [name, f"{len(times):,}", f"{percentile(times, 50):.1f} ms", f"{percentile(times, 99):.1f} ms"]
            for name, times in sorted(self.milliseconds.items())
        ]


@dataclass
class Figures:
    """How a load went, and what the database says of it. `busy` are the seconds that the gateway kept a core busy."""

    seen: Seen
    shoppers: int
    seconds: float
    in_database: float
    busy: float
    deadlocks: int
    orders: int
    with_voucher: int
    won_back: int
    wrong: Sequence[str]

    def summary(self) -> dict[str, Any]:
        return {**vars(self), "seen": vars(self.seen)}

    def lines(self) -> list[str]:
        requests = sum(map(len, self.seen.milliseconds.values()))
        refused = ", ".join(f"{code} {number:,}" for code, number in self.seen.refusals.most_common())
        done = f"{self.seen.checkouts:,} checkouts completed, {self.seen.checkouts / self.seconds:.1f} a second"
        return [
            f"{self.shoppers} shoppers for {self.seconds:.0f} s: {done}; {self.in_database:.0%} of the time of requests is statements.",
            f"{requests:,} requests, each {self.busy / requests * 1000:.1f} ms of the gateway's CPU, with the jobs beside them.",
            f"{self.deadlocks} deadlocks; {len(self.wrong)} breaches of {len(INVARIANTS)} invariants over {self.orders:,} orders.",
            f"{self.with_voucher:,} orders used a voucher, {self.won_back:,} were of carts that a mail won back.",
            f"Refused: {refused}.",
            "",
            *table(["operation", "requests", "p50", "p99"], self.seen.rows()),
        ]


class Shopper:
    """Somebody with an account, who shops until told to stop."""

    def __init__(self, http: httpx.AsyncClient, seen: Seen, name: str, boss: Caller, hours: "Hours", chance: random.Random) -> None:
        self.http, self.seen, self.boss, self.hours, self.chance = http, seen, boss, hours, chance
        self.account = {"email": f"{name}@example.com", "password": "correct horse battery"}
        self.visitor = self.caller = Caller(http)
        self.forgetful = chance.random() < 0.25
        """Whether the first cart is left, so that also a short load sees some that are."""

        self.keys = (f"{name}-{number}" for number in count())

    async def sign_up(self) -> None:
        name = self.account["email"].partition("@")[0]
        made = (await self.visitor.ask(SIGN_UP, input={**self.account, "username": name}))["signUp"]
        self.caller = Caller(self.http, made["session"]["token"])

    async def shop_until(self, end: float) -> None:
        while time.monotonic() < end:
            await self.visit()

    async def visit(self) -> None:
        products = await self._look_around()
        cart = await (self._fill_as_guest if self.chance.random() < 0.3 else self._fill)(products)
        if self.chance.random() < 0.4:
            await self._change("applyVoucher", self.caller, VOUCHER, cartId=cart["id"], code=self.chance.choice(list(VOUCHERS)))
        if self.forgetful or self.chance.random() < 0.1:
            self.forgetful = False
            await self._leave_and_come_back(cart)
        order = await (self._place if self.chance.random() < 0.6 else self._order_and_pay)(cart)
        if order is None:
            await self._empty(cart)
            return
        found = (await self._ask("order", self.caller, READ, id=order))["order"]
        self.seen.checkouts += found["status"] == "COMPLETED"
        if found["status"] == "COMPLETED" and self.chance.random() < 0.1:
            part = f"{Decimal(found['total']) / 2:.2f}"
            await self._change("refundPayment", self.boss, REFUND, orderId=order, amount=part, idempotencyKey=next(self.keys))
        if found["status"] == "PENDING" and self.chance.random() < 0.5:
            await self._change("cancelOrder", self.caller, CANCEL, id=order)

    # --- Steps

    async def _look_around(self) -> list[str]:
        page = (await self._ask("products", self.visitor, BROWSE, after=None))["products"]
        if self.chance.random() < 0.7:
            page = (await self._ask("products", self.visitor, BROWSE, after=page["pageInfo"]["endCursor"]))["products"]
        return [product["id"] for product in page["nodes"]]

    async def _fill(self, products: list[str]) -> dict[str, Any]:
        chosen = self.chance.sample(products, self.chance.randint(1, 3))
        for product in chosen:
            added = await self._change("addToCart", self.caller, ADD, productId=product, quantity=self.chance.randint(1, 3))
        if self.chance.random() < 0.5:
            await self._change("updateCartItem", self.caller, CHANGE, cartId=added["cart"]["id"], productId=chosen[0], quantity=1)
        return (await self._ask("myCart", self.caller, CART))["myCart"]  # type: ignore[no-any-return]

    async def _fill_as_guest(self, products: list[str]) -> dict[str, Any]:
        """What was chosen before the sign-in is in the account's cart after it."""
        guest = Caller(self.http)
        for product in self.chance.sample(products, self.chance.randint(1, 2)):
            added = await self._change("addToCart", guest, ADD, productId=product, quantity=1)
            guest.headers = {"X-Cart-Token": added["cartToken"]}
        session = (await self._change("signIn", guest, SIGN_IN, **self.account))["session"]
        self.caller = Caller(self.http, session["token"])
        return (await self._ask("myCart", self.caller, CART))["myCart"]  # type: ignore[no-any-return]

    async def _leave_and_come_back(self, cart: dict[str, Any]) -> None:
        """By the link that each gets once; else the shopper just goes on with the cart."""
        token = await self.hours.leave(cart["id"], self.account["email"])
        if token is not None:
            await self._change("restoreCart", self.caller, RESTORE, token=token)

    async def _place(self, cart: dict[str, Any]) -> str | None:
        """At times twice at once, and again where the outcome is not known."""
        input = {"cartId": cart["id"], "paymentMethod": "card", "paymentToken": self._card(), "idempotencyKey": next(self.keys)}
        copies = 2 if self.chance.random() < 0.1 else 1
        return await self._settled("placeOrder", PLACE, input, copies)

    async def _order_and_pay(self, cart: dict[str, Any]) -> str | None:
        key = next(self.keys)
        made = await self._change("createOrder", self.caller, ORDER, cartId=cart["id"], paymentMethod="card", idempotencyKey=key)
        if made["order"] is None:
            return None
        id: str = made["order"]["id"]
        if self.chance.random() < 0.9:
            input = {"orderId": id, "paymentToken": self._card(), "idempotencyKey": next(self.keys)}
            await self._settled("processPayment", PAY, input, 1)
        return id

    async def _settled(self, name: str, document: str, input: dict[str, Any], copies: int) -> str | None:
        payloads = await asyncio.gather(*(self._change(name, self.caller, document, **input) for _ in range(copies)))
        if any(error["code"] in UNKNOWN for payload in payloads for error in payload["userErrors"]) and self.chance.random() < 0.7:
            payloads.append(await self._change(name, self.caller, document, **input))
        orders = {payload["order"]["id"] for payload in payloads if payload["order"]}
        if len(orders) > 1:
            raise BenchError(f"one idempotency key made the orders {orders}")
        return orders.pop() if orders else None

    async def _empty(self, cart: dict[str, Any]) -> None:
        """What cannot be ordered is put back."""
        for item in cart["items"]:
            await self._change("updateCartItem", self.caller, CHANGE, cartId=cart["id"], productId=item["product"]["id"], quantity=0)

    def _card(self) -> str:
        return self.chance.choice(CARDS)

    async def _change(self, name: str, caller: Caller, document: str, **input: Any) -> dict[str, Any]:
        """The payload of a mutation, which may be refused for what happens in shops."""
        [payload] = (await self._ask(name, caller, document, input=input)).values()
        codes = [error["code"] for error in payload["userErrors"]]
        self.seen.refusals.update(codes)
        if not EXPECTED.issuperset(codes) and name != "cancelOrder":
            raise BenchError(f"{name}: {payload['userErrors']}")
        return payload  # type: ignore[no-any-return]

    async def _ask(self, name: str, caller: Caller, document: str, **variables: Any) -> dict[str, Any]:
        started = time.perf_counter()
        response = await caller.post(document, variables)
        self.seen.milliseconds[name].append((time.perf_counter() - started) * 1000)
        body = response.json()
        if response.status_code != 200 or "errors" in body:
            raise BenchError(f"{name}: {response.status_code} {body.get('errors')}")
        return body["data"]  # type: ignore[no-any-return]


@dataclass
class Hours:
    """Lets hours pass for single carts; its sweeps run beside those of the gateway, whose workers remind their shoppers."""

    repositories: Repositories
    reminded: set[str] = field(default_factory=set)

    async def leave(self, cart: str, shopper: str) -> str | None:
        """The token of the link that the shopper gets; None for whoever had one before."""
        id = decode_id(cart, "Cart")
        async with self.repositories.database.connection() as connection:
            await connection.execute(LEFT, id)
        await Recovery(self.repositories).run()
        if shopper in self.reminded:
            return None
        self.reminded.add(shopper)
        end = time.monotonic() + REMINDING_SECONDS
        while time.monotonic() < end:
            event = await self.repositories.recovery_events.find_first({"cart_id": id, "status": RecoveryStatus.SENT.value})
            if event is not None:
                return seal_of(SEALS, event)
            await asyncio.sleep(0.1)
        raise BenchError(f"{shopper} was not reminded of {cart} within {REMINDING_SECONDS} s")


async def crowd(dsn: str, folder: Path, shoppers: int, seconds: float) -> Figures:
    """Let so many shoppers loose on a gateway over a new database. Raises `BenchError` for an answer that no shopper should get."""
    await migrate_all(dsn)
    async with _opened(dsn) as repositories, process(dsn, folder, **SETTINGS) as (url, pid), _connected(url, shoppers) as http:
        await _stock(repositories)
        boss = await new_administrator(Caller(http), dsn)
        seen, hours, chance = Seen(), Hours(repositories), random.Random(7)
        people = [Shopper(http, seen, f"shopper{n}", boss, hours, random.Random(chance.random())) for n in range(shoppers)]
        await asyncio.gather(*(person.sign_up() for person in people))
        before, busy, started = await _metrics(http), _busy(pid), time.monotonic()
        await asyncio.gather(*(person.shop_until(started + seconds) for person in people))
        took, busy, after = time.monotonic() - started, _busy(pid) - busy, await _metrics(http)
        wrong, made = await _books(dsn)
    # Connections that are closed have told of all their deadlocks.
    deadlocks = await _value(dsn, "select deadlocks from pg_stat_database where datname = current_database()")
    share = (after["database"] - before["database"]) / (after["requests"] - before["requests"])
    return Figures(seen, shoppers, took, share, busy, deadlocks, made["orders"], made["with_voucher"], made["won_back"], wrong)


@asynccontextmanager
async def _opened(dsn: str) -> AsyncIterator[Repositories]:
    database, metrics = Database(dsn), Metrics()
    await database.open()
    try:
        yield create_repository_factory(database, Cache(memory_backend(), metrics), metrics)
    finally:
        await database.close()


async def _stock(repositories: Repositories) -> None:
    """A store with products and vouchers, some of which run out."""
    store = await repositories.stores.create_with_settings(StoreCreate(name="Tea shop", domain="tea.example.com", settings=TERMS))
    for code, terms in VOUCHERS.items():
        await repositories.vouchers.create_within(VoucherCreate(store_id=store.id, code=code, **terms))
    for number in range(PRODUCTS):
        tea = ProductCreate(name=f"Tea {number}", price=Decimal(number + 1) / 4, store_ids=frozenset({store.id}))
        product = await repositories.products.create_in_stores(tea)
        await repositories.inventory.set_on_hand(product.id, 30 if number < SCARCE else 1_000_000)


@asynccontextmanager
async def _connected(url: str, shoppers: int) -> AsyncIterator[httpx.AsyncClient]:
    limits = httpx.Limits(max_connections=shoppers * 2, max_keepalive_connections=shoppers * 2)
    async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as http:
        yield http


async def _metrics(http: httpx.AsyncClient) -> dict[str, float]:
    """The seconds that the gateway has spent on requests, and of those the ones in which it waited for statements."""
    families = text_string_to_metric_families((await http.get("/metrics")).text)
    samples = {(sample.name, *sample.labels.values()): sample.value for family in families for sample in family.samples}
    return {
        "requests": samples["http_request_seconds_sum", "/graphql"],
        "database": samples["database_seconds_total", "statement"],
    }


def _busy(pid: int) -> float:
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


async def _books(dsn: str) -> tuple[list[str], asyncpg.Record]:
    """What is wrong once everything is settled, and how many there are: orders, those with a voucher, and carts won back."""
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        open_ = await left_open(connection)
        end = time.monotonic() + SETTLING_SECONDS
        while open_ and time.monotonic() < end:
            await asyncio.sleep(0.5)
            open_ = await left_open(connection)
        [made] = await connection.fetch(MADE)
        return [*open_, *await breaches(connection)], made
    finally:
        await connection.close()


async def _value(dsn: str, query: str) -> int:
    connection = await asyncpg.connect(dsn, timeout=10)
    try:
        return int(await connection.fetchval(query))
    finally:
        await connection.close()


def percentile(times: Sequence[float], percent: float) -> float:
    """The nearest-rank percentile."""
    return sorted(times)[max(0, -(-len(times) * int(percent) // 100) - 1)]
