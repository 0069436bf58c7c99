"""What API keys may be used for, over HTTP, by compiled queries and by resolvers: operations with the scopes that they need, or without."""

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import asyncpg
import pytest
from graphql import GraphQLObjectType

from app.accounts.scopes import SCOPES
from app.api.scopes import required_scope
from app.execution.declarations import NO_KEY
from app.schema import create_schema
from tests.accounts.documents import smallest
from tests.accounts.keys import new_key, new_user
from tests.conftest import fresh_database
from tests.serving import Caller, gateway, new_administrator, settings_for

FOR_PEOPLE = frozenset({NO_KEY, "*:*"})
pytestmark = pytest.mark.usefixtures("unmeasured")
SCHEMA = create_schema()._schema
ADD = """
    mutation ($product: ID!) {
      addToCart(input: { productId: $product }) { cart { id version itemCount items { quantity } } userErrors { code } }
    }
"""
ORDER = """
    mutation ($cart: ID!) {
      createOrder(input: { cartId: $cart, paymentMethod: "card" }) { order { id status items { name } } userErrors { code } }
    }
"""
PAY = """
    mutation ($order: ID!) {
      processPayment(input: { orderId: $order, paymentToken: "tok_success" }) { order { status } userErrors { code } }
    }
"""
CREATE_PRODUCT = 'mutation { createProduct(input: { name: "Cup", price: "3" }) { product { id name status } userErrors { code } } }'
ASSIGN = "mutation ($input: AssignRoleInput!) { assignRole(input: $input) { user { id } userErrors { message } } }"

NEEDS: dict[str, set[str]] = {
    "{ __typename __schema { queryType { name } } }": set(),
    "{ products { nodes { id name price } } }": {"products:read"},
    "{ products { totalCount } }": {"products:read"},
    "{ products { __typename } }": {"products:read"},
    "{ products { edges { cursor } pageInfo { hasNextPage } } }": {"products:read"},
    "{ p: products { nodes { ...Shown } } } fragment Shown on Product { name inventory { available } }": {"products:read"},
    "{ product(id: $product) { name inventory { product { name } } } }": {"products:read"},
    "{ products { nodes { stores { name } } } }": {"products:read", "stores:read"},
    "{ store(id: $store) { name settings { currency } } }": {"stores:read"},
    "{ stores { totalCount } }": {"stores:read"},
    "{ carts { totalCount } }": {"carts:read"},
    "{ myCart { total } }": {"carts:read"},
    "{ myCart { items { quantity lineTotal } itemCount } }": {"carts:read"},
    "{ cart(id: $cart) { items { product { name } } } }": {"carts:read", "products:read"},
    "{ carts { nodes { user { username } } } }": {"carts:read", "users:read"},
    "{ carts { nodes { order { id } } } }": {"carts:read", "orders:read"},
    "{ carts { nodes { store { domain } } } }": {"carts:read", "stores:read"},
    "{ orders { nodes { id status items { name quantity lineTotal } } } }": {"orders:read"},
    "{ orders { pageInfo { endCursor } } }": {"orders:read"},
    "{ orders { edges { node { total } } totalCount } }": {"orders:read"},
    "{ order(id: $order) { items { product { name } } } }": {"orders:read", "products:read"},
    "{ orders { nodes { payments { amount } } } }": {"orders:read", "payments:read"},
    "{ orders { nodes { payment { transactionId } } } }": {"orders:read", "payments:read"},
    "{ orders { nodes { user { username } } } }": {"orders:read", "users:read"},
    "{ orders { nodes { cart { items { product { stores { name } } } } } } }": {
        "orders:read",
        "carts:read",
        "products:read",
        "stores:read",
    },
    "{ me { username email lastLoginAt } }": {"users:read"},
    "{ me { id } }": {"users:read"},
    "{ me { role { name } } }": {"users:read", "roles:read"},
    "{ me { store { name } } }": {"users:read", "stores:read"},
    "{ securityEvents { nodes { type details } } }": {"security:read"},
    "{ securityEvents { nodes { user { username } } } }": {"security:read", "users:read"},
    "{ node(id: $order) { id } }": {"orders:read"},
    "{ node(id: $order) { __typename } }": {"orders:read"},
    "{ node(id: $order) { ... on Order { user { email } } } }": {"orders:read", "users:read"},
    "{ node(id: $product) { id ... on Product { name } } }": {"products:read"},
    "{ node(id: $cart) { ... on Cart { total } } }": {"carts:read"},
    "{ node(id: $user) { ... on User { email } } }": {"users:read"},
    "{ node(id: $payment) { ... on Payment { amount } } }": {"payments:read"},
    "{ nodes(ids: [$order]) { id } }": {"orders:read"},
    "{ nodes(ids: [$product, $user]) { id } }": {"products:read", "users:read"},
    "{ me { username } products { totalCount } }": {"products:read", "users:read"},
    "mutation { addToCart(input: { productId: $product }) { userErrors { code } cart { total items { id } } } }": {"carts:write"},
    "mutation { addToCart(input: { productId: $product }) { cart { items { product { id } } } } }": {"carts:write", "products:read"},
    "mutation { updateCartItem(input: { cartId: $cart, productId: $product, quantity: 2 }) { userErrors { code } } }": {"carts:write"},
    "mutation { removeFromCart(input: { cartId: $cart, productId: $product }) { userErrors { code } } }": {"carts:write"},
    'mutation { createOrder(input: { cartId: $cart, paymentMethod: "card" }) { order { id } userErrors { code } } }': {"orders:write"},
    'mutation { processPayment(input: { orderId: $order, paymentToken: "x" }) { order { id } } }': {"orders:write"},
    "mutation { cancelOrder(input: { id: $order }) { userErrors { code } } }": {"orders:write"},
    "mutation { addToCart(input: { productId: $product }) { cart { user { email } } } }": {"carts:write", "users:read"},
}
"""Operations of a shopper, and all the scopes that each needs. `$cart` has been ordered and `$order` paid: they stay as they are."""

