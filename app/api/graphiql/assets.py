"""Serves the built scripts, styles and fonts of the GraphiQL page."""

from os import PathLike, stat_result
from typing import Final

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

_HEADERS: Final = {
    # A file's name holds a hash of its contents, so what a name stands for never changes (RFC 8246).
    "Cache-Control": "public, max-age=31536000, immutable",
    # A worker obeys the policy of its own script, not the page's: the editors' workers may import their own code and reach nothing else.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'",
    "X-Content-Type-Options": "nosniff",
}


class HashedAssets(StaticFiles):
    """Static files whose names change with their contents."""

    def file_response(self, full_path: str | PathLike[str], stat_result: stat_result, scope: Scope, status_code: int = 200) -> Response:
        """The file, to be kept for good, or a 304 that says the same."""
        response = super().file_response(full_path, stat_result, scope, status_code)
        response.headers.update(_HEADERS)
        return response
