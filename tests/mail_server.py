"""A real SMTP server on a free port, which keeps what it is given."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.serving import eventually


@dataclass
class Mailbox:
    """What arrived, and how: `secured` says whether TLS was on, `users` who logged in."""

    port: int = 0
    mails: list[EmailMessage] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    secured: list[bool] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    replies: list[str] = field(default_factory=list)
    """Answers to the next recipients, instead of taking the mail."""

    @property
    def url(self) -> str:
        return f"smtp://127.0.0.1:{self.port}"

    async def handle_RCPT(self, _server: SMTP, _session: Session, envelope: Envelope, address: str, _options: list[str]) -> str:  # noqa: N802
        if self.replies:
            return self.replies.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        assert isinstance(envelope.content, bytes)
        self.raw.append(envelope.content)
        self.mails.append(message_from_bytes(envelope.content, _class=EmailMessage, policy=default))
        self.secured.append(session.ssl is not None)
        return "250 OK"

    def authenticate(self, _server: SMTP, _session: Session, _envelope: Envelope, _mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        self.users.append(data.login.decode())
        return AuthResult(success=data.password == b"pass:word")

    def to(self, address: str, subject: str = "") -> list[EmailMessage]:
        return [mail for mail in self.mails if mail["To"].lower() == address.lower() and subject in mail["Subject"]]

    async def last_to(self, address: str, subject: str = "", *, count: int = 1) -> str:
        """The text of the last mail to an address, once it has had as many."""

        async def arrived() -> bool:
            return len(self.to(address, subject)) >= count

        await eventually(arrived)
        return str(self.to(address, subject)[-1].get_content())


@asynccontextmanager
async def mail_server(*, tls: ssl.SSLContext | None = None, at_once: bool = False, login: bool = False) -> AsyncIterator[Mailbox]:
    """A server that offers STARTTLS with a context, or speaks TLS `at_once`, and may ask to log in as anybody with `pass:word`."""
    mailbox = Mailbox()
    options: dict[str, Any] = {"hostname": "mail.example", "tls_context": None if at_once else tls}
    if login:
        options |= {"authenticator": mailbox.authenticate, "auth_required": not at_once, "auth_require_tls": not at_once}
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0, ssl=tls if at_once else None)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()
