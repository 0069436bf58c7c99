"""What proves who somebody is: the email address and the password of an account, and how they change.

Tokens that travel by mail prove the address, and with it the account, to whoever has lost the password.
"""

from typing import Any
from uuid import UUID

from app.accounts.delays import Attempt, forgive
from app.accounts.mail import MailKind, enqueue_mail
from app.accounts.models import (
    PasswordChange,
    PasswordReset,
    SecurityEventType,
    SessionEndReason,
    User,
    Verification,
    VerificationPurpose,
    is_active_user,
    known_of,
)
from app.accounts.passwords import PasswordHasher
from app.accounts.security_log import record
from app.api.context import RequestInfo
from app.core.errors import Conflict, ErrorCode, UserError
from app.core.security import token_hash


class Credentials:
    """Proves addresses, and changes passwords. But for `change_password`, whoever calls is known by a token alone."""

    def __init__(self, passwords: PasswordHasher) -> None:
        self._passwords = passwords

    async def request_email_verification(self, repositories: Any, user_id: UUID) -> None:
        """Have the mail sent again by which an account's address is proved. Nothing is sent to one that has been."""
        user = await repositories.users.get_by_id(user_id)
        await enqueue_mail(repositories, MailKind.EMAIL_VERIFICATION, user.email)

    async def verify_email(self, repositories: Any, token: str, request: RequestInfo) -> None:
        """Remember that an account's address is its own. Raises `UserError` for a token that is not, or no longer, good."""
        async with repositories.transaction() as tx:
            verification = await tx.verifications.verify_and_consume(VerificationPurpose.EMAIL_VERIFICATION, token_hash(token))
            user = await _holder(tx, verification)
            await tx.users.update_by_id(user.id, {"email_verified": True})
            await record(tx, SecurityEventType.EMAIL_VERIFIED, user.id, request)

    async def change_password(self, repositories: Any, user_id: UUID, change: PasswordChange, request: RequestInfo) -> User:
        """Replace a password and end every session of the account. A wrong present password counts as a failed sign-in.

        Raises `UserError`, `RateLimited`; `Conflict` where it was changed meanwhile.
        """
        user: User = await repositories.users.get_by_id(user_id)
        attempt = await Attempt.of(repositories.unscoped, user.email, request)
        await attempt.check(repositories.unscoped)
        if not await self._passwords.verify(change.current_password.get_secret_value(), user.password_hash):
            await attempt.fail(repositories.unscoped, user.email, request)
            raise UserError(ErrorCode.INVALID_CREDENTIALS, "this is not the present password", "current_password")
        new = await self._passwords.hash_new(change.password.get_secret_value(), *known_of(user))
        async with repositories.transaction() as tx:
            await attempt.check(tx.unscoped)
            if not await tx.users.replace_password_hash(user_id, user.password_hash, new):
                raise Conflict("the password was changed meanwhile; sign in again")
            await _end_sessions(tx, user)
            await record(tx, SecurityEventType.PASSWORD_CHANGED, user_id, request)
        return user

    async def request_password_reset(self, repositories: Any, email: str, request: RequestInfo) -> None:
        """Have a mail sent to the account of this address, if there is one: neither the answer nor the work done here depends on that."""
        await enqueue_mail(repositories, MailKind.PASSWORD_RESET, email, request)

    async def reset_password(self, repositories: Any, reset: PasswordReset, request: RequestInfo) -> None:
        """Set a new password, end every session of the account and void its tokens.

        An address that had not been proved has been now. Whatever was set up before it was may be a stranger's, who made an account with
        the address before its owner did: then the account's API keys end as well. Raises `UserError` for a token that is not good, and
        for a weak password, which leaves the token good.
        """
        hashed = token_hash(reset.token)
        user = await _holder(repositories, await repositories.verifications.find_valid(VerificationPurpose.PASSWORD_RESET, hashed))
        password_hash = await self._passwords.hash_new(reset.password.get_secret_value(), *known_of(user))
        async with repositories.transaction() as tx:
            user = await _holder(tx, await tx.verifications.verify_and_consume(VerificationPurpose.PASSWORD_RESET, hashed))
            await tx.users.update_by_id(user.id, {"password_hash": password_hash, "email_verified": True})
            if not user.email_verified:
                await tx.api_keys.revoke_by_user(user.id)
            await _end_sessions(tx, user)
            await forgive(tx, user.email)
            await record(tx, SecurityEventType.PASSWORD_RESET, user.id, request)


async def _end_sessions(tx: Any, user: User) -> None:
    """After a change of the password: end what was begun with the old one, and tell the owner."""
    await tx.user_sessions.invalidate_all_user_sessions(user.id, SessionEndReason.CREDENTIALS_CHANGED)
    await enqueue_mail(tx, MailKind.PASSWORD_CHANGED, user.email)


async def _holder(repositories: Any, verification: Verification | None) -> User:
    """Whose address a token proves: it must still be the account's, and the account in use."""
    user: User | None = None
    if verification is not None and verification.user_id is not None:
        user = await repositories.users.find_by_id(verification.user_id)
    if user is None or verification is None or not is_active_user(user) or user.email.lower() != verification.email.lower():
        raise UserError(ErrorCode.INVALID, "the token is wrong, used or expired; ask for a new mail", "token")
    return user
