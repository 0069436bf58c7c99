"""The end of reminders by one click, at `/unsubscribe/<token>` (RFC 8058).

Mail programs POST there by themselves when their reader says so, without cookies and without a session: the signed token alone says which
address is meant. To look at the page changes nothing, since whoever checks mails for harm opens every link in them.
"""

from typing import Any, Final

import structlog
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response

from app.core.errors import RepositoryError
from app.core.signing import Seals

PURPOSE: Final = "unsubscribe"
HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Robots-Tag": "noindex",
}
PAGE: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>Reminders</title></head>
<body><main><h1>No more reminders?</h1><p>We will not write to this address about carts that were left any more.</p>
<form method="post"><input type="hidden" name="List-Unsubscribe" value="One-Click"><button>Unsubscribe</button></form></main></body></html>
"""

log = structlog.get_logger(__name__)


def unsubscribe_url(base: str, seals: Seals, address_hash: str) -> str:
    """Where one click ends the reminders of an address. It is good for ever, and tells nobody the address."""
    return f"{base}/unsubscribe/{seals.seal(PURPOSE, address_hash)}"


class Unsubscribing:
    """Answers at the links in reminders. Repositories are the system's."""

    def __init__(self, repositories: Any, seals: Seals) -> None:
        self._repositories = repositories
        self._seals = seals

    async def answer(self, request: Request) -> Response:
        """A page that asks, or by POST the deed: 200 also when it was done before, 404 for a token that is not ours, 503 not now."""
        address_hash = self._seals.open(PURPOSE, request.path_params["token"], self._repositories.now())
        if address_hash is None:
            return PlainTextResponse("This link is not good. Copy the whole of it from the mail.", 404, HEADERS)
        if request.method != "POST":
            return HTMLResponse(PAGE, headers=HEADERS)
        try:
            await self._repositories.mail_opt_outs.add(address_hash)
        except RepositoryError as error:
            log.warning("unsubscribe_postponed", error=type(error).__name__)
            return PlainTextResponse("Please try again in a minute.", 503, HEADERS)
        return PlainTextResponse("You will get no more reminders.", headers=HEADERS)