USED = sorted(set().union(*NEEDS.values()))
FOR_STAFF: dict[str, set[str]] = {
    "{ users { nodes { email } } }": {"users:read"},
    "{ roles { nodes { permissions { action } } } }": {"roles:read"},
    "{ products { nodes { inventory { onHand reserved } } } }": {"products:read", "inventory:read"},
    "{ nodes(ids: [$role]) { id } }": {"roles:read"},
}


@dataclass
class Shop:
    """A gateway, and an administrator, a shopper and a viewer of it with something to look at."""

    dsn: str
    administrator: Caller
    shopper: Caller
    staff: Caller
    ids: dict[str, str] = field(default_factory=dict)

    def document(self, text: str) -> str:
        for name, id in self.ids.items():
            text = text.replace(f"${name}", f'"{id}"')
        return text

    async def key(self, owner: Caller, *scopes: str) -> Caller:
        """A key for these scopes, also for more than a key is made for at once."""
        key = await new_key(owner, "products:read")
        await execute(self.dsn, "update api_keys set scopes = $2 where key_identifier = $1", key.text.partition(".")[0], list(scopes))
        return key.caller


async def execute(dsn: str, statement: str, *values: Any) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement, *values)
    await connection.close()


@pytest.fixture(scope="module", params=["compiled", "standard"])
async def shop(request: pytest.FixtureRequest, postgres: str, migrated: str) -> AsyncIterator[Shop]:
    options = {"execution": request.param, "api_keys_per_user": 1000}
    async with fresh_database(postgres, migrated) as dsn, gateway(settings_for(dsn, **options)) as caller:
        administrator = await new_administrator(caller, dsn)
        (shopper, _), (staff, email) = await new_user(caller), await new_user(caller)
        shop = Shop(dsn, administrator, shopper, staff)
        await furnish(shop, email)
        yield shop


