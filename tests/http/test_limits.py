"""Small documents that ask for much, or that are slow to read or check: refused at once, with the limit and the value found."""

import time
from typing import Any

import httpx
import pytest
from graphql import get_introspection_query, get_named_type

from app.api.documents import Documents
from app.api.limits import Limits, Scale
from app.schema import create_schema
from tests.access.selection import everything
from tests.execution.bazaar import create_bazaar
from tests.serving import Caller, gateway, refusals, settings_for

CORE = create_schema()._schema
QUERIES = CORE.query_type.fields  # type: ignore[union-attr]
CATALOG = "{ products(first: %d) { nodes { id name price currency sku imageUrl category status } } }"
ORDERS = """
    { orders(first: %d) { nodes { id status total currency createdAt user { id username email }
      items { id quantity price product { id name sku price } } payments { id amount status transactionId } } } }
"""
SOON = 30.0
"""Seconds; a refusal takes a few milliseconds, on a busy machine with luck on its side."""


async def refused(caller: Caller, query: str, variables: dict[str, Any] | None = None) -> str:
    """Why a document is refused, which must not take long."""
    started = time.monotonic()
    response: httpx.Response = await caller.post(query, variables)
    assert time.monotonic() - started < SOON
    first, *_ = refusals(response)
    return f"{first['extensions']['code']} {first['message']}"


def fragments(count: int, spread: str) -> str:
    """A chain of fragments on Query, each with the next one in the place of %d."""
    links = "".join(f"fragment f{n} on Query {{ {spread.replace('%d', str(n + 1))} }}" for n in range(count))
    return f"{{ ...f0 }} {links} fragment f{count} on Query {{ products {{ nodes {{ id }} }} }}"


def repeated(part: str, count: int) -> str:
    return " ".join(part.replace("%d", str(n)) for n in range(count))


# --- What must pass


async def test_catalog_and_orders_pass_at_full_size(anonymous: Caller, shopper: Caller, administrator: Caller) -> None:
    await anonymous.ask(CATALOG % 100)
    await shopper.ask(ORDERS % 100)
    await administrator.ask(CATALOG % 250)
    assert len((await administrator.ask(ORDERS % 250))["orders"]["nodes"]) == 50


@pytest.mark.parametrize("options", [{}, {"specified_by_url": True, "input_value_deprecation": True, "directive_is_repeatable": True}])
async def test_tools_can_read_the_schema(anonymous: Caller, options: dict[str, bool]) -> None:
    schema = (await anonymous.ask(get_introspection_query(**options)))["__schema"]
    assert {"Query", "Product", "Order"} <= {kind["name"] for kind in schema["types"]}


def reading() -> Documents:
    return Documents(CORE, Limits(), max_tokens=5000, introspection=True)


def faults(documents: Documents, query: str) -> list[str]:
    """Why a document may not run."""
    return [error.message for error in documents.check(documents.read(query), None, {})]


@pytest.mark.parametrize("name", [name for name, field in QUERIES.items() if "first" in field.args])
def test_every_list_passes_at_full_size_with_all_that_is_one_step_away(name: str) -> None:
    shown = get_named_type(QUERIES[name].type)
    nodes = get_named_type(shown.fields["nodes"].type).name
    page = f"totalCount pageInfo {{ hasNextPage endCursor }} nodes {everything(CORE, nodes, 1)}"
    since = ', since: "2026-01-01T00:00:00Z"' if "since" in QUERIES[name].args else ""
    assert faults(reading(), f"{{ {name}(first: 100{since}) {{ {page} }} }}") == []


@pytest.mark.parametrize("name", [kind.name for kind in CORE.get_possible_types(CORE.type_map["Node"])])  # type: ignore[arg-type]
def test_every_object_passes_with_all_that_is_two_steps_away(name: str) -> None:
    assert faults(reading(), f'{{ node(id: "x") {{ ... on {name} {everything(CORE, name, 2)} }} }}') == []


