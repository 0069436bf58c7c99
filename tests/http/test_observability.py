"""What operators see: metrics, request ids, health, headers."""

import json
from uuid import UUID

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from app.api.middleware import Requests
from app.core.metrics import Metrics
from tests.serving import Caller, gateway, new_administrator, settings_for

QUERY = "{ products(first: 1) { nodes { id } } }"

FAMILIES = {
    "http_requests",
    "http_request_seconds",
    "http_requests_in_flight",
    "graphql_operations",
    "repository_operation_seconds",
    "database_seconds",
    "cache_lookups",
    "response_cache_lookups",
    "user_logins",
    "user_authentication_seconds",
}


async def samples(caller: Caller) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of /metrics, by name and labels."""
    response = await caller.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    families = list(text_string_to_metric_families(response.text))
    assert {family.name for family in families} >= FAMILIES
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value for family in families for sample in family.samples if sample.labels
    }


async def test_metrics_count_operations_requests_and_sign_ins(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as caller:
        await new_administrator(caller, database_url)
        for query in (
            QUERY,
            QUERY,
            "{",
            "{ unknown }",
            'mutation { signIn(input: { email: "a@b.c", password: "x" }) { userErrors { code } } }',
        ):
            await caller.post(query)
        await caller.http.get("/graphql")
        await caller.http.get("/nowhere/that/an/attacker/invents")
        found = await samples(caller)

    def count(name: str, **labels: str) -> float:
        return found.get((name, frozenset(labels.items())), 0)

    assert count("graphql_operations_total", kind="query", result="success") == 2
    assert count("graphql_operations_total", kind="none", result="error") == 2
    assert count("graphql_operations_total", kind="mutation", result="success") == 3
    assert count("http_requests_total", method="POST", path="/graphql", status="200") == 7
    assert count("http_requests_total", method="GET", path="/graphql", status="400") == 1
    assert count("http_requests_total", method="GET", path="other", status="404") == 1
    assert count("http_request_seconds_count", path="/graphql") == 8
    assert 0 < count("database_seconds_total", wait="statement") < count("http_request_seconds_sum", path="/graphql") + 5
    assert count("database_seconds_total", wait="connection") > 0
    assert "attacker" not in str(found)
    assert count("user_logins_total", result="failure") == 1
    assert count("user_logins_total", result="success") == 1


async def test_unknown_methods_are_one_label(database_url: str) -> None:
    async with gateway(settings_for(database_url)) as caller:
        for method in ("INVENTED", "BREW"):
            assert (await caller.http.request(method, "/graphql")).status_code == 405
        found = await samples(caller)
    assert found[("http_requests_total", frozenset({("method", "other"), ("path", "/graphql"), ("status", "405")}))] == 2


@pytest.mark.parametrize("path", ["/graphql", "/healthz", "/readyz", "/metrics", "/nowhere", "/"])
async def test_every_answer_has_an_id_and_safe_headers(anonymous: Caller, path: str) -> None:
    first, second = [await anonymous.http.get(path) for _ in range(2)]
    for response in (first, second):
        assert UUID(response.headers["x-request-id"]).version == 7
        assert response.headers["x-content-type-options"] == "nosniff"
        assert response.headers["referrer-policy"] == "no-referrer"
        assert "server" not in response.headers
    assert first.headers["x-request-id"] != second.headers["x-request-id"]


async def test_answers_are_not_cached(anonymous: Caller, shopper: Caller) -> None:
    assert (await shopper.post(QUERY)).headers["cache-control"] == "no-store"
    assert (await anonymous.post("{ me { id } }")).headers["cache-control"] == "no-store"
    assert (await anonymous.http.get("/readyz")).headers["cache-control"] == "no-store"


@pytest.mark.parametrize("given", ["client-request-1", "0123456789abcdef", "x" * 128, "a.b_c-d9"])
async def test_request_id_of_the_client_is_kept(anonymous: Caller, given: str) -> None:
    assert (await anonymous.post(QUERY, x_request_id=given)).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "short", "x" * 129, "with space", 'quote"s', "<script>", "new\tline", "a;b;c;d;e", "{}{}{}{}"])
async def test_harmful_request_id_is_replaced(anonymous: Caller, given: str) -> None:
    assert UUID((await anonymous.post(QUERY, x_request_id=given)).headers["x-request-id"]).version == 7


async def test_production_demands_https_and_shows_nothing_of_development(database_url: str) -> None:
    strong = {"argon2_memory_kib": 19 * 1024, "argon2_time_cost": 2}
    async with gateway(settings_for(database_url, environment="production", **strong)) as caller:
        answer = await caller.post(QUERY)
        assert answer.headers["strict-transport-security"].startswith("max-age=")
        assert "extensions" not in answer.json()
        refused = (await caller.post("{ __schema { types { name } } }")).json()["errors"][0]["message"]
        assert "introspection" in refused
        assert "Did you mean" not in (await caller.post("{ product(id: 5) { nam } }")).text
        page = await caller.http.get("/graphql", headers={"accept": "text/html"})
        assert page.status_code == 406


async def test_development_has_no_strict_transport(anonymous: Caller) -> None:
    assert "strict-transport-security" not in (await anonymous.post(QUERY)).headers


async def test_health_needs_no_credentials(anonymous: Caller) -> None:
    assert (await anonymous.http.get("/healthz")).json() == {"status": "ok"}
    assert (await anonymous.http.head("/healthz")).status_code == 200
    assert (await anonymous.http.get("/readyz")).json() == {"status": "ok", "checks": {"postgresql": "ok", "clickhouse": "ok"}}


@pytest.mark.parametrize("origin", ["https://shop.example", "https://evil.example"])
async def test_only_named_origins_may_read_answers(database_url: str, origin: str) -> None:
    async with gateway(settings_for(database_url, cors_origins=("https://shop.example",))) as caller:
        preflight = await caller.http.options(
            "/graphql",
            headers={
                "origin": origin,
                "access-control-request-method": "POST",
                "access-control-request-headers": "content-type,authorization",
            },
        )
        answer = await caller.post(QUERY, origin=origin)
    allowed = origin == "https://shop.example"
    assert (preflight.status_code == 200) is allowed
    for response in (preflight, answer):
        assert (response.headers.get("access-control-allow-origin") == origin) is allowed
        assert "x-request-id" in response.headers


async def test_without_origins_no_other_page_may_read_answers(anonymous: Caller) -> None:
    answer = await anonymous.post(QUERY, origin="https://shop.example")
    assert not any(name.startswith("access-control") for name in answer.headers)


async def test_unexpected_failure_is_masked_and_logged_once(capfd: pytest.CaptureFixture[str]) -> None:
    """The client learns an id, the log has the reason."""

    async def broken(scope: object, receive: object, send: object) -> None:
        raise LookupError("the secret reason")

    transport = httpx.ASGITransport(app=Requests(broken, Metrics(), strict_transport=False))
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
        response = await http.get("/graphql", headers={"x-request-id": "failing-request"})
    assert response.status_code == 500
    (error,) = response.json()["errors"]
    assert error["extensions"] == {"code": "INTERNAL_SERVER_ERROR", "requestId": "failing-request"}
    assert "secret" not in response.text
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "the secret reason" in line]
    assert [event["request_id"] for event in events] == ["failing-request"]


async def test_request_is_found_in_the_logs_by_its_id(anonymous: Caller, capfd: pytest.CaptureFixture[str]) -> None:
    await anonymous.post(QUERY, x_request_id="request-to-find")
    events = [json.loads(line) for line in capfd.readouterr().out.splitlines() if "request-to-find" in line]
    (event,) = [event for event in events if event["event"] == "request"]
    assert (event["method"], event["path"], event["status"]) == ("POST", "/graphql", 200)
    assert event["seconds"] < 10
