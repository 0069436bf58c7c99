"""The GraphiQL page: what the server sends, and what a real browser makes of it."""

import json
import re
import shutil
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
import strawberry
import uvicorn
from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from strawberry.asgi import GraphQL

from app.api.graphiql import GraphiQLPage

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
CHROMEDRIVER = shutil.which("chromedriver")
PATIENCE = 30  # seconds; a busy machine needs several to start Monaco

ANSWER = ".result-window .view-lines"
DOCUMENTATION = ".graphiql-doc-explorer"


@strawberry.type(description="Something a store sells.")
class Product:
    id: strawberry.ID
    name: str
    price: str
    currency: str


@strawberry.type
class ProductConnection:
    nodes: list[Product]


@strawberry.type
class Query:
    @strawberry.field
    def products(self, first: int = 20) -> ProductConnection:
        wares = [Product(id=strawberry.ID(f"p{n}"), name=f"Headband {n}", price=f"{n}9.90", currency="EUR") for n in range(1, 9)]
        return ProductConnection(nodes=wares[:first])

    @strawberry.field
    def authorization(self, info: strawberry.Info) -> str | None:
        """The header that came with the request."""
        request: Request = info.context["request"]
        return request.headers.get("authorization")


@strawberry.type
class Subscription:
    @strawberry.subscription
    async def stock(self, info: strawberry.Info) -> AsyncIterator[str]:
        token = info.context["connection_params"].get("Authorization")
        for left in (3, 2, 1):
            yield f"{left} left, seen by {token}"


class Endpoint:
    """GraphiQL for a browser's GET, GraphQL for the rest, on one path."""

    def __init__(self, page: GraphiQLPage) -> None:
        self._page = page
        self._graphql = GraphQL[object, None](strawberry.Schema(Query, subscription=Subscription), graphql_ide=None)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and "text/html" in Request(scope).headers.get("accept", ""):
            response = await self._page.page(Request(scope, receive))
            await response(scope, receive, send)
        else:
            await self._graphql(scope, receive, send)


def application(page: GraphiQLPage) -> Starlette:
    endpoint = Endpoint(page)
    return Starlette(routes=[*page.routes(), Route("/graphql", endpoint), WebSocketRoute("/graphql", endpoint)])


# What the server sends


@pytest.fixture
def build(tmp_path: Path) -> Path:
    """A build reduced to what the server looks at: an index with the marks that Vite leaves, and one asset."""
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets" / "index-abc123.js").write_text("export {};")
    (tmp_path / "index.html").write_text(
        '<meta property="csp-nonce" nonce="{{nonce}}"><script type="module" src="./assets/index-abc123.js" nonce="{{nonce}}"></script>'
    )
    return tmp_path


def client(page: GraphiQLPage, root_path: str = "") -> httpx.AsyncClient:
    transport = httpx.ASGITransport(application(page), root_path=root_path)
    return httpx.AsyncClient(transport=transport, base_url="http://gateway", headers={"Accept": "text/html"})


def directives(response: httpx.Response) -> dict[str, str]:
    policy = response.headers["content-security-policy"]
    return dict(directive.split(" ", 1) for directive in policy.split("; "))


async def test_every_response_has_a_nonce_of_its_own(build: Path) -> None:
    async with client(GraphiQLPage(build)) as http:
        pages = [await http.get("/graphql") for _ in range(3)]
    nonces = []
    for page in pages:
        in_page = set(re.findall(r'nonce="([^"]*)"', page.text))
        assert len(in_page) == 1
        nonce = in_page.pop()
        assert re.fullmatch(r"[\w-]{20,}", nonce)
        assert directives(page)["script-src"] == f"'nonce-{nonce}' 'strict-dynamic'"
        nonces.append(nonce)
    assert len(set(nonces)) == 3


async def test_the_policy_admits_no_inline_script_and_no_other_host(build: Path) -> None:
    async with client(GraphiQLPage(build)) as http:
        policy = directives(await http.get("/graphql"))
    assert policy["default-src"] == "'none'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["connect-src"] == "'self'"
    assert [name for name, sources in policy.items() if "unsafe" in sources] == ["style-src-attr"]
    assert not re.search(r"https?:|wss?:|\*", " ".join(policy.values()))


async def test_the_page_is_never_stored_and_its_assets_are_kept_for_good(build: Path) -> None:
    async with client(GraphiQLPage(build)) as http:
        page = await http.get("/graphql")
        asset = await http.get("/graphql/assets/index-abc123.js")
        again = await http.get("/graphql/assets/index-abc123.js", headers={"If-None-Match": asset.headers["etag"]})
    assert page.headers["cache-control"] == "no-store"
    assert page.headers["referrer-policy"] == "no-referrer"
    assert asset.status_code == 200
    assert again.status_code == 304
    assert asset.headers["cache-control"] == again.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert page.headers["x-content-type-options"] == asset.headers["x-content-type-options"] == "nosniff"


