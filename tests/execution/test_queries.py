"""The queries that callers rely on are compiled, and what must not be compiled is not."""

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from graphql import (
    FieldNode,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    parse,
    validate,
)

from app.api.scalars import encode_id
from app.execution.explain import explain
from app.schema import create_schema
from tests.execution.conftest import Both

README = Path(__file__).parents[2] / "README.md"

BENCHMARK = {
    "catalog": "query Catalog { products(first: 50) { nodes { id name price currency sku imageUrl category status } } }",
    "product": "query Product($id: ID!) { product(id: $id) { id name description price currency sku imageUrl category status } }",
    "orders": """query Orders { orders(first: 20) { nodes { id status total currency createdAt user { id username email }
        items { id quantity price product { id name sku price } } payments { id amount status transactionId } } } }""",
}

SKETCH = {
    "node": "query ($node: ID!) { node(id: $node) { id __typename ... on Product { name } } }",
    "nodes": "query ($nodes: [ID!]!) { nodes(ids: $nodes) { id __typename ... on Product { name } ... on Order { items { lineTotal } } } }",
    "me": "{ me { id email role { name permissions { resource action } } store { name settings { currency } } } }",
    "product by sku": '{ product(sku: "SKU-1") { name inventory { available onHand reserved } stores { name } } }',
    "store": '{ store(domain: "store0.example.com") { name settings { currency timezone } } }',
    "stores": "{ stores { nodes { name } pageInfo { hasNextPage endCursor } totalCount } }",
    "my cart": "{ myCart { id status total itemCount items { quantity price lineTotal product { name } } user { id } store { id } } }",
    "cart": "query ($cart: ID!) { cart(id: $cart) { version items { id } } }",
    "carts": "{ carts(orderBy: [{ field: UPDATED_AT, direction: DESC }]) { edges { cursor node { id } } } }",
    "order": "query ($order: ID!) { order(id: $order) { status items { name lineTotal } payments { amount } } }",
    "users": '{ users(filter: { email: { contains: "user" } }) { nodes { id email } totalCount } }',
    "roles": "{ roles { nodes { name parentRole { name } permissions { resource } } } }",
    "sessions": "{ sessions { nodes { id ipAddress expiresAt } } }",
    "api keys": "{ apiKeys { nodes { name scopes } } }",
}


MISSING = encode_id("Order", UUID(int=7))


@pytest.mark.parametrize("name", [*BENCHMARK, *SKETCH])
async def test_queries_of_the_sketch_are_compiled(both: Both, name: str) -> None:
    text = {**BENCHMARK, **SKETCH}[name]
    ids = both.pools.ids
    variables: dict[str, Any] = {"id": ids["Product"][0], "node": ids["Product"][1], "cart": ids["Cart"][0], "order": ids["Order"][0]}
    variables["nodes"] = [ids["Order"][1], ids["Product"][2], ids["Order"][0], ids["Product"][2], MISSING]
    await _assert_compiled(both, text, {key: value for key, value in variables.items() if f"${key}" in text})


RESOLVED = {"userEvents", "analytics", "features", "userFeatures", "productFeatures", "notifications", "failedQualityChecks"}
"""Root fields that only their resolvers can read: of what is not in PostgreSQL, and with arguments that neither rows nor lists have."""


