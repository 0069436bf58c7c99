"""What graphql-cop looks for, and others like it, tried on a gateway as it runs in production."""

from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest

from tests.conftest import fresh_database
from tests.serving import Caller, gateway, settings_for

HELLO = "query cop { __typename }"
SIGN_OUT = "mutation cop { signOut { signedOut } }"
CIRCULAR = "query cop { __schema { types { fields { type { fields { type { fields { type { fields { type { name } } } } } } } } } } }"
BROWSER = {"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"}
FORMS = ("application/x-www-form-urlencoded", "multipart/form-data; boundary=cop", "text/plain")
"""What a page of another site can send without being asked for permission (CORS, simple requests)."""


@pytest.fixture(scope="module")
async def production(postgres: str, migrated: str) -> AsyncIterator[Caller]:
    async with (
        fresh_database(postgres, migrated) as dsn,
        gateway(settings_for(dsn, environment="production", argon2_memory_kib=19_456, argon2_time_cost=2)) as caller,
    ):
        yield caller


def refusal(response: httpx.Response) -> str:
    """The one error of an answer that has no data and says nothing of where it was made."""
    body = response.json()
    assert not body.get("data")
    (error,) = body["errors"]
    assert {"exception", "stacktrace", "tracing", "debug"}.isdisjoint(error.get("extensions", {}))
    return f"{error.get('extensions', {}).get('code', response.status_code)}: {error['message']}"


def repeated(part: str, times: int) -> str:
    return " ".join(part.replace("%d", str(n)) for n in range(times))


# --- Denial of service


@pytest.mark.parametrize(
    ("attack", "document", "answer"),
    [
        ("aliases", f"query cop {{ {repeated('alias%d: __typename', 101)} }}", "TOO_COMPLEX: The operation has 101 root fields"),
        (
            "aliases below the root",
            f'{{ product(sku: "x") {{ {repeated("a%d: name", 101)} }} }}',
            "TOO_COMPLEX: The operation has 101 aliases",
        ),
        ("one field again and again", f"query cop {{ {repeated('__typename', 500)} }}", "TOO_COMPLEX: The operation has 500 root fields"),
        (
            "a circle of fragments",
            "query { __schema { ...A } } fragment A on __Schema { ...B } fragment B on __Schema { ...A }",
            "Cannot spread",
        ),
        ("a fragment in itself", "{ ...A } fragment A on Query { __typename ...A }", "GRAPHQL_VALIDATION_FAILED: Cannot spread"),
        ("a circle of introspection", CIRCULAR, "introspection"),
        ("repeated directives", f"query cop {{ __typename {repeated('@include(if: true)', 400)} }}", "Too many validation errors"),
        ("unknown directives", f"query cop {{ __typename {repeated('@aa', 10)} }}", "GRAPHQL_VALIDATION_FAILED: The document does not fit"),
    ],
)
async def test_what_is_to_exhaust_the_gateway_gets_one_short_answer(production: Caller, attack: str, document: str, answer: str) -> None:
    response = await production.post(document)

    errors = response.json()["errors"]
    assert not response.json().get("data"), attack
    assert len(response.content) < 5_000
    assert any(answer in f"{error['extensions']['code']}: {error['message']}" for error in errors), response.text


async def test_operations_in_an_array_are_not_read(production: Caller) -> None:
    response = await production.http.post("/graphql", json=[{"query": HELLO}] * 10)

    assert response.status_code == 400
    assert "batch" in refusal(response).lower()


# --- Cross-site request forgery


async def test_a_mutation_by_get_is_refused(production: Caller) -> None:
    response = await production.http.get("/graphql", params={"query": SIGN_OUT})

    assert response.status_code == 405
    assert response.headers["Allow"] == "POST"
    refusal(response)


@pytest.mark.parametrize("content_type", FORMS)
@pytest.mark.parametrize("document", [HELLO, SIGN_OUT])
async def test_what_a_form_can_send_is_refused(production: Caller, content_type: str, document: str) -> None:
    body = urlencode({"query": document}) if "urlencoded" in content_type else f'{{"query": "{document}"}}'
    response = await production.http.post("/graphql", content=body, headers={"Content-Type": content_type})

    assert response.status_code == 415
    refusal(response)


async def test_a_query_in_the_address_of_a_post_is_not_read(production: Caller) -> None:
    response = await production.http.post("/graphql", params={"query": HELLO})

    assert response.status_code >= 400
    refusal(response)


# --- Information


@pytest.mark.parametrize("path", ["/graphql", "/graphiql", "/playground", "/console", "/altair", "/voyager", "/", "/v1/graphql"])
async def test_there_is_no_page_to_explore_with(production: Caller, path: str) -> None:
    response = await production.http.get(path, headers=BROWSER, follow_redirects=True)

    assert response.status_code >= 400
    assert not {"graphiql", "playground", "altair", "voyager"} & set(response.text.lower().split('"'))
    assert "html" not in response.headers.get("Content-Type", "")


@pytest.mark.parametrize(
    "document", ["query cop { __schema { types { name fields { name } } } }", 'query cop { __type(name: "Query") { name } }']
)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_introspection_is_refused(production: Caller, document: str, method: str) -> None:
    request: dict[str, Any] = {"json": {"query": document}} if method == "POST" else {"params": {"query": document}}
    response = await production.http.request(method, "/graphql", **request)

    assert not response.json().get("data")
    assert all("introspection" in error["message"] for error in response.json()["errors"])


@pytest.mark.parametrize("document", ["query cop { __schema { directive } }", "query cop { productt { id } }", "query cop { mee { id } }"])
async def test_no_name_is_suggested(production: Caller, document: str) -> None:
    assert "did you mean" not in (await production.post(document)).text.lower()


@pytest.mark.parametrize(
    "document", ["qwerty cop { abc }", "{", "query cop { __typename", "{ node(id: 1) { id } }", "query ($a: Int!) { __typename }"]
)
async def test_no_error_tells_how_it_came_about(production: Caller, document: str) -> None:
    response = await production.post(document)

    assert response.status_code < 500
    for error in response.json()["errors"]:
        assert {"exception", "stacktrace", "tracing", "debug"}.isdisjoint(error.get("extensions", {}))
    for word in ("Traceback", "site-packages", ".py", "File \\", "line "):
        assert word not in response.text


@pytest.mark.parametrize("header", ["X-Explain", "Apollo-Tracing", "X-Apollo-Tracing", "X-Debug"])
async def test_no_answer_carries_a_trace(production: Caller, header: str) -> None:
    response = await production.post(HELLO, None, **{header: "1"})

    assert response.json() == {"data": {"__typename": "Query"}}
    assert "X-Powered-By" not in response.headers
    assert "Server" not in response.headers
