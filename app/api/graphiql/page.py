"""Serves GraphiQL from the gateway itself.

The page holds a shopper's or an administrator's token while in use, so nothing but our own build may run in it: its policy admits scripts
by a nonce that differs in every response, and connections to the gateway only. No other host is asked for anything.
"""

import html
import secrets
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount

from app.api.graphiql.assets import HashedAssets
from app.api.graphiql.fallback import fallback_page
from app.api.graphiql.policy import built_policy, fallback_policy

DIST: Final = Path(__file__).parent / "dist"

# What the build writes into the pages for us to fill in (see vite.config.js).
_NONCE: Final = "{{nonce}}"
_ASSETS: Final = '"./assets/'


class GraphiQLPage:
    """The GraphiQL page for one GraphQL endpoint.

    `dist` is where the build is; it is read once, here, so a later build shows after a restart. `path` is where the endpoint is routed; the
    page's assets lie below it. A proxy's prefix is taken from the ASGI ``root_path``.

    Without a build the page is Strawberry's, which loads GraphiQL from a public host, under a notice that says how to make the build.
    """

    def __init__(self, dist: Path = DIST, *, path: str = "/graphql") -> None:
        self._path = path
        self._assets = dist / "assets"
        index = dist / "index.html"
        self._index = index.read_text(encoding="utf-8") if index.is_file() else None

    @property
    def built(self) -> bool:
        """Whether there is a build to serve."""
        return self._index is not None

    def routes(self) -> list[BaseRoute]:
        """The route of the page's assets, to be placed before the endpoint's own; none without a build."""
        return [Mount(f"{self._path}/assets", HashedAssets(directory=self._assets), name="graphiql-assets")] if self.built else []

    async def page(self, request: Request) -> Response:
        """Answer a browser's GET or HEAD of the endpoint."""
        nonce = secrets.token_urlsafe(16)
        if self._index is None:
            return HTMLResponse(fallback_page(nonce), headers=page_headers(fallback_policy(nonce)))
        assets = html.escape(f"{request.scope.get('root_path', '')}{self._path}/assets/")
        return HTMLResponse(filled(self._index, nonce, assets), headers=page_headers(built_policy(nonce)))


def filled(page: str, nonce: str, assets: str) -> str:
    """A built page with the nonce of one response, and the address that its assets lie at, written for HTML."""
    return page.replace(_NONCE, nonce).replace(_ASSETS, f'"{assets}')


def page_headers(policy: str) -> dict[str, str]:
    """What a page is sent with."""
    return {
        "Cache-Control": "no-store",  # a stored page would carry a stale nonce
        "Content-Security-Policy": policy,
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
