"""GraphQL over WebSocket: the protocol graphql-transport-ws, as its PROTOCOL.md says.

Written on Starlette's WebSocket rather than on Strawberry's handler, which cannot be told of trusted documents, quotas, sessions that end
or errors that must be masked, makes one context of a whole connection, and falls over messages that are no objects.

Whoever opens a connection proves who it is by the payload of `connection_init` (`{"Authorization": "Bearer ..."}` or `{"token": "..."}`),
or by its session cookie; a guest by `X-Cart-Token`, there or as a header, or the cookie of its carts. A browser sends cookies with
whatever page opens a WebSocket, so pages of foreign origins are refused altogether.
"""

import asyncio
import time
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, Final, cast

import orjson
import structlog
from starlette.responses import Response
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected
from uuid_utils import uuid7

from app.api.client import CART_HEADER, Clients, well_formed_cart_token
from app.api.context import RequestInfo
from app.api.errors import AccessDenied, RateLimited
from app.api.live.connections import Connection, Connections
from app.api.live.endings import (
    FLOOD,
    INTERNAL_ERROR,
    INTERRUPTED,
    LATE,
    NOT_ACKNOWLEDGED,
    SECOND_INIT,
    SIGNED_OUT,
    SUBPROTOCOL,
    Ended,
    RequestErrors,
    fitting,
    invalid,
    taken,
)
from app.api.live.operations import Operations, limited
from app.api.rate_limit import RateLimiter
from app.api.request import GraphQLRequest, RequestRefused, parameters
from app.core.errors import Unavailable
from app.core.metrics import Metrics

PROTOCOL: Final = "graphql-transport-ws"
TRANSPORT: Final = "websocket"
TOO_MANY_SUBSCRIPTIONS = "TOO_MANY_SUBSCRIPTIONS"

MOST_MESSAGES = 500
MESSAGES_SECONDS = 10.0
"""How many messages one connection may send in how many seconds, whatever they are."""

MOST_ID = 256

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class SocketOptions:
    """`init_timeout` in seconds; `operations` that one connection may have under way at a time."""

    init_timeout: float = 10
    operations: int = 50


class WebSockets:
    """Accepts WebSockets."""

    def __init__(
        self,
        clients: Clients,
        limiter: RateLimiter,
        connections: Connections,
        operations: Operations,
        metrics: Metrics,
        options: SocketOptions,
    ) -> None:
        self._clients = clients
        self._limiter = limiter
        self._connections = connections
        self._operations = operations
        self._metrics = metrics
        self._options = options

    async def serve(self, socket: WebSocket) -> None:
        """Serve a WebSocket until it ends."""
        try:
            info = replace(self._clients.info(socket), id=str(uuid7()))
            if self._clients.is_foreign(socket):
                raise RequestRefused(403, "WebSockets are for pages of this host and of allowed origins.")
            await self._limiter.admit_address(info)
            with self._connections.opened(TRANSPORT, info) as connection:
                await self._run(socket, connection)
        except RequestRefused as refused:
            await _deny(socket, refused.status, refused.message, refused.headers)
        except RateLimited as error:
            await _deny(socket, 429, str(error), {"Retry-After": str(error.retry_after)})
        except (WebSocketDisconnect, WebSocketDisconnected):
            return

    async def _run(self, socket: WebSocket, connection: Connection) -> None:
        structlog.contextvars.bind_contextvars(request_id=connection.info.id)
        if PROTOCOL not in socket.scope["subprotocols"]:
            await socket.accept()
            connection.end(SUBPROTOCOL)
            await socket.close(SUBPROTOCOL.code, SUBPROTOCOL.reason)
            return
        await socket.accept(PROTOCOL)
        await Conversation(socket, connection, self._connections, self._operations, self._metrics, self._options).run()


