"""A small world of two stores for those who try what is not theirs, and what the database holds before and after.

Everything of the victim's that a text can say holds the word `MARK`: where it stands in an answer to anybody else, something is open.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from app.api.declared import declarations
from app.api.node import node_type
from app.api.scalars import decode_any_id, encode_id
from app.api.scopes import DEFINITION
from app.repositories import Repositories
from app.schema import create_schema
from tests.serving import SIGN_UP, Caller

PASSWORD = "correct horse battery"
MARK = "victim"
HARBOUR, MARKET, CLOSED = "harbour.example.com", "market.example.com", f"{MARK}.example.com"
TABLES = "select table_name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1"
NOISE = {"user_sessions": ("last_accessed_at", "updated_at"), "api_keys": ("usage_count", "last_used_at", "updated_at")}
"""Columns that any request may write, whoever it is from."""
UNWATCHED = ("pgqueuer", "idempotency_keys")
SCHEMA = create_schema()
TYPES = {table: name for name, table in declarations(SCHEMA).repositories.items()}
NODES = sorted(name for name, kind in SCHEMA._schema.type_map.items() if node_type(kind.extensions.get(DEFINITION)))
"""Every type that has ids."""

_numbers = count(1)


@dataclass(frozen=True)
class Person:
    """Somebody who calls, with what there is of its own by the name of its type."""

    name: str
    caller: Caller
    own: dict[str, str] = field(default_factory=dict)


@dataclass
class World:
    """A running gateway over its database, and who is there."""

    visitor: Caller
    connection: asyncpg.Connection
    repositories: Repositories
    public: dict[str, str] = field(default_factory=dict)
    """Ids of what anybody may see: a product for sale and its store."""
    victims: dict[str, str] = field(default_factory=dict)
    """An id of each type whose object nobody but the victim and administrators may have."""
    people: dict[str, Person] = field(default_factory=dict)
    _hashes: str = field(default="", init=False)

    @property
    def victim(self) -> Person:
        return self.people["victim"]

    @property
    def administrator(self) -> Person:
        return self.people["administrator"]

    @property
    def attackers(self) -> list[Person]:
        return [person for name, person in self.people.items() if name not in ("victim", "administrator")]

    async def insert(self, table: str, **values: Any) -> str:
        """A row in plain SQL; its global id."""
        names, places = ", ".join(values), ", ".join(f"${n}" for n in range(1, len(values) + 1))
        id = await self.connection.fetchval(f"insert into {table} ({names}) values ({places}) returning id", *values.values())
        return encode_id(TYPES[table], id)

    async def person(self, name: str, role: str | None = None, store: str | None = None) -> Person:
        """A new account, with a role, perhaps at a store (a domain)."""
        number = next(_numbers)
        account = {"email": f"{name}{number}@example.com", "username": f"{name}{number}", "password": PASSWORD, "firstName": name}
        answer = await self.visitor.ask(SIGN_UP, input=account)
        assert answer["signUp"]["userErrors"] == []
        await self.connection.execute(
            """update users set phone = '+4930123', role_assigned_at = now(), role_id = (select id from roles where name = $2),
            store_id = (select id from stores where domain = $3) where email = $1""",
            account["email"],
            role,
            store,
        )
        caller = await self.visitor.sign_in(account["email"], PASSWORD)
        me = (await caller.ask("{ me { id } }"))["me"]["id"]
        return Person(name, caller, {"User": me})

    async def role(self, name: str, *permissions: str) -> str:
        """A role with permissions of its own only."""
        id = await self.insert("roles", name=name, display_name=name)
        for permission in permissions:
            resource, action = permission.split(":")
            await self.insert("role_permissions", role_id=key(id), resource=resource, action=action)
        return id

    async def checksums(self) -> dict[str, str]:
        """What each table holds, as a hash of its rows."""
        if not self._hashes:
            self._hashes = await self._hashing()
        return {row["name"]: row["hash"] for row in await self.connection.fetch(self._hashes)}

    async def _hashing(self) -> str:
        """The statement that hashes every table; there are no new ones while tests run."""
        tables = [row["table_name"] for row in await self.connection.fetch(TABLES) if not row["table_name"].startswith(UNWATCHED)]
        rows = "select to_jsonb(t) - array[{noise}]::text[] as row from {table} t"
        hashed = "select '{table}' as name, md5(coalesce(string_agg(row::text, ',' order by row::text), '')) as hash from ({rows}) rows"
        selects = []
        for table in tables:
            noise = ", ".join(f"'{column}'" for column in NOISE.get(table, ()))
            selects.append(hashed.format(table=table, rows=rows.format(noise=noise, table=table)))
        return " union all ".join(selects)

    async def product(self, *domains: str, stock: int = 1000, **values: Any) -> str:
        """A product that stores sell, with its stock."""
        id = await self.insert("products", **{"name": f"{MARK} product", "price": 10, **values})
        await self.insert("inventory", product_id=key(id), on_hand=stock)
        links = "insert into product_stores (product_id, store_id) select $1, id from stores where domain = any($2)"
        await self.connection.execute(links, key(id), domains)
        return id

    async def cart(self, person: Person, domain: str, product: str) -> str:
        """A cart of somebody's at a store that holds two pieces; active, so any other active one there has become old."""
        owner, store = key(person.own["User"]), await self.store_key(domain)
        await self.connection.execute(
            "update carts set status = 'ABANDONED' where user_id = $1 and store_id = $2 and status = 'ACTIVE'", owner, store
        )
        id = await self.insert("carts", user_id=owner, store_id=store, items_total=20, total=20, metadata=f'{{"note": "{MARK}"}}')
        await self.insert("cart_items", cart_id=key(id), product_id=key(product), quantity=2, price=10)
        return id

    async def voucher(self, domain: str) -> str:
        """A voucher of a store, over a tenth."""
        return await self.insert("vouchers", store_id=await self.store_key(domain), code=f"{MARK}-{next(_numbers)}".upper(), percent=10)

    async def order(self, person: Person, domain: str, product: str) -> str:
        """A pending order of somebody's at a store."""
        owner, store = key(person.own["User"]), await self.store_key(domain)
        id = await self.insert("orders", user_id=owner, store_id=store, items_total=20, total=20, payment_method=f"{MARK} card")
        line = {"product_id": key(product), "quantity": 2, "price": 10, "name": f"{MARK} line"}
        await self.insert("order_items", order_id=key(id), **line)
        await self.connection.execute("update inventory set reserved = reserved + 2 where product_id = $1", key(product))
        return id

    async def paid(self, person: Person, domain: str, product: str, *, captured: bool = True) -> UUID:
        """A payment of an order of somebody's, taken or set aside, as the provider knows it."""
        order = key(await self.order(person, domain, product))
        taken = {"status": "COMPLETED", "captured_amount": 20, "completed_at": datetime.now(UTC)}
        held = {"capture": "MANUAL", "authorized_at": datetime.now(UTC)}
        values = {"order_id": order, "amount": 20, "provider": "test", "metadata": f'{{"note": "{MARK}"}}'}
        id = key(await self.insert("payments", **values, **(taken if captured else held)))
        await self.connection.execute(
            "insert into test_charges (key, transaction_id, amount, captured, state) values ($1, $1, 20, $2, $3)",
            str(id),
            20 if captured else 0,
            "SUCCEEDED" if captured else "AUTHORIZED",
        )
        if captured:
            await self.connection.execute("update orders set payment_id = $1 where id = $2", id, order)
        return id

    async def session(self, person: Person) -> str:
        """A session that somebody has on another device."""
        number = next(_numbers)
        expires_at = datetime(2100, 1, 1, tzinfo=UTC)
        return await self.insert("user_sessions", user_id=key(person.own["User"]), token_hash=f"{number:064x}", expires_at=expires_at)

    async def api_key(self, person: Person) -> str:
        number = next(_numbers)
        known = {"key_hash": f"{number:064x}", "key_identifier": f"key{number}", "key_preview": "key..."}
        return await self.insert("api_keys", user_id=key(person.own["User"]), name=f"{MARK} key", **known)

    async def event(self, person: Person, domain: str) -> str:
        """Something that somebody did at a store."""
        id, store = uuid4(), await self.store_key(domain)
        event = {"event_type": "page_view", "user_id": key(person.own["User"]), "store_id": store, "timestamp": datetime.now(UTC)}
        await self.repositories.user_events.insert_batch([{"id": id, **event, "page_url": f"https://{MARK}.example.com"}], str(id))
        return encode_id("UserEvent", id)

    async def id_of(self, table: str, column: str, id: str) -> str:
        """The row of a table that points to another one."""
        return encode_id(TYPES[table], await self.connection.fetchval(f"select id from {table} where {column} = $1 limit 1", key(id)))

    async def store_key(self, domain: str) -> UUID:
        found: UUID = await self.connection.fetchval("select id from stores where domain = $1", domain)
        return found


def key(id: str) -> UUID:
    """The key inside a global id."""
    return decode_any_id(id, "id")[1]
