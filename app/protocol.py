"""HTTP and WebSocket as uvicorn speaks them, with answers that leave in one piece, and without peers that hold a process up.

uvicorn hands the head of an answer to the socket, and then its body. Each is a system call and wakes the client: for a small answer that
is a sixth of all the CPU that it costs. Here what is written within one turn of the event loop goes out together.

uvicorn waits for as long as a peer takes nothing of what is written, and at shutdown ends WebSockets before the application hears of it.
Here such a peer is cut off after a while, and the application is told first (`STOPPING`), so that it can end its open connections itself.
"""

import asyncio
from collections.abc import Callable
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

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

    def shutdown(self) -> None:
        self._tell()
        super().shutdown()


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
