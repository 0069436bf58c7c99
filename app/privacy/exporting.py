"""Archives of all that is known of a person (GDPR, articles 15 and 20): a ZIP with a file of JSON lines for each table that holds any.

The policy says what is a person's own and what of it stays here. PostgreSQL is read in one snapshot, and every page is written before the
next is read, so that no archive is ever whole in memory.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Self
from zipfile import ZIP_DEFLATED, ZipFile

import orjson

from app.analytics.models import UserEvent
from app.analytics.repository import EventSpoolRepository, UserEventRepository
from app.api.scalars import encode_id
from app.core.making import FileKind, FileMaker
from app.core.storage import Storage
from app.engagement.models import NotificationCreate
from app.privacy.models import DataExport
from app.privacy.policy import POLICIES
from app.privacy.repository import DataExportRepository
from app.privacy.repository.erasing import person, table_of
from app.privacy.repository.exports import EXPORT_JOB
from app.privacy.repository.holdings import PAGE, handed_out, pages
from app.settings import Settings

STATEMENT_SECONDS: Final = 20
NOTIFICATION: Final = "data_export_ready"
README: Final = """\
# Your data

All that is known of you here, as it was at {at}. Each file holds the rows of one table as JSON Lines: a JSON object per line, in UTF-8.
Amounts are decimal texts in major units of their currency, times are RFC 3339 in UTC. `manifest.json` says the same for programs.

| File | Rows | What it is |
| --- | --- | --- |
{files}

Left out are secrets, which we know only as hashes (passwords, keys, tokens), and what tells of others.
"""

EXPORTS: Final = FileKind(
    noun="export",
    place="exports",
    job=EXPORT_JOB,
    rows=DataExportRepository,
    named=lambda export: f"{export.user_id}/{export.id}.zip",
    titled=lambda export: f"your-data-{export.generated_at:%Y-%m-%d}.zip",
    media_type=lambda _export: "application/zip",
    advice="please ask us for it",
)


def folder_of(user_id: object) -> str:
    """Where a person's archives are in the storage."""
    return f"{EXPORTS.place}/{user_id}"


@dataclass(frozen=True)
class Content:
    """A file of an archive: the table of which it holds a person's `rows`, what it is, and which columns are not in it."""

    file: str
    database: str
    table: str
    description: str
    rows: int
    left_out: tuple[str, ...] = ()


@dataclass(frozen=True)
class Archives(FileMaker):
    """Makes archives."""

    kind = EXPORTS

    @classmethod
    def from_settings(cls, settings: Settings, repositories: object, storage: Storage) -> Self:
        return cls(repositories, storage, timedelta(seconds=settings.export_lifetime), settings.export_max_bytes)

    async def write(self, export: DataExport, path: Path) -> int:
        now, user = self.repositories.now(), await self.repositories.users.get_by_id(export.user_id)
        with await asyncio.to_thread(ZipFile, path, "w", ZIP_DEFLATED) as archive:
            writing = _Writing(self, archive, path)
            async with self.repositories.database.reading(STATEMENT_SECONDS) as session:
                values = person(user.id, user.email)
                for name, policy in POLICIES.items():
                    if policy.own is not None:
                        left_out = tuple(sorted({column.name for column in table_of(name).c} - {*handed_out(name)}))
                        await writing.table("postgresql", name, policy.says, pages(session, name, values), left_out)
            await writing.events(user.id)
            await asyncio.to_thread(writing.close, now)
        return sum(content.rows for content in writing.contents)

    async def finish(self, tx: Any, export: DataExport) -> None:
        """One's newest archive is kept, and told of."""
        await tx.data_exports.replace_earlier(export)
        told = NotificationCreate(
            user_id=export.user_id,
            type=NOTIFICATION,
            message="The archive of your data is ready. You can download it for a while.",
            metadata={"dataExportId": encode_id("DataExport", export.id)},
        )
        await tx.notifications.create_once(export.id, told)


class _Writing:
    """An archive that is being written."""

    def __init__(self, maker: Archives, archive: ZipFile, path: Path) -> None:
        self._maker = maker
        self._archive = archive
        self._path = path
        self.contents: list[Content] = []

    async def table(
        self, database: str, name: str, says: str, found: AsyncIterator[Sequence[Mapping[str, Any]]], left_out: tuple[str, ...] = ()
    ) -> None:
        """A file of what was found in a table. Raises `TooMuch`."""
        place, count = f"{database}/{name}.jsonl", 0
        with self._archive.open(place, "w", force_zip64=True) as file:
            async for rows in found:
                count += len(rows)
                await asyncio.to_thread(file.write, lines(rows))
                self._maker.check_size(self._path)
        self.contents.append(Content(place, database, name, says, count, left_out))

    async def events(self, user_id: Any) -> None:
        """What waits is read first: it may be in both files then, and in neither otherwise."""
        repositories = self._maker.repositories
        events, spool = repositories.of(UserEventRepository), repositories.of(EventSpoolRepository)
        waiting = spool.own_pages(user_id, await events.find_places(user_id))
        says = "What you did in shops that is not in `user_events` yet, or only just."
        await self.table("postgresql", spool.entity, says, _told(waiting))
        stored = _rows(events.own_pages(user_id, PAGE))
        await self.table("clickhouse", events.entity, "What you did in shops, and from where.", stored)

    def close(self, now: datetime) -> None:
        """Write what the files are."""
        files = "\n".join(f"| `{content.file}` | {content.rows} | {content.description} |" for content in self.contents)
        self._archive.writestr("README.md", README.format(at=f"{now:%Y-%m-%dT%H:%M:%SZ}", files=files))
        manifest = {"generatedAt": now, "files": [_camel_case(asdict(content)) for content in self.contents]}
        self._archive.writestr("manifest.json", orjson.dumps(manifest, option=orjson.OPT_INDENT_2))


def lines(rows: Sequence[Mapping[str, Any]]) -> bytes:
    """Rows as JSON Lines."""
    return b"".join(orjson.dumps(dict(row), default=_text, option=orjson.OPT_APPEND_NEWLINE) for row in rows)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return format(value, "f") if isinstance(value, Decimal) else str(value)


async def _rows(found: AsyncIterator[Sequence[UserEvent]]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    async for events in found:
        yield [asdict(event) for event in events]


async def _told(found: AsyncIterator[Sequence[Mapping[str, Any]]]) -> AsyncIterator[Sequence[Mapping[str, Any]]]:
    """Events that wait, their metadata no longer a text."""
    async for events in found:
        yield [{**event, "metadata": orjson.loads(event["metadata"])} for event in events]


def _camel_case(content: dict[str, Any]) -> dict[str, Any]:
    return {"leftOut" if name == "left_out" else name: value for name, value in content.items()}
