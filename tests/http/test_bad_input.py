"""Values that no caller should send: each is refused with an error that names the field, and never upsets the gateway."""

import base64
import json
from dataclasses import dataclass
from functools import partial
from itertools import repeat
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import orjson
import pytest

from tests.serving import Caller, gateway, refusals, settings_for

MEGABYTE = "x" * 900_000
"""As long as a text can be in a body of a million bytes."""

NOBODY = UUID("01900000-0000-7000-8000-000000000000")
"""The key of no row; the same in every test process, which must agree on the names of the tests."""


@dataclass(frozen=True)
class Ids:
    """Global ids of things in the demo shop."""

    product: str
    store: str
    order: str


@pytest.fixture(scope="session")
async def ids(administrator: Caller) -> Ids:
    found = await administrator.ask(
        "{ products(first: 1) { nodes { id } } stores(first: 1) { nodes { id } } orders(first: 1) { nodes { id } } }"
    )
    return Ids(*(found[name]["nodes"][0]["id"] for name in ("products", "stores", "orders")))


def global_id(type_name: str, key: str | None = None) -> str:
    return base64.b64encode(f"{type_name}:{NOBODY if key is None else key}".encode()).decode()


def places(response: httpx.Response) -> list[str]:
    """What a refusal says about where the fault is, be it an error or one of a payload's userErrors."""
    assert response.status_code < 500, response.text[:1000]
    assert len(response.content) < 20_000
    body = response.json()
    payloads = [payload for payload in (body.get("data") or {}).values() if isinstance(payload, dict)]
    mended = [error for payload in payloads for error in payload.get("userErrors", [])]
    if not mended:
        return [f"{error['message']} {json.dumps(error.get('extensions', {}))}" for error in refusals(response)]
    return [f"{'.'.join(error['field'] or ())} {error['message']}" for error in mended]


# --- Ids

WRONG_IDS = [
    "",
    " ",
    "x",
    "5",
    "ä",
    "=" * 8,
    "'; drop table products; --",
    str(NOBODY),
    global_id("Product", ""),
    global_id("Product", "5"),
    global_id("Product", f"{NOBODY}x"),
    global_id("", "5"),
    global_id("product"),
    global_id("Nothing"),
    global_id("Query"),
    global_id("Product")[:-3],
    f"{global_id('Product')}\n",
    base64.b64encode(b"\xff\xfe:\x00").decode(),
    MEGABYTE,
    "x" * 300 + "🏃",
]


@pytest.mark.parametrize("wrong", WRONG_IDS, ids=lambda value: value[:12])
async def test_what_is_no_id_is_refused_by_name(administrator: Caller, wrong: str) -> None:
    for query, argument in (
        ("query ($id: ID!) { product(id: $id) { id } }", "id"),
        ("query ($id: ID!) { node(id: $id) { id } }", "id"),
        ("query ($id: ID!) { nodes(ids: [$id]) { id } }", "ids.0"),
        ("query ($id: ID!) { products(filter: { id: { eq: $id } }) { nodes { id } } }", "filter.id.eq"),
        ("query ($id: ID!) { products(filter: { id: { in: [$id] } }) { nodes { id } } }", "filter.id.in"),
        ("mutation ($id: ID!) { addToCart(input: { productId: $id }) { cart { id } userErrors { field message } } }", "productId"),
    ):
        found = places(await administrator.post(query, {"id": wrong}))
        assert any(argument in place for place in found), found


@pytest.mark.parametrize(
    ("query", "argument"),
    [
        ("query ($id: ID!) { product(id: $id) { id } }", "id"),
        ("query ($id: ID!) { store(id: $id) { id } }", "id"),
        ("query ($id: ID!) { cart(id: $id) { id } }", "id"),
        ("query ($id: ID!) { order(id: $id) { id } }", "id"),
        ("mutation ($id: ID!) { addToCart(input: { productId: $id }) { userErrors { field message } } }", "productId"),
        ("mutation ($id: ID!) { setInventory(input: { productId: $id, onHand: 1 }) { userErrors { field message } } }", "productId"),
        ("mutation ($id: ID!) { archiveProduct(input: { id: $id }) { userErrors { field message } } }", "id"),
        ("mutation ($id: ID!) { cancelOrder(input: { id: $id }) { userErrors { field message } } }", "id"),
        ('mutation ($id: ID!) { createOrder(input: { cartId: $id, paymentMethod: "card" }) { userErrors { field message } } }', "cartId"),
        ('mutation ($id: ID!) { processPayment(input: { orderId: $id, paymentToken: "t" }) { userErrors { field message } } }', "orderId"),
    ],
)
async def test_id_of_another_kind_is_refused_by_name_and_a_stranger_is_not_found(administrator: Caller, query: str, argument: str) -> None:
    (error,) = await administrator.refusals(query, id=global_id("Webhook"))
    assert error["extensions"]["argument"] == argument
    assert "another kind" in error["message"]
    kind = error["message"].partition("the id of a ")[2].split()[0]
    response = await administrator.post(query, {"id": global_id(kind)})
    (answer,) = (response.json()["data"] or {"": None}).values()
    if answer is not None:
        assert answer["userErrors"], response.text
    elif query.startswith("mutation"):
        assert [error["extensions"]["code"] for error in refusals(response)] == ["NOT_FOUND"]
    else:
        assert "errors" not in response.json()


