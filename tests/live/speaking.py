"""One who speaks graphql-transport-ws message by message, right or wrong, and one who listens to an event stream."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import httpx
import orjson
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.serving import Caller

PROTOCOL = "graphql-transport-ws"
SECONDS = 10.0

ORDERS = "subscription { orderUpdated { id status total user { email } } }"
CARTS = "subscription { cartUpdated { id total itemCount user { email } } }"


class Speaker:
    """A client of one WebSocket."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def say(self, **message: Any) -> None:
        await self.socket.send(orjson.dumps(message).decode())

    async def hear(self, seconds: float = SECONDS) -> dict[str, Any]:
        return cast(dict[str, Any], orjson.loads(await asyncio.wait_for(self.socket.recv(), seconds)))

    async def closed(self, seconds: float = SECONDS) -> tuple[int, str]:
        """The code and the reason that the gateway closes with; what it says before is left out."""
        with suppress(ConnectionClosed):
            async with asyncio.timeout(seconds):
                while True:
                    await self.socket.recv()
        assert self.socket.close_code is not None
        return self.socket.close_code, self.socket.close_reason or ""

    async def init(self, payload: Any = None) -> None:
        await self.say(type="connection_init", **({} if payload is None else {"payload": payload}))
        assert (await self.hear())["type"] == "connection_ack"

    async def subscribe(self, query: str, id: str = "1", **variables: Any) -> None:
        await self.say(type="subscribe", id=id, payload={"query": query, "variables": variables})

    async def next(self, id: str = "1", seconds: float = SECONDS) -> dict[str, Any]:
        """The data of the next event."""
        message = await self.hear(seconds)
        assert (message["type"], message["id"]) == ("next", id), message
        assert "errors" not in message["payload"], message
        return cast(dict[str, Any], message["payload"]["data"])

    async def nothing(self, seconds: float = 0.4) -> None:
        """Nothing is heard for a while."""
        try:
            message = await self.hear(seconds)
        except TimeoutError:
            return
        raise AssertionError(message)


@asynccontextmanager
async def speaking(url: str, *, protocol: str | None = PROTOCOL, **headers: str) -> AsyncIterator[Speaker]:
    """A connection to the gateway at an address of HTTP."""
    address = url.replace("http", "ws", 1) + "/graphql"
    subprotocols: Any = [protocol] if protocol else None
    async with connect(address, subprotocols=subprotocols, additional_headers=headers, max_size=None, close_timeout=1) as socket:
        yield Speaker(socket)


@asynccontextmanager
async def acquainted(url: str, caller: Caller) -> AsyncIterator[Speaker]:
    """A connection that has said who it is."""
    async with speaking(url) as speaker:
        await speaker.init(caller.headers or None)
        yield speaker


class Listener:
    """A client of one event stream."""

    def __init__(self, response: httpx.Response) -> None:
        self.response = response
        self._lines = response.aiter_lines()

    async def event(self, seconds: float = SECONDS) -> tuple[str, Any]:
        """The name and the data of the next event; ("end", None) where the stream ends."""
        name, data = "", ""
        async with asyncio.timeout(seconds):
            async for line in self._lines:
                if line.startswith("event: "):
                    name = line.removeprefix("event: ")
                elif line.startswith("data: "):
                    data = line.removeprefix("data: ")
                elif not line and name:
                    return name, orjson.loads(data) if data else None
        return "end", None


@asynccontextmanager
async def streaming(url: str, caller: Caller, query: str, **variables: Any) -> AsyncIterator[Listener]:
    """An event stream of an operation, by POST."""
    headers = {"Accept": "text/event-stream", **caller.headers}
    async with (
        httpx.AsyncClient(base_url=url, timeout=30) as http,
        http.stream("POST", "/graphql", json={"query": query, "variables": variables}, headers=headers) as response,
    ):
        yield Listener(response)
