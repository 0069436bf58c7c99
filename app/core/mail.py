"""Mail: what is sent, and the ways by which it leaves the process.

A mail may carry a secret, such as the link that sets a new password, so its text is in no representation, log or error.
"""

import ssl
import sys
from dataclasses import dataclass, field
from email.headerregistry import HeaderRegistry, UnstructuredHeader
from email.message import EmailMessage
from email.policy import EmailPolicy
from email.utils import formatdate, make_msgid, parseaddr
from typing import Any, Protocol, Self, TextIO
from urllib.parse import unquote, urlsplit

import aiosmtplib
import structlog

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
PERMANENT = range(500, 600)
"""Replies after which trying again is in vain (RFC 5321, 4.2.1)."""

log = structlog.get_logger(__name__)


class OneLine(UnstructuredHeader):
    """A header that programs read: its long links must be neither cut nor encoded (RFC 2369, 2), as long words of others are."""

    def fold(self, *, policy: Any) -> str:
        return f"{self.name}: {self}{policy.linesep}"  # type: ignore[attr-defined]


HEADERS = HeaderRegistry()
HEADERS.map_to_type("list-unsubscribe", OneLine)  # type: ignore[arg-type]
POLICY = EmailPolicy(header_factory=HEADERS)


@dataclass(frozen=True)
class Mail:
    """A plain text for one address. `unsubscribe` is where one click ends such mails (RFC 8058), for what nobody has asked for."""

    to: str
    subject: str
    text: str = field(repr=False)
    unsubscribe: str | None = field(default=None, repr=False)


class MailFailed(Exception):
    """A mail could not be handed over now; trying again may help. The text names the reason and nothing of the mail."""


class MailRefused(Exception):
    """A mail will never be taken, for instance because there is no such mailbox. The text names the reason and nothing of the mail."""


class Mailer(Protocol):
    """A way by which mail leaves the process."""

    async def send(self, mail: Mail) -> None:
        """Hand over a mail. Raises `MailFailed` or `MailRefused`."""


class ConsoleMailer:
    """Prints mails where developers look, past the logs, which hold no secrets."""

    def __init__(self, output: TextIO | None = None) -> None:
        self._output = output

    async def send(self, mail: Mail) -> None:
        line = "-" * 72
        print(f"{line}\nTo: {mail.to}\nSubject: {mail.subject}\n\n{mail.text}\n{line}", file=self._output or sys.stderr, flush=True)


class NoMailer:
    """Where nothing is configured and nobody may look: what cannot be sent is dropped, and the log says so."""

    async def send(self, mail: Mail) -> None:
        log.error("mail_dropped", subject=mail.subject, reason="MAIL_URL is not set")


@dataclass(frozen=True)
class SmtpServer:
    """Where mail is handed over, and how TLS begins: at once, by STARTTLS (None: only where the server offers it), or never."""

    host: str
    port: int | None
    user: str | None
    password: str | None = field(repr=False)
    tls: bool
    start_tls: bool | None

    @classmethod
    def from_url(cls, url: str) -> Self:
        """Of `smtps://user:password@host:465` or `smtp://user:password@host:587`, as the settings check it.

        `smtp` demands STARTTLS, since links in mails open accounts; a server on this host may do without it, and `?starttls=never` is for
        a network that can be trusted.
        """
        parts = urlsplit(url)
        host = parts.hostname or ""
        user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
        if parts.scheme == "smtps" or parts.query:
            return cls(host, parts.port, user, password, tls=parts.scheme == "smtps", start_tls=False)
        return cls(host, parts.port, user, password, tls=False, start_tls=None if host in LOOPBACK else True)


class SmtpMailer:
    """Hands mails to an SMTP server, each over a connection of its own. `timeout` in seconds, for each step of the exchange."""

    def __init__(self, server: SmtpServer, sender: str, timeout: float = 10, tls: ssl.SSLContext | None = None) -> None:
        self._server = server
        self._sender = sender
        self._timeout = timeout
        self._tls = tls

    async def send(self, mail: Mail) -> None:
        server = self._server
        try:
            await aiosmtplib.send(
                self._message(mail),
                hostname=server.host,
                port=server.port,
                username=server.user,
                password=server.password,
                use_tls=server.tls,
                start_tls=server.start_tls,
                tls_context=self._tls,
                timeout=self._timeout,
            )
        except (aiosmtplib.SMTPException, OSError, ValueError) as error:
            raise _explained(error) from None

    def _message(self, mail: Mail) -> EmailMessage:
        message = EmailMessage(POLICY)
        message["From"] = self._sender
        message["To"] = mail.to
        message["Subject"] = mail.subject
        message["Date"] = formatdate(localtime=False)
        message["Message-ID"] = make_msgid(domain=parseaddr(self._sender)[1].rpartition("@")[2])
        # RFC 3834: no automatic answers to this.
        message["Auto-Submitted"] = "auto-generated"
        if mail.unsubscribe is not None:
            message["List-Unsubscribe"] = f"<{mail.unsubscribe}>"
            message["List-Unsubscribe-Post"] = "List-Unsubscribe=One-Click"
        message.set_content(mail.text)
        return message


def _explained(error: Exception) -> MailFailed | MailRefused:
    """The failure without the server's words, which may quote the mail."""
    if isinstance(error, aiosmtplib.SMTPRecipientsRefused):
        codes = [refused.code for refused in error.recipients]
        kind = MailRefused if all(code in PERMANENT for code in codes) else MailFailed
        return kind(f"the recipient was refused with {codes[0]}")
    if isinstance(error, aiosmtplib.SMTPResponseException):
        return MailFailed(f"the server answered {error.code} ({type(error).__name__})")
    return MailFailed(type(error.__cause__ or error).__name__)
