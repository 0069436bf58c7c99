"""What arrives over HTTP: methods, media types and bodies. Everything that is no GraphQL request gets a 4xx that says why."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tests.serving import Caller, gateway, settings_for

JSON = "application/json"
RESPONSE = "application/graphql-response+json"
QUERY = "{ __typename }"

WRONG_PARAMETERS: dict[str, list[Any]] = {
    "query": [None, 5, "", "  ", {}, [QUERY], False],
    "variables": [5, "x", "{}", [], [{}], False, 0],
    "operationName": [5, {}, [], False, 0],
    "extensions": [5, "x", [], False],
}


async def send(caller: Caller, body: bytes | AsyncIterator[bytes], **headers: str) -> httpx.Response:
    given = {"content-type": JSON} | {name.replace("_", "-"): value for name, value in headers.items()}
    return await caller.http.post("/graphql", content=body, headers=given)


def reason(response: httpx.Response, status: int) -> str:
    """Why a request was refused with this status."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == f"{JSON}; charset=utf-8"
    (error,) = response.json()["errors"]
    return str(error["message"])


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("*/*", JSON),
        ("", JSON),
        (JSON, JSON),
        (RESPONSE, RESPONSE),
        ("application/*", JSON),
        (f"{RESPONSE}, {JSON}", JSON),
        (f"{RESPONSE}; charset=utf-8, {JSON}; charset=utf-8;q=0.9", RESPONSE),
        (f"{JSON};q=0.5, {RESPONSE};q=0.7", RESPONSE),
        (f"{RESPONSE};q=0.3, {JSON};q=0.7", JSON),
        (f"{JSON};q=0, */*", RESPONSE),
        (f"text/html, {RESPONSE};q=0.9, */*;q=0.8", RESPONSE),
        (f"{RESPONSE.upper()}", RESPONSE),
        (f"{RESPONSE};charset=latin1, {JSON}", JSON),
        (f"{RESPONSE};q=nan, {JSON};q=0.1", JSON),
    ],
)
async def test_media_type_is_the_one_that_the_client_likes_best(anonymous: Caller, accept: str, chosen: str) -> None:
    response = await anonymous.post(QUERY, accept=accept)
    assert response.status_code == 200
    assert response.headers["content-type"] == f"{chosen}; charset=utf-8"
    assert "Accept" in response.headers["vary"]


@pytest.mark.parametrize("accept", ["text/html", "text/plain, image/png", f"{JSON};q=0", f"{JSON};charset=utf-16", ",,;", "*/*;q=0"])
async def test_client_that_takes_neither_media_type_is_told(anonymous: Caller, accept: str) -> None:
    assert RESPONSE in reason(await anonymous.post(QUERY, accept=accept), 406)


async def test_request_errors_have_status_200_as_json_and_400_as_graphql_response(anonymous: Caller) -> None:
    for query in ("{", "{ unknown }", "query A { __typename } query B { __typename }", "{ product(id: 5.5) { id } }"):
        assert (await anonymous.post(query, accept=JSON)).status_code == 200
        assert (await anonymous.post(query, accept=RESPONSE)).status_code == 400


async def test_partial_answers_have_status_200(anonymous: Caller) -> None:
    response = await anonymous.post('{ a: __typename product(id: "nonsense") { id } }', accept=RESPONSE)
    assert response.status_code == 200
    assert response.json()["data"] == {"a": "Query", "product": None}


@pytest.mark.parametrize(
    "content_type",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/graphql",
        "application/json5",
        "",
        "application/json; charset=utf-16",
        "application/json; charset=latin1",
    ],
)
async def test_wrong_content_types_are_refused(anonymous: Caller, content_type: str) -> None:
    assert "must be" in reason(await send(anonymous, json.dumps({"query": QUERY}).encode(), content_type=content_type), 415)


@pytest.mark.parametrize(
    "content_type", ["application/json", "APPLICATION/JSON", 'application/json; charset="utf-8"', "application/json;charset=UTF-8"]
)
async def test_json_in_utf_8_is_taken(anonymous: Caller, content_type: str) -> None:
    body = json.dumps({"query": '{ product(sku: "löve 🏃") { id } }'}, ensure_ascii=False).encode()
    response = await send(anonymous, body, content_type=content_type)
    assert response.status_code == 200
    assert response.json()["data"] == {"product": None}


