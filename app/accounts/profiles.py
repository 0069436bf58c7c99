"""What users change about their own account."""

from typing import Any

from app.accounts.models import ProfileUpdate, User, address_hash
from app.core.errors import ErrorCode, UserError
from app.core.repository import as_values


async def update_profile(repositories: Any, change: ProfileUpdate) -> User:
    """Change the viewer's own account. A new phone number is yet to be proved.

    Raises `UserError`: a user name that is taken, reminders to an address that is not proved (its owner may have refused them).
    """
    user_id, values = repositories.viewer.user_id, as_values(change)
    accepts = values.pop("accepts_reminders", None)
    unproved = {"phone_verified": False} if "phone" in values else {}
    async with repositories.transaction() as tx:
        user: User = await tx.users.update_by_id(user_id, {**values, **unproved, "updated_by": user_id})
        if accepts is not None:
            await _accept_reminders(tx, user, accepts)
    return user


async def _accept_reminders(tx: Any, user: User, accepts: bool) -> None:
    opt_outs, address = tx.unscoped.mail_opt_outs, address_hash(user.email)
    if not accepts:
        await opt_outs.add(address)
        return
    if not await opt_outs.among([address]):
        return
    if not user.email_verified:
        raise UserError(ErrorCode.FORBIDDEN, "prove your email address first (requestEmailVerification)", "accepts_reminders")
    await opt_outs.remove(address)
