"""GraphQL over server-sent events: the distinct connections mode of graphql-sse, one operation per HTTP response.

Errors of the operation are events, as the protocol says; what is wrong with the HTTP request, who sends it or how often, has a status.

A stream ends with `complete` when its operation has. When the gateway stops, or changes may have been missed, it ends without: clients then
ask again.
"""

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing
from typing import Any, Final

import orjson
import structlog
from graphql import OperationType
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from app.api.client import Clients
from app.api.context import RequestInfo, SessionCookie
from app.api.errors import UNAUTHENTICATED, AccessDenied
from app.api.live.connections import RETRY_SECONDS, Connection, Connections
from app.api.live.endings import INTERNAL_ERROR, SIGNED_OUT, Ended, RequestErrors
from app.api.live.operations import Operations, Payload, Prepared
from app.api.middleware import STREAMED_AFTER
from app.api.request import EVENT_STREAM, RequestRefused, read_parameters
from app.core.metrics import Metrics

TRANSPORT: Final = "event_stream"
KEEP_ALIVE_SECONDS = 12.0
KEEP_ALIVE = b":\n\n"
HEADERS: Final = {"Cache-Control": "no-store", "Content-Type": f"{EVENT_STREAM}; charset=utf-8", "X-Accel-Buffering": "no"}
"""`X-Accel-Buffering` tells nginx to pass events on as they come."""

log = structlog.get_logger(__name__)


class EventStreams:
    """Answers requests that accept server-sent events."""

    def __init__(self, clients: Clients, connections: Connections, operations: Operations, metrics: Metrics) -> None:
        self._clients = clients
        self._connections = connections
        self._operations = operations
        self._metrics = metrics

    async def answer(self, request: Request, body: bytes, info: RequestInfo) -> Response:
        """The response to a request whose body has been read. Raises `RequestRefused`, `AccessDenied` and `RateLimited`."""
        try:
            prepared = await self._operations.prepare(read_parameters(request, body), info)
            if prepared.kind is OperationType.SUBSCRIPTION:
                return await self._opened(prepared, info)
            if prepared.kind is OperationType.MUTATION:
                if request.method == "GET":
                    raise RequestRefused(405, "Mutations need POST.", {"Allow": "POST"})
                self._clients.check_intent(request, info)
            payload = await self._operations.answer(prepared)
        except RequestErrors as refused:
            payload = {"errors": refused.errors}
        except AccessDenied:
            if info.by_cookie:
                info.reply.session = SessionCookie()
            raise
        return Response(_event("next", payload) + _event("complete"), headers=HEADERS)

    async def _opened(self, prepared: Prepared, info: RequestInfo) -> Response:
        with ExitStack() as stack:
            connection = stack.enter_context(self._connections.opened(TRANSPORT, info))
            try:
                await self._connections.identify(connection)
            except Ended as ended:
                raise RequestRefused(429, ended.ending.reason, {"Retry-After": str(RETRY_SECONDS)}) from None
            return EventStream(self._operations.results(prepared, connection), connection, stack.pop_all(), self._metrics)


class EventStream(Response):
    """The response that streams the results of a subscription, on a connection that is let go of with `kept`."""

    def __init__(self, results: AsyncGenerator[Payload, None], connection: Connection, kept: ExitStack, metrics: Metrics) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._results = results
        self._connection = connection
        self._kept = kept
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._kept:
            scope["state"][STREAMED_AFTER] = time.perf_counter()
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            streaming, left = asyncio.create_task(self._stream(send)), asyncio.create_task(_left(receive))
            try:
                waited: set[asyncio.Future[Any]] = {streaming, left, self._connection.ended}
                await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _cancelled(streaming, left)
            await self._say_why(send)
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _stream(self, send: Send) -> None:
        """Send all results and the end of the operation."""
        try:
            async with aclosing(self._results) as results:
                while (payload := await self._next(results, send)) is not None:
                    await self._event(send, "next", payload)
        except RequestErrors as refused:
            await self._event(send, "next", {"errors": refused.errors})
        except Ended as ended:
            self._connection.end(ended.ending)
            return
        except Exception:
            log.exception("operation_failed")
            self._connection.end(INTERNAL_ERROR)
            return
        await self._event(send, "complete")

    async def _next(self, results: AsyncGenerator[Payload, None], send: Send) -> Payload | None:
        """The next result, None after the last; meanwhile the connection is kept from looking dead."""
        waiting = asyncio.ensure_future(anext(results, None))
        try:
            while not (await asyncio.wait({waiting}, timeout=KEEP_ALIVE_SECONDS))[0]:
                await send({"type": "http.response.body", "body": KEEP_ALIVE, "more_body": True})
        finally:
            if not waiting.done():
                waiting.cancel()
                await asyncio.wait({waiting})
        return waiting.result()

    async def _say_why(self, send: Send) -> None:
        """Who is signed out should not ask again."""
        if self._connection.ended.done() and self._connection.ended.result() is SIGNED_OUT:
            await self._event(send, "next", {"errors": RequestErrors.of(UNAUTHENTICATED, SIGNED_OUT.reason).errors})
            await self._event(send, "complete")

    async def _event(self, send: Send, name: str, payload: Any = None) -> None:
        await send({"type": "http.response.body", "body": _event(name, payload), "more_body": True})
        self._metrics.live_messages.labels(TRANSPORT, name).inc()


def _event(name: str, payload: Any = None) -> bytes:
    """An event as it goes over the wire. An EventSource hears of none that has no data."""
    data = b"" if payload is None else orjson.dumps(payload, option=orjson.OPT_NON_STR_KEYS)
    return b"event: %b\ndata: %b\n\n" % (name.encode(), data)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _cancelled(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
