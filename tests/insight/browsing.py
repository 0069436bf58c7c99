"""The store insight page as somebody with a browser sees it. The gateway is in this process, so the browser is waited for in a thread."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar
from urllib.parse import parse_qs, urlsplit

from selenium import webdriver
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.wait import WebDriverWait

from app.seed.people import Account
from tests.api.test_graphiql import PATIENCE, log

P = ParamSpec("P")
T = TypeVar("T")

LOADED = """
    const panels = [...document.querySelectorAll("section.panel")];
    return panels.length > 1 && panels.every(panel => panel.getAttribute("aria-busy") === "false" || panel.querySelector("[role=status]"));
"""
READ = """
    const panel = document.querySelector(`[aria-labelledby="${arguments[0]}"]`);
    const text = element => element.childNodes[0]?.textContent ?? "";
    return panel && {
      figures: Object.fromEntries([...panel.querySelectorAll("dl div")].map(each => [...each.children].map(part => part.textContent))),
      rows: [...panel.querySelectorAll("tbody tr")].map(row => [...row.children].map(text)),
      link: panel.querySelector(".origin a")?.href ?? null,
      error: panel.querySelector("[role=alert]")?.textContent ?? null,
    };
"""
FOCUSED = """
    const at = document.activeElement, style = getComputedStyle(at);
    if (at === document.body) return null;
    return { name: at.innerText || at.name || at.value, outline: style.outlineStyle, width: style.outlineWidth };