async def test_compressed_body_is_refused(anonymous: Caller) -> None:
    assert "Content-Encoding" in reason(await send(anonymous, b"\x1f\x8b", content_encoding="gzip"), 415)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'query': 1}",
        b'{"query": "{ __typename }",}',
        b'{"query": NaN}',
        b'{"query": "{ __typename }", "variables": {"a": Infinity}}',
        b'{"query": "{ __typename }", "variables": {"a": 1e999}}',
        b'{"query": "\xff\xfe"}',
        b'{"query": "{ product(sku: \\"\\ud800\\") { id } }"}',
        b'{"query": "{ __typename }", "variables": {"a": "\\udfff"}}',
        b'\xef\xbb\xbf{"query": "{ __typename }"}',
        b"[" * 100_000 + b"]" * 100_000,
        b"query { __typename }",
    ],
)
async def test_invalid_json_is_refused(anonymous: Caller, body: bytes) -> None:
    assert "not valid JSON" in reason(await send(anonymous, body), 400)


@pytest.mark.parametrize("body", ["null", "5", '"x"', "true", "1.5"])
async def test_json_that_is_no_object_is_refused(anonymous: Caller, body: str) -> None:
    assert "JSON object" in reason(await send(anonymous, body.encode()), 400)


async def test_batches_are_refused(anonymous: Caller) -> None:
    assert "one operation per request" in reason(await send(anonymous, json.dumps([{"query": QUERY}]).encode()), 400)
    assert "one operation per request" in reason(await send(anonymous, b"[]"), 400)


@pytest.mark.parametrize(
    ("name", "value"),
    [(name, value) for name, values in WRONG_PARAMETERS.items() for value in values],
)
async def test_parameters_of_the_wrong_kind_are_refused_by_name(anonymous: Caller, name: str, value: Any) -> None:
    assert name in reason(await send(anonymous, json.dumps({"query": QUERY, name: value}).encode()), 400)


async def test_missing_query_is_refused(anonymous: Caller) -> None:
    assert "query" in reason(await send(anonymous, b'{"variables": {}}'), 400)


async def test_unknown_members_are_ignored(anonymous: Caller) -> None:
    response = await send(anonymous, json.dumps({"query": QUERY, "unknown": 7, "variables": None, "operationName": None}).encode())
    assert response.json()["data"] == {"__typename": "Query"}


@pytest.mark.parametrize("name", ["Unknown", "\0", "x" * 10_000, "Ä"])
async def test_operation_name_that_names_nothing_is_refused(anonymous: Caller, name: str) -> None:
    response = await send(anonymous, json.dumps({"query": "query A { __typename }", "operationName": name}).encode())
    (error,) = response.json()["errors"]
    assert error["message"].startswith("The document has no operation named")
    assert len(error["message"]) < 500


async def test_operation_is_chosen_by_name(anonymous: Caller) -> None:
    query = "query A { a: __typename } query B { b: __typename }"
    response = await send(anonymous, json.dumps({"query": query, "operationName": "B"}).encode())
    assert response.json()["data"] == {"b": "Query"}
    response = await send(anonymous, json.dumps({"query": query}).encode())
    assert "several operations" in response.json()["errors"][0]["message"]


@pytest.mark.parametrize("query", ["fragment F on Query { __typename }", "type A { b: Int }", "#"])
async def test_document_without_operation_is_refused(anonymous: Caller, query: str) -> None:
    assert await anonymous.refusals(query)


async def test_get_answers_queries(anonymous: Caller) -> None:
    response = await anonymous.http.get(
        "/graphql",
        params={"query": "query A($sku: String) { product(sku: $sku) { id } }", "variables": '{"sku": "none"}', "operationName": "A"},
    )
    assert response.json()["data"] == {"product": None}


