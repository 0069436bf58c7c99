"""Mails about accounts, sent by a job that is enqueued in the transaction that causes them.

The job carries an address and the kind of mail. The token in a mail is made when the mail is sent, and its hash stored: neither the queue
nor any other table ever holds one that opens something. Whether an address has an account is looked up by the job, never before it, so
that whoever asks on behalf of an address waits as long and writes as much whether it has one or not.

Nothing in a mail was written by whoever caused it, and it goes to the address that is stored: a mail cannot be made to say or reach what a
stranger likes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any, Self
from uuid import UUID

import structlog
from uuid_utils.compat import uuid7

from app.accounts.models import SecurityEventType, User, VerificationPurpose, is_active_user
from app.api.context import RequestInfo
from app.core.mail import Mail, Mailer, MailRefused
from app.core.security import new_token, token_hash
from app.settings import Settings

MAIL_JOB = "accounts.mail"

log = structlog.get_logger(__name__)


class MailKind(StrEnum):
    """What a mail is about."""

    EMAIL_VERIFICATION = "EMAIL_VERIFICATION"
    PASSWORD_RESET = "PASSWORD_RESET"  # noqa: S105 - a kind, not a password
    PASSWORD_CHANGED = "PASSWORD_CHANGED"  # noqa: S105
    SIGN_UP = "SIGN_UP"


async def enqueue_mail(repositories: Any, kind: MailKind, email: str, request: RequestInfo | None = None) -> None:
    """Have a mail sent, if the open transaction commits. A `request` from outside is noted by the job as well, if there is an account."""
    origin = {} if request is None else {"event_id": uuid7(), "ip_address": request.ip_address, "user_agent": request.user_agent}
    await repositories.enqueue(MAIL_JOB, kind=kind.value, email=email, **origin)


@dataclass(frozen=True)
class Letter:
    """A mail with a token, which a page of the storefront takes."""

    purpose: VerificationPurpose
    page: str
    subject: str
    text: str


VERIFICATION = Letter(
    VerificationPurpose.EMAIL_VERIFICATION,
    "verify-email",
    "Is this your address?",
    """\
Somebody, probably you, has made an account with this address.

Open this link within {within} to say that it is yours:

{link}

If it was not you, do nothing: the account can then never prove that the address is its own.
""",
)

RESET = Letter(
    VerificationPurpose.PASSWORD_RESET,
    "reset-password",
    "Your new password",
    """\
Somebody, probably you, wants to set a new password for your account.

Open this link within {within} to choose one. It works once, and ends every session of the account:

{link}

If it was not you, do nothing: your password stays as it is.
""",
)

SIGN_UP = Letter(
    VerificationPurpose.SIGN_UP,
    "sign-up",
    "Your sign-up",
    """\
Somebody, probably you, wants to make an account with this address.

Open this link within {within} to go on:

{link}

If it was not you, do nothing: no account is made.
""",
)

HAS_ACCOUNT = Letter(
    VerificationPurpose.SIGN_UP,
    "sign-up",
    "Your sign-up",
    """\
Somebody, probably you, wants to make an account with this address. It has one already.

Sign in where you always do, or ask there for a new password if you have lost it: {base}

If it was not you, do nothing: your account stays as it is.
""",
)

CHANGED = """\
The password of your account has been changed, and every session of it was ended.

If it was not you, ask for a new password at once where you sign in: {base}
"""


class AccountMails:
    """Writes and sends the mails. Repositories are the system's; `lifetimes` of tokens are in seconds."""

    def __init__(self, repositories: Any, mailer: Mailer, base: str, lifetimes: Mapping[VerificationPurpose, int]) -> None:
        self._repositories = repositories
        self._mailer = mailer
        self._base = base
        self._lifetimes = lifetimes

    @classmethod
    def from_settings(cls, settings: Settings, repositories: Any, mailer: Mailer) -> Self:
        lifetimes = {
            VerificationPurpose.EMAIL_VERIFICATION: settings.email_verification_lifetime,
            VerificationPurpose.SIGN_UP: settings.email_verification_lifetime,
            VerificationPurpose.PASSWORD_RESET: settings.password_reset_lifetime,
        }
        return cls(repositories, mailer, settings.public_url, lifetimes)

    async def send(self, arguments: Mapping[str, Any]) -> None:
        """The work of a job. Raises `MailFailed` where trying again may help; a mail that nobody will ever take is dropped."""
        kind, email = MailKind(arguments["kind"]), arguments["email"]
        user: User | None = await self._repositories.users.find_by_email(email)
        try:
            if user is None:
                await self._send_to_stranger(kind, email)
            elif is_active_user(user):
                await self._note(user, arguments)
                await self._send_to_user(kind, user)
        except MailRefused as refused:
            log.warning("mail_refused", kind=kind.value, reason=str(refused))

    async def _note(self, user: User, arguments: Mapping[str, Any]) -> None:
        """The request that caused the mail, once for however many attempts."""
        if "event_id" in arguments:
            place = {"ip_address": arguments["ip_address"], "user_agent": arguments["user_agent"]}
            requested = {"user_id": user.id, "type": SecurityEventType.PASSWORD_RESET_REQUESTED.value}
            await self._repositories.security_events.record({"id": UUID(arguments["event_id"]), **requested, **place})

    async def _send_to_stranger(self, kind: MailKind, email: str) -> None:
        if kind is MailKind.SIGN_UP:
            await self._send_letter(SIGN_UP, email)

    async def _send_to_user(self, kind: MailKind, user: User) -> None:
        if kind is MailKind.PASSWORD_CHANGED:
            await self._mailer.send(Mail(user.email, "Your password was changed", CHANGED.format(base=self._base)))
        elif kind is MailKind.PASSWORD_RESET:
            await self._send_letter(RESET, user.email, user.id)
        elif kind is MailKind.SIGN_UP:
            await self._send_letter(HAS_ACCOUNT, user.email)
        elif not user.email_verified:
            await self._send_letter(VERIFICATION, user.email, user.id)

    async def _send_letter(self, letter: Letter, email: str, user_id: UUID | None = None) -> None:
        """Make a token that voids the one before, and send it. A mail that fails is written anew, with another token."""
        token, lifetime = new_token(), self._lifetimes[letter.purpose]
        verifications = self._repositories.verifications
        issued = await verifications.issue(letter.purpose, email, user_id, token_hash(token), timedelta(seconds=lifetime))
        if issued is None:
            log.warning("mail_withheld", purpose=letter.purpose.value)
            return
        text = letter.text.format(link=self._link(letter.page, token), within=_spoken(lifetime), base=self._base)
        await self._mailer.send(Mail(email, letter.subject, text))
        await verifications.count_mail(issued.id)

    def _link(self, page: str, token: str) -> str:
        """The token stands behind `#`, which browsers tell no server: it is in no access log and no Referer."""
        return f"{self._base}/{page}#token={token}"


def _spoken(seconds: int) -> str:
    """A duration as people say it, rounded down: `24 hours`, `1 hour`, `90 seconds`."""
    unit, size = ("hour", 3600) if seconds >= 3600 else ("minute", 60)
    count = seconds // size
    return f"{count} {unit}" + "s" * (count > 1)
