"""Answers leave in one piece; what is too long for that waits for the client, not in memory."""

import asyncio
from typing import Any, cast

import httpx
import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app import protocol
from app.api.whole import WHOLE
from app.protocol import MOST_WAITING, GatheringTransport, HTTPProtocol
from app.seed.people import ADMINISTRATOR, SHOPPER
from tests.serving import Caller, listening


class Recorder(asyncio.Transport):
    """Notes each write, as a socket would see it."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 1)})
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.writes.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0


async def test_head_and_body_are_one_write() -> None:
    socket = Recorder()
    transport = GatheringTransport(socket)
    transport.write(b"head ")
    transport.write(b"body")
    assert socket.writes == []

    await asyncio.sleep(0)

    assert socket.writes == [b"head body"]


async def test_what_waits_leaves_before_the_connection_closes() -> None:
    socket = Recorder()
    transport = GatheringTransport(socket)
    transport.write(b"last words")
    transport.close()
    await asyncio.sleep(0)
    assert (socket.writes, socket.closed) == ([b"last words"], True)


async def test_all_else_is_the_transports_own() -> None:
    assert GatheringTransport(Recorder()).get_extra_info("peername") == ("192.0.2.1", 1)


async def test_little_waits() -> None:
    socket = Recorder()
    transport = GatheringTransport(socket)
    for _ in range(4):
        transport.write(b"x" * MOST_WAITING)
    assert sum(map(len, socket.writes)) >= 3 * MOST_WAITING


CHUNK = 64 * 1024
CHUNKS = 1000


class Flood:
    """Answers with more than any socket's buffer takes, as fast as it may."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": b"x" * CHUNK, "more_body": True})
            self.sent += 1
        await send({"type": "http.response.body", "body": b""})


