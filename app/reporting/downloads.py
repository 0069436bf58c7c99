"""Links to the files of reports, `/reports/<token>`: signed, good for a while, for whoever has one."""

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response

from app.core.errors import ErrorCode, RepositoryError, UserError
from app.core.signing import Seals
from app.reporting.forms import MEDIA_TYPES
from app.stores.models import Report, ReportFormat, ReportStatus

PURPOSE: Final = "report-download"
HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
NOT_GOOD: Final = "This link is not good, or its time is over. Ask for another one."


@dataclass(frozen=True)
class ReportLinks:
    """Makes links; `base` is where this gateway is reached from outside."""

    seals: Seals
    base: str
    lifetime: timedelta

    def link_to(self, report: Report, now: datetime) -> tuple[str, datetime]:
        """A link to a report's file and when it ends. Raises `UserError` where there is no file."""
        if report.status != ReportStatus.READY or report.url is None or report.expires_at is None or report.expires_at <= now:
            gone = report.status == ReportStatus.READY
            message = "its file was removed; ask for the report again" if gone else f"the report is {report.status}; wait until it is READY"
            raise UserError(ErrorCode.NOT_FOUND if gone else ErrorCode.INVALID_TRANSITION, message, "id")
        expires_at = min(now + self.lifetime, report.expires_at)
        return f"{self.base}/reports/{self.seals.seal(PURPOSE, report.id.hex, expires_at)}", expires_at


@dataclass(frozen=True)
class Downloads:
    """Answers at the links. Repositories are the system's."""

    repositories: Any
    seals: Seals
    folder: Path

    async def answer(self, request: Request) -> Response:
        """The file: 404 for a link that is not ours, is over or leads to none; 503 where the database is away."""
        now = self.repositories.now()
        subject = self.seals.open(PURPOSE, request.path_params["token"], now)
        try:
            report = None if subject is None else await self.repositories.reports.find_by_id(UUID(subject))
        except RepositoryError:
            return PlainTextResponse("Please try again in a minute.", 503, HEADERS)
        if report is None or report.status != ReportStatus.READY or report.url is None:
            return PlainTextResponse(NOT_GOOD, 404, HEADERS)
        path = self.folder / report.url
        if not await asyncio.to_thread(path.is_file):
            return PlainTextResponse(NOT_GOOD, 404, HEADERS)
        name = f"{report.type.lower()}-{report.starts_at:%Y-%m-%d}-{report.ends_at:%Y-%m-%d}.{report.format.lower()}"
        return FileResponse(path, headers=HEADERS, media_type=MEDIA_TYPES[ReportFormat(report.format)], filename=name)