async def furnish(shop: Shop, staff: str) -> None:
    store = 'mutation { createStore(input: { name: "Tea", domain: "tea.example.com" }) { store { id } } }'
    shop.ids["store"] = (await shop.administrator.ask(store))["createStore"]["store"]["id"]
    create = 'mutation { createProduct(input: { name: "Tea", price: "5", storeIds: [$store] }) { product { id } } }'
    shop.ids["product"] = (await shop.administrator.ask(shop.document(create)))["createProduct"]["product"]["id"]
    stock = "mutation { setInventory(input: { productId: $product, onHand: 1000 }) { inventory { onHand } } }"
    await shop.administrator.ask(shop.document(stock))
    shop.ids["cart"] = (await shop.shopper.ask(ADD, product=shop.ids["product"]))["addToCart"]["cart"]["id"]
    shop.ids["order"] = (await shop.shopper.ask(ORDER, cart=shop.ids["cart"]))["createOrder"]["order"]["id"]
    await shop.shopper.ask(PAY, order=shop.ids["order"])
    seen = await shop.shopper.ask("{ me { id } orders { nodes { payment { id } } } }")
    shop.ids |= {"user": seen["me"]["id"], "payment": seen["orders"]["nodes"][0]["payment"]["id"]}
    roles = await shop.administrator.ask('{ roles(filter: { name: { eq: "VIEWER" } }) { nodes { id } } }')
    shop.ids["role"] = roles["roles"]["nodes"][0]["id"]
    await execute(shop.dsn, "update users set store_id = (select id from stores) where email = $1", staff)
    user = (await shop.staff.ask("{ me { id } }"))["me"]["id"]
    assignment = {"userId": user, "roleId": shop.ids["role"]}
    assert (await shop.administrator.ask(ASSIGN, input=assignment))["assignRole"]["userErrors"] == []


async def codes(caller: Caller, document: str) -> set[str]:
    response = await caller.post(document)
    assert response.status_code == 200, response.text
    return {error["extensions"]["code"] for error in response.json().get("errors", [])}


# --- The tables


@pytest.mark.parametrize("scope", USED)
async def test_a_key_of_one_scope_does_what_that_scope_covers(shop: Shop, scope: str) -> None:
    """Each operation of the table with this scope alone, and with all the others."""
    alone, without = await shop.key(shop.shopper, scope), await shop.key(shop.shopper, *SCOPES - {scope})
    for text, needed in NEEDS.items():
        document = shop.document(text)
        assert ("FORBIDDEN" in await codes(alone, document)) is not (needed <= {scope}), text
        assert ("FORBIDDEN" in await codes(without, document)) is (scope in needed), text


async def test_a_key_with_every_scope_does_what_its_owner_does(shop: Shop) -> None:
    every = await shop.key(shop.shopper, *SCOPES)
    for text in NEEDS:
        document = shop.document(text)
        by_key, by_owner = [(await caller.post(document)).json() for caller in (every, shop.shopper)]
        if not text.startswith("mutation"):
            assert by_key == by_owner, text
        assert {error["extensions"]["code"] for error in by_key.get("errors", [])} <= {"BAD_USER_INPUT", "CONFLICT"}, by_key


@pytest.mark.parametrize("text", FOR_STAFF)
async def test_a_key_has_the_permissions_that_owner_and_scopes_share(shop: Shop, text: str) -> None:
    document, needed = shop.document(text), FOR_STAFF[text]
    assert await codes(await shop.key(shop.staff, *needed), document) == set()
    assert await codes(await shop.key(shop.administrator, *needed), document) == set()
    assert await codes(await shop.key(shop.shopper, *needed), document) == {"FORBIDDEN"}
    for scope in needed:
        assert await codes(await shop.key(shop.administrator, *SCOPES - {scope}), document) == {"FORBIDDEN"}


def root_fields() -> list[tuple[str, str, str | None]]:
    """Every root field: the operation, its name, the scope that it needs."""
    found = []
    for operation, root in (("query", SCHEMA.query_type), ("mutation", SCHEMA.mutation_type)):
        assert root is not None
        found += [(operation, name, required_scope(SCHEMA, root, field)) for name, field in root.fields.items()]
    return found


