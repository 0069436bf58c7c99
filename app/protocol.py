"""HTTP and WebSocket as uvicorn speaks them, with answers that leave in one piece, and without peers that hold a process up.

uvicorn hands the head of an answer to the socket, and then its body. Each is a system call and wakes the client: for a small answer that
is a sixth of all the CPU that it costs. Here what is written within one turn of the event loop goes out together.

uvicorn looks at each header of each answer anew, takes each address apart, and sets a timer after each answer for the next request.
Here what was looked at before is known, and a connection has one timer: half of what uvicorn's own part of a small request costs.

uvicorn waits for as long as a peer takes nothing of what is written, and at shutdown ends WebSockets before the application hears of it.
Here such a peer is cut off after a while, and the application is told first (`STOPPING`), so that it can end its open connections itself.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, cast
from urllib.parse import unquote

from httptools import parse_url
from uvicorn.protocols.http.httptools_impl import (
    HEADER_RE,
    HEADER_VALUE_RE,
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from app.api.request import HEADS
from app.api.whole import WHOLE

EXTENSIONS: dict[str, dict[object, object]] = {WHOLE: {}}
CLOSING = (b"connection", b"close")
"""The header of an answer after which the connection ends."""

MOST_WAITING = 64 * 1024
"""Bytes that wait for the end of the turn. Beyond, they are written at once, so that the transport can tell a fast writer to pause."""

STALLED_SECONDS = 30.0
"""How long a peer may take nothing while much waits to be written, or while the connection is being closed; one that takes little by
little may go on."""

STOPPING = "stopping"
"""Under which name the state of the application's lifespan has a function that is called when the server is told to stop."""


class Impatience:
    """What both protocols have: they watch peers that fall behind, and tell the application that the server stops."""

    transport: asyncio.Transport
    app_state: dict[str, Any]

    def pause_writing(self) -> None:
        super().pause_writing()  # type: ignore[misc]
        cast(GatheringTransport, self.transport).watch()

    def _tell(self) -> bool:
        """Whether there is somebody to tell that the server stops."""
        stopping: Callable[[], None] | None = self.app_state.get(STOPPING)
        if stopping is not None:
            stopping()
        return stopping is not None


class HTTPProtocol(Impatience, HttpToolsProtocol):
    """uvicorn's protocol over a transport that gathers what is written."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, GatheringTransport(transport)))
        self.app_state = {**self.app_state, HEADS: []}
        self._idle_since: float | None = None

    def shutdown(self) -> None:
        self._tell()
        super().shutdown()

    def on_headers_complete(self) -> None:
        """Begin to answer, as uvicorn does, where nothing is out of the ordinary."""
        parser, before = self.parser, cast(RequestResponseCycle | None, self.cycle)
        usual = parser.get_http_version() == "1.1" and not parser.should_upgrade() and self.limit_concurrency is None
        if not usual or not (before is None or before.response_complete):
            super().on_headers_complete()
            return
        scope = self.scope
        scope["method"] = parser.get_method().decode("ascii")
        path, scope["raw_path"], scope["query_string"] = target(self.url)
        scope["path"] = self.root_path + path
        scope["extensions"] = EXTENSIONS
        self.cycle = Cycle(self, scope)
        task = self.loop.create_task(self.cycle.run_asgi(self.app))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    def on_response_complete(self) -> None:
        """Wait for the next request. The timer of the one before goes on, and looks again when it is over."""
        if self.pipeline or self.transport.is_closing():
            super().on_response_complete()
            return
        self.server_state.total_requests += 1
        self.flow.resume_reading()
        self._idle_since = self.loop.time()
        if self.timeout_keep_alive_task is None:
            self._watch_idleness(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        self.timeout_keep_alive_task = None
        if self._idle_since is None or self not in self.connections:
            return
        left = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self._watch_idleness(left)
        else:
            super().timeout_keep_alive_handler()

    def _watch_idleness(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def _unset_keepalive_if_required(self) -> None:
        self._idle_since = None


@lru_cache(maxsize=256)
def target(url: bytes) -> tuple[str, bytes, bytes]:
    """The path of a request's address as text and as it was sent, and its query."""
    parsed = parse_url(url)
    path: bytes = parsed.path
    return unquote(path.decode("ascii")), path, parsed.query or b""


