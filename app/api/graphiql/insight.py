"""Serves the store insight page: what staff see of their shop, every figure of it asked of the public GraphQL API.

Unlike GraphiQL it is part of the product and is there in production too. Its documents are shipped beside it, so that they run where only
trusted documents do.
"""

import html
import secrets
from pathlib import Path
from typing import Final

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from app.api.graphiql.assets import HashedAssets
from app.api.graphiql.page import DIST, filled, page_headers
from app.api.graphiql.policy import insight_policy

DOCUMENTS: Final = Path(__file__).parent / "insight" / "documents"

# What the build leaves for us to say: whether links to GraphiQL lead anywhere.
_GRAPHIQL: Final = "{{graphiql}}"

_NOT_BUILT: Final = """<!doctype html>
<html lang="en">
  <head>
    <meta charset="utf-8">
    <meta name="viewport" content="width=device-width, initial-scale=1">
    <meta name="color-scheme" content="light dark">
    <title>Store insight · Neurotracker gateway</title>
  </head>
  <body>
    <main>
      <h1>Store insight has not been built</h1>
      <p>To serve it from the gateway, run <code>make graphiql</code> (it needs Node.js 20.19 or later) and start the gateway again.</p>
      <p>What it shows can be asked of the API meanwhile: POST a query to <code>/graphql</code>.</p>
    </main>
  </body>
</html>
"""


class InsightPage:
    """The insight page of a gateway, which answers GraphQL beside it (``/graphql`` beside ``/insight``).

    `dist` is where the build is; it is read once, here. `graphiql`: whether GraphiQL is served, to which the page then links.
    """

    def __init__(self, dist: Path = DIST, *, graphiql: bool = False, path: str = "/insight") -> None:
        self._path = path
        self._assets = dist / "assets"
        index = dist / "insight.html"
        self._index = index.read_text(encoding="utf-8").replace(_GRAPHIQL, str(graphiql).lower()) if index.is_file() else None

    @property
    def built(self) -> bool:
        """Whether there is a build to serve."""
        return self._index is not None

    def routes(self) -> list[BaseRoute]:
        """The page, and its assets where they have been built."""
        page = Route(self._path, self._page, methods=["GET"], name="insight")
        return [Mount(f"{self._path}/assets", HashedAssets(directory=self._assets), name="insight-assets"), page] if self.built else [page]

    async def _page(self, request: Request) -> Response:
        nonce = secrets.token_urlsafe(16)
        assets = html.escape(f"{request.scope.get('root_path', '')}{self._path}/assets/")
        text = _NOT_BUILT if self._index is None else filled(self._index, nonce, assets)
        return HTMLResponse(text, headers=page_headers(insight_policy(nonce)))


def insight_documents() -> dict[str, str]:
    """The texts of all that the page asks, by file name."""
    return {file.name: file.read_text(encoding="utf-8") for file in sorted(DOCUMENTS.glob("*.graphql"))}