async def test_head_describes_page_and_assets_without_sending_them(build: Path) -> None:
    async with client(GraphiQLPage(build)) as http:
        for path, kind in (("/graphql", "text/html"), ("/graphql/assets/index-abc123.js", "javascript")):
            head, get = await http.head(path), await http.get(path)
            assert head.status_code == 200
            assert kind in head.headers["content-type"]
            assert head.headers["content-length"] == get.headers["content-length"]
        assert (await http.head("/graphql/assets/index-abc123.js")).content == b""


@pytest.mark.parametrize("path", ["none-def456.js", "", "../index.html", "%2e%2e/index.html", "..%2f..%2fpage.py", "index-abc123.js/x"])
async def test_an_unknown_asset_is_not_found(build: Path, path: str) -> None:
    async with client(GraphiQLPage(build)) as http:
        response = await http.get(httpx.URL("http://gateway", raw_path=f"/graphql/assets/{path}".encode()))
        missing = await http.head("/graphql/assets/none-def456.js")
    assert response.status_code == missing.status_code == 404
    assert "immutable" not in response.headers.get("cache-control", "")


async def test_assets_are_asked_for_below_the_prefix_of_a_proxy(build: Path) -> None:
    async with client(GraphiQLPage(build), root_path="/shop") as http:
        page = await http.get("/shop/graphql")
        (source,) = re.findall(r'src="([^"]*)"', page.text)
        asset = await http.get(source)
    assert source == "/shop/graphql/assets/index-abc123.js"
    assert asset.text == "export {};"


async def test_without_a_build_the_page_says_how_to_make_it(tmp_path: Path) -> None:
    page = GraphiQLPage(tmp_path / "dist")
    async with client(page) as http:
        first, second = await http.get("/graphql"), await http.get("/graphql")
        asset = await http.get("/graphql/assets/index-abc123.js")
    assert not page.built
    assert first.status_code == 200
    assert first.headers["cache-control"] == "no-store"
    body = first.text.split("<body", 1)[1]
    assert "<code>make graphiql</code>" in body
    assert body.index("make graphiql") < body.index('id="graphiql"')
    (nonce,) = set(re.findall(r'<script nonce="([^"]*)"', first.text))
    assert first.text.count("<script") == first.text.count(f'<script nonce="{nonce}"') > 1
    assert directives(first)["script-src"] == f"'nonce-{nonce}' 'strict-dynamic'"
    assert nonce not in second.text
    assert asset.status_code == 404


# What a browser makes of it


