"""Sessions of browsers: the cookie that they get, and what it may be used for."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx
import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from starlette.applications import Starlette

from app.core import jobs
from tests.conftest import fresh_database
from tests.serving import Caller, gateway, listening, reached, running_app, settings_for

SIGN_UP = "mutation ($input: SignUpInput!) { signUp(input: $input) { session { token } userErrors { field message } } }"
SIGN_IN = "mutation ($input: SignInInput!) { signIn(input: $input) { session { token } userErrors { code } } }"
SIGN_OUT = "mutation { signOut { signedOut userErrors { code } } }"
ME = "{ me { username } }"

OWN = {"Origin": "http://gateway", "Sec-Fetch-Site": "same-origin"}
ACCOUNT = {"email": "browser@example.com", "password": "correct horse battery"}
OTHER = {"email": "other@example.com", "password": "correct horse battery"}
SHOP = "https://shop.example"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")


@pytest.fixture(scope="module")
async def app(postgres: str, migrated: str) -> AsyncIterator[Starlette]:
    async with (
        fresh_database(postgres, migrated) as dsn,
        running_app(settings_for(dsn, cors_origins=SHOP)) as app,
    ):
        async with reached(app) as caller:
            for account in (ACCOUNT, OTHER):
                await sign_up(caller, account)
        yield app


@pytest.fixture
async def caller(app: Starlette) -> AsyncIterator[Caller]:
    """Keeps cookies, as a browser does."""
    async with reached(app) as caller:
        yield caller


async def sign_up(caller: Caller, account: dict[str, str]) -> None:
    answer = await caller.ask(SIGN_UP, input={**account, "username": account["email"].partition("@")[0]})
    assert answer["signUp"]["userErrors"] == []


async def post(caller: Caller, query: str, headers: dict[str, str], **variables: Any) -> httpx.Response:
    return await caller.http.post("/graphql", json={"query": query, "variables": variables}, headers=headers)


async def sign_in(caller: Caller, headers: dict[str, str] = OWN, account: dict[str, str] = ACCOUNT) -> httpx.Response:
    return await post(caller, SIGN_IN, headers, input=account)


async def username(caller: Caller, headers: dict[str, str] | None = None) -> str | None:
    me = (await post(caller, ME, headers or {})).json()["data"]["me"]
    return me["username"] if me else None


async def test_a_browser_gets_its_session_as_a_cookie(caller: Caller) -> None:
    response = await sign_in(caller)

    name, _, rest = response.headers["Set-Cookie"].partition("=")
    value, *attributes = rest.split("; ")
    assert name == "session"
    assert value == response.json()["data"]["signIn"]["session"]["token"]
    lifetime = next(int(part.removeprefix("Max-Age=")) for part in attributes if part.startswith("Max-Age="))
    assert 86_000 < lifetime <= 86_400
    assert {part.lower() for part in attributes if not part.startswith("Max-Age=")} == {"httponly", "path=/", "samesite=lax"}


async def test_in_production_the_cookie_is_pinned_to_the_host_and_https(database_url: str) -> None:
    strong = {"argon2_memory_kib": 19_456, "argon2_time_cost": 2}
    await jobs.install(database_url)
    async with gateway(settings_for(database_url, environment="production", **strong)) as caller:
        response = await post(caller, SIGN_UP, OWN, input={**ACCOUNT, "username": "browser"})

    cookie = response.headers["Set-Cookie"]
    assert cookie.startswith("__Host-session=")
    assert {"secure", "httponly", "path=/", "samesite=lax"} < {part.lower() for part in cookie.split("; ")}
    assert "domain" not in cookie.lower()


async def test_a_program_gets_no_cookie(caller: Caller) -> None:
    assert "Set-Cookie" not in (await sign_in(caller, {})).headers


async def test_a_page_of_another_site_gets_no_cookie(caller: Caller) -> None:
    response = await sign_in(caller, {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"})

    assert "Set-Cookie" not in response.headers


async def test_a_refused_sign_in_gives_no_cookie(caller: Caller) -> None:
    response = await sign_in(caller, account={**ACCOUNT, "password": "wrong"})

    assert response.json()["data"]["signIn"]["session"] is None
    assert "Set-Cookie" not in response.headers


async def test_the_cookie_is_the_session(caller: Caller) -> None:
    assert await username(caller) is None
    await sign_in(caller)

    assert await username(caller) == "browser"


async def test_a_bearer_token_wins_over_the_cookie(app: Starlette, caller: Caller) -> None:
    async with reached(app) as program:
        token = (await sign_in(program, {}, OTHER)).json()["data"]["signIn"]["session"]["token"]
    await sign_in(caller)

    assert await username(caller, {"Authorization": f"Bearer {token}"}) == "other"
    assert await username(caller) == "browser"


async def test_signing_out_takes_the_cookie_away(caller: Caller) -> None:
    token = (await sign_in(caller)).json()["data"]["signIn"]["session"]["token"]

    response = await post(caller, SIGN_OUT, OWN)

    assert response.json()["data"]["signOut"]["signedOut"]
    assert 'session=""' in response.headers["Set-Cookie"]
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert not caller.http.cookies
    assert (await post(caller, ME, {"Authorization": f"Bearer {token}"})).status_code == 401


async def test_a_session_that_has_ended_leaves_a_browser_able_to_sign_in(caller: Caller) -> None:
    caller.http.cookies.set("session", "a-token-that-never-was", domain="gateway.local")

    response = await post(caller, ME, OWN)

    assert response.json()["data"] == {"me": None}
    assert "Max-Age=0" in response.headers["Set-Cookie"]
    assert (await sign_in(caller)).json()["data"]["signIn"]["session"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "https://evil.example", "X-CSRF": "1"},
        {"Origin": "https://gateway.evil.example", "Sec-Fetch-Site": "cross-site"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "X-CSRF": "1"},
        {},
    ],
)
async def test_another_site_cannot_make_a_signed_in_browser_change_anything(caller: Caller, headers: dict[str, str]) -> None:
    await sign_in(caller)

    response = await post(caller, SIGN_OUT, headers)

    assert response.status_code == 403
    assert "data" not in response.json()
    assert await username(caller) == "browser"


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin"},
        {"Origin": "http://gateway"},
        {"Origin": SHOP, "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF": "1"},
        {"Apollo-Require-Preflight": "true"},
    ],
)
async def test_our_own_pages_and_programs_may_change_things_by_cookie(caller: Caller, headers: dict[str, str]) -> None:
    await sign_in(caller)

    response = await post(caller, SIGN_OUT, headers)

    assert response.json()["data"]["signOut"]["signedOut"]


@pytest.mark.parametrize("content_type", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"])
async def test_what_a_form_can_send_is_not_read(caller: Caller, content_type: str) -> None:
    await sign_in(caller)

    body = json.dumps({"query": SIGN_OUT})
    response = await caller.http.post("/graphql", content=body, headers={"Content-Type": content_type, **OWN})

    assert response.status_code == 415
    assert await username(caller) == "browser"


async def test_a_link_cannot_change_anything(caller: Caller) -> None:
    await sign_in(caller)

    response = await caller.http.get("/graphql", params={"query": SIGN_OUT})

    assert response.status_code == 405
    assert await username(caller) == "browser"


class Page(BaseHTTPRequestHandler):
    """A page of another site."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>Evil</title>")

    def log_message(self, format: str, *args: Any) -> None:
        """Tests are quiet."""


