"""Apollo Client and urql, as their users run them, against a listening gateway."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import fresh_database
from tests.node import installed, run
from tests.serving import listening, running_app, settings_for

CLIENTS = Path(__file__).parent
TRUSTED = "2f5d3a6b7c8d9e0f1a2b3c4d5e6f708192a3b4c5"


@pytest.fixture(scope="module")
def clients(request: pytest.FixtureRequest) -> Path:
    return installed(CLIENTS, request.config)


@pytest.fixture(scope="module")
async def persisted(clients: Path, postgres: str, demo: str) -> AsyncIterator[dict[str, Any]]:
    """What each client found when it named its queries by their hashes, over an assortment of products."""
    async with (
        fresh_database(postgres, demo) as dsn,
        running_app(settings_for(dsn)) as app,
        listening(app) as url,
    ):
        yield await run(clients, "clients.js", f"{url}/graphql")


@pytest.mark.parametrize("client", ["apollo", "urql", "apolloGet", "urqlGet"])
def test_the_text_is_sent_once_and_then_the_hash_is_enough(persisted: dict[str, Any], client: str) -> None:
    found = persisted[client]

    assert found["answers"] == [2, 2]
    assert [request["text"] for request in found["requests"]] == [False, True, False]
    assert {request["status"] for request in found["requests"]} <= {200, 400}
    assert found["requests"][-1]["status"] == 200


@pytest.mark.parametrize("client", ["apolloGet", "urqlGet"])
def test_a_hash_goes_by_get_where_the_client_likes(persisted: dict[str, Any], client: str) -> None:
    requests = persisted[client]["requests"]

    assert {request["method"] for request in requests if not request["text"]} == {"GET"}


async def test_only_what_the_manifest_holds_is_run(clients: Path, database_url: str, tmp_path: Path) -> None:
    manifest = tmp_path / "persisted-documents.json"
    manifest.write_text(json.dumps({TRUSTED: "query Trusted { products { totalCount } }"}))
    settings = settings_for(database_url, trusted_documents="only", trusted_documents_file=manifest)

    async with running_app(settings) as app, listening(app) as url:
        found = await run(clients, "clients.js", f"{url}/graphql", TRUSTED)

    for client in ("apolloTrusted", "urqlTrusted"):
        assert found[client]["answers"] == [0, "DOCUMENT_NOT_TRUSTED"], client
        assert [request["text"] for request in found[client]["requests"]] == [False, True]