class Conversation:
    """The messages of one WebSocket."""

    def __init__(
        self,
        socket: WebSocket,
        connection: Connection,
        connections: Connections,
        operations: Operations,
        metrics: Metrics,
        options: SocketOptions,
    ) -> None:
        self._socket = socket
        self._connection = connection
        self._connections = connections
        self._operations = operations
        self._metrics = metrics
        self._options = options
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._initialised = self._acknowledged = False
        self._window, self._messages = time.monotonic(), 0

    async def run(self) -> None:
        """Read messages until the client leaves, or the connection is to end."""
        closer = asyncio.create_task(self._close())
        alarm = asyncio.get_running_loop().call_later(self._options.init_timeout, self._late)
        try:
            while not self._connection.ended.done():
                message = await self._socket.receive()
                if message["type"] == "websocket.disconnect":
                    return
                await self._handle(message.get("text"))
        except Ended as ended:
            self._connection.end(ended.ending)
        except (WebSocketDisconnect, WebSocketDisconnected):
            return
        except Exception:
            log.exception("connection_failed")
            self._connection.end(INTERNAL_ERROR)
        finally:
            alarm.cancel()
            if not self._connection.ended.done():
                closer.cancel()
            await self._cancel_operations()
            await asyncio.wait({closer})

    def _late(self) -> None:
        if not self._initialised:
            self._connection.end(LATE)

    async def _close(self) -> None:
        """Close the connection once it is to end, after the last message of its operations."""
        ending = await asyncio.shield(self._connection.ended)
        await self._cancel_operations()
        try:
            await self._socket.close(ending.code, fitting(ending.reason))
        except (WebSocketDisconnect, WebSocketDisconnected):
            return

    async def _cancel_operations(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    # --- What the client says

    async def _handle(self, text: str | None) -> None:
        if self._connection.ended.done():
            return
        self._count()
        message = _message(text)
        match message.get("type"):
            case "connection_init":
                await self._initialise(message)
            case "ping":
                await self._send({"type": "pong", **({"payload": message["payload"]} if "payload" in message else {})})
            case "pong":
                return
            case "subscribe":
                await self._subscribe(message)
            case "complete":
                self._complete(_id(message))
            case _:
                raise Ended(invalid("Unknown message type."))

    def _count(self) -> None:
        now = time.monotonic()
        if now - self._window > MESSAGES_SECONDS:
            self._window, self._messages = now, 0
        self._messages += 1
        if self._messages > MOST_MESSAGES:
            raise Ended(FLOOD)

    async def _initialise(self, message: dict[str, Any]) -> None:
        if self._initialised:
            raise Ended(SECOND_INIT)
        self._initialised = True
        payload = message.get("payload")
        if payload is not None and not isinstance(payload, dict):
            raise Ended(invalid("The payload of connection_init must be an object."))
        self._connection.info = _proved(self._connection.info, payload or {})
        try:
            await self._connections.identify(self._connection)
        except Unavailable:
            raise Ended(INTERRUPTED) from None
        self._acknowledged = True
        await self._send({"type": "connection_ack"})

    async def _subscribe(self, message: dict[str, Any]) -> None:
        if not self._acknowledged:
            raise Ended(NOT_ACKNOWLEDGED)
        id = _id(message)
        if id in self._tasks:
            raise Ended(taken(id))
        try:
            asked = parameters(message.get("payload"))
        except RequestRefused as refused:
            raise Ended(invalid(refused.message)) from None
        if len(self._tasks) >= self._options.operations:
            text = f"this connection has {self._options.operations} operations under way; complete some first"
            await self._send(_error(id, RequestErrors.of(TOO_MANY_SUBSCRIPTIONS, text)))
            return
        self._tasks[id] = asyncio.create_task(self._run(id, asked))

    def _complete(self, id: str) -> None:
        task = self._tasks.pop(id, None)
        if task is not None:
            task.cancel()

    # --- What the client is told

    async def _run(self, id: str, asked: GraphQLRequest) -> None:
        """An operation from beginning to end."""
        this = self._tasks[id]
        try:
            last = await self._answer(id, asked)
        except Ended as ended:
            self._connection.end(ended.ending)
            return
        except (WebSocketDisconnect, WebSocketDisconnected):
            return
        except Exception:
            log.exception("operation_failed")
            self._connection.end(INTERNAL_ERROR)
            return
        if self._tasks.get(id) is this:
            # From here on, the client may give the id to another operation.
            del self._tasks[id]
        await self._send_last(last)

    async def _answer(self, id: str, asked: GraphQLRequest) -> dict[str, Any]:
        """Send the results of an operation; returns the message that ends it."""
        try:
            prepared = await self._operations.admit(asked, self._connection.info)
            async with aclosing(self._operations.results(prepared, self._connection)) as results:
                async for payload in results:
                    await self._send({"type": "next", "id": id, "payload": payload})
        except RateLimited as error:
            return _error(id, limited(error))
        except AccessDenied:
            raise Ended(SIGNED_OUT) from None
        except RequestErrors as refused:
            return _error(id, refused)
        return {"type": "complete", "id": id}

    async def _send_last(self, message: dict[str, Any]) -> None:
        try:
            await self._send(message)
        except (WebSocketDisconnect, WebSocketDisconnected):
            return

    async def _send(self, message: dict[str, Any]) -> None:
        if self._connection.ended.done():
            return
        await self._socket.send_text(orjson.dumps(message, option=orjson.OPT_NON_STR_KEYS).decode())
        self._metrics.live_messages.labels(TRANSPORT, message["type"]).inc()


def _message(text: str | None) -> dict[str, Any]:
    if text is None:
        raise Ended(invalid("Messages must be text."))
    try:
        message = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise Ended(invalid("Messages must be JSON.")) from None
    if not isinstance(message, dict):
        raise Ended(invalid("Messages must be JSON objects."))
    return message


def _id(message: dict[str, Any]) -> str:
    id = message.get("id")
    if not isinstance(id, str) or not 0 < len(id) <= MOST_ID:
        raise Ended(invalid(f"Operations need an id, a string of up to {MOST_ID} characters."))
    return id


def _error(id: str, refused: RequestErrors) -> dict[str, Any]:
    return {"type": "error", "id": id, "payload": refused.errors}


def _proved(info: RequestInfo, payload: dict[str, Any]) -> RequestInfo:
    """The caller, with the tokens that it proves itself by; what is in the payload wins over cookies."""
    cart = _text(payload, "X-Cart-Token", CART_HEADER)
    if cart is not None:
        info = replace(info, cart_token=well_formed_cart_token(cart), cart_by_cookie=False)
    given = _text(payload, "Authorization", "authorization", "token")
    if given is None:
        return info
    scheme, _, token = given.strip().rpartition(" ")
    if scheme and scheme.lower() != "bearer":
        raise Ended(invalid("Authorization must be `Bearer <token>`."))
    return replace(info, token=token or None, by_cookie=False)


def _text(payload: dict[str, Any], *names: str) -> str | None:
    """The first of these that is given."""
    name = next((name for name in names if payload.get(name) is not None), None)
    if name is None:
        return None
    if not isinstance(payload[name], str):
        raise Ended(invalid(f"{name} must be a string."))
    return cast(str, payload[name])


async def _deny(socket: WebSocket, status: int, message: str, headers: dict[str, str]) -> None:
    """Answer the handshake with a status of HTTP, where the server can; else it says 403."""
    if "websocket.http.response" in socket.scope.get("extensions", {}):
        await socket.send_denial_response(Response(message, status, headers, "text/plain"))
    else:
        await socket.close()
