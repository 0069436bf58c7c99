"""What answers say to browsers, what production hides from the curious, and what logs leave out."""

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import fresh_database
from tests.mail_server import mail_server
from tests.serving import Caller, gateway, served, settings_for

SHOP = "https://shop.example"
STRONG = {"argon2_memory_kib": 19_456, "argon2_time_cost": 2}
HELLO = "{ __typename }"


@pytest.mark.parametrize("path", ["/graphql?query={__typename}", "/graphql", "/healthz", "/nowhere"])
async def test_no_answer_may_be_framed(anonymous: Caller, path: str) -> None:
    assert (await anonymous.http.get(path)).headers["Content-Security-Policy"] == "frame-ancestors 'none'"


async def test_the_page_keeps_its_own_policy_and_may_not_be_framed(anonymous: Caller) -> None:
    response = await anonymous.http.get("/graphql", headers={"Accept": "text/html"})

    (policy,) = response.headers.get_list("Content-Security-Policy")
    assert "frame-ancestors 'none'" in policy
    assert "script-src 'nonce-" in policy


async def test_a_link_with_a_query_opens_the_page_in_a_browser_and_runs_for_a_client(anonymous: Caller) -> None:
    browser, client = "text/html,application/xhtml+xml,*/*;q=0.8", "application/json, text/html;q=0.1"
    link = f"/graphql?query={HELLO}"
    assert "<title>GraphiQL" in (await anonymous.http.get(link, headers={"Accept": browser})).text
    assert (await anonymous.http.get(link, headers={"Accept": client})).json()["data"] == {"__typename": "Query"}


@pytest.fixture(scope="module")
async def production(postgres: str, migrated: str) -> AsyncIterator[Caller]:
    async with (
        fresh_database(postgres, migrated) as dsn,
        gateway(settings_for(dsn, environment="production", cors_origins=SHOP, rate_limits=True, **STRONG)) as caller,
    ):
        yield caller


async def test_an_allowed_origin_may_send_what_our_clients_send(production: Caller) -> None:
    asked = "authorization, content-type, x-request-id, x-csrf, apollo-require-preflight"
    headers = {"Origin": SHOP, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": asked}

    response = await production.http.options("/graphql", headers=headers)

    assert response.status_code == 200
    assert response.headers["Access-Control-Allow-Credentials"] == "true"
    allowed = {name.strip().lower() for name in response.headers["Access-Control-Allow-Headers"].split(",")}
    assert set(asked.split(", ")) <= allowed


async def test_an_allowed_origin_may_read_its_quotas(production: Caller) -> None:
    response = await production.post(HELLO, Origin=SHOP)

    exposed = {name.strip() for name in response.headers["Access-Control-Expose-Headers"].split(",")}
    assert {"X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"} <= exposed
    assert {name.strip() for name in response.headers["Vary"].split(",")} >= {"Accept", "Origin"}
    assert "RateLimit" in response.headers


@pytest.mark.parametrize(
    "document",
    [
        "{ productz(first: 1) { nodes { id } } }",
        "{ products(frist: 1) { nodes { id } } }",
        "{ products(first: 1) { nodez { id } } }",
        "{ products(first: 1) { nodes { nam } } }",
        "{ products(filter: { nam: 1 }) { nodes { id } } }",
        "{ products(orderBy: { field: NAM }) { nodes { id } } }",
        "{ node(id: 1) { ... on Produc { id } } }",
        "query ($input: SignInInpu!) { __typename }",
        "mutation { signI(input: {}) { userErrors { code } } }",
        "mutation { signIn(input: { emai: 1 }) { userErrors { code } } }",
        "{ __typename @ski(if: true) }",
    ],
)
async def test_production_suggests_nothing(production: Caller, document: str) -> None:
    response = await production.post(document)

    assert "errors" in response.json()
    assert "did you mean" not in response.text.lower()


async def test_production_answers_right_and_wrong_guesses_alike(production: Caller) -> None:
    guesses = (
        "{ products }",
        "{ productz }",
        "{ product { id } productz }",
        "{ product(id: 1) { name { length } } }",
        "{ node }",
        "{ node(id: 1) { name } }",
        "{ products(wrong: 1) { nodes { id } } }",
        "query ($input: Product) { __typename }",
        "query ($input: Productz) { __typename }",
        "{ ... on Product { id } }",
        "mutation { signIn { userErrors { code } } }",
        "{ __typename @public }",
        "{ __typename @publik }",
    )
    answers = {(await production.post(guess)).text for guess in guesses}

    assert len(answers) == 1
    assert "GRAPHQL_VALIDATION_FAILED" in answers.pop()


async def test_production_still_names_a_wrong_value(production: Caller) -> None:
    (error,) = (await production.post('{ products(first: "ten") { nodes { id } } }')).json()["errors"]

    assert error["message"].startswith("first: ")


async def test_production_suggests_nothing_about_variables(production: Caller) -> None:
    document = "mutation ($input: SignInInput!) { signIn(input: $input) { userErrors { code } } }"

    response = await production.post(document, {"input": {"emai": "a@example.com", "password": "x"}})

    assert "errors" in response.json()
    assert "did you mean" not in response.text.lower()


@pytest.mark.parametrize("document", ["{ __schema { types { name } } }", '{ __type(name: "User") { fields { name } } }'])
async def test_production_tells_nobody_its_schema(production: Caller, document: str) -> None:
    body = (await production.post(document)).json()

    assert "data" not in body
    assert "introspection" in body["errors"][0]["message"]


async def test_production_answers_the_name_of_a_type_that_clients_need(production: Caller) -> None:
    assert (await production.post(HELLO)).json() == {"data": {"__typename": "Query"}}


async def test_production_has_no_page(production: Caller) -> None:
    response = await production.http.get("/graphql", headers={"Accept": "text/html"})

    assert response.status_code >= 400
    assert "html" not in response.headers["Content-Type"]
    assert (await production.http.get("/graphql/assets/index.js")).status_code == 404


@pytest.mark.parametrize("body", [b"\xff\xfe", b"[" * 5_000, b'{"query": "{ node(id: \\"x\\") { id } }"}', b'{"query": 1e999}', b"null"])
async def test_no_answer_shows_where_it_was_made(production: Caller, body: bytes) -> None:
    response = await production.http.post("/graphql", content=body, headers={"Content-Type": "application/json"})

    assert response.status_code < 500
    for word in ("Traceback", "site-packages", ".py", "graphql-core", "strawberry"):
        assert word not in response.text


SECRET = "a-password-in-no-log"
NEW_SECRET = "another one that nobody logs"
MAILED = re.compile(r"token=([\w.-]+)")
REQUEST_RESET = "mutation ($email: String!) { requestPasswordReset(input: { email: $email }) { requested } }"
RESET = "mutation ($input: ResetPasswordInput!) { resetPassword(input: $input) { passwordReset } }"
SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } } }"
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { session { token } } }"


