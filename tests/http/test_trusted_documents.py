"""Documents by name: the manifest of trusted ones, and Apollo's automatic persisted queries."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
from graphql import GraphQLError
from structlog.testing import capture_logs

from app.api import trusted_documents as module
from app.api.request import GraphQLRequest
from app.api.trusted_documents import TrustedDocuments, digest, read_manifest
from app.main import Gateway
from app.settings import Settings, SettingsError, TrustedDocumentsMode, read_settings
from tests.http.watching import OURS
from tests.redis_server import RedisServer
from tests.serving import Caller, gateway, settings_for

HELLO = "query Hello { __typename }"
OTHER = "query Other { __typename }"
HELLO_NAME = "0c5c4b5a4ef3f1a9b3b9c9e0fbd6b0e6f6a7ad55"
"""A SHA-1, as GraphQL Code Generator writes by default; what it is the hash of is the generator's affair."""

SIGN_OUT = "mutation SignOut { signOut { signedOut } }"
UNKNOWN = "0" * 64


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "persisted-documents.json"
    path.write_text(json.dumps({HELLO_NAME: HELLO}))
    return path


def persisted(text: str) -> dict[str, Any]:
    return {"persistedQuery": {"version": 1, "sha256Hash": digest(text)}}


async def post(caller: Caller, **body: Any) -> httpx.Response:
    return await caller.http.post("/graphql", json=body)


def code(response: httpx.Response) -> str:
    found: str = response.json()["errors"][0]["extensions"]["code"]
    return found


def answered(response: httpx.Response) -> bool:
    body = response.json()
    return response.status_code == 200 and body.get("data") == {"__typename": "Query"} and "errors" not in body


@asynccontextmanager
async def mode(dsn: str, manifest: Path, trusted: str) -> AsyncIterator[Caller]:
    async with gateway(settings_for(dsn, trusted_documents=trusted, trusted_documents_file=manifest)) as caller:
        yield caller


async def test_only_trusted_documents_are_run_where_nothing_else_may(database_url: str, manifest: Path) -> None:
    async with mode(database_url, manifest, "only") as caller:
        for name in (HELLO_NAME, digest(HELLO), f"sha256:{digest(HELLO)}"):
            assert answered(await post(caller, documentId=name)), name
        assert answered(await post(caller, id=HELLO_NAME))
        assert answered(await post(caller, extensions=persisted(HELLO)))
        assert answered(await post(caller, query=HELLO, extensions=persisted(HELLO)))
        assert answered(await post(caller, query=HELLO))

        assert code(await post(caller, query=OTHER)) == "DOCUMENT_NOT_TRUSTED"
        assert code(await post(caller, query=HELLO + " ")) == "DOCUMENT_NOT_TRUSTED"
        assert code(await post(caller, query="{ __schema { types { name } } }")) == "DOCUMENT_NOT_TRUSTED"
        assert code(await post(caller, query=OTHER, extensions=persisted(OTHER))) == "DOCUMENT_NOT_TRUSTED"
        assert code(await post(caller, extensions=persisted(OTHER))) == "PERSISTED_QUERY_NOT_FOUND"
        assert code(await post(caller, query=OTHER, documentId=HELLO_NAME)) == "PERSISTED_QUERY_HASH_MISMATCH"
        assert code(await post(caller, documentId=UNKNOWN)) == "PERSISTED_QUERY_NOT_FOUND"


async def test_trusted_documents_may_come_by_name_beside_others(database_url: str, manifest: Path) -> None:
    async with mode(database_url, manifest, "prefer") as caller:
        assert answered(await post(caller, documentId=HELLO_NAME))
        assert answered(await post(caller, query=OTHER))
        assert answered(await post(caller, query=OTHER, extensions=persisted(OTHER)))
        assert answered(await post(caller, extensions=persisted(OTHER)))


async def test_without_trust_the_manifest_is_not_known(database_url: str, manifest: Path) -> None:
    async with mode(database_url, manifest, "off") as caller:
        assert code(await post(caller, documentId=HELLO_NAME)) == "PERSISTED_QUERY_NOT_FOUND"
        assert answered(await post(caller, query=HELLO))


