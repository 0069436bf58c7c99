"""Reports are made by jobs, each into a file beside its place, which gets its name once it is whole.

Whoever makes a report has a lease. A worker that dies leaves it to end, and the report is begun again; the file that it left is written
over. After `MOST_ATTEMPTS`, or where it would be too large, a report is FAILED and says why.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID

import structlog

from app.core.errors import RepositoryError
from app.reporting.forms import FIELDS, form, plain
from app.reporting.repository import pages
from app.settings import Settings
from app.stores.models import Report, ReportFormat, ReportStatus, ReportType
from app.stores.repository import REPORT_JOB

LEASE: Final = timedelta(minutes=2)
"""Longer than a job may take."""

MOST_ATTEMPTS: Final = 4
SLOW: Final = "it could not be made; ask for a shorter time"

log = structlog.get_logger(__name__)


class TooMuch(Exception):
    """The report would have more rows, or bytes, than one may."""


@dataclass(frozen=True)
class Reports:
    """Makes reports into files of `folder` and removes them after `lifetime`. Repositories are the system's."""

    repositories: Any
    folder: Path
    lifetime: timedelta
    max_rows: int
    max_bytes: int

    @classmethod
    def from_settings(cls, settings: Settings, repositories: Any) -> Self:
        lifetime = timedelta(seconds=settings.report_lifetime)
        return cls(repositories, report_folder(settings), lifetime, settings.report_max_rows, settings.report_max_bytes)

    async def make(self, arguments: Mapping[str, Any]) -> None:
        """The job: make a report, unless it is made or somebody is at it."""
        now, reports = self.repositories.now(), self.repositories.reports
        report = await reports.take(UUID(arguments["report"]), now, now + LEASE)
        if report is None:
            return
        try:
            made = await self._made(report)
        except TooMuch as error:
            made = {"status": ReportStatus.FAILED.value, "error": str(error)}
        except (RepositoryError, OSError) as error:
            log.warning("report_not_made", report=str(report.id), attempts=report.attempts, error=type(error).__name__)
            if report.attempts < MOST_ATTEMPTS:
                await reports.end(report, {"status": ReportStatus.PENDING.value})
                raise
            made = {"status": ReportStatus.FAILED.value, "error": SLOW}
        await reports.end(report, made)
        log.info("report_done", report=str(report.id), status=made["status"], rows=made.get("row_count"))

    async def take_up_lost(self) -> None:
        """Enqueue again the reports whose worker died, or whose job was lost; those that were begun too often have failed."""
        now = self.repositories.now()
        for report in await self.repositories.reports.find_lost(now, now - LEASE):
            if report.attempts < MOST_ATTEMPTS:
                await self.repositories.enqueue(REPORT_JOB, report=report.id)
            else:
                await self.repositories.reports.end(report, {"status": ReportStatus.FAILED.value, "error": SLOW})

    async def remove_old(self) -> None:
        """Remove the files of reports whose time is over."""
        for report in await self.repositories.reports.find_expired(self.repositories.now()):
            await asyncio.to_thread((self.folder / str(report.url)).unlink, missing_ok=True)
            await self.repositories.reports.update_by_id(report.id, {"url": None})

    async def _made(self, report: Report) -> dict[str, Any]:
        """Make the file; gives what is to be written down of it."""
        name = file_name(report)
        await asyncio.to_thread(self.folder.mkdir, mode=0o700, parents=True, exist_ok=True)
        unfinished = self.folder / f"{name}.{report.attempts}.part"
        try:
            rows = await self._write(report, unfinished)
            size = unfinished.stat().st_size
            await asyncio.to_thread(unfinished.replace, self.folder / name)
        finally:
            await asyncio.to_thread(unfinished.unlink, missing_ok=True)
        now = self.repositories.now()
        done = {"generated_at": now, "expires_at": now + self.lifetime, "row_count": rows, "size_bytes": size, "url": name}
        return {"status": ReportStatus.READY.value, **done}

    async def _write(self, report: Report, path: Path) -> int:
        type = ReportType(report.type)
        names, count = list(FIELDS[type]), 0
        values = {
            "store_id": report.store_id,
            "starts_at": report.starts_at,
            "ends_at": report.ends_at,
            "currency": report.parameters.get("currency"),
        }
        file = await asyncio.to_thread(form, ReportFormat(report.format), path, type)
        try:
            async for rows in pages(self.repositories.database, type, values):
                count += len(rows)
                await asyncio.to_thread(file.write, [plain(row, names) for row in rows])
                self._check(count, path)
        finally:
            await asyncio.to_thread(file.close)
        return count

    def _check(self, rows: int, path: Path) -> None:
        if rows > self.max_rows or path.stat().st_size > self.max_bytes:
            raise TooMuch(f"it has more than {self.max_rows} rows or {self.max_bytes} bytes; ask for a shorter time")


def report_folder(settings: Settings) -> Path:
    """Where the files of reports are."""
    return settings.data_dir / "reports"


def file_name(report: Report) -> str:
    """A name that nothing of a request is in."""
    return f"{report.id}.{report.format.lower()}"
