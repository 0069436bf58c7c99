"""Handing mails to a real SMTP server, with and without TLS, and what is told when it takes none."""

import io
import socket
import ssl
from dataclasses import replace

import pytest
import trustme
from structlog.testing import capture_logs

from app.core.mail import ConsoleMailer, Mail, MailFailed, MailRefused, NoMailer, SmtpMailer, SmtpServer
from tests.mail_server import mail_server

MAIL = Mail("anna@example.com", "Your new password", "Here: https://shop.example/#token=s3cret\nÄnna")
SENDER = "Shop <no-reply@shop.example>"


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def server_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    return context


@pytest.fixture(scope="module")
def client_side(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


def mailer(url: str, tls: ssl.SSLContext | None = None, timeout: float = 5) -> SmtpMailer:
    return SmtpMailer(SmtpServer.from_url(url), SENDER, timeout, tls)


async def test_a_mail_arrives_as_it_was_meant() -> None:
    async with mail_server() as mailbox:
        await mailer(mailbox.url).send(MAIL)
    (mail,) = mailbox.mails
    assert (mail["From"], mail["To"], mail["Subject"]) == (SENDER, MAIL.to, MAIL.subject)
    assert mail["Auto-Submitted"] == "auto-generated"
    assert mail["Message-ID"].endswith("@shop.example>")
    assert mail["Date"].datetime is not None
    assert mail.get_content().splitlines() == MAIL.text.splitlines()
    assert mailbox.secured == [False]


async def test_a_mail_that_one_click_ends_says_where_in_one_piece() -> None:
    """RFC 8058, 2: both headers, the link neither cut nor encoded, however long it is."""
    link = f"https://shop.example/unsubscribe/{'x' * 300}"
    async with mail_server() as mailbox:
        await mailer(mailbox.url).send(replace(MAIL, subject="ändern" * 40, unsubscribe=link))
        await mailer(mailbox.url).send(MAIL)
    assert f"\r\nList-Unsubscribe: <{link}>\r\nList-Unsubscribe-Post: List-Unsubscribe=One-Click\r\n".encode() in mailbox.raw[0]
    assert mailbox.mails[0]["Subject"] == "ändern" * 40
    assert b"List-Unsubscribe" not in mailbox.raw[1]


@pytest.mark.parametrize("at_once", [False, True])
async def test_credentials_travel_under_tls(server_side: ssl.SSLContext, client_side: ssl.SSLContext, at_once: bool) -> None:
    async with mail_server(tls=server_side, at_once=at_once, login=True) as mailbox:
        scheme = "smtps" if at_once else "smtp"
        await mailer(f"{scheme}://shop:pass%3Aword@localhost:{mailbox.port}", client_side).send(MAIL)
        assert mailbox.users == ["shop"]
        assert [mail["To"] for mail in mailbox.mails] == [MAIL.to]
        assert at_once or mailbox.secured == [True]


async def test_a_server_that_cannot_prove_its_name_gets_nothing(server_side: ssl.SSLContext) -> None:
    async with mail_server(tls=server_side) as mailbox:
        with pytest.raises(MailFailed):
            await mailer(mailbox.url).send(MAIL)
    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("url", "tls", "start_tls"),
    [
        ("smtp://mail.example:587", False, True),
        ("smtp://mail.example", False, True),
        ("smtp://mail.example:25?starttls=never", False, False),
        ("smtp://localhost:1025", False, None),
        ("smtps://mail.example", True, False),
    ],
)
def test_tls_is_demanded_of_everybody_else(url: str, tls: bool, start_tls: bool | None) -> None:
    server = SmtpServer.from_url(url)
    assert (server.tls, server.start_tls) == (tls, start_tls)


async def test_without_starttls_a_foreign_server_gets_nothing() -> None:
    async with mail_server() as mailbox:
        demanding = SmtpServer("127.0.0.1", mailbox.port, None, None, tls=False, start_tls=True)
        with pytest.raises(MailFailed, match="SMTP"):
            await SmtpMailer(demanding, SENDER, 5).send(MAIL)
    assert mailbox.mails == []


@pytest.mark.parametrize(
    ("reply", "kind", "message"),
    [
        ("451 try later anna@example.com", MailFailed, "the recipient was refused with 451"),
        ("550 no such mailbox anna@example.com", MailRefused, "the recipient was refused with 550"),
    ],
)
async def test_refusals_say_whether_to_try_again(reply: str, kind: type[Exception], message: str) -> None:
    async with mail_server() as mailbox:
        mailbox.replies.append(reply)
        with pytest.raises(kind) as caught:
            await mailer(mailbox.url).send(MAIL)
    assert str(caught.value) == message


async def test_a_server_that_is_away_or_silent_is_told_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(MailFailed, match="Timeout"):
            await mailer(f"smtp://127.0.0.1:{port}", timeout=0.3).send(MAIL)
    with pytest.raises(MailFailed):
        await mailer(f"smtp://127.0.0.1:{port}").send(MAIL)


async def test_headers_cannot_be_smuggled_in() -> None:
    async with mail_server() as mailbox:
        with pytest.raises(MailFailed):
            await mailer(mailbox.url).send(Mail("anna@example.com\nBcc: all@example.com", "Hello", "text"))
    assert mailbox.mails == []


async def test_the_console_shows_the_whole_mail_and_logs_none_of_it() -> None:
    shown = io.StringIO()
    with capture_logs() as logged:
        await ConsoleMailer(shown).send(MAIL)
        await NoMailer().send(MAIL)
    assert MAIL.to in shown.getvalue()
    assert MAIL.text in shown.getvalue()
    assert [entry["event"] for entry in logged] == ["mail_dropped"]
    assert "s3cret" not in str(logged) + repr(MAIL)
    assert MAIL.to not in str(logged)