async def test_what_is_asked_by_fragment_costs_what_it_costs_in_place() -> None:
    documents = reading()

    def cost(query: str, variables: dict[str, Any] | None = None) -> int:
        return documents.cost(documents.read(query), None, variables or {})["requested"]

    plain = cost("{ products(first: 7) { nodes { id name } } }")
    assert plain == 1 + 1 + 7 * 2
    assert (
        cost("{ products(first: 7) { ...P } } fragment P on ProductConnection { nodes { id ...N } } fragment N on Product { name }")
        == plain
    )
    assert cost("{ ...Q } fragment Q on Query { products(last: 7) { ... { nodes { ... on Product { id name } } } } }") == plain
    assert cost("query ($n: Int) { products(first: $n) { nodes { id name } } }", {"n": 7}) == plain
    assert cost("query ($n: Int) { products(first: $n) { nodes { id name } } }", {"n": 7.0}) == plain
    assert cost("query ($n: Int = 7) { products(first: $n) { nodes { id name } } }") == plain
    assert cost("{ products(first: 7) { edges { node { id name } } } }") == plain + 7
    assert cost("{ products { nodes { id name } } }") == 1 + 1 + 20 * 2
    assert cost("{ products(first: 7) { nodes { stores { id } } } }") == 1 + 1 + 7 * (1 + 5)
    assert cost('{ nodes(ids: ["a", "b"]) { id } }') == 1 + 2


async def test_weighing_visits_each_part_once() -> None:
    """Also where a chain of fragments doubles at each link, the work is the document's size."""
    document = reading().read(fragments(30, "...f%d ...f%d"))
    visited = 0

    class Counting(Scale):
        def _selection(self, *args: Any) -> Any:
            nonlocal visited
            visited += 1
            return super()._selection(*args)

    weight = Counting(CORE, document.node, {}).weigh(document.operation(None))
    assert weight.fields == 2**30
    assert visited == 1 + 2 * 30 + 3


# --- What must not


@pytest.mark.parametrize("shown", ["id", "id status", "id status total"])
def test_a_hundred_pages_of_a_hundred_are_too_much_whatever_they_show(shown: str) -> None:
    documents = Documents(create_bazaar()._schema, Limits(), max_tokens=5000, introspection=True)
    query = "{ stores(first: 100) { nodes { orders(first: %d) { nodes { " + shown + " } } } } }"
    assert "points of cost" in faults(documents, query % 100)[0]
    assert faults(documents, query % 20) == []


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("{ orders { nodes { cart { order { cart { order { id } } } } } } }", "to Order 3 times"),
        ('{ product(sku: "x") { inventory { product { inventory { product { name } } } } } }', "to Product 3 times"),
        (
            "{ orders { nodes { ...O } } } fragment O on Order { cart { ...C } } fragment C on Cart { order { cart { order { id } } } }",
            "to Order 3 times",
        ),
        ("query A { me { id } } query B { carts { edges { node { order { cart { order { cart { id } } } } } } } }", "to Cart 3 times"),
        ("mutation { cancelOrder(input: { id: 1 }) { order { cart { order { cart { order { id } } } } } } }", "to Order 3 times"),
    ],
)
def test_an_operation_that_goes_round_in_circles_is_refused(query: str, reason: str) -> None:
    documents = reading()
    document = documents.read(query)
    (error,) = documents.check(document, next(iter(document.operations)), {})
    assert f"{reason} on one path; at most 2" in error.message
    assert error.extensions == {"code": "TOO_COMPLEX"}


@pytest.mark.parametrize(
    "query",
    [
        "{ orders { nodes { cart { order { cart { id } } } } } }",
        "{ roles { nodes { parentRole { parentRole { parentRole { parentRole { name } } } } } } }",
        '{ a: product(sku: "x") { id } b: product(sku: "y") { id } c: product(sku: "z") { id } }',
        "{ orders { nodes { store { id } user { store { id } } cart { store { id } user { store { id } } } } } }",
    ],
)
def test_what_only_looks_like_a_circle_passes(query: str) -> None:
    assert faults(reading(), query) == []


