"""A store's own system on this host: takes messages, and answers as a test wants."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from tests.serving import listening


@dataclass(frozen=True)
class Message:
    """What came in."""

    headers: dict[str, str]
    body: bytes


@dataclass
class Receiver:
    """Answers with `statuses` in their turn, then with the last of them again; each after `seconds`."""

    url: str = ""
    statuses: list[int] = field(default_factory=lambda: [204])
    seconds: float = 0
    parts: int = 0
    """Of 16 KiB each, in the body of an answer."""
    sent: int = 0
    messages: list[Message] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    """Paths asked for that nobody should have asked for."""

    async def take(self, request: Request) -> Response:
        self.messages.append(Message(dict(request.headers), await request.body()))
        await asyncio.sleep(self.seconds)
        status = self.statuses.pop(0) if len(self.statuses) > 1 else self.statuses[0]
        if self.parts:
            return StreamingResponse(self.long(), status)
        return Response(None, status, {"location": "/elsewhere"} if 300 <= status < 400 else {})

    async def long(self) -> AsyncIterator[bytes]:
        for _ in range(self.parts):
            self.sent += 1
            yield bytes(16_384)

    async def wander(self, request: Request) -> Response:
        self.elsewhere.append(request.url.path)
        return Response(status_code=204)


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    receiver = Receiver()
    every = ["GET", "POST"]
    app = Starlette(routes=[Route("/hook", receiver.take, methods=every), Route("/elsewhere", receiver.wander, methods=every)])
    async with listening(app) as url:
        receiver.url = f"{url}/hook"
        yield receiver