async def test_ids_that_are_numbers_or_objects_are_refused(anonymous: Caller) -> None:
    for literal in ("5", "-5", "99999999999999999999999999"):
        (error,) = await anonymous.refusals(f"{{ product(id: {literal}) {{ id }} }}")
        assert error["message"].startswith("id: ")
    for literal in ("5.5", "true", "{a: 1}", "[[]]", "RED"):
        assert await anonymous.refusals(f"{{ product(id: {literal}) {{ id }} }}")
    values: list[Any] = [5.5, True, {}, [], [[]]]
    for value in values:
        (error,) = await anonymous.refusals("query ($id: ID) { product(id: $id) { id } }", id=value)
        assert "$id" in error["message"]


async def test_one_of_id_and_sku_is_needed(anonymous: Caller, ids: Ids) -> None:
    for arguments in ("", "(id: null)", f'(id: "{ids.product}", sku: "x")'):
        (error,) = await anonymous.refusals(f"{{ product{arguments} {{ id }} }}")
        assert error["extensions"]["argument"] == "id"


async def test_too_many_ids_are_refused(anonymous: Caller, ids: Ids) -> None:
    (error,) = await anonymous.refusals("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[ids.product] * 101)
    assert error["message"].startswith("ids: has 101 ids, at most 100")
    answer = await anonymous.ask("query ($ids: [ID!]!) { nodes(ids: $ids) { id } }", ids=[ids.product] * 100)
    assert [node["id"] for node in answer["nodes"]] == [ids.product] * 100


# --- Numbers


@pytest.mark.parametrize("quantity", [-(2**31), -1, 0, 1_000_000, 2**31 - 1])
async def test_impossible_quantities_are_refused_by_name(shopper: Caller, ids: Ids, quantity: int) -> None:
    query = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } userErrors { field message code } } }"
    answer = await shopper.ask(query, input={"productId": ids.product, "quantity": quantity})
    (error,) = answer["addToCart"]["userErrors"]
    assert error["field"] == ["quantity"]
    assert answer["addToCart"]["cart"] is None


