"""The page shown while GraphiQL has not been built: Strawberry's own, which needs a public host, under a notice that says so."""

import re
from typing import Final

from strawberry.http.ides import get_graphql_ide_html

_NOTICE: Final = """
    <style>
      body { display: flex; flex-direction: column; height: 100vh; }
      #graphiql { flex: 1; height: auto; min-height: 0; }
      #build-notice { background: #fff3cd; color: #533f03; font: 0.9rem system-ui, sans-serif; padding: 0.6rem 1rem; }
    </style>
    <div id="build-notice" role="status">
      GraphiQL has not been built, so this page loads it from a public host and stays empty without a connection to it. To serve it from
      the gateway, run <code>make graphiql</code> (it needs Node.js 20.19 or later) and start the gateway again.
    </div>"""


def fallback_page(nonce: str) -> str:
    """Strawberry's GraphiQL page with the notice on top, its scripts carrying `nonce`."""
    page = re.sub(r"<body\b[^>]*>", lambda body: body[0] + _NOTICE, get_graphql_ide_html("graphiql"), count=1)
    return re.sub(r"<script\b", f'<script nonce="{nonce}"', page)
