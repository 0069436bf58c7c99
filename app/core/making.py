"""Files that are made by jobs, each of a row, in a place of their own until they are whole.

Whoever makes a file has a lease. A worker that dies leaves it to end, and the file is begun again; what it left unfinished is removed.
After `MOST_ATTEMPTS`, or where it would be too large, the row is FAILED and says why.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar, Final
from uuid import UUID

import structlog

from app.core.errors import RepositoryError
from app.core.leases import FileRepository, FileStatus
from app.core.storage import Storage, remove_left

LEASE: Final = timedelta(minutes=2)
"""Longer than a job may take."""

MOST_ATTEMPTS: Final = 4

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class FileKind:
    """A kind of file: `noun` in messages and arguments of its `job`, `place` in the storage and in links, and whose `rows` they are of.

    `named` gives a row's file its name in its place, `titled` the one under which it is downloaded, `media_type` its type. `advice` is for
    whoever cannot have one, `variant` tells files of a kind apart in metrics.
    """

    noun: str
    place: str
    job: str
    rows: type[FileRepository[Any]]
    named: Callable[[Any], str]
    titled: Callable[[Any], str]
    media_type: Callable[[Any], str]
    advice: str
    variant: Callable[[Any], str] = lambda _row: ""

    def path_of(self, row: Any) -> str:
        """A file's name in the storage."""
        return f"{self.place}/{self.named(row)}"


class TooMuch(Exception):
    """The file would have more rows, or bytes, than one may."""


@dataclass(frozen=True)
class FileMaker(ABC):
    """Makes files of one kind and removes them after `lifetime`. Repositories are the system's."""

    kind: ClassVar[FileKind]
    repositories: Any
    storage: Storage
    lifetime: timedelta
    max_bytes: int

    @abstractmethod
    async def write(self, row: Any, path: Path) -> int:
        """Write the file of a row; gives how many rows it holds. Raises `TooMuch`."""

    async def finish(self, tx: Any, row: Any) -> None:  # noqa: B027 - most have nothing else to do
        """What else is done in the transaction that says that a file is there."""

    async def make(self, arguments: Mapping[str, Any]) -> None:
        """The job: make a file, unless it is made or somebody is at it."""
        now, noun, started = self.repositories.now(), self.kind.noun, time.perf_counter()
        row = await self._rows.take(UUID(arguments[noun]), now, now + LEASE)
        if row is None:
            return
        try:
            made = await self._made(row)
        except TooMuch as error:
            made = _failed(str(error))
            self._count(row, "too_large", started)
        except (RepositoryError, OSError) as error:
            self._count(row, "error", started)
            log.warning("file_not_made", kind=noun, id=str(row.id), attempts=row.attempts, error=type(error).__name__)
            if row.attempts < MOST_ATTEMPTS:
                await self._rows.end(row, {"status": FileStatus.PENDING.value})
                raise
            made = _failed(self._failure)
        else:
            self._count(row, "ready", started)
        await self._end(row, made)
        log.info("file_done", kind=noun, id=str(row.id), status=made["status"], rows=made.get("row_count"))

    async def take_up_lost(self) -> None:
        """Enqueue again the files whose worker died, or whose job was lost; those that were begun too often have failed."""
        now = self.repositories.now()
        for row in await self._rows.find_lost(now, now - LEASE):
            if row.attempts < MOST_ATTEMPTS:
                await self.repositories.enqueue(self.kind.job, **{self.kind.noun: row.id})
            else:
                await self._rows.end(row, _failed(self._failure))

    async def remove_old(self) -> None:
        """Remove the files whose time is over, and what dead workers left unfinished here."""
        for row in await self._rows.find_expired(self.repositories.now()):
            await self.storage.remove(self.kind.path_of(row))
            await self._rows.update_by_id(row.id, {"url": None})
        await asyncio.to_thread(remove_left, self.storage.unfinished, "*.part", LEASE.total_seconds())

    def _count(self, row: Any, outcome: str, started: float) -> None:
        seconds = time.perf_counter() - started
        self.repositories.metrics.work.labels(self.kind.noun, self.kind.variant(row), outcome).observe(seconds)

    def check_size(self, path: Path) -> None:
        """Raises `TooMuch`."""
        if path.stat().st_size > self.max_bytes:
            raise TooMuch(f"it has more than {self.max_bytes} bytes; {self.kind.advice}")

    @property
    def _failure(self) -> str:
        return f"it could not be made; {self.kind.advice}"

    @property
    def _rows(self) -> FileRepository[Any]:
        return self.repositories.of(self.kind.rows)  # type: ignore[no-any-return]

    async def _made(self, row: Any) -> dict[str, Any]:
        """Make the file; gives what is to be written down of it."""
        folder = self.storage.unfinished
        await asyncio.to_thread(folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        await asyncio.to_thread(remove_left, folder, f"{row.id}.*.part")
        path = folder / f"{row.id}.{row.attempts}.part"
        try:
            rows = await self.write(row, path)
            size = path.stat().st_size
            await self.storage.keep(path, self.kind.path_of(row))
        finally:
            await asyncio.to_thread(path.unlink, missing_ok=True)
        now = self.repositories.now()
        done = {"generated_at": now, "expires_at": now + self.lifetime, "row_count": rows, "size_bytes": size, "url": self.kind.named(row)}
        return {"status": FileStatus.READY.value, **done}

    async def _end(self, row: Any, made: Mapping[str, Any]) -> None:
        async with self.repositories.transaction() as tx:
            ended = await tx.of(self.kind.rows).end(row, made)
            if ended and made["status"] == FileStatus.READY:
                await self.finish(tx, row)
        if not ended and not await self._rows.exists({"id": row.id}):
            await self.storage.remove(self.kind.path_of(row))


def _failed(reason: str) -> dict[str, Any]:
    return {"status": FileStatus.FAILED.value, "error": reason}
