"""New accounts, without telling strangers who has one already.

Whoever signs up with a new address is signed in at once; with an address that has an account, that cannot be. So the answer alone would say
which addresses have accounts. What is done about it:

- A taken address gets a neutral answer: a mail says how to go on. It tells the owner of the address, and nobody else, of the account.
- The same answer is given for any address, new or taken, once more than `at_once` accounts were asked for from one network within an hour:
  then the account is made after the mail was answered, by signing up again with the token in it. With `at_once` 0 that is always so.
- The work is the same: the password is hashed in any case, and names, which are public, are looked at first.

What remains: a stranger can try `at_once` addresses per network and hour, at the price of a mail to the owner of each, and of an account
with an unproved address for each that was free. Whoever cannot bear that sets `at_once` to 0, and gives up being signed in at once.
"""

from typing import Any, Self

from limits import RateLimitItemPerHour

from app.accounts.authentication import Authenticator, SignedIn
from app.accounts.mail import MailKind, enqueue_mail
from app.accounts.models import SecurityEventType, SignUpRequest, VerificationPurpose
from app.accounts.passwords import PasswordHasher
from app.accounts.sessions import Sessions
from app.api.context import RequestInfo
from app.api.rate_limit import Quota, RateLimiter
from app.core.errors import ErrorCode, UserError
from app.core.security import token_hash
from app.settings import Settings


class SignUp:
    """Makes accounts. Repositories are the system's."""

    def __init__(
        self, passwords: PasswordHasher, sessions: Sessions, authenticator: Authenticator, limiter: RateLimiter, *, at_once: int
    ) -> None:
        self._passwords = passwords
        self._sessions = sessions
        self._authenticator = authenticator
        self._limiter = limiter
        self._at_once = Quota.of("signUpAtOnce", RateLimitItemPerHour(at_once)) if at_once else None

    @classmethod
    def from_settings(
        cls, settings: Settings, passwords: PasswordHasher, sessions: Sessions, authenticator: Authenticator, limiter: RateLimiter
    ) -> Self:
        return cls(passwords, sessions, authenticator, limiter, at_once=settings.sign_ups_at_once)

    async def sign_up(self, repositories: Any, account: SignUpRequest, request: RequestInfo) -> SignedIn:
        """A new account and its first session: both or neither.

        With the token from a mail the address is proved. Raises `UserError` for a weak password, a taken name or a token that is not good,
        and where a mail must be answered first.
        """
        personal = (account.email, account.username, account.first_name, account.last_name)
        password_hash = await self._passwords.hash_new(account.password.get_secret_value(), *personal)
        if await repositories.users.find_by_username(account.username):
            raise UserError(ErrorCode.TAKEN, "this user name is taken; choose another", "username")
        if account.email_token is not None:
            return await self._make_proved(repositories, account, password_hash, request)
        if await self._may_be_at_once(request):
            made = await self._make_new(repositories, account, password_hash, request)
            if made is not None:
                return made
        await enqueue_mail(repositories, MailKind.SIGN_UP, account.email)
        message = "this address cannot be signed up right away; look for a mail that says how to go on"
        raise UserError(ErrorCode.CONFIRMATION_REQUIRED, message, "email")

    async def _may_be_at_once(self, request: RequestInfo) -> bool:
        return self._at_once is not None and await self._limiter.is_within(self._at_once, request)

    async def _make_new(self, repositories: Any, account: SignUpRequest, password_hash: str, request: RequestInfo) -> SignedIn | None:
        """An account with an address that is still to be proved; None where the address has one."""
        try:
            async with repositories.transaction() as tx:
                user = await tx.users.create_account(account, password_hash)
                await enqueue_mail(tx, MailKind.EMAIL_VERIFICATION, user.email)
                opened = await self._sessions.begin(tx, user, SecurityEventType.SIGNED_UP, request)
        except UserError as error:
            if error.field != ("email",):
                raise
            return None
        return await self._authenticator.admit(repositories, opened)

    async def _make_proved(self, repositories: Any, account: SignUpRequest, password_hash: str, request: RequestInfo) -> SignedIn:
        """An account whose address is proved by the token. That it has one already, its owner may know."""
        async with repositories.transaction() as tx:
            proof = await tx.verifications.verify_and_consume(VerificationPurpose.SIGN_UP, token_hash(account.email_token or ""))
            if proof is None or proof.email.lower() != account.email.lower():
                message = "the token is wrong, used, expired or for another address; sign up without it for a new mail"
                raise UserError(ErrorCode.INVALID, message, "email_token")
            user = await tx.users.create_account(account.model_copy(update={"email_verified": True}), password_hash)
            opened = await self._sessions.begin(tx, user, SecurityEventType.SIGNED_UP, request)
        return await self._authenticator.admit(repositories, opened)
