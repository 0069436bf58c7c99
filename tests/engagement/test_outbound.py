"""Where requests to addresses of strangers may go, and that they go nowhere else."""

import socket
from collections.abc import AsyncIterator, Sequence
from ipaddress import ip_address
from urllib.parse import urlsplit

import pytest

from app.engagement.outbound import AddressRefused, AddressRules, Sender, is_public
from tests.engagement.receiving import Receiver, receiving

CLOSED = (
    "0.0.0.0",
    "10.0.0.1",
    "100.64.0.1",
    "100.100.100.200",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fec0::1",
    "ff02::1",
)


class Names:
    """A name server whose answers change: each question gets the next one."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append((host, port))
        return list(self.answers.pop(0))


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.mark.parametrize("address", CLOSED)
async def test_an_address_that_is_not_public_is_refused_by_number_and_behind_a_name(address: str) -> None:
    assert not is_public(ip_address(address))
    written = f"[{address}]" if ":" in address else address
    with pytest.raises(AddressRefused):
        AddressRules().check_url(f"https://{written}/hook")
    answer = await Sender(AddressRules(), 5, resolve=Names([address])).post("https://hooks.example.com/", {}, b"{}")
    assert (answer.refused, answer.status) == (True, None)


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "192.0.1.1", "2606:4700:4700::1111", "::ffff:1.1.1.1"])
def test_an_address_in_the_internet_is_fine(address: str) -> None:
    assert is_public(ip_address(address))


async def test_one_closed_address_among_others_is_enough_to_refuse() -> None:
    names = Names(["1.1.1.1", "10.0.0.1"])
    assert (await Sender(AddressRules(), 5, resolve=names).post("https://hooks.example.com/", {}, b"{}")).refused


@pytest.mark.parametrize("url", ["http://hooks.example.com/", "https://localhost/", "https://a.localhost/", "https://[::1]:8443/"])
async def test_a_url_that_is_wrong_by_itself_is_refused_before_anybody_is_asked(url: str) -> None:
    names = Names()
    assert (await Sender(AddressRules(), 5, resolve=names).post(url, {}, b"{}")).refused
    assert names.asked == []


@pytest.mark.parametrize("address", [address for address in CLOSED if not ip_address(address).is_loopback])
def test_with_loopback_nothing_else_is_allowed(address: str) -> None:
    AddressRules(loopback=True).check(ip_address("127.0.0.1"))
    with pytest.raises(AddressRefused):
        AddressRules(loopback=True).check(ip_address(address))


async def test_the_address_that_was_checked_is_the_one_that_is_connected_to(receiver: Receiver) -> None:
    """A name server that says something else to a second question finds that there is none."""
    port = urlsplit(receiver.url).port
    names = Names(["127.0.0.1"], ["10.0.0.1"])
    answer = await Sender(AddressRules(loopback=True), 5, resolve=names).post(f"http://hooks.example.com:{port}/hook", {}, b"{}")
    assert answer.status == 204
    assert names.asked == [("hooks.example.com", port)]
    assert receiver.messages[0].headers["host"] == f"hooks.example.com:{port}"


async def test_a_redirect_is_not_followed(receiver: Receiver) -> None:
    receiver.statuses = [307]
    answer = await Sender(AddressRules(loopback=True), 5).post(receiver.url, {}, b"{}")
    assert (answer.status, receiver.elsewhere, len(receiver.messages)) == (307, [], 1)


async def test_proxies_of_the_environment_are_not_asked(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert (await Sender(AddressRules(loopback=True), 5).post(receiver.url, {}, b"{}")).status == 204


async def test_who_does_not_answer_in_time_is_left(receiver: Receiver) -> None:
    receiver.seconds = 2
    answer = await Sender(AddressRules(loopback=True), 0.2).post(receiver.url, {}, b"{}")
    assert (answer.status, answer.refused) == (None, False)
    assert answer.error == "no answer within 0.2 seconds"
    assert 150 <= answer.duration_ms < 1_900


async def test_a_long_answer_is_not_read_to_its_end(receiver: Receiver) -> None:
    receiver.statuses, receiver.parts = [200], 20_000
    answer = await Sender(AddressRules(loopback=True), 5).post(receiver.url, {}, b"{}")
    assert answer.status == 200
    assert receiver.sent < 20_000


async def test_nobody_who_listens_is_a_failure_that_may_pass() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        answer = await Sender(AddressRules(loopback=True), 5).post(f"http://127.0.0.1:{free.getsockname()[1]}/", {}, b"{}")
    assert (answer.status, answer.refused, answer.error) == (None, False, "no connection, or no TLS that can be trusted")
