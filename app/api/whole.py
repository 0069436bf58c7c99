"""Answers that are handed to the server in one message.

ASGI has one message for the head of an answer and one for its body. Each passes every layer, which for a small answer takes as long as
looking up who asks. A server that knows a message for both says so among the extensions of the request.
"""

from starlette.middleware.cors import CORSMiddleware
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

WHOLE = "http.response.whole"
"""The extension, and the type of its message: an `http.response.start` with the whole `body` beside it."""


class WholeResponse(Response):
    """A response that is one message, where the server takes it so."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if WHOLE in scope.get("extensions", ()):
            await send({"type": WHOLE, "status": self.status_code, "headers": self.raw_headers, "body": self.body})
        else:
            await super().__call__(scope, receive, send)


class CrossOrigin(CORSMiddleware):
    """Starlette's, which looks for the head of an answer: no request that it passes on is answered by another message."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["extensions"] = {name: value for name, value in scope.get("extensions", {}).items() if name != WHOLE}
        await super().__call__(scope, receive, send)