async def test_circles_are_refused_over_http_and_their_number_is_a_setting(anonymous: Caller, database_url: str) -> None:
    turn = '{ product(sku: "x") { inventory { product { inventory { product { name } } } } } }'
    assert (await refused(anonymous, turn)).startswith("TOO_COMPLEX The operation comes to Product 3 times")
    async with gateway(settings_for(database_url, max_visits=3)) as caller:
        assert await caller.ask(turn) == {"product": None}


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        (fragments(30, "...f%d ...f%d"), "TOO_COMPLEX The operation has 1073741824 root fields; at most 20"),
        (fragments(25, 'node(id: "x") { ...on Node { id } } ...f%d ...f%d'), "TOO_COMPLEX The operation has"),
        (fragments(300, "...f%d"), "TOO_COMPLEX The operation has far more levels of depth"),
        (fragments(600, "...f%d"), "TOO_COMPLEX The operation has far more levels of depth"),
        ("{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }", "GRAPHQL_VALIDATION_FAILED Cannot spread fragment 'A'"),
        ("{ ...A } fragment A on Query { products { nodes { id } } ...A }", "GRAPHQL_VALIDATION_FAILED Cannot spread fragment 'A'"),
        (
            "{ " + "products { nodes { stores { products " * 4 + "{ nodes { id } }" + " } } }" * 4 + " }",
            "TOO_COMPLEX The operation has 15 levels",
        ),
        ("{ a" * 1000 + " }" * 1000, "GRAPHQL_PARSE_FAILED Syntax Error: Document is nested too deeply"),
        ("{ products" * 2400, "GRAPHQL_PARSE_FAILED Syntax Error: Document is nested too deeply"),
        ("{ product(sku: " + "[" * 2000, "GRAPHQL_PARSE_FAILED Syntax Error: Document is nested too deeply"),
        ("{ product(sku: " + "{a:" * 1500, "GRAPHQL_PARSE_FAILED Syntax Error: Document is nested too deeply"),
        ("{ " + "... { " * 150 + "__typename" + " }" * 151, "TOO_COMPLEX The operation has far more levels of depth"),
        (f"{{ {repeated('a%d: __typename', 21)} }}", "TOO_COMPLEX The operation has 21 root fields"),
        (f"{{ ... {{ {repeated('a%d: __typename', 21)} }} }}", "TOO_COMPLEX The operation has 21 root fields"),
        (f"{{ ...R }} fragment R on Query {{ {repeated('a%d: __typename', 21)} }}", "TOO_COMPLEX The operation has 21 root fields"),
        (f"mutation {{ {repeated('a%d: signOut { signedOut }', 21)} }}", "TOO_COMPLEX The operation has 21 root fields"),
        (f'{{ product(sku: "x") {{ {repeated("a%d: id", 31)} }} }}', "TOO_COMPLEX The operation has 31 aliases"),
        (f"{{ {repeated('products { nodes { id } }', 700)} }}", "TOO_COMPLEX The operation has 700 root fields"),
        (
            "{ products(first: 100) { edges { node { stores { settings { id } } " + "name " * 380 + "} } } }",
            "TOO_COMPLEX The operation has",
        ),
        ("{ products(first: 2147483647) { nodes { id } } }", "TOO_COMPLEX The operation has 2147483649 points of cost; at most 35000"),
        ("{ products(first: " + "9" * 5000 + ") { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED first: Expected value of type 'Int'."),
        ("query ($n: Int = " + "9" * 5000 + ") { products(first: $n) { nodes { id } } }", "GRAPHQL_VALIDATION_FAILED $n: Expected value"),
        (
            "{ a: products(first: -100000) { nodes { id } } b: products(first: 100) { nodes { stores { name " + "id " * 75 + "} } } }",
            "TOO_COMPLEX",
        ),
        ("{ products { nodes { id } } " + "a " * 6000 + "}", "GRAPHQL_PARSE_FAILED Syntax Error: Document contains more than 5000 tokens"),
        ("#\n" * 40_000 + "{ __typename }", "GRAPHQL_PARSE_FAILED Syntax Error: Document contains more than 5000 tokens"),
        (f"{{ products(first: 1) {{ nodes {{ {repeated('id', 4900)} }} }} }}", "TOO_COMPLEX The operation repeats too many"),
        (f"{{ products(first: 1) {{ nodes {{ {repeated('stores { id }', 900)} }} }} }}", "TOO_COMPLEX"),
        (
            f"{{ products(first: 1) {{ nodes {{ {repeated('...F%d', 300)} }} }} }}"
            + repeated("fragment F%d on Product { stores { id name } }", 300),
            "TOO_COMPLEX The operation repeats too many",
        ),
        (f"{{ products(first: 1) {{ nodes {{ {repeated('... on Product { stores { id } }', 500)} }} }} }}", "TOO_COMPLEX"),
        (f"{{ products(filter: {{ {repeated('x%d: { eq: 1 }', 700)} }}) {{ nodes {{ id }} }} }}", "GRAPHQL_VALIDATION_FAILED"),
        (f"query ({repeated('$a%d: Int', 1200)}) {{ __typename }}", "GRAPHQL_VALIDATION_FAILED"),
        (f"{{ __typename {repeated('@skip(if: true)', 700)} }}", "GRAPHQL_VALIDATION_FAILED"),
        (
            "{ __schema { types { fields { type { fields { type { fields { type { fields { name } } } } } } } } } }",
            "GRAPHQL_VALIDATION_FAILED Max",
        ),
        (f"{{ {repeated('a%d: __schema { types { fields { type { fields { args { name type { name } } } } } } }', 20)} }}", "TOO_COMPLEX"),
    ],
    ids=lambda value: value[:50],
)
async def test_document_is_refused_at_once(anonymous: Caller, query: str, reason: str) -> None:
    assert len(query) < 100_000
    assert (await refused(anonymous, query)).startswith(reason)