@contextmanager
def other_site() -> Iterator[str]:
    """The address of a site whose host differs from the gateway's."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM or ""
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    browser = webdriver.Chrome(options=options, service=Service(CHROMEDRIVER))
    try:
        browser.set_script_timeout(20)
        browser.set_page_load_timeout(20)
        yield browser
    finally:
        browser.quit()


ASK = """
const [url, query, variables, type, mode, done] = arguments;
fetch(url, {method: "POST", credentials: "include", mode, headers: {"Content-Type": type}, body: JSON.stringify({query, variables})})
  .then(answer => answer.text()).then(text => done(text), error => done("refused: " + error));
"""


def browse(url: str) -> dict[str, str]:
    """What happens in a real browser, on a page of the gateway and then on one of another site."""
    graphql = f"{url}/graphql"
    with chromium() as browser, other_site() as evil:
        browser.get(f"{url}/healthz")

        def ask(query: str, kind: str = "application/json", mode: str = "cors", **variables: Any) -> str:
            answer: str = browser.execute_async_script(ASK, graphql, query, variables, kind, mode)
            return answer

        seen = {"signed in": ask(SIGN_IN, input=ACCOUNT), "visible": browser.execute_script("return document.cookie")}
        seen["me"] = ask(ME)
        browser.get(evil)
        seen["read by evil"] = ask(ME)
        seen["changed by evil"] = ask(SIGN_OUT)
        seen["form of evil"] = ask(SIGN_OUT, "text/plain", "no-cors")
        browser.get(f"{url}/healthz")
        seen["still me"] = ask(ME)
        seen["signed out"] = ask(SIGN_OUT)
        seen["nobody"] = ask(ME)
    return seen


@pytest.mark.skipif(not (CHROMIUM and CHROMEDRIVER), reason="needs chromium and chromedriver")
async def test_a_real_browser_keeps_its_session_from_scripts_and_other_sites(app: Starlette) -> None:
    async with listening(app) as url:
        seen = await asyncio.to_thread(browse, url.replace("127.0.0.1", "localhost"))

    assert '"token"' in seen["signed in"]
    assert seen["visible"] == ""
    assert '"username":"browser"' in seen["me"]
    assert seen["read by evil"].startswith("refused")
    assert seen["changed by evil"].startswith("refused")
    assert seen["form of evil"] == ""
    assert '"username":"browser"' in seen["still me"]
    assert '"signedOut":true' in seen["signed out"]
    assert '"me":null' in seen["nobody"]