async def test_no_root_field_answers_a_key_without_its_scope(shop: Shop) -> None:
    """An administrator's key, since nothing else would stop that one."""
    every = await shop.key(shop.administrator, *SCOPES)
    without = {scope: await shop.key(shop.administrator, *SCOPES - {scope}) for scope in SCOPES}
    for operation, name, scope in root_fields():
        root = SCHEMA.query_type if operation == "query" else SCHEMA.mutation_type
        assert root is not None
        document = smallest(operation, name, root.fields[name])
        if scope in FOR_PEOPLE:
            assert await codes(every, document) == {"FORBIDDEN"}, name
        elif scope is not None:
            response = (await without[scope].post(document)).json()
            assert [error["message"] for error in response["errors"]] == [f"the API key has no scope {scope}"], name
            assert not (response["data"] or {}).get(name)
            assert "FORBIDDEN" not in await codes(every, document), name


# --- What the tables cannot show


async def test_nothing_changes_where_a_key_is_refused(shop: Shop) -> None:
    before = await shop.shopper.ask(shop.document("{ orders { totalCount } carts { nodes { id version updatedAt } } }"))
    reader = await shop.key(shop.shopper, *(scope for scope in SCOPES if scope.endswith(":read")))
    for document in (smallest("mutation", "createApiKey", SCHEMA.mutation_type.fields["createApiKey"]), ADD, CREATE_PRODUCT):  # type: ignore[union-attr]
        variables = {"product": shop.ids["product"]} if "$product" in document else None
        errors = (await reader.post(document, variables)).json()["errors"]
        assert [error["extensions"]["code"] for error in errors] == ["FORBIDDEN"]
    assert await shop.shopper.ask(shop.document("{ orders { totalCount } carts { nodes { id version updatedAt } } }")) == before


async def test_a_shoppers_key_buys_for_the_shopper(shop: Shop) -> None:
    shopper, _ = await new_user(shop.shopper)
    key = await new_key(shopper, "carts:write", "orders:write")
    filled = (await key.caller.ask(ADD, product=shop.ids["product"]))["addToCart"]
    assert (filled["userErrors"], filled["cart"]["itemCount"]) == ([], 1)
    ordered = (await key.caller.ask(ORDER, cart=filled["cart"]["id"]))["createOrder"]
    assert (ordered["order"]["status"], ordered["order"]["items"]) == ("PENDING", [{"name": "Tea"}])
    assert (await key.caller.ask(PAY, order=ordered["order"]["id"]))["processPayment"]["order"]["status"] == "COMPLETED"
    assert await codes(key.caller, "{ orders { totalCount } }") == {"FORBIDDEN"}
    seen = await shopper.ask("query ($id: ID!) { order(id: $id) { status } }", id=ordered["order"]["id"])
    assert seen["order"]["status"] == "COMPLETED"


async def test_a_key_sees_no_more_rows_than_its_owner(shop: Shop) -> None:
    stranger, _ = await new_user(shop.shopper)
    key = await shop.key(stranger, *SCOPES)
    for document in (
        "{ order(id: $order) { id } }",
        "{ cart(id: $cart) { id } }",
        "{ node(id: $user) { id } }",
        "{ node(id: $payment) { id } }",
    ):
        data = await key.ask(shop.document(document))
        assert list(data.values()) == [None]
    assert (await key.ask("{ orders { totalCount } carts { totalCount } }")) == {"orders": {"totalCount": 0}, "carts": {"totalCount": 0}}
    refused = (await key.ask(shop.document("mutation { cancelOrder(input: { id: $order }) { userErrors { code } } }")))["cancelOrder"]
    assert [error["code"] for error in refused["userErrors"]] == ["NOT_FOUND"]