async def test_sizes_in_variables_count(anonymous: Caller) -> None:
    query = "query ($n: Int) { products(first: $n) { nodes { stores { " + "name " * 75 + "} } } }"
    await anonymous.ask(query, n=50)
    for size in (100, 100.0, 2**31 - 1):
        assert (await refused(anonymous, query, {"n": size})).startswith("TOO_COMPLEX")
    await anonymous.ask(query, n=1)


async def test_every_operation_of_a_document_is_measured(anonymous: Caller) -> None:
    query = "query A { __typename } query B { ...f0 } " + fragments(30, "...f%d ...f%d").removeprefix("{ ...f0 }")
    response = await anonymous.http.post("/graphql", json={"query": query, "operationName": "A"})
    assert refusals(response)[0]["extensions"]["code"] == "TOO_COMPLEX"


async def test_quoted_documents_do_not_come_back_many_times_their_size(anonymous: Caller) -> None:
    query = f"{{ products(filter: {{ {repeated('x%d: { eq: 1 }', 700)} }}) {{ nodes {{ id }} }} }}"
    assert len((await anonymous.post(query)).content) < 10_000


async def test_limits_are_settings(database_url: str) -> None:
    settings = settings_for(database_url, max_depth=3, max_aliases=1, max_root_fields=2, max_cost=30, max_tokens=20)
    async with gateway(settings) as caller:
        await caller.ask("{ products { nodes { id } } }")
        for query, reason in (
            ("{ products { nodes { stores { id } } } }", "4 levels of depth; at most 3"),
            ("{ a: __typename b: __typename }", "2 aliases; at most 1"),
            ("{ me { id } myCart { id } products { nodes { id } } }", "3 root fields; at most 2"),
            ("{ products { nodes { id name } } }", "42 points of cost; at most 30"),
            ("{ me { id id id id id id id id id id id id id id id id id id } }", "more than 20 tokens"),
        ):
            assert reason in await refused(caller, query)