async def test_logs_hold_no_credential_however_it_came(database_url: str, tmp_path: Path) -> None:
    account = {"email": "a@example.com", "password": SECRET}
    browser = {"Sec-Fetch-Site": "same-origin"}
    async with (
        mail_server() as mailbox,
        served(
            tmp_path,
            DATABASE_URL=database_url,
            DEMO_DATA="false",
            LOG_LEVEL="debug",
            MAIL_URL=f"{mailbox.url}?starttls=never",
            RUN_JOBS="true",
        ) as server,
        httpx.AsyncClient(base_url=server.url, headers=browser) as http,
    ):
        caller = Caller(http)
        await caller.post(SIGN_UP, {"input": {**account, "username": "alice"}})
        token = (await caller.post(SIGN_IN, {"input": account})).json()["data"]["signIn"]["session"]["token"]
        assert http.cookies["session"] == token
        await caller.post("{ me { id } }")
        await caller.post(SIGN_IN, {"input": {**account, "password": f"{SECRET} but wrong"}})
        await caller.post(SIGN_IN, {"input": {"email": 5, "password": SECRET}})
        await caller.post(f'mutation {{ signIn(input: {{ email: "a@example.com", password: "{SECRET}" ')
        await caller.post("{ me { id } }", Authorization=f"Bearer {token}x")
        await http.get("/graphql", params={"query": HELLO, "variables": f'{{"token": "{token}"}}'})
        await caller.post(REQUEST_RESET, {"email": account["email"]})
        (mailed,) = MAILED.findall(await mailbox.last_to(account["email"], "Your new password"))
        await caller.post(RESET, {"input": {"token": f"{mailed}x", "password": NEW_SECRET}})
        assert (await caller.post(RESET, {"input": {"token": mailed, "password": NEW_SECRET}})).json()["data"]["resetPassword"][
            "passwordReset"
        ]
        await caller.post(RESET, {"input": {"token": mailed, "password": NEW_SECRET}})
    # A request is logged once its answer is on the way, and the last one perhaps only before the end.
    said = server.logged()

    assert said.count('"path": "/graphql"') >= 8
    for secret in (SECRET, NEW_SECRET, token, mailed):
        assert secret not in said
    assert "session=" not in said