async def test_an_administrators_key_writes_only_what_it_is_for(shop: Shop) -> None:
    writer, reader = await shop.key(shop.administrator, "products:write"), await shop.key(shop.administrator, "products:read")
    assert (await writer.ask(CREATE_PRODUCT))["createProduct"]["product"]["name"] == "Cup"
    assert await codes(reader, CREATE_PRODUCT) == {"FORBIDDEN"}
    assert await codes(await shop.key(shop.staff, "products:write"), CREATE_PRODUCT) == {"FORBIDDEN"}
    assert await codes(await shop.key(shop.shopper, "products:write"), CREATE_PRODUCT) == {"FORBIDDEN"}


async def test_scopes_that_are_no_longer_known_open_nothing(shop: Shop) -> None:
    key = await shop.key(shop.administrator, "*:*", "*:read", NO_KEY, "sessions:read")
    for document in ("{ products { totalCount } }", "{ sessions { totalCount } }", "{ apiKeys { totalCount } }", CREATE_PRODUCT):
        assert await codes(key, document) == {"FORBIDDEN"}


async def test_a_key_loses_what_its_owner_loses(shop: Shop) -> None:
    clerk, email = await new_user(shop.shopper)
    user = (await clerk.ask("{ me { id } }"))["me"]["id"]
    key = await shop.key(clerk, "roles:read")
    for role, expected in ((shop.ids["role"], set()), (None, {"FORBIDDEN"}), (shop.ids["role"], set())):
        assigned = await shop.administrator.ask(ASSIGN, input={"userId": user, "roleId": role})
        assert assigned["assignRole"]["userErrors"] == []
        assert await codes(key, "{ roles { totalCount } }") == expected
    await execute(shop.dsn, "update users set status = 'BANNED' where email = $1", email)
    await shop.administrator.ask(ASSIGN, input={"userId": user, "roleId": None})
    assert (await key.post("{ roles { totalCount } }")).status_code == 401


async def test_queries_with_keys_are_compiled_like_others(shop: Shop) -> None:
    """Keys of any scopes share one plan with their owner, so nobody can crowd out the plans of others with keys."""

    async def counted(mode: str) -> float:
        lines = (await shop.shopper.http.get("/metrics")).text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("graphql_executions_total") and f'mode="{mode}"' in line)

    document = "{ orders { nodes { id total } } }"
    keys = [await shop.key(shop.shopper, "orders:read", scope) for scope in sorted(SCOPES)[:3]]
    compiled, standard = await counted("compiled"), await counted("standard")
    answers = [await caller.ask(document) for caller in (shop.shopper, *keys)]
    assert all(answer == answers[0] for answer in answers)
    if compiled:
        assert (await counted("compiled") - compiled, await counted("standard") - standard) == (4, 0)


# --- The declarations


def test_every_permission_of_the_schema_is_a_scope() -> None:
    named = {scope for *_, scope in root_fields()} - FOR_PEOPLE - {None}
    for kind in SCHEMA.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            named |= {required_scope(SCHEMA, kind, field) for field in kind.fields.values()} - FOR_PEOPLE - {None}
    assert named - SCOPES == set()
    assert named >= {"orders:read", "orders:write", "products:read", "products:write", "users:read"}


async def test_every_permission_of_a_role_is_a_scope(shop: Shop) -> None:
    connection = await asyncpg.connect(shop.dsn)
    found = await connection.fetch("select resource || ':' || action as permission from role_permissions")
    await connection.close()
    assert {row["permission"] for row in found} - {"*:*"} <= SCOPES


def test_only_ids_may_be_asked_of_by_any_key() -> None:
    """Every other root field asks for a scope of its own, or is for people."""
    assert [(operation, name) for operation, name, scope in root_fields() if scope is None] == [("query", "node"), ("query", "nodes")]


def test_nothing_about_accounts_is_for_keys() -> None:
    people = {name for _, name, scope in root_fields() if scope in FOR_PEOPLE}
    assert people >= {
        "signUp", "signIn", "signOut", "revokeSession", "revokeAllSessions", "changePassword", "updateProfile", "assignRole",
        "createApiKey", "revokeApiKey", "sessions", "apiKeys",
    }  # fmt: skip
    assert not people & {"products", "orders", "carts", "me", "addToCart", "createOrder", "processPayment", "createProduct"}