@pytest.fixture(scope="module")
def base_url() -> Iterator[str]:
    """The address of a server with GraphiQL at /graphql."""
    page = GraphiQLPage()
    if not page.built:
        pytest.skip("GraphiQL is not built: run `make graphiql`")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(application(page), log_level="warning", ws="websockets-sansio", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(PATIENCE)


def log(driver: webdriver.Chrome, kind: str) -> list[dict[str, Any]]:
    """What the browser wrote to its log of this kind since the last call."""
    entries: list[dict[str, Any]] = driver.get_log(kind)  # type: ignore[no-untyped-call]
    return entries


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    if CHROMIUM is None or CHROMEDRIVER is None:
        pytest.skip("Chromium or its driver is not installed (Debian: chromium, chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for switch in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "no-first-run",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "disable-dev-shm-usage",
        "window-size=1400,900",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{switch}")
    driver = webdriver.Chrome(options, Service(executable_path=CHROMEDRIVER))
    driver.get("about:blank")
    log(driver, "performance")  # what Chromium's own start page loaded
    driver.set_page_load_timeout(PATIENCE)
    driver.set_script_timeout(PATIENCE)
    yield driver
    driver.quit()


class GraphiQL:
    """GraphiQL as its user sees it."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        self._host = urlsplit(url).netloc
        self._requests: list[str] = []
        # Of the same origin, and with no page in it that writes its state again while it is being cleared.
        driver.get(f"{url}/assets/none")
        driver.execute_script("localStorage.clear()")
        log(driver, "browser")
        driver.get(url)
        self.wait_for(".graphiql-query-editor .view-line", "products")

    def follow(self, **parameters: str) -> None:
        """Open a link to the page that carries something."""
        self._driver.get(f"{self._driver.current_url}?{urlencode(parameters)}")

    def text(self, selector: str) -> str:
        # Monaco draws spaces as no-break spaces.
        parts = self._driver.find_elements(By.CSS_SELECTOR, selector)
        return "\n".join(part.text for part in parts).replace("\xa0", " ")

    def wait_for(self, selector: str, text: str) -> None:
        self._until(lambda: text in self.text(selector), f"{text!r} never appeared in {selector}")

    def _until(self, condition: Callable[[], bool], failure: str) -> None:
        wait = WebDriverWait(self._driver, PATIENCE, poll_frequency=0.1, ignored_exceptions=[StaleElementReferenceException])
        wait.until(lambda _driver: condition(), failure)

    def click(self, selector: str) -> None:
        self._driver.find_element(By.CSS_SELECTOR, selector).click()

    def paste(self, query: str, headers: str = "") -> None:
        """Replace the contents of the editors, and wait until GraphiQL has taken notice: it saves the query after half a second."""
        self._driver.execute_script(
            "for (const [file, text] of arguments[0])"
            "  __MONACO.editor.getModels().find(model => model.uri.path.endsWith(file)).setValue(text);",
            [("request-headers.json", headers), ("operation.graphql", query)],
        )
        self._until(lambda: query in self.storage().get("graphiql:tabState", ""), f"{query!r} was not saved")

    def click_text(self, text: str) -> None:
        self._driver.find_element(By.LINK_TEXT, text).click()

    def run(self) -> None:
        self.click(".graphiql-execute-button")

    def run_by_keyboard(self) -> None:
        self.click(".graphiql-query-editor .view-lines")
        ActionChains(self._driver).key_down(Keys.CONTROL).send_keys(Keys.ENTER).key_up(Keys.CONTROL).perform()

    def storage(self) -> dict[str, str]:
        stored: dict[str, str] = self._driver.execute_script("return {...localStorage}")
        return stored

    def console(self) -> list[str]:
        """What went wrong, by the console's account; violations of the policy are among it."""
        return [entry["message"] for entry in log(self._driver, "browser") if entry["level"] in {"WARNING", "SEVERE"}]

    def requests(self) -> list[str]:
        """Every address asked for since the page was loaded."""
        for entry in log(self._driver, "performance"):
            message: dict[str, Any] = json.loads(entry["message"])["message"]
            match message["method"]:
                case "Network.requestWillBeSent":
                    self._requests.append(message["params"]["request"]["url"])
                case "Network.webSocketCreated":
                    self._requests.append(message["params"]["url"])
        return self._requests

    def assert_clean(self) -> None:
        """Nothing was asked of another host, and the console has no complaint."""
        elsewhere = [url for url in self.requests() if urlsplit(url).scheme not in {"data", "blob"} and urlsplit(url).netloc != self._host]
        assert elsewhere == []
        assert self.console() == []


@pytest.fixture
def graphiql(base_url: str, chromium: webdriver.Chrome) -> Iterator[GraphiQL]:
    yield GraphiQL(chromium, f"{base_url}/graphql")
    # The server would wait for a subscription that is still open.
    chromium.get("about:blank")


def test_a_query_runs_by_button_and_by_keyboard(graphiql: GraphiQL) -> None:
    graphiql.run()
    graphiql.wait_for(ANSWER, "Headband 5")
    assert "Headband 6" not in graphiql.text(ANSWER)
    graphiql.paste("query Seven { products(first: 7) { nodes { name } } }")
    graphiql.run_by_keyboard()
    graphiql.wait_for(ANSWER, "Headband 7")
    assert any("worker" in url for url in graphiql.requests())
    graphiql.assert_clean()


def test_a_link_brings_a_query_that_runs_when_asked_to(graphiql: GraphiQL) -> None:
    graphiql.follow(query="query Linked($n: Int!) { products(first: $n) { nodes { name } } }", variables='{"n": 3}')
    graphiql.wait_for(".graphiql-query-editor .view-line", "Linked")
    assert "Headband" not in graphiql.text(ANSWER)
    graphiql.run()
    graphiql.wait_for(ANSWER, "Headband 3")
    assert "Headband 4" not in graphiql.text(ANSWER)
    graphiql.assert_clean()


def test_the_documentation_shows_the_types_of_the_schema(graphiql: GraphiQL) -> None:
    graphiql.click('[aria-label="Show Documentation Explorer"]')
    graphiql.wait_for(DOCUMENTATION, "ProductConnection")
    assert set(graphiql.text(DOCUMENTATION).split()) >= {"Query", "Subscription", "Product", "Int"}
    graphiql.click_text("Product")
    graphiql.wait_for(DOCUMENTATION, "Something a store sells.")
    assert "price: String!" in graphiql.text(DOCUMENTATION)
    graphiql.assert_clean()


def test_headers_are_sent_and_never_stored(graphiql: GraphiQL) -> None:
    graphiql.paste("query WhoAmI { authorization }", '{ "Authorization": "Bearer not-for-the-disk" }')
    graphiql.run()
    graphiql.wait_for(ANSWER, "Bearer not-for-the-disk")
    stored = graphiql.storage()
    assert "WhoAmI" in stored["graphiql:queries"]
    assert "not-for-the-disk" not in "".join(stored.values())
    graphiql.assert_clean()


def test_a_subscription_streams_over_the_same_address(graphiql: GraphiQL) -> None:
    graphiql.paste("subscription Stock { stock }", '{ "Authorization": "Bearer socket" }')
    graphiql.run()
    graphiql.wait_for(ANSWER, "1 left, seen by Bearer socket")
    assert any(url.startswith("ws://") for url in graphiql.requests())
    graphiql.assert_clean()