async def test_get_does_not_change_anything(anonymous: Caller, administrator: Caller) -> None:
    for caller in (anonymous, administrator):
        response = await caller.http.get("/graphql", params={"query": "mutation { signOut { signedOut } }"}, headers=caller.headers)
        assert "need POST" in reason(response, 405)
        assert response.headers["allow"] == "POST"
    assert (await administrator.ask("{ me { id } }"))["me"] is not None


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({}, "query"),
        ({"query": ""}, "query"),
        ({"query": QUERY, "variables": "{"}, "variables"),
        ({"query": QUERY, "variables": "5"}, "variables"),
        ({"query": QUERY, "variables": '"x"'}, "variables"),
        ({"query": QUERY, "extensions": "[]"}, "extensions"),
        ({"query": QUERY, "variables": '{"a": "\\u0000"}'}, "variables.a"),
    ],
)
async def test_get_with_wrong_parameters_is_refused_by_name(anonymous: Caller, parameters: dict[str, str], name: str) -> None:
    assert name in reason(await anonymous.http.get("/graphql", params=parameters), 400)


async def test_get_takes_bytes_that_are_no_text(anonymous: Caller) -> None:
    response = await anonymous.http.get("/graphql?query=%FF%FE%00")
    assert response.json()["errors"][0]["extensions"]["code"] == "GRAPHQL_PARSE_FAILED"


@pytest.mark.parametrize("method", ["HEAD", "PUT", "PATCH", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(anonymous: Caller, method: str) -> None:
    response = await anonymous.http.request(method, "/graphql", params={"query": QUERY})
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, POST"


async def test_unknown_paths_do_not_exist(anonymous: Caller) -> None:
    assert (await anonymous.http.get("/graphql/x")).status_code == 404
    assert (await anonymous.http.post("/healthz")).status_code == 405


@pytest.mark.parametrize("value", ["Basic dXNlcjpwYXNz", "Token abc", "Digest x"])
async def test_other_authentication_schemes_are_refused(anonymous: Caller, value: str) -> None:
    response = await anonymous.post(QUERY, authorization=value)
    assert "Bearer" in reason(response, 401)
    assert response.headers["www-authenticate"] == "Bearer"


@pytest.mark.parametrize("token", ["nonsense", "x" * 8000, "ä", "a b c", "\x7f"])
async def test_unknown_tokens_are_refused(anonymous: Caller, token: str) -> None:
    headers = {b"authorization": f"Bearer {token}".encode("latin-1"), b"accept": RESPONSE.encode()}
    response = await anonymous.http.post("/graphql", json={"query": QUERY}, headers=headers)
    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.json()["errors"][0]["extensions"]["code"] == "UNAUTHENTICATED"
    assert token not in response.text


class Chunks:
    """A body in chunks of 64 KiB, which counts how many were asked for."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while self.read < self.size:
            self.read += 65_536
            yield b"a" * 65_536


async def test_large_body_is_refused_before_it_is_read(anonymous: Caller) -> None:
    declared, undeclared = Chunks(10_000_000), Chunks(10_000_000)
    response = await send(anonymous, aiter(declared), content_length="10000000")
    assert "larger than 1000000 bytes" in reason(response, 413)
    assert declared.read == 0
    assert "larger than" in reason(await send(anonymous, aiter(undeclared)), 413)
    assert undeclared.read <= 1_000_000 + 2 * 65_536


async def test_large_body_over_a_socket_is_answered(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        for body in (b"a" * 10_000_000, aiter(Chunks(10_000_000))):
            response = await http.post("/graphql", content=body, headers={"content-type": JSON})
            assert "larger than" in reason(response, 413)
        assert (await http.post("/graphql", json={"query": QUERY})).status_code == 200


@pytest.mark.parametrize("length", ["-1", "1e9", "9" * 30, "x"])
async def test_absurd_content_length_does_no_harm(anonymous: Caller, length: str) -> None:
    response = await send(anonymous, json.dumps({"query": QUERY}).encode(), content_length=length)
    assert response.status_code in (200, 413)


async def test_body_that_does_not_arrive_is_given_up(database_url: str) -> None:
    async def stalled() -> AsyncIterator[bytes]:
        yield b"{"
        await asyncio.sleep(30)

    async with gateway(settings_for(database_url, request_timeout=0.2)) as caller:
        assert "did not arrive within 0.2 s" in reason(await send(caller, stalled()), 408)