"""
CONTROLS = "return document.querySelectorAll('a[href], button, summary, select:enabled, input').length"


def threaded(work: Callable[Concatenate["Insight", P], T]) -> Callable[Concatenate["Insight", P], Awaitable[T]]:
    @wraps(work)
    async def run(self: "Insight", /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(work, self, *args, **kwargs)

    return run


class Insight:
    """The page at `url`, opened by a browser without cookies, in the light and 1,400 pixels wide."""

    def __init__(self, driver: webdriver.Chrome, url: str) -> None:
        self._driver = driver
        self._host = urlsplit(url).netloc
        self._url = f"{url}/insight"
        self._requests: list[str] = []

    @threaded
    def open(self, query: str = "") -> None:
        self._driver.get(f"{self._url}{query}")

    @threaded
    def start(self, zone: str = "UTC") -> None:
        """Begin as somebody new, by the clocks of a time zone."""
        self._driver.get("about:blank")
        self._command("Network.clearBrowserCookies")
        self._command("Emulation.setTimezoneOverride", timezoneId=zone)
        log(self._driver, "browser")
        log(self._driver, "performance")
        self._driver.get(self._url)

    @threaded
    def leave(self) -> None:
        """Close it, and its connection for live figures with it."""
        self._driver.get("about:blank")

    @threaded
    def sign_in(self, account: Account, password: str | None = None) -> None:
        self._until(lambda: bool(self._all("input")), "there was no form to sign in with")
        email, secret = self._all("input")
        email.clear()
        email.send_keys(account.email)
        secret.clear()
        secret.send_keys(password or account.password, Keys.ENTER)

    @threaded
    def loaded(self) -> None:
        """Wait for the figures of every panel."""
        self._until(lambda: bool(self._driver.execute_script(LOADED)), "not every panel was loaded")

    @threaded
    def wait_for(self, selector: str, text: str) -> None:
        self._until(lambda: any(text in each.text for each in self._all(selector)), f"{text!r} never appeared in {selector}")

    @threaded
    def panel(self, id: str) -> dict[str, Any]:
        """The figures by their names, the rows of its table, its link and its error."""
        found: dict[str, Any] = self._driver.execute_script(READ, id)
        return found

    @threaded
    def errors(self) -> list[str]:
        return [each.text for each in self._all(".error") if each.text]

    @threaded
    def note(self) -> str:
        """Whose clocks the page goes by."""
        return self._all("main > .note")[0].text

    @threaded
    def click(self, text: str, within: str = "body") -> None:
        (found,) = [each for each in self._all(f"{within} a, {within} button") if each.text.startswith(text)]
        found.click()

    @threaded
    def choose_store(self, name: str) -> None:
        next(option for option in self._all("option") if option.text == name).click()

    @threaded
    def stores(self) -> tuple[list[str], bool]:
        """The stores to choose from, and whether there is a choice."""
        (select,) = self._all("select")
        return [option.text for option in self._all("option")], select.is_enabled()

    @threaded
    def query(self) -> dict[str, list[str]]:
        """What the page's address says."""
        return parse_qs(urlsplit(self._driver.current_url).query)

    @threaded
    def look(self, width: int = 1400, scheme: str = "light") -> None:
        """Look at it on a screen `width` pixels wide, in the light or in the dark."""
        self._command("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 500)
        self._command("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    @threaded
    def overflow(self) -> int:
        """By how many pixels the page is wider than the screen."""
        found: int = self._driver.execute_script("return document.documentElement.scrollWidth - innerWidth")
        return found

    @threaded
    def online(self, online: bool) -> None:
        self._command("Network.enable")
        self._command("Network.emulateNetworkConditions", offline=not online, latency=0, downloadThroughput=-1, uploadThroughput=-1)

    @threaded
    def forget(self) -> None:
        """Lose the session's cookie."""
        self._command("Network.clearBrowserCookies")

    @threaded
    def tabbed(self) -> tuple[list[dict[str, str]], int]:
        """What the Tab key comes by from the top of the page, and how many controls there are."""
        self._driver.execute_script("document.activeElement.blur(); getSelection().removeAllRanges(); scrollTo(0, 0)")
        self._driver.execute_script("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
        controls: int = self._driver.execute_script(CONTROLS)
        found: list[dict[str, str]] = []
        for _ in range(controls):
            self._driver.switch_to.active_element.send_keys(Keys.TAB)
            if focused := self._driver.execute_script(FOCUSED):
                found.append(focused)
        return found, controls

    @threaded
    def violations(self, axe: Path) -> list[str]:
        """What axe-core finds against WCAG 2.2 AA and its best practices."""
        self._driver.execute_script(axe.read_text(encoding="utf-8"))
        run = "const done = arguments[0]; axe.run({ resultTypes: ['violations'] }).then(found => done(found.violations))"
        found: list[dict[str, Any]] = self._driver.execute_async_script(run)
        return [f"{each['impact']}: {each['help']}: {node['html']}" for each in found for node in each["nodes"]]

    @threaded
    def assert_clean(self) -> None:
        """Nothing was asked of another host, and the console has no complaint."""
        elsewhere = [url for url in self._asked() if urlsplit(url).scheme != "data" and urlsplit(url).netloc != self._host]
        assert elsewhere == []
        assert [entry["message"] for entry in log(self._driver, "browser") if entry["level"] in {"WARNING", "SEVERE"}] == []

    @threaded
    def requests(self) -> list[str]:
        return self._asked()

    def _asked(self) -> list[str]:
        for entry in log(self._driver, "performance"):
            message: dict[str, Any] = json.loads(entry["message"])["message"]
            match message["method"]:
                case "Network.requestWillBeSent":
                    self._requests.append(message["params"]["request"]["url"])
                case "Network.webSocketCreated":
                    self._requests.append(message["params"]["url"])
        return self._requests

    def _all(self, selector: str) -> list[WebElement]:
        return self._driver.find_elements(By.CSS_SELECTOR, selector)

    def _until(self, condition: Callable[[], bool], failure: str) -> None:
        wait = WebDriverWait(self._driver, PATIENCE, poll_frequency=0.1, ignored_exceptions=[StaleElementReferenceException])
        wait.until(lambda _driver: condition(), failure)

    def _command(self, name: str, **given: Any) -> None:
        self._driver.execute_cdp_cmd(name, given)
