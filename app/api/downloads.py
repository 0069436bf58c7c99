"""Links to files that were made, such as `/reports/<token>`: signed, good for a while, for whoever has one."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from app.core.errors import ErrorCode, RepositoryError, UserError
from app.core.leases import FileStatus
from app.core.making import FileKind
from app.core.signing import Seals
from app.core.storage import Storage

HEADERS: Final = {
    "Cache-Control": "private, no-store",
    "Content-Security-Policy": "default-src 'none'; sandbox; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Robots-Tag": "noindex",
}
AWAY: Final = "Please try again in a minute."
NOT_GOOD: Final = "This link is not good, or its time is over. Ask for another one."


def _purpose(kind: FileKind) -> str:
    return f"{kind.noun}-download"


@dataclass(frozen=True)
class FileLinks:
    """Makes links; `base` is where this gateway is reached from outside."""

    kind: FileKind
    seals: Seals
    base: str
    lifetime: timedelta

    def link_to(self, row: Any, now: datetime) -> tuple[str, datetime]:
        """A link to a row's file and when it ends. Raises `UserError` where there is no file."""
        if row.status != FileStatus.READY or row.url is None or row.expires_at is None or row.expires_at <= now:
            gone, noun = row.status == FileStatus.READY, self.kind.noun
            message = f"its file was removed; ask for the {noun} again" if gone else f"the {noun} is {row.status}; wait until it is READY"
            raise UserError(ErrorCode.NOT_FOUND if gone else ErrorCode.INVALID_TRANSITION, message, "id")
        expires_at = min(now + self.lifetime, row.expires_at)
        return f"{self.base}/{self.kind.place}/{self.seals.seal(_purpose(self.kind), row.id.hex, expires_at)}", expires_at


@dataclass(frozen=True)
class Downloads:
    """Answers at the links. Repositories are the system's."""

    kind: FileKind
    repositories: Any
    seals: Seals
    storage: Storage

    async def answer(self, request: Request) -> Response:
        """The file: 404 for a link that is not ours, is over or leads to none; 503 where the database or the storage is away."""
        subject = self.seals.open(_purpose(self.kind), request.path_params["token"], self.repositories.now())
        try:
            row = None if subject is None else await self.repositories.of(self.kind.rows).find_by_id(UUID(subject))
        except RepositoryError:
            return PlainTextResponse(AWAY, 503, HEADERS)
        if row is None or row.status != FileStatus.READY or row.url is None:
            return PlainTextResponse(NOT_GOOD, 404, HEADERS)
        try:
            found = await self.storage.find(self.kind.path_of(row))
        except OSError:
            return PlainTextResponse(AWAY, 503, HEADERS)
        if found is None:
            return PlainTextResponse(NOT_GOOD, 404, HEADERS)
        title, media_type = self.kind.titled(row), self.kind.media_type(row)
        if isinstance(found, Path):
            return FileResponse(found, headers=HEADERS, media_type=media_type, filename=title)
        told = {"Content-Length": str(found.size), "Content-Disposition": f'attachment; filename="{title}"'}
        return StreamingResponse(found.chunks, headers={**HEADERS, **told}, media_type=media_type)