def _readme_queries() -> list[str]:
    blocks = re.findall(r"```graphql\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    return [block for block in blocks if all(map(_is_compiled, parse(block).definitions))]


def _is_compiled(definition: Any) -> bool:
    if not isinstance(definition, OperationDefinitionNode) or definition.operation is not OperationType.QUERY:
        return False
    return not RESOLVED & {selection.name.value for selection in definition.selection_set.selections if isinstance(selection, FieldNode)}


@pytest.mark.parametrize("text", _readme_queries())
async def test_queries_of_the_readme_are_compiled(both: Both, text: str) -> None:
    await _assert_compiled(both, text, {name: both.pools.ids[name.capitalize()][0] for name in re.findall(r"\$(\w+): ID!", text)})


QUERY: Any = create_schema()._schema.query_type


@pytest.mark.parametrize("name", sorted(QUERY.fields.keys() - RESOLVED))
async def test_every_root_field_is_compiled_with_all_that_its_rows_show(both: Both, name: str) -> None:
    ids = both.pools.ids
    given = {"node": ids["Order"][0], "nodes": ids["Order"][:2], "cart": ids["Cart"][0], "order": ids["Order"][0]}
    lookups = {"product": ids["Product"][0], "store": ids["Store"][0]}
    argument = "ids" if name == "nodes" else "id"
    found = {**given, **lookups}.get(name)
    arguments = f"({argument}: {json.dumps(found)})" if found else ""
    await _assert_compiled(both, f"{{ {name}{arguments} {_all(get_named_type(QUERY.fields[name].type))} }}", {})


def _all(kind: Any) -> str:
    """Everything that a type shows, and of related rows their ids."""
    if "nodes" in kind.fields:
        return f"{{ totalCount pageInfo {{ hasNextPage endCursor }} nodes {_all(get_named_type(kind.fields['nodes'].type))} }}"
    parts = [name + _brief(field) for name, field in kind.fields.items() if not any(map(is_required_argument, field.args.values()))]
    return f"{{ {' '.join(parts)} }}"


def _brief(field: Any) -> str:
    inner = get_named_type(field.type)
    if is_leaf_type(inner):
        return ""
    return " { nodes { id } }" if "nodes" in inner.fields else " { id }"


async def _assert_compiled(both: Both, text: str, variables: dict[str, Any]) -> None:
    document = parse(text)
    assert not validate(both.schema, document)
    viewer = both.shop.viewers["administrator"]
    data = await both.compile(text, document, variables, viewer)
    expected = await both.standard(document, variables, viewer)
    assert expected.errors is None
    assert orjson.dumps(data) == orjson.dumps(expected.data)


@pytest.mark.parametrize(
    ("text", "viewer", "reason"),
    [
        ("{ __schema { queryType { name } } }", "administrator", "introspection"),
        ("mutation { signOut { userErrors { message } } }", "administrator", "mutation"),
        ("{ products(first: 0) { nodes { id } } }", "administrator", "bad_input"),
        ('{ product(id: "nothing") { id } }', "anonymous", "bad_input"),
        ("{ products { nodes { inventory { onHand } } } }", "anonymous", "denied"),
        ("{ orders { nodes { id } } }", "anonymous", "denied"),
        (f"query {{ products {{ nodes {{ {'x' * 64}: id }} }} }}", "anonymous", "long_alias"),
    ],
)
async def test_what_cannot_be_promised_is_refused_with_its_reason(both: Both, text: str, viewer: str, reason: str) -> None:
    before = both.refusals().get(f"standard {reason}", 0)
    assert await both.compile(text, parse(text), {}, both.shop.viewers[viewer]) is None
    assert both.refusals()[f"standard {reason}"] == before + 1


async def test_one_root_field_is_one_statement_whatever_its_depth(both: Both) -> None:
    document = parse(BENCHMARK["orders"])
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    context = both.context(both.shop.viewers["administrator"])
    shown = await explain(both.compiled, BENCHMARK["orders"], document, operation, {}, context)
    assert shown["execution"] == "compiled"
    assert shown["plan"]["orders"]["shows"]["nodes"]["shows"]["items"]["relation"] == "order_items.find_by_order_ids(id)"
    assert list(shown["statements"]) == ["orders"]
    assert shown["statements"]["orders"]["sql"].count("FROM order_items") == 1
    assert any("Aggregate" in line for line in shown["statements"]["orders"]["postgresql"])


async def test_explaining_what_is_left_to_resolvers_says_why(both: Both) -> None:
    text = "{ orders { nodes { id } } }"
    document = parse(text)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    shown = await explain(both.compiled, text, document, operation, {}, both.context(both.shop.viewers["anonymous"]))
    assert shown == {"execution": "standard", "reason": "denied", "detail": "Query.orders"}


async def test_many_ids_are_one_statement_for_each_of_their_types(both: Both) -> None:
    ids = both.pools.ids
    text = SKETCH["nodes"]
    document = parse(text)
    operation = document.definitions[0]
    assert isinstance(operation, OperationDefinitionNode)
    given = {"nodes": [*ids["Order"][:3], *ids["Product"][:3]]}
    shown = await explain(both.compiled, text, document, operation, given, both.context(both.shop.viewers["administrator"]))
    assert list(shown["statements"]) == ["nodes: Order", "nodes: Product"]


HANDS = "query ($order: ID!) { order(id: $order) { events { kind amount person { username email } } } }"


@pytest.mark.parametrize(("actor", "compiled"), [(0, True), (1, False), (None, False)])
async def test_who_a_row_is_about_is_looked_at_row_by_row(both: Both, actor: int | None, compiled: bool) -> None:
    """A shopper sees whose hand it was where it was its own; of others not even the answer's shape says more than the error."""
    users = both.shop.ids["users"]
    shopper = both.shop.viewers["shopper"]
    order = await both.repositories.orders.create({"user_id": shopper.user_id, "items_total": 1, "total": 1, "currency": "USD"})
    await both.repositories.order_events.create(
        {"order_id": order.id, "kind": "CREATED", "actor": "STAFF", "actor_id": None if actor is None else users[actor]}
    )
    document, variables = parse(HANDS), {"order": encode_id("Order", order.id)}
    data = await both.compile(HANDS, document, variables, shopper)
    expected = await both.standard(document, variables, shopper)
    if compiled:
        assert expected.errors is None
        assert orjson.dumps(data) == orjson.dumps(expected.data)
    else:
        assert data is None
        assert "this needs the permission users:read" in str(expected.errors)
        assert expected.data is not None
        assert expected.data["order"]["events"][0]["person"] is None
    assert await both.compile(HANDS, document, variables, both.shop.viewers["administrator"]) is not None
