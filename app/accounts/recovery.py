"""Proving an address, and a new password for who has lost the old one: by one-time tokens that travel by mail."""

from typing import Any
from uuid import UUID

from app.accounts.mail import MailKind, enqueue_mail
from app.accounts.models import PasswordReset, SessionEndReason, User, Verification, VerificationPurpose, is_active_user, known_of
from app.accounts.passwords import PasswordHasher
from app.core.errors import ErrorCode, UserError
from app.core.security import token_hash


class Recovery:
    """What tokens from mails do. Repositories are the system's: who presents a token is known by nothing else."""

    def __init__(self, passwords: PasswordHasher) -> None:
        self._passwords = passwords

    async def verify_email(self, repositories: Any, token: str) -> None:
        """Remember that an account's address is its own. Raises `UserError` for a token that is not, or no longer, good."""
        async with repositories.transaction() as tx:
            verification = await tx.verifications.verify_and_consume(VerificationPurpose.EMAIL_VERIFICATION, token_hash(token))
            user = await self._holder(tx, verification)
            await tx.users.update_by_id(user.id, {"email_verified": True})

    async def request_email_verification(self, repositories: Any, user_id: UUID) -> None:
        """Have the mail sent again by which an account's address is proved. Nothing is sent to one that has been."""
        user = await repositories.users.get_by_id(user_id)
        await enqueue_mail(repositories, MailKind.EMAIL_VERIFICATION, user.email)

    async def request_password_reset(self, repositories: Any, email: str) -> None:
        """Have a mail sent to the account of this address, if there is one: neither the answer nor the work done here depends on that."""
        await enqueue_mail(repositories, MailKind.PASSWORD_RESET, email)

    async def reset_password(self, repositories: Any, reset: PasswordReset) -> None:
        """Set a new password, end every session of the account and void its tokens.

        An address that had not been proved has been now. Whatever was set up before it was may be a stranger's, who made an account with
        the address before its owner did: then the account's API keys end as well. Raises `UserError` for a token that is not good, and
        for a weak password, which leaves the token good.
        """
        hashed = token_hash(reset.token)
        user = await self._holder(repositories, await repositories.verifications.find_valid(VerificationPurpose.PASSWORD_RESET, hashed))
        password_hash = await self._passwords.hash_new(reset.password.get_secret_value(), *known_of(user))
        async with repositories.transaction() as tx:
            user = await self._holder(tx, await tx.verifications.verify_and_consume(VerificationPurpose.PASSWORD_RESET, hashed))
            await tx.users.update_by_id(user.id, {"password_hash": password_hash, "email_verified": True})
            await tx.user_sessions.invalidate_all_user_sessions(user.id, SessionEndReason.CREDENTIALS_CHANGED)
            if not user.email_verified:
                await tx.api_keys.revoke_by_user(user.id)
            await enqueue_mail(tx, MailKind.PASSWORD_CHANGED, user.email)

    async def _holder(self, repositories: Any, verification: Verification | None) -> User:
        """Whose address a token proves: it must still be the account's, and the account in use."""
        user: User | None = None
        if verification is not None and verification.user_id is not None:
            user = await repositories.users.find_by_id(verification.user_id)
        if user is None or verification is None or not is_active_user(user) or user.email.lower() != verification.email.lower():
            raise UserError(ErrorCode.INVALID, "the token is wrong, used or expired; ask for a new mail", "token")
        return user
