"""Requests to addresses that strangers choose: they must not become requests to our own network (OWASP, SSRF prevention).

A host is resolved once, every address that it has is checked, and the connection goes to a checked address, so that no later answer of a
name server counts. TLS and the `Host` header still have the name. There are no redirects, no proxies, no cookies, and no connection is
used twice.
"""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import Any, Final
from urllib.parse import urlsplit

import httpcore

Address = IPv4Address | IPv6Address
Resolve = Callable[[str, int], Awaitable[list[str]]]

MOST_BYTES = 16_384
"""Of an answer's body; only its status counts, and the rest is not waited for."""

CLOSED: Final = tuple(
    IPv4Network(network)
    for network in (
        "192.0.0.0/24",  # protocol assignments, among them a cloud's metadata
        "192.88.99.0/24",  # relays to IPv6, deprecated
        "168.63.129.16/32",  # a cloud's virtual host: public by number, inside by route
    )
)
GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
TUNNELS: Final = (IPv6Network("2001::/23"), IPv6Network("2002::/16"), IPv6Network("3fff::/20"))
"""Addresses of IPv6 that lead to ones of IPv4 (Teredo, 6to4), or nowhere; NAT64 is no global unicast."""


class AddressRefused(Exception):
    """An address that nothing may be sent to. The text names the reason."""


@dataclass(frozen=True)
class AddressRules:
    """Where requests may go: to public addresses by TLS, and with `loopback` also to this host, also without."""

    loopback: bool = False

    def check_url(self, url: str) -> None:
        """Raises `AddressRefused` for a URL that can be told to be wrong before its name is resolved."""
        parts = urlsplit(url)
        if parts.scheme != "https" and not self.loopback:
            raise AddressRefused("must begin with https://")
        host = parts.hostname or ""
        if host == "localhost" or host.endswith(".localhost"):
            host = "127.0.0.1"
        try:
            address = ip_address(host)
        except ValueError:
            return
        self.check(address)

    def check(self, address: Address) -> None:
        """Raises `AddressRefused` for an address that is not public."""
        if not is_public(address) and not (self.loopback and address.is_loopback):
            raise AddressRefused("leads to an address that is not public")


def is_public(address: Address) -> bool:
    """Whether an address is one of a host in the internet, by itself and whatever form it has."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return is_public(address.ipv4_mapped)
        return address in GLOBAL_UNICAST and address.is_global and not any(address in network for network in TUNNELS)
    return address.is_global and not (address.is_multicast or address.is_reserved or any(address in network for network in CLOSED))


async def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, in the order in which they are to be tried. Raises OSError."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(place[0]) for *_, place in found]


class PinnedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to addresses that were checked."""

    def __init__(self, rules: AddressRules, resolve: Resolve) -> None:
        self._rules = rules
        self._resolve = resolve
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        addresses = [ip_address(address.partition("%")[0]) for address in await self._resolve(host, port)]
        for address in addresses:
            self._rules.check(address)
        for address in addresses[:-1]:
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except httpcore.ConnectError:
                continue
        return await self._network.connect_tcp(str(addresses[-1]), port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, path: str, timeout: float | None = None, socket_options: Any = None) -> httpcore.AsyncNetworkStream:
        raise AddressRefused("is a socket of this host")

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@dataclass(frozen=True)
class Answer:
    """What became of a request: a status, or the reason why there is none, which never quotes what was sent or received."""

    duration_ms: int
    status: int | None = None
    error: str | None = None
    refused: bool = False
    """Whether nothing may be sent there, so that trying again is in vain."""


class Sender:
    """Posts to addresses that strangers choose. `timeout` in seconds, for all of a request."""

    def __init__(self, rules: AddressRules, timeout: float, *, resolve: Resolve = resolve) -> None:
        self._rules = rules
        self._timeout = timeout
        self._network = PinnedNetwork(rules, resolve)
        self._tls = httpcore.default_ssl_context()

    async def post(self, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Post once. Whatever goes wrong out there is in the answer."""
        start = time.monotonic()
        status, error, refused = None, None, False
        try:
            async with asyncio.timeout(self._timeout):
                self._rules.check_url(url)
                status = await self._status_of(url, headers, body)
        except TimeoutError:
            error = f"no answer within {self._timeout:g} seconds"
        except AddressRefused as reason:
            error, refused = f"the URL {reason}", True
        except (OSError, UnicodeError, httpcore.NetworkError, httpcore.ProtocolError) as failure:
            error = _explained(failure)
        return Answer(round((time.monotonic() - start) * 1000), status, error, refused)

    async def _status_of(self, url: str, headers: Mapping[str, str], body: bytes) -> int:
        connections = httpcore.AsyncConnectionPool(ssl_context=self._tls, network_backend=self._network, max_connections=1)
        async with connections, connections.stream("POST", url, headers=[*headers.items()], content=body) as response:
            read = 0
            async for part in response.aiter_stream():
                read += len(part)
                if read >= MOST_BYTES:
                    break
            return response.status


def _explained(failure: Exception) -> str:
    if isinstance(failure, socket.gaierror | UnicodeError):
        return "the host has no address"
    if isinstance(failure, httpcore.ConnectError):
        return "no connection, or no TLS that can be trusted"
    return f"the exchange broke off ({type(failure).__name__})"