async def test_a_slow_reader_holds_a_fast_writer_back() -> None:
    flood: Any = Flood()
    async with listening(flood) as url:
        host, port = url.removeprefix("http://").split(":")
        reader, writer = await asyncio.open_connection(host, int(port), limit=CHUNK)
        writer.write(b"GET / HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        await asyncio.sleep(0.5)
        unread = flood.sent

        received = 0
        while piece := await reader.read(1024 * 1024):
            received += len(piece)
        writer.close()

    assert unread < CHUNKS / 2
    assert flood.sent == CHUNKS
    assert received > CHUNK * CHUNKS


class Wall:
    """Answers in one piece that no socket's buffer takes."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"connection", b"close")]})
        await send({"type": "http.response.body", "body": b"x" * CHUNK * CHUNKS})


async def _ask(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=CHUNK)
    writer.write(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    return reader, writer


async def test_a_reader_that_takes_little_by_little_gets_all_and_one_that_takes_nothing_is_cut_off(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol, "STALLED_SECONDS", 0.4)
    wall: Any = Wall()
    async with listening(wall) as url:
        (slow, writing), (stalled, idle) = await _ask(url), await _ask(url)
        received = 0
        for _ in range(12):
            received += len(await slow.readexactly(CHUNK * 20))
            await asyncio.sleep(0.1)
        while piece := await slow.read(1024 * 1024):
            received += len(piece)
        rest = 0
        while piece := await stalled.read(1024 * 1024):
            rest += len(piece)
        writing.close()
        idle.close()
    assert received > CHUNK * CHUNKS
    assert rest < CHUNK * CHUNKS / 2


async def test_pipelined_requests_get_their_answers_in_order(address: str, anonymous: Caller) -> None:
    host, port = address.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    paths = ("/healthz", "/nowhere", "/healthz")
    writer.write(b"".join(f"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode() for path in paths))
    statuses: list[bytes] = []
    while len(statuses) < len(paths):
        line = await asyncio.wait_for(reader.readline(), 10)
        if line.startswith(b"HTTP/1.1 ") or b"HTTP/1.1 " in line:
            statuses.append(line.split(b"HTTP/1.1 ")[1].split()[0])
    writer.close()
    assert statuses == [b"200", b"404", b"200"]


class Echo:
    """Answers with what it heard, under the headers that it is told, as a `whole` or in its two parts."""

    def __init__(self, *, whole: bool = False, **headers: str) -> None:
        self.whole = whole
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = b"%b %b?%b " % (scope["method"].encode(), scope["path"].encode(), scope["query_string"]) + (await receive())["body"]
        headers = {"content-length": str(len(body)), **self.headers}
        encoded = [(name.encode(), value.encode()) for name, value in headers.items()]
        if self.whole:
            await send({"type": WHOLE, "status": 200, "headers": encoded, "body": body})
            return
        await send({"type": "http.response.start", "status": 200, "headers": encoded})
        await send({"type": "http.response.body", "body": body})


async def _talk(url: str, *requests: bytes) -> bytes:
    """All that comes back for requests that are sent one after the other, until the server hangs up."""
    host, port = url.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    for request in requests[:-1]:
        writer.write(request)
        received += await asyncio.wait_for(reader.read(CHUNK), 10)
    writer.write(requests[-1])
    received += await asyncio.wait_for(reader.read(), 10)
    writer.close()
    return received


@pytest.mark.parametrize("whole", [True, False])
async def test_a_whole_answer_is_what_uvicorn_would_say(whole: bool) -> None:
    echo: Any = Echo(whole=whole, x_one="1")
    async with listening(echo, date_header=False) as url:
        heard = await _talk(
            url,
            b"POST /a%20b?c=d HTTP/1.1\r\nHost: here\r\nContent-Length: 2\r\n\r\nhi",
            b"HEAD / HTTP/1.1\r\nHost: here\r\n\r\n",
            b"GET /e HTTP/1.1\r\nConnection: close\r\n\r\n",
        )
    assert heard == (
        b"HTTP/1.1 200 OK\r\ncontent-length: 16\r\nx-one: 1\r\n\r\nPOST /a b?c=d hi"
        b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nx-one: 1\r\n\r\n"
        b"HTTP/1.1 200 OK\r\ncontent-length: 8\r\nx-one: 1\r\nconnection: close\r\n\r\nGET /e? "
    )


async def test_an_answer_has_its_date(address: str) -> None:
    async with httpx.AsyncClient(base_url=address) as http:
        assert (await http.get("/healthz")).headers["date"].endswith(" GMT")


async def test_a_connection_is_let_go_once_it_was_idle_for_long() -> None:
    echo, socket = Echo(whole=True), Recorder()
    config = uvicorn.Config(cast(Any, echo), http=HTTPProtocol, log_config=None, access_log=False, timeout_keep_alive=60)
    state = ServerState()
    connection = HTTPProtocol(config, state, {})
    connection.connection_made(socket)
    connection.data_received(b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    connection.timeout_keep_alive_handler()
    assert not socket.closed, "a request is under way"
    await asyncio.wait(state.tasks)
    connection.timeout_keep_alive_handler()
    assert not socket.closed, "the last answer was only now"
    connection.timeout_keep_alive = 0
    connection.timeout_keep_alive_handler()
    assert socket.closed


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("header", [{"x-one": "1\r\nx-two: 2"}, {"x one": "1"}])
async def test_a_header_that_would_be_two_is_not_sent(header: dict[str, str], whole: bool) -> None:
    echo: Any = Echo(whole=whole, **header)
    async with listening(echo) as url:
        heard = await _talk(url, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert heard.startswith(b"HTTP/1.1 500 " if whole else b"")
    assert b"x-two" not in heard


async def test_a_whole_answer_may_be_the_last_of_its_connection() -> None:
    echo: Any = Echo(whole=True, connection="close")
    async with listening(echo) as url:
        heard = await _talk(url, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert heard.lower().count(b"connection: close") == 1
    assert heard.endswith(b"GET /? ")


async def test_a_body_of_another_length_than_was_said_ends_the_connection() -> None:
    echo: Any = Echo(content_length="3")
    async with listening(echo) as url:
        heard = await _talk(url, b"GET / HTTP/1.1\r\nHost: here\r\n\r\n")
    assert b"GET /?" not in heard


async def test_each_request_of_a_connection_is_whose_it_says(address: str, administrator: Caller, shopper: Caller) -> None:
    async with httpx.AsyncClient(base_url=address, limits=httpx.Limits(max_connections=1)) as http:
        seen = []
        for caller in (administrator, administrator, shopper, None, administrator):
            answer = await http.post("/graphql", json={"query": "{ me { email } }"}, headers=caller.headers if caller else {})
            seen.append((answer.json()["data"]["me"] or {}).get("email"))
        refused = await http.post("/graphql", content=b"{}", headers={**administrator.headers, "Content-Type": "text/plain"})
        ids = [(await http.get("/healthz", headers={"X-Request-ID": f"request-{n}"})).headers["x-request-id"] for n in range(2)]
    assert seen == [ADMINISTRATOR.email, ADMINISTRATOR.email, SHOPPER.email, None, ADMINISTRATOR.email]
    assert refused.status_code == 415
    assert ids == ["request-0", "request-1"]
