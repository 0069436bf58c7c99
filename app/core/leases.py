"""Work that is one process's at a time: its row is leased until a time, and whoever dies leaves it to others from then on."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import bindparam, or_, update

from app.core.model import TIMESTAMP
from app.core.repository import M, Repository

PER_LOOK = 100


class LeasedRepository(Repository[M]):
    """Rows with `status`, `attempts` and `leased_until`. The end of a lease is what every change under it must know."""

    unfinished: ClassVar[tuple[str, ...]]
    """The statuses of what is to be done."""

    at_work: ClassVar[str]
    """The one of what somebody is at."""

    asked_at: ClassVar[str] = "created_at"
    """The column with the time since when it is to be done."""

    async def take(self, id: UUID, now: datetime, leased_until: datetime) -> M | None:
        """Work that is to be done and that nobody is at, leased; None where it has ended or somebody is."""
        return await self.row(self.statement("take", self._taking), id=id, now=now, leased_until=leased_until)

    async def change(self, row: M, values: Mapping[str, Any]) -> M | None:
        """Change what one has leased; None where the lease went to somebody else."""
        given, lease = dict(values), row.leased_until  # type: ignore[attr-defined]
        statement = self.statement(("change", tuple(given)), lambda: self._changing(given))
        return await self.row(statement, id=row.id, lease=lease, **{f"v_{name}": value for name, value in given.items()})  # type: ignore[attr-defined]

    async def find_lost(self, now: datetime, before: datetime) -> list[M]:
        """What is to be done since before a time and nobody is at, at most 100."""
        nobody = {"or": [{"leased_until": {"is_null": True}}, {"leased_until": {"lt": now}}]}
        return await self.find_many({"and": [{"status": list(self.unfinished), self.asked_at: {"lt": before}}, nobody]}, limit=PER_LOOK)

    def _taking(self) -> Any:
        columns, now = self.table.c, bindparam("now", type_=TIMESTAMP)
        free = or_(columns.leased_until.is_(None), columns.leased_until < now)
        waits = or_(*(columns.status == status for status in self.unfinished))
        taken = {
            **self._assignments({}),
            "status": self.at_work,
            "attempts": columns.attempts + 1,
            "leased_until": bindparam("leased_until", type_=TIMESTAMP),
        }
        return update(self.table).where(columns.id == bindparam("id"), waits, free).values(taken).returning(*columns)

    def _changing(self, given: Mapping[str, Any]) -> Any:
        columns = self.table.c
        own = columns.leased_until == bindparam("lease", type_=TIMESTAMP)
        return update(self.table).where(columns.id == bindparam("id"), own).values(self._assignments(given)).returning(*columns)


class FileStatus(StrEnum):
    """A file waits, is being made, and is then ready or failed."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    READY = "READY"
    FAILED = "FAILED"


class FileRepository(LeasedRepository[M]):
    """Rows of which files are made (`core.making`): `url` is the name of a row's file until `expires_at`, when it is removed."""

    unfinished = (FileStatus.PENDING.value, FileStatus.PROCESSING.value)
    at_work = FileStatus.PROCESSING.value

    async def end(self, row: M, values: Mapping[str, Any]) -> bool:
        """Write down what became of what one has leased; whether it still was."""
        return await self.change(row, {"leased_until": None, **values}) is not None

    async def find_expired(self, now: datetime) -> list[M]:
        """Rows whose time is over and that still have a file, at most 100."""
        return await self.find_many({"expires_at": {"lt": now}, "url": {"is_not_null": True}}, limit=PER_LOOK)
