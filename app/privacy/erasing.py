"""Deleting an account: what PostgreSQL knows of its person goes in the transaction that ends it, the rest by a job.

The rest is in ClickHouse, on its way there, and in archives of it. The job does it at once, and once more when whatever was under way has
ended: requests that the account had begun, archives, and events that waited in some process. It bears to be interrupted anywhere, since
each run looks for what is there; a schedule takes up what was given up.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

import structlog

from app.accounts.delays import Attempt, traces
from app.accounts.passwords import PasswordHasher
from app.analytics.repository import EventSpoolRepository, UserEventRepository
from app.api.context import RequestInfo
from app.core.errors import ErrorCode, UserError
from app.core.factory import RepositoryFactory
from app.core.storage import Storage
from app.privacy.exporting import folder_of
from app.privacy.models import AccountDeletion
from app.privacy.repository import ErasureRepository

ERASE_JOB: Final = "privacy.erase"
AFTERWARDS: Final = timedelta(minutes=1)
"""When whatever the account had begun has ended: longer than a request takes with the events that it sends."""

log = structlog.get_logger(__name__)


class Erasing:
    """Deletes accounts."""

    def __init__(self, passwords: PasswordHasher) -> None:
        self._passwords = passwords

    async def delete_account(self, repositories: Any, user_id: UUID, deletion: AccountDeletion, request: RequestInfo) -> None:
        """End the account of a caller who knows its password, and erase its person. A wrong password counts as a failed sign-in.

        Raises `UserError`, `RateLimited`; `NotFound` where it has ended meanwhile.
        """
        system = repositories.unscoped
        user = await system.users.get_by_id(user_id)
        attempt = await Attempt.of(system, user.email, request)
        await attempt.check(system)
        if not await self._passwords.verify(deletion.password.get_secret_value(), user.password_hash):
            await attempt.fail(system, user.email, request)
            raise UserError(ErrorCode.INVALID_CREDENTIALS, "this is not the password of your account", "password")
        async with system.transaction() as tx:
            addresses = [event.ip_address for event in await tx.security_events.find_many({"user_id": user_id}) if event.ip_address]
            await tx.of(ErasureRepository).close_account(user_id, user.password_hash)
            await tx.sign_in_delays.clear(traces(user.email, addresses))
            await tx.enqueue(ERASE_JOB, user_id=user_id, last=False)
            await tx.enqueue_later(AFTERWARDS, ERASE_JOB, user_id=user_id, last=True)
        log.info("account_deleted", user_id=str(user_id))


class Erasure:
    """The work of the job. Repositories are the system's."""

    def __init__(self, repositories: RepositoryFactory, storage: Storage) -> None:
        self._repositories = repositories
        self._storage = storage

    async def erase(self, arguments: Mapping[str, Any]) -> None:
        """Erase what is left of a deleted account. Raises `Unavailable` while ClickHouse is away or still at it; then it is tried again."""
        user_id = UUID(arguments["user_id"])
        erasures = self._repositories.of(ErasureRepository)
        if not await erasures.exists({"user_id": user_id}):
            return
        await erasures.erase(user_id)
        await self._storage.remove_all(folder_of(user_id))
        await self._unlink_events(user_id)
        if arguments["last"]:
            await erasures.finish(user_id)

    async def take_up_left(self) -> None:
        """Have done what jobs have given up."""
        for user_id in await self._repositories.of(ErasureRepository).find_left():
            await self._repositories.enqueue(ERASE_JOB, user_id=user_id, last=True)

    async def _unlink_events(self, user_id: UUID) -> None:
        """The account's own events come last in each place: by them its visits are found, however often this begins anew."""
        events, spool = self._repositories.of(UserEventRepository), self._repositories.of(EventSpoolRepository)
        visits = sorted({*await events.find_visits(user_id), *await spool.find_visits(user_id)})
        await events.unlink_visits(visits)
        await spool.unlink(user_id, visits)
        await events.unlink_user(user_id)