async def test_a_text_is_registered_with_its_hash_and_then_known_by_it(anonymous: Caller) -> None:
    text = "query Registered { __typename }"
    first = await post(anonymous, extensions=persisted(text))
    assert first.json()["errors"] == [{"message": "PersistedQueryNotFound", "extensions": {"code": "PERSISTED_QUERY_NOT_FOUND"}}]
    assert first.status_code == 200
    assert first.headers["Cache-Control"] == "no-store"

    assert answered(await post(anonymous, query=text, extensions=persisted(text)))

    assert answered(await post(anonymous, extensions=persisted(text)))
    assert answered(await post(anonymous, documentId=f"sha256:{digest(text)}"))


async def test_a_hash_serves_get_as_well(anonymous: Caller) -> None:
    text = "query ByGet($size: Int!) { products(first: $size) { nodes { id } } }"
    parameters = {"extensions": json.dumps(persisted(text)), "variables": '{"size": 2}', "operationName": "ByGet"}
    unknown = await anonymous.http.get("/graphql", params=parameters)
    await anonymous.http.get("/graphql", params={**parameters, "query": text})

    known = await anonymous.http.get("/graphql", params=parameters)

    assert code(unknown) == "PERSISTED_QUERY_NOT_FOUND"
    assert len(known.json()["data"]["products"]["nodes"]) == 2
    assert known.headers["Cache-Control"] == "max-age=60, public"
    assert unknown.headers["Cache-Control"] == "no-store"


async def test_a_browser_that_asks_for_a_document_gets_no_page(anonymous: Caller) -> None:
    response = await anonymous.http.get("/graphql", params={"documentId": UNKNOWN}, headers={"Accept": "text/html, */*;q=0.5"})

    assert code(response) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_mutation_by_name_still_needs_post(anonymous: Caller) -> None:
    await post(anonymous, query=SIGN_OUT, extensions=persisted(SIGN_OUT))

    response = await anonymous.http.get("/graphql", params={"documentId": digest(SIGN_OUT)})

    assert response.status_code == 405


async def test_in_the_media_type_of_graphql_an_unknown_hash_is_a_client_error(anonymous: Caller) -> None:
    headers = {"Accept": "application/graphql-response+json"}
    response = await anonymous.http.post("/graphql", json={"documentId": UNKNOWN}, headers=headers)

    assert response.status_code == 400
    assert code(response) == "PERSISTED_QUERY_NOT_FOUND"


async def test_a_text_cannot_be_registered_under_the_hash_of_another(anonymous: Caller) -> None:
    mine = "query Mine { __typename }"
    response = await post(anonymous, query="query Poison { __typename }", extensions=persisted(mine))

    assert code(response) == "PERSISTED_QUERY_HASH_MISMATCH"
    assert code(await post(anonymous, extensions=persisted(mine))) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("text", ["query Broken {", "query Unknown { nothingOfThisName }"])