@pytest.mark.parametrize("quantity", [2**31, -(2**31) - 1, 10**30, 1.5, "3", True, [1, 2], {}, None])
async def test_quantities_that_are_no_int_are_refused_by_name(shopper: Caller, ids: Ids, quantity: Any) -> None:
    query = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } } }"
    (error,) = await shopper.refusals(query, input={"productId": ids.product, "quantity": quantity})
    assert "quantity" in error["message"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("literal", ["2147483648", "-2147483649", "1e3", "1.0", '"3"', "true", "9" * 5000, "null", "1e999"])
async def test_literals_that_are_no_int_are_refused_by_name(shopper: Caller, ids: Ids, literal: str) -> None:
    query = f'mutation {{ addToCart(input: {{ productId: "{ids.product}", quantity: {literal} }}) {{ cart {{ id }} }} }}'
    (error,) = await shopper.refusals(query)
    assert error["message"].startswith("input.quantity: ")
    assert error["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED", "argument": "input.quantity"}
    assert "sys." not in error["message"]


CREATE = "mutation ($input: CreateProductInput!) { createProduct(input: $input) { product { id } userErrors { field message code } } }"


@pytest.mark.parametrize(
    "price",
    [
        *(
            "NaN",
            "Infinity",
            "-Infinity",
            "1e5",
            "1E+3",
            "1_000",
            "\uff11\uff12",
            "1,5",
            "",
            " 1",
            "1 ",
            "+1",
            ".5",
            "5.",
            "0x10",
            "1" * 16,
        ),
        *(1e300, 1e-9, True, [], {}, None, MEGABYTE, "\u0663"),
    ],
)
async def test_what_is_no_decimal_is_refused_by_name(administrator: Caller, price: Any) -> None:
    (error,) = await administrator.refusals(CREATE, input={"name": "Lantern", "price": price})
    assert "price" in error["message"]
    assert len(error["message"]) < 1000


@pytest.mark.parametrize(
    ("price", "currency"),
    [("-1", "USD"), ("-0.01", "USD"), ("1.999", "USD"), ("0.001", "USD"), ("1.5", "JPY"), ("1.0001", "KWD"), (12.345, "EUR")],
)
async def test_amounts_that_the_currency_does_not_have_are_refused_by_name(administrator: Caller, price: Any, currency: str) -> None:
    answer = await administrator.ask(CREATE, input={"name": "Lantern", "price": price, "currency": currency})
    assert [error["field"] for error in answer["createProduct"]["userErrors"]] == [["price"]]


@pytest.mark.parametrize("literal", ["1e999", "1e5", "-1e-999999", "12.3456789012345678901234567890", "true", "NaN", "1" * 5000])
async def test_literals_that_are_no_decimal_are_refused_by_name(administrator: Caller, literal: str) -> None:
    query = f'mutation {{ createProduct(input: {{ name: "Lantern", price: {literal} }}) {{ product {{ id }} }} }}'
    (error,) = await administrator.refusals(query)
    assert error["message"].startswith("input.price: ")
    assert error["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED", "argument": "input.price"}
    assert error["locations"]


async def test_number_that_json_cannot_hold_is_refused(administrator: Caller) -> None:
    body = json.dumps({"query": CREATE, "variables": {"input": {"name": "Lantern", "price": "@"}}})
    for number in ("1e999", "NaN", "-Infinity"):
        response = await administrator.http.post(
            "/graphql",
            content=body.replace('"@"', number),
            headers={**administrator.headers, "content-type": "application/json"},
        )
        assert response.status_code == 400


# --- Texts


@pytest.mark.parametrize("text", ["\0", "a\0b", "\0" * 1000])
async def test_nul_in_variables_is_refused_by_name(administrator: Caller, text: str) -> None:
    for input, place in (
        ({"name": text, "price": "1"}, "variables.input.name"),
        ({"name": "Lantern", "price": text}, "variables.input.price"),
        ({"name": "Lantern", "price": "1", "metadata": {"deep": [{"key": text}]}}, "variables.input.metadata.deep.0"),
        ({"name": "Lantern", "price": "1", "metadata": {text: 1}}, "variables.input.metadata"),
    ):
        response = await administrator.post(CREATE, {"input": input})
        assert response.status_code == 400
        assert response.json()["errors"][0]["message"].startswith(place)


@pytest.mark.parametrize("literal", ['"a\0b"', '"\\u0000"', '"\\u{0}"', '"\\u{00}b"', '"""a\0"""'])
async def test_nul_in_literals_is_refused_by_name(administrator: Caller, literal: str) -> None:
    for query, place in (
        (f"{{ product(sku: {literal}) {{ id }} }}", "sku"),
        (f"{{ products(filter: {{ or: [{{ name: {{ in: [{literal}] }} }}] }}) {{ nodes {{ id }} }} }}", "filter.or.name.in"),
        (f"query ($a: String = {literal}) {{ product(sku: $a) {{ id }} }}", "NUL"),
        (f"mutation {{ createProduct(input: {{ name: {literal}, price: 1 }}) {{ product {{ id }} }} }}", "input.name"),
    ):
        (error,) = await administrator.refusals(query)
        assert error["message"].startswith(place) or place in error["message"]
        assert error["locations"]


@pytest.mark.parametrize("literal", ["\\uD800", "\\uDFFF", "\\u{D800}", "\\uDC00\\uD800", "\\u{110000}", "\\uD83Dx"])
async def test_lone_surrogates_in_literals_are_refused(anonymous: Caller, literal: str) -> None:
    (error,) = await anonymous.refusals(f'{{ product(sku: "{literal}") {{ id }} }}')
    assert error["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"
    assert error["locations"]


async def test_surrogate_pairs_are_text(anonymous: Caller) -> None:
    assert await anonymous.ask('{ product(sku: "\\uD83C\\uDFC3 \\u{1F3C3}") { id } }') == {"product": None}


async def test_texts_of_a_megabyte_are_refused_by_name(anonymous: Caller, administrator: Caller) -> None:
    for field in ("name", "sku", "description", "category", "imageUrl", "currency"):
        answer = await administrator.ask(CREATE, input={"name": "Lantern", "price": "1", field: MEGABYTE})
        assert [error["field"] for error in answer["createProduct"]["userErrors"]] == [[field]]
    sign_up = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } userErrors { field message } } }"
    account = {"email": "a@example.com", "username": "somebody", "password": "long enough 1"}
    for field in ("email", "username", "password", "firstName", "lastName"):
        answer = await anonymous.ask(sign_up, input={**account, field: MEGABYTE})
        assert [error["field"] for error in answer["signUp"]["userErrors"]] == [[field]]


