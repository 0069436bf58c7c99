"""Archives that people have asked for."""

from typing import Any, Final
from uuid import UUID

from sqlalchemy import ColumnElement

from app.accounts.repository import UserRepository
from app.core.errors import NotFound
from app.core.leases import FileRepository, FileStatus
from app.core.repository import transactional
from app.core.scope import own_rows
from app.core.security import ViewerKind
from app.privacy.models import DataExport

EXPORT_JOB: Final = "privacy.export"


class DataExportRepository(FileRepository[DataExport]):
    """Archives are theirs whom they are about."""

    model = DataExport

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_rows(table, viewer)

    @transactional
    async def request(self, user_id: UUID) -> DataExport:
        """A new archive, with the job that makes it; the one that is being made where there is one. Raises `NotFound` for who is gone."""
        if await self.repositories.unscoped.of(UserRepository).lock_by_id(user_id) is None:
            raise NotFound("no User has this id")
        unfinished = await self.find_first({"user_id": user_id, "status": list(self.unfinished)})
        if unfinished is not None:
            return unfinished
        export = await self.create({"user_id": user_id})
        await self.repositories.enqueue(EXPORT_JOB, export=export.id)
        return export

    async def replace_earlier(self, export: DataExport) -> None:
        """End the time of a person's other archives: one is kept."""
        now = self.repositories.now()
        earlier = {"user_id": export.user_id, "status": FileStatus.READY.value, "not": {"id": export.id}, "expires_at": {"gt": now}}
        await self.update_many(earlier, {"expires_at": now})