async def test_what_cannot_run_is_not_kept(anonymous: Caller, text: str) -> None:
    assert "errors" in (await post(anonymous, query=text, extensions=persisted(text))).json()

    assert code(await post(anonymous, extensions=persisted(text))) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize(
    "body",
    [
        {"documentId": 5},
        {"documentId": ""},
        {"documentId": "a b"},
        {"documentId": "md5:0123"},
        {"documentId": "../../etc/passwd"},
        {"documentId": "x" * 300},
        {"id": ["a"]},
        {"extensions": {"persistedQuery": 1}},
        {"extensions": {"persistedQuery": {}}},
        {"extensions": {"persistedQuery": {"version": 1}}},
        {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": 7}}},
        {"extensions": {"persistedQuery": {"version": 2, "sha256Hash": UNKNOWN}}},
        {"query": None},
        {"query": 5, "documentId": UNKNOWN},
    ],
)
async def test_what_is_no_name_is_refused_with_its_place(anonymous: Caller, body: dict[str, Any]) -> None:
    response = await post(anonymous, **body)

    assert response.status_code == 400
    message = response.json()["errors"][0]["message"]
    assert any(name in message for name in ("documentId", "id must", "persistedQuery", "query must"))


async def test_processes_share_what_is_registered_through_redis(database_url: str, redis: RedisServer) -> None:
    settings = settings_for(database_url, redis_url=redis.url)
    async with gateway(settings) as one, gateway(settings) as other:
        assert answered(await post(one, query=OTHER, extensions=persisted(OTHER)))

        assert answered(await post(other, extensions=persisted(OTHER)))
        await redis.stop()
        assert answered(await post(other, extensions=persisted(OTHER)))
        assert code(await post(other, extensions=persisted(HELLO))) == "PERSISTED_QUERY_NOT_FOUND"


def named(text: str) -> GraphQLRequest:
    return GraphQLRequest(text, {}, None, {}, digest(text))


async def known(documents: TrustedDocuments, text: str) -> bool:
    try:
        found = await documents.find(GraphQLRequest("", {}, None, {}, digest(text)))
    except GraphQLError:
        return False
    return found.query == text


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_KEPT_BYTES", 1_000)
    documents = TrustedDocuments({}, TrustedDocumentsMode.OFF)
    texts = [f"query Q{number:05} {{ __typename }}" for number in range(100)]

    for text in texts:
        await documents.keep(named(text))

    assert await known(documents, texts[-1])
    assert sum([await known(documents, text) for text in texts]) <= 1_000 // len(texts[0])


async def test_a_text_too_long_to_keep_still_runs(anonymous: Caller) -> None:
    text = "{ __typename }" + " " * 40_000
    assert answered(await post(anonymous, query=text, extensions=persisted(text)))

    assert code(await post(anonymous, extensions=persisted(text))) == "PERSISTED_QUERY_NOT_FOUND"


def settings(path: Path) -> Settings:
    return Settings(_env_file=None, trusted_documents="only", trusted_documents_file=path)  # type: ignore[arg-type]


@pytest.mark.parametrize("content", ["", "[]", "{", '{"a": 1}', "5"])
def test_a_file_that_is_no_manifest_stops_the_start(tmp_path: Path, content: str) -> None:
    path = tmp_path / "manifest.json"
    path.write_text(content)

    with pytest.raises(SettingsError, match="TRUSTED_DOCUMENTS_FILE"):
        Gateway(settings(path))


def test_the_start_fails_with_one_line(tmp_path: Path) -> None:
    given = {"TRUSTED_DOCUMENTS": "only", "TRUSTED_DOCUMENTS_FILE": str(tmp_path / "gone.json"), "DATA_DIR": str(tmp_path)}

    result = subprocess.run(
        [sys.executable, "-m", "app", "serve"], env={**os.environ, **given}, capture_output=True, text=True, timeout=60, check=False
    )

    assert result.returncode == 1
    assert len(result.stderr.strip().splitlines()) == 1
    assert "gone.json cannot be read" in result.stderr


def test_a_manifest_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"TRUSTED_DOCUMENTS_FILE: .*gone\.json"):
        read_manifest(settings(tmp_path / "gone.json"))


def test_trust_needs_a_manifest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRUSTED_DOCUMENTS", "only")

    with pytest.raises(SettingsError, match="TRUSTED_DOCUMENTS_FILE must name the manifest"):
        read_settings()


async def test_what_the_manifest_names_is_ready_at_the_start(database_url: str, watcher: asyncpg.Connection, tmp_path: Path) -> None:
    """Composed for all kinds of viewers, and prepared on each connection; texts that this schema does not know are told."""
    manifest = tmp_path / "documents.json"
    texts = [
        "query List { products(first: 7) { nodes { id name } } }",
        "query One($id: ID!) { order(id: $id) { status } }",
        SIGN_OUT,
        "query Old { gone { id } }",
    ]
    manifest.write_text(json.dumps({digest(text): text for text in texts}))
    settings = settings_for(database_url, trusted_documents="only", trusted_documents_file=manifest, database_pool_min=3)
    with capture_logs() as logs:
        async with gateway(settings) as caller:
            last = await watcher.fetch(f"select query {OURS}")
            (event,) = [log for log in logs if log["event"] == "gateway_warm"]
            assert await caller.ask(texts[0]) == {"products": {"nodes": []}}
    assert [row["query"].startswith("SELECT ") and "orders" in row["query"] for row in last] == [True] * 3
    # Anonymous, shopper, staff and administrator see products by different scopes, and all but the first see orders.
    assert event["documents"] == len(texts)
    assert event["statements"] >= 6
    (told,) = [log for log in logs if log["event"] == "trusted_document_invalid"]
    assert "gone" in told["error"]