async def test_looking_for_a_megabyte_finds_nothing(anonymous: Caller) -> None:
    sign_in = "mutation ($t: String!) { signIn(input: { email: $t, password: $t }) { session { token } userErrors { code } } }"
    answer = await anonymous.ask(sign_in, t=MEGABYTE)
    assert answer["signIn"]["session"] is None
    assert answer["signIn"]["userErrors"]
    assert (await anonymous.ask("query ($t: String) { product(sku: $t) { id } }", t=MEGABYTE))["product"] is None
    query = "query ($filter: ProductFilter) { products(filter: $filter) { nodes { id } } }"
    assert (await anonymous.ask(query, filter={"name": {"eq": MEGABYTE}}))["products"]["nodes"] == []
    for operator in ("contains", "startsWith"):
        (error,) = await anonymous.refusals(query, filter={"name": {operator: "%_\\" * 200_000}})
        assert error["extensions"]["argument"] == f"filter.name.{operator}"
        assert (await anonymous.ask(query, filter={"name": {operator: "%_\\" * 80}}))["products"]["nodes"] == []


async def test_text_of_a_megabyte_in_the_document_is_refused(anonymous: Caller) -> None:
    for query in (f'{{ product(sku: "{MEGABYTE}") {{ id }} }}', f"{{ {MEGABYTE} }}", f"# {MEGABYTE}\n{{ __typename }}"):
        (error,) = await anonymous.refusals(query)
        assert "at most 100000" in error["message"]


@pytest.mark.parametrize("name", ["", "   ", "\t\n", "\u0000"[:0], "x" * 256])
async def test_names_that_say_nothing_or_too_much_are_refused_by_name(administrator: Caller, name: str) -> None:
    answer = await administrator.ask(CREATE, input={"name": name, "price": "1"})
    assert [error["field"] for error in answer["createProduct"]["userErrors"]] == [["name"]]


async def test_metadata_is_bounded(administrator: Caller) -> None:
    def deep(levels: int) -> Any:
        return {"a": deep(levels - 1)} if levels else 1

    for metadata in (deep(40), {"a": "x" * 70_000}, [1], "text", 5):
        answer = await administrator.ask(CREATE, input={"name": "Lantern", "price": "1", "metadata": metadata})
        assert [error["field"] for error in answer["createProduct"]["userErrors"]] == [["metadata"]]


# --- Times


