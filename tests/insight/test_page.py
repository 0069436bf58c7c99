"""The insight page: what the server sends, and that what the page asks is fit for the API."""

import re
from pathlib import Path

import httpx
import pytest
from graphql import build_schema, parse, validate
from starlette.applications import Starlette

from app.api.graphiql import InsightPage, insight_documents
from app.core import jobs
from tests.api.test_graphiql import directives
from tests.serving import REPOSITORY, gateway, settings_for

STRONG = {"argon2_memory_kib": 19_456, "argon2_time_cost": 2}


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build reduced to what the server looks at: a page with the marks that Vite leaves, and one asset."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "insight-abc123.js").write_text("export {};")
    (tmp_path / "insight.html").write_text(
        '<html data-graphiql="{{graphiql}}"><script type="module" src="./assets/insight-abc123.js" nonce="{{nonce}}"></script></html>'
    )
    return tmp_path


def client(page: InsightPage, root_path: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(Starlette(routes=page.routes()), root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway")


async def test_nothing_runs_in_it_but_its_own_scripts(build: Path) -> None:
    async with client(InsightPage(build)) as http:
        first, second = await http.get("/insight"), await http.get("/insight")
    (nonce,) = re.findall(r'nonce="([^"]*)"', first.text)
    policy = directives(first)
    assert (policy["script-src"], policy["style-src"]) == (f"'nonce-{nonce}' 'strict-dynamic'", f"'nonce-{nonce}'")
    assert (policy["default-src"], policy["connect-src"], policy["frame-ancestors"]) == ("'none'", "'self'", "'none'")
    assert "unsafe" not in first.headers["content-security-policy"]
    assert nonce not in second.text
    assert (first.headers["cache-control"], first.headers["referrer-policy"]) == ("no-store", "no-referrer")
    assert first.headers["x-content-type-options"] == "nosniff"


async def test_its_assets_lie_below_it_and_below_the_prefix_of_a_proxy(build: Path) -> None:
    async with client(InsightPage(build), root_path="/shop") as http:
        page = await http.get("/shop/insight")
        (source,) = re.findall(r'src="([^"]*)"', page.text)
        asset = await http.get(source)
        head = await http.head("/shop/insight")
    assert source == "/shop/insight/assets/insight-abc123.js"
    assert asset.text == "export {};"
    assert asset.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert (head.status_code, head.content) == (200, b"")


@pytest.mark.parametrize("graphiql", [True, False])
async def test_it_is_told_whether_there_is_graphiql_to_link_to(build: Path, graphiql: bool) -> None:
    async with client(InsightPage(build, graphiql=graphiql)) as http:
        assert f'data-graphiql="{str(graphiql).lower()}"' in (await http.get("/insight")).text


async def test_without_a_build_it_says_how_to_make_it(tmp_path: Path) -> None:
    page = InsightPage(tmp_path)
    async with client(page) as http:
        answer = await http.get("/insight")
    assert not page.built
    assert answer.status_code == 200
    assert "<code>make graphiql</code>" in answer.text
    assert "<script" not in answer.text
    assert "unsafe" not in answer.headers["content-security-policy"]


def test_its_documents_are_those_of_the_schema() -> None:
    schema = build_schema((REPOSITORY / "schema.graphql").read_text(encoding="utf-8"))
    documents = insight_documents()
    assert {"overview.graphql", "live.graphql", "sign_in.graphql"} <= set(documents)
    assert [error.message for text in documents.values() for error in validate(schema, parse(text))] == []


async def test_in_production_it_is_there_and_its_documents_are_trusted(database_url: str, tmp_path: Path) -> None:
    manifest = tmp_path / "documents.json"
    manifest.write_text("{}")
    await jobs.install(database_url)
    only = {"trusted_documents": "only", "trusted_documents_file": manifest}
    async with gateway(settings_for(database_url, environment="production", **only, **STRONG)) as caller:
        page = await caller.http.get("/insight")
        known = await caller.post(insight_documents()["viewer.graphql"])
        unknown = await caller.post("{ me { username } }")
    assert page.status_code == 200
    assert 'data-graphiql="true"' not in page.text
    assert known.json()["data"] == {"me": None, "stores": {"nodes": []}}
    assert "DOCUMENT_NOT_TRUSTED" in unknown.text
