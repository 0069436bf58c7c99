"""Reports are made by jobs (`core.making`), page by page."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Self

from app.core.making import FileKind, FileMaker, TooMuch
from app.core.storage import Storage
from app.reporting.forms import FIELDS, MEDIA_TYPES, form, plain
from app.reporting.repository import pages
from app.settings import Settings
from app.stores.models import Report, ReportFormat, ReportType
from app.stores.repository import REPORT_JOB, ReportRepository


def file_name(report: Report) -> str:
    """A name that nothing of a request is in."""
    return f"{report.id}.{report.format.lower()}"


def title(report: Report) -> str:
    """What a report is called where it is downloaded."""
    return f"{report.type.lower()}-{report.starts_at:%Y-%m-%d}-{report.ends_at:%Y-%m-%d}.{report.format.lower()}"


REPORTS: Final = FileKind(
    noun="report",
    place="reports",
    job=REPORT_JOB,
    rows=ReportRepository,
    named=file_name,
    titled=title,
    media_type=lambda report: MEDIA_TYPES[ReportFormat(report.format)],
    advice="ask for a shorter time",
    variant=lambda report: report.type,
)


@dataclass(frozen=True)
class Reports(FileMaker):
    """Makes reports."""

    kind = REPORTS
    max_rows: int

    @classmethod
    def from_settings(cls, settings: Settings, repositories: object, storage: Storage) -> Self:
        lifetime = timedelta(seconds=settings.report_lifetime)
        return cls(repositories, storage, lifetime, settings.report_max_bytes, settings.report_max_rows)

    async def write(self, report: Report, path: Path) -> int:
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
                if count > self.max_rows:
                    raise TooMuch(f"it has more than {self.max_rows} rows; {REPORTS.advice}")
                self.check_size(path)
        finally:
            await asyncio.to_thread(file.close)
        return count