@pytest.mark.parametrize(
    "time",
    [
        "2026-01-31T12:00:00",
        "2026-01-31",
        "2026-01-31 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-13-01T12:00:00Z",
        "2026-01-31T25:00:00Z",
        "2026-01-31T12:00:00+99:99",
        "0000-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "now",
        "infinity",
        "",
        5,
        1e10,
        True,
        {},
        MEGABYTE,
    ],
    ids=lambda value: str(value)[:26],
)
async def test_what_is_no_instant_is_refused_by_name(anonymous: Caller, time: Any) -> None:
    query = "query ($filter: ProductFilter) { products(filter: $filter) { nodes { id } } }"
    (error,) = await anonymous.refusals(query, filter={"createdAt": {"gte": time}})
    assert "createdAt.gte" in error["message"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


async def test_instants_at_the_edge_of_time_are_taken(anonymous: Caller) -> None:
    query = "query ($filter: ProductFilter) { products(filter: $filter) { nodes { id } } }"
    for time in ("0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z", "2026-01-31t12:00:00.5+14:00"):
        await anonymous.ask(query, filter={"createdAt": {"lt": time}})


# --- Pages

PAGE = """
    query ($first: Int, $after: String, $last: Int, $before: String, $orderBy: [ProductOrder!]) {
      products(first: $first, after: $after, last: $last, before: $before, orderBy: $orderBy) {
        nodes { id } edges { cursor } pageInfo { endCursor }
      }
    }
"""


@pytest.mark.parametrize("name", ["first", "last"])
@pytest.mark.parametrize("size", [0, -1, 101, 250, 2**31 - 1, -(2**31)])
async def test_impossible_page_sizes_are_refused_by_name(anonymous: Caller, name: str, size: int) -> None:
    (error,) = await anonymous.refusals(PAGE, **{name: size})
    if error["extensions"]["code"] == "BAD_USER_INPUT":
        assert error["extensions"]["argument"] == name
        assert error["message"] == f"{name}: is {size}, but must be between 1 and 100"
    else:
        assert error["extensions"]["code"] == "TOO_COMPLEX"
        assert size > 250


async def test_page_sizes_of_staff_are_larger_but_bounded(administrator: Caller) -> None:
    assert len((await administrator.ask(PAGE, first=250))["products"]["nodes"]) == 216
    (error,) = await administrator.refusals(PAGE, first=251)
    assert error["message"] == "first: is 251, but must be between 1 and 250"


@pytest.mark.parametrize("size", [2**31, -(2**31) - 1, 10**40, 1.5, "20", True, []])
async def test_page_sizes_that_are_no_int_are_refused_by_name(anonymous: Caller, size: Any) -> None:
    (error,) = await anonymous.refusals(PAGE, first=size)
    assert "$first" in error["message"]


async def test_first_and_last_exclude_each_other(anonymous: Caller) -> None:
    (error,) = await anonymous.refusals(PAGE, first=1, last=1)
    assert error["extensions"]["argument"] == "last"


async def test_order_has_few_keys(anonymous: Caller) -> None:
    (error,) = await anonymous.refusals(PAGE, orderBy=[{"field": "NAME"}] * 6)
    assert error["extensions"]["argument"] == "orderBy"
    await anonymous.ask(PAGE, orderBy=[{"field": "NAME"}] * 5)


def cursor(*parts: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(parts)).decode()


BY_PRICE = [{"field": "PRICE", "direction": "ASC"}]


async def test_cursors_of_other_lists_and_orders_are_refused_by_name(anonymous: Caller) -> None:
    stores = (await anonymous.ask("{ stores(first: 1) { pageInfo { endCursor } } }"))["stores"]["pageInfo"]["endCursor"]
    newest = (await anonymous.ask(PAGE, first=1))["products"]["pageInfo"]["endCursor"]
    cheapest = (await anonymous.ask(PAGE, first=1, orderBy=BY_PRICE))["products"]["pageInfo"]["endCursor"]
    dearest = [{"field": "PRICE", "direction": "DESC"}]
    for argument in ("after", "before"):
        for found, order in ((stores, None), (cheapest, None), (newest, BY_PRICE), (cheapest, dearest)):
            (error,) = await anonymous.refusals(PAGE, orderBy=order, **{argument: found})
            assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": argument}


LIST = "products,price+,id+"
FORGED = [
    *("", "x", "ä", "====", "e30=", "W10=", "bnVsbA==", "-5", MEGABYTE, "\n"),
    cursor(LIST),
    cursor(LIST, "1"),
    cursor(LIST, "1", str(NOBODY), "more"),
    cursor(LIST, 1, str(NOBODY)),
    cursor(LIST, None, str(NOBODY)),
    cursor(LIST, "1", "no uuid"),
    *map(partial(cursor, LIST), ("NaN", "Infinity", "1e999999999", "x", "", "1\0", "9" * 40), repeat(str(NOBODY))),
    cursor("products,created_at-,id-", "2026-01-01T00:00:00.000000Z", str(NOBODY)),
]


@pytest.mark.parametrize(
    "wrong",
    FORGED,
    ids=lambda value: value[:12],
)
async def test_forged_cursors_are_refused_by_name(anonymous: Caller, wrong: str) -> None:
    (error,) = await anonymous.refusals(PAGE, after=wrong, orderBy=BY_PRICE)
    assert error["extensions"] == {"code": "BAD_USER_INPUT", "argument": "after"}


@pytest.mark.parametrize(
    "time", ["0001-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z", "yesterday", "0001-01-01T00:00:00.000000+23:59"]
)
async def test_forged_times_in_cursors_do_no_harm(anonymous: Caller, time: str) -> None:
    response = await anonymous.post(PAGE, {"after": cursor("products,created_at-,id-", time, str(NOBODY))})
    if "errors" in response.json():
        (error,) = refusals(response)
        assert error["extensions"]["argument"] == "after"


# --- Filters


async def test_filters_are_bounded_and_refused_by_place(anonymous: Caller) -> None:
    def nested(levels: int) -> dict[str, Any]:
        return {"not": nested(levels - 1)} if levels else {"name": {"eq": "x"}}

    query = "query ($filter: ProductFilter) { products(filter: $filter) { nodes { id } } }"
    bounded: list[tuple[dict[str, Any], str]] = [
        (nested(10), "filter"),
        ({"or": [{"name": {"eq": "x"}}] * 51}, "filter"),
        ({"name": {"in": ["x"] * 101}}, "filter.name.in"),
        ({"name": {"gt": None}}, "filter.name.gt"),
        ({"id": {"eq": global_id("Order")}}, "filter.id.eq"),
        ({"or": [{"id": {"in": ["x"]}}]}, "filter.or"),
    ]
    for given, place in bounded:
        (error,) = await anonymous.refusals(query, filter=given)
        assert error["extensions"]["argument"].startswith(place), error
    wrong: list[Any] = [{"status": {"eq": "SOLD"}}, {"price": {"eq": "NaN"}}, {"unknown": {"eq": 1}}, {"name": "x"}, "x", 5, [1]]
    for given in wrong:
        (error,) = await anonymous.refusals(query, filter=given)
        assert "$filter" in error["message"]


async def test_filter_nested_as_deeply_as_a_document_may_is_refused(anonymous: Caller) -> None:
    literal = '{ name: { eq: "x" } }'
    for _ in range(90):
        literal = f"{{ and: [{literal}] }}"
    (error,) = await anonymous.refusals(f"{{ products(filter: {literal}) {{ nodes {{ id }} }} }}")
    assert "nested deeper than 5 levels" in error["message"]


async def test_variables_nested_too_deeply_or_too_many_are_refused(anonymous: Caller) -> None:
    filter: dict[str, Any] = {"name": {"eq": "x"}}
    for _ in range(400):
        filter = {"and": [filter]}
    query = "query ($filter: ProductFilter) { products(filter: $filter) { nodes { id } } }"
    assert "nested deeper than 64 levels" in (await anonymous.refusals(query, filter=filter))[0]["message"]
    assert "nested deeper" in (await anonymous.refusals("{ __typename }", unused=json.loads("[" * 900 + "]" * 900)))[0]["message"]
    assert "too many values" in (await anonymous.refusals(query, filter={"or": [{"name": {"eq": "x"}}] * 5000}))[0]["message"]


async def test_missing_and_unknown_variables_are_named(anonymous: Caller) -> None:
    (error,) = await anonymous.refusals("query ($id: ID!) { node(id: $id) { id } }")
    assert "$id" in error["message"]
    (error,) = await anonymous.refusals("query ($id: ID!) { node(id: $id) { id } }", id=None)
    assert "$id" in error["message"]
    (error,) = await anonymous.refusals("query { node(id: $id) { id } }", id="x")
    assert "$id" in error["message"]
    assert await anonymous.refusals("query ($id: Product) { product(id: $id) { id } }")


async def test_cursor_of_a_deleted_row_keeps_its_place(database_url: str) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    try:
        await connection.execute("insert into products (name, price) select 'Lantern ' || n, n from generate_series(1, 4) n")
        async with gateway(settings_for(database_url)) as caller:
            page = await caller.ask(PAGE, first=2, orderBy=BY_PRICE)
            after = page["products"]["edges"][1]["cursor"]
            rest = (await caller.ask(PAGE, after=after, orderBy=BY_PRICE))["products"]["nodes"]
            await connection.execute("update products set is_deleted = true, deleted_at = now(), status = 'DELETED' where price = 2")
            assert (await caller.ask(PAGE, after=after, orderBy=BY_PRICE))["products"]["nodes"] == rest
            await connection.execute("delete from products where price = 2")
            assert (await caller.ask(PAGE, after=after, orderBy=BY_PRICE))["products"]["nodes"] == rest
            assert len(rest) == 2
    finally:
        await connection.close()