@lru_cache(maxsize=2048)
def line(name: bytes, value: bytes) -> bytes:
    """A header as it goes over the wire. Raises RuntimeError for one that would not be read as it was meant."""
    if HEADER_RE.search(name) or HEADER_VALUE_RE.search(value):
        raise RuntimeError("Invalid HTTP header.")
    return name + b": " + value + b"\r\n"


class Cycle(RequestResponseCycle):
    """One request and its answer, which leaves as a whole where it comes as a whole (`api.whole`)."""

    def __init__(self, protocol: HTTPProtocol, scope: Any) -> None:
        super().__init__(
            scope=scope,
            transport=protocol.transport,
            flow=protocol.flow,
            logger=protocol.logger,
            access_logger=protocol.access_logger,
            access_log=protocol.access_log,
            default_headers=protocol.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=protocol.expect_100_continue,
            keep_alive=protocol.parser.should_keep_alive(),
            on_response=protocol.on_response_complete,
        )

    async def send(self, message: Any) -> None:
        if message["type"] != WHOLE:
            await super().send(message)
        elif self._is_usual(message["headers"]):
            self._answer(message)
        else:
            await super().send({"type": "http.response.start", "status": message["status"], "headers": message["headers"]})
            await super().send({"type": "http.response.body", "body": message["body"], "more_body": False})

    def _is_usual(self, headers: Any) -> bool:
        waits = self.flow.write_paused or self.disconnected or self.response_started
        return not (waits or self.access_log or self.scope["method"] == "HEAD" or CLOSING in headers)

    def _answer(self, whole: Any) -> None:
        lines = b"".join([line(*header) for header in (*self.default_headers, *whole["headers"])])
        end = b"\r\n" if self.keep_alive else b"connection: close\r\n\r\n"
        cast(GatheringTransport, self.transport).write_whole(STATUS_LINE[whole["status"]] + lines + end + whole["body"])
        self.response_started = self.response_complete = True
        self.message_event.set()
        if not self.keep_alive:
            self.transport.close()
        self.on_response()


class WebSocketProtocol(Impatience, WebSocketsSansIOProtocol):
    """uvicorn's protocol, whose connections the application ends at shutdown."""

    def shutdown(self) -> None:
        if not (self._tell() and self.handshake_complete):
            super().shutdown()


class GatheringTransport:
    """A transport that writes once per turn of the event loop; in all else it is the one that it was given."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._call_soon = asyncio.get_running_loop().call_soon
        self._waiting: list[bytes] = []
        self._size = 0
        self._watched = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not self._waiting:
            self._call_soon(self._flush)
        self._waiting.append(data)
        self._size += len(data)
        if self._size > MOST_WAITING:
            self._flush()

    def write_whole(self, data: bytes) -> None:
        """Write what needs nothing that comes after it, at once if nothing is before it."""
        if self._waiting:
            self.write(data)
        else:
            self._transport.write(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()
        # What still waits holds the connection open until the peer has taken it.
        self.watch()

    def watch(self) -> None:
        """Cut the peer off once it takes nothing of what waits for a while."""
        waiting = self._transport.get_write_buffer_size()
        if waiting and not self._watched:
            self._watched = True
            asyncio.get_running_loop().call_later(STALLED_SECONDS, self._look, waiting)

    def _look(self, before: int) -> None:
        self._watched = False
        if self._transport.get_write_buffer_size() >= before:
            self._transport.abort()
        else:
            self.watch()

    def _flush(self) -> None:
        if self._waiting:
            written = b"".join(self._waiting)
            self._waiting.clear()
            self._size = 0
            self._transport.write(written)
