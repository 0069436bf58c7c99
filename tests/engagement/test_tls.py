"""Webhooks by TLS: to the address that was checked, under the name that was meant, and to nobody who cannot prove to have it."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpcore
import pytest
import trustme

from app.engagement.outbound import AddressRules, Sender
from tests.engagement.test_outbound import Names

NAME = "hooks.example.com"
REFUSED = "no connection, or no TLS that can be trusted"


class Server:
    """Answers 204 to whoever gets through the handshake, and remembers the names that were asked for."""

    def __init__(self) -> None:
        self.names: list[str | None] = []
        self.requests: list[bytes] = []
        self.port = 0

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()


@asynccontextmanager
async def serving(authority: trustme.CA, *names: str) -> AsyncIterator[Server]:
    """A server on this host whose certificate is for these names."""
    server, context = Server(), ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(*names).configure_cert(context)
    context.sni_callback = lambda _socket, name, _context: server.names.append(name)
    listener = await asyncio.start_server(server.take, "127.0.0.1", 0, ssl=context)
    server.port = listener.sockets[0].getsockname()[1]
    async with listener:
        yield server


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusting(authority: trustme.CA, monkeypatch: pytest.MonkeyPatch) -> None:
    """Senders that are made now trust the authority, as they trust those of the internet."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    monkeypatch.setattr(httpcore, "default_ssl_context", lambda: context)


def sender(*answers: str) -> tuple[Sender, Names]:
    """A sender and its name server, which gives each answer once."""
    names = Names(*([answer] for answer in answers))
    return Sender(AddressRules(loopback=True), 5, resolve=names), names


@pytest.mark.usefixtures("trusting")
async def test_the_checked_address_is_asked_for_the_name(authority: trustme.CA) -> None:
    async with serving(authority, NAME) as server:
        own, names = sender("127.0.0.1", "10.0.0.1")
        answer = await own.post(f"https://{NAME}:{server.port}/hook", {"webhook-id": "1"}, b"{}")
    assert (answer.status, answer.error) == (204, None)
    assert (server.names, names.asked) == ([NAME], [(NAME, server.port)])
    [request] = server.requests
    assert f"\r\nhost: {NAME}:{server.port}\r\n" in request.decode().lower()


@pytest.mark.usefixtures("trusting")
@pytest.mark.parametrize("named", ["other.example.com", "127.0.0.1"])
async def test_a_certificate_for_another_name_is_worth_nothing_even_for_the_address(authority: trustme.CA, named: str) -> None:
    async with serving(authority, named) as server:
        own, _ = sender("127.0.0.1")
        answer = await own.post(f"https://{NAME}:{server.port}/hook", {}, b"{}")
    assert (answer.status, answer.error, answer.refused) == (None, REFUSED, False)
    assert (server.names, server.requests) == ([NAME], [])


async def test_an_authority_that_nobody_knows_is_not_trusted(authority: trustme.CA) -> None:
    async with serving(authority, NAME) as server:
        own, _ = sender("127.0.0.1")
        answer = await own.post(f"https://{NAME}:{server.port}/hook", {}, b"{}")
    assert (answer.status, answer.error, server.requests) == (None, REFUSED, [])


@pytest.mark.usefixtures("trusting")
async def test_what_speaks_no_tls_is_told_nothing(authority: trustme.CA) -> None:
    heard = bytearray()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heard.extend(await reader.read(65_536))
        writer.close()

    listener = await asyncio.start_server(take, "127.0.0.1", 0)
    async with listener:
        own, _ = sender("127.0.0.1")
        answer = await own.post(f"https://{NAME}:{listener.sockets[0].getsockname()[1]}/hook", {"secret": "s3cret"}, b"s3cret")
    assert (answer.status, answer.refused) == (None, False)
    assert b"s3cret" not in heard
