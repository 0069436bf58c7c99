"""A small shop at random, with everything that makes rows differ: nulls, deleted and archived rows, currencies of all exponents, lists
that are empty, ties in every order."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from uuid import UUID

import asyncpg

from app.core.security import ANONYMOUS, KeyUse, Viewer, ViewerKind

START = datetime(2026, 1, 1, tzinfo=UTC)
CURRENCIES = {"USD": 2, "JPY": 0, "KWD": 3, "CLF": 4, "EUR": 2}
WORDS = ("Teapot", "teacup", 'A "quoted" name', "Ünïcödé", "50% off_now", "tab\there", "back\\slash", "x" * 60)


@dataclass
class Shop:
    """The keys of the rows, by table, and who looks at them."""

    ids: dict[str, list[UUID]] = field(default_factory=dict)
    skus: list[str] = field(default_factory=list)
    viewers: dict[str, Viewer] = field(default_factory=dict)


class Filler:
    """Puts rows into one database."""

    def __init__(self, connection: asyncpg.Connection, random: Random) -> None:
        self._connection = connection
        self._random = random
        self.shop = Shop()

    async def fill(self) -> Shop:
        await self._stores()
        await self._users()
        await self._products()
        await self._carts()
        await self._orders()
        self.shop.viewers = self._viewers()
        return self.shop

    async def insert(self, table: str, **values: Any) -> UUID:
        values.setdefault("created_at", self._time())
        names, places = ", ".join(values), ", ".join(f"${n}" for n in range(1, len(values) + 1))
        id: UUID = await self._connection.fetchval(f"insert into {table} ({names}) values ({places}) returning id", *values.values())
        self.shop.ids.setdefault(table, []).append(id)
        return id

    def _time(self) -> datetime:
        """Few different ones, with and without a fraction, so that lists have ties."""
        return START + timedelta(seconds=self._random.randrange(4), microseconds=self._random.choice((0, 500_000, 123_456)))

    def _maybe(self, value: Any) -> Any:
        return value if self._random.random() < 0.6 else None

    def _one(self, table: str) -> UUID:
        return self._random.choice(self.shop.ids[table])

    def _amount(self, currency: str) -> Decimal:
        return Decimal(self._random.choice((0, 1, 125, 99_999, self._random.randrange(10**6)))).scaleb(-CURRENCIES[currency])

    def _charges(self, currency: str) -> dict[str, Any]:
        items_total, shipping, tax = (self._amount(currency) for _ in range(3))
        return {"items_total": items_total, "shipping": shipping, "tax": tax, "total": items_total + shipping + tax}

    def _gone(self) -> dict[str, Any]:
        return {"is_deleted": True, "deleted_at": START} if self._random.random() < 0.15 else {}

    async def _stores(self) -> None:
        for n, status in enumerate(("ACTIVE", "ACTIVE", "SUSPENDED")):
            store = await self.insert(
                "stores", name=f"Store {n % 2}", domain=f"store{n}.example.com", url=self._maybe("https://s.example"), status=status
            )
            if n != 1:
                config = '{"theme": {"dark": true, "sizes": [1, 2.5, null]}}'
                terms = {"shipping_price": Decimal("4.90"), "free_shipping_from": self._maybe(Decimal(50)), "tax_rate": Decimal("7.70")}
                await self.insert("store_settings", store_id=store, config=config, currency="EUR", **terms)
                await self.insert("vouchers", store_id=store, code="SHARE", percent=Decimal("12.5"), max_uses=self._maybe(3))
                await self.insert("vouchers", store_id=store, code="AMOUNT", amount=self._amount("EUR") + 1, currency="EUR")

    async def _users(self) -> None:
        for n in range(6):
            gone = self._gone() if n > 2 else {}
            await self.insert(
                "users",
                email=f"user{n}@example.com",
                username=f"user{n}",
                first_name=self._maybe("Ada"),
                name=self._maybe("Ada L."),
                store_id=self._maybe(self._one("stores")),
                last_login_at=self._maybe(self._time()),
                role_id=self._maybe(await self._connection.fetchval("select id from roles order by random() limit 1")),
                **gone,
            )
        for n in range(8):
            await self.insert(
                "user_sessions",
                user_id=self._one("users"),
                token_hash=f"{n:064x}",
                expires_at=START + timedelta(days=1),
                ip_address=self._maybe("::1"),
            )
        for n in range(4):
            await self.insert(
                "api_keys",
                user_id=self._one("users"),
                name=self._random.choice(WORDS),
                key_hash=f"{n:064x}",
                key_identifier=f"key{n}",
                key_preview="k...",
                scopes=self._random.choice(([], ["orders:read"], ["a:b", "c:d"])),
                expires_at=self._maybe(START),
            )

    async def _products(self) -> None:
        for n in range(14):
            currency = self._random.choice(tuple(CURRENCIES))
            gone = self._gone()
            status = "DELETED" if gone else self._random.choice(("ACTIVE", "ACTIVE", "ACTIVE", "ARCHIVED", "INACTIVE"))
            sku = self._maybe(f"SKU-{n}")
            self.shop.skus += [sku] if sku else []
            product = await self.insert(
                "products",
                name=self._random.choice(WORDS),
                description=self._maybe("words\n" * 3),
                price=self._amount(currency),
                currency=currency,
                sku=sku,
                image_url=self._maybe("https://i.example/p.jpg"),
                category=self._maybe("tea"),
                status=status,
                **gone,
            )
            for store in self._random.sample(self.shop.ids["stores"], self._random.randrange(3)):
                await self._connection.execute("insert into product_stores (product_id, store_id) values ($1, $2)", product, store)
            if self._random.random() < 0.7:
                await self.insert(
                    "inventory", product_id=product, on_hand=self._random.randrange(10, 20), reserved=self._random.randrange(10)
                )

    async def _carts(self) -> None:
        for n in range(8):
            currency = self._random.choice(tuple(CURRENCIES))
            cart = await self.insert(
                "carts",
                user_id=self.shop.ids["users"][n % 6],
                store_id=self._maybe(self._one("stores")),
                status="ABANDONED" if n > 4 else "ACTIVE",
                **self._charges(currency),
                currency=currency,
            )
            for product in self._random.sample(self.shop.ids["products"], self._random.randrange(4)):
                await self.insert("cart_items", cart_id=cart, product_id=product, quantity=2, price=self._amount("USD"))

    async def _orders(self) -> None:
        for _ in range(12):
            currency = self._random.choice(tuple(CURRENCIES))
            order = await self.insert(
                "orders",
                user_id=self._one("users"),
                store_id=self._maybe(self._one("stores")),
                **self._charges(currency),
                currency=currency,
                payment_method=self._maybe("card"),
            )
            for product in self._random.sample(self.shop.ids["products"], self._random.randrange(4)):
                await self.insert(
                    "order_items",
                    order_id=order,
                    product_id=product,
                    name=self._random.choice(WORDS),
                    price=self._amount(currency),
                    currency=currency,
                    quantity=self._random.randrange(1, 5),
                    sku=self._maybe("S"),
                )
            await self.insert("order_events", order_id=order, kind="CREATED", actor="BUYER", actor_id=self._maybe(self._one("users")))
            if self._random.random() < 0.5:
                await self.insert("order_events", order_id=order, kind="CHARGED", amount=self._amount(currency), currency=currency)
            for _ in range(self._random.randrange(3)):
                await self.insert(
                    "payments", order_id=order, amount=self._amount(currency), currency=currency, provider=self._maybe("test")
                )

    def _viewers(self) -> dict[str, Viewer]:
        users, stores = self.shop.ids["users"], self.shop.ids["stores"]
        reads = frozenset({"orders:read", "inventory:read", "products:read", "users:read"})
        few, many = KeyUse(UUID(int=1), frozenset({"orders:read", "products:read"}), 1), KeyUse(UUID(int=2), reads | {"stores:read"}, 1)
        return {
            "anonymous": ANONYMOUS,
            "shopper": Viewer(ViewerKind.SHOPPER, users[0], permissions=frozenset({"orders:create"})),
            "staff": Viewer(ViewerKind.STAFF, users[1], stores[2], permissions=reads),
            "administrator": Viewer(ViewerKind.ADMINISTRATOR, users[2], permissions=frozenset({"*:*"})),
            "shopper's key": Viewer(ViewerKind.SHOPPER, users[0], key=few),
            "administrator's key": Viewer(ViewerKind.ADMINISTRATOR, users[2], permissions=reads, key=many),
        }
