"""HTTP as uvicorn speaks it, with answers that leave in one piece.

uvicorn hands the head of an answer to the socket, and then its body. Each is a system call and wakes the client: for a small answer that
is a sixth of all the CPU that it costs. Here what is written within one turn of the event loop goes out together.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MOST_WAITING = 64 * 1024
"""Bytes that wait for the end of the turn. Beyond, they are written at once, so that the transport can tell a fast writer to pause."""


class HTTPProtocol(HttpToolsProtocol):
    """uvicorn's protocol over a transport that gathers what is written."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(cast(asyncio.Transport, GatheringTransport(transport)))


class GatheringTransport:
    """A transport that writes once per turn of the event loop; in all else it is the one that it was given."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._call_soon = asyncio.get_running_loop().call_soon
        self._waiting: list[bytes] = []
        self._size = 0

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

    def _flush(self) -> None:
        if self._waiting:
            written = b"".join(self._waiting)
            self._waiting.clear()
            self._size = 0
            self._transport.write(written)
