"""Archives: all that is known of a person is in them, and nothing else; made once, found by their person alone, and gone in time."""

import asyncio
import io
import json
import re
import zipfile
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import pytest
from uuid_utils.compat import uuid7

from app.accounts.models import address_hash
from app.analytics.repository import encoded
from app.core.clickhouse import ClickHouse
from app.core.database import Database
from app.core.making import LEASE
from app.core.storage import LocalStorage
from app.privacy.exporting import EXPORTS, Archives
from app.privacy.policy import CLICKHOUSE, POLICIES, By, Through
from app.privacy.repository.holdings import handed_out
from app.quality.models.parameters import is_secret
from app.repositories import Repositories
from tests.conftest import inserting
from tests.privacy.conftest import Premises
from tests.privacy.person import DELETE, EMAIL, PASSWORD, TRACK, done, leave_traces
from tests.serving import SIGN_UP, Caller, eventually

EXPORT = "mutation { exportMyData { dataExport { id status } userErrors { code } } }"
LINK = "mutation ($id: ID!) { createDataExportDownload(input: { id: $id }) { url expiresAt userErrors { code message } } }"
LIST = "{ dataExports { nodes { id status rowCount error } } notifications { nodes { type metadata } } }"
SECRET, ELSEWHERE = "whispered", "203.0.113.99"
SEEDED: dict[str, dict[str, Any]] = {
    "users": {"password_hash": SECRET, "first_name": "Ada"},
    "payments": {"metadata": json.dumps({"client": SECRET})},
    "refunds": {"idempotency_key": SECRET + "{n}"},
    "quality_anomalies": {"details": json.dumps({"row": SECRET}), "sample_data": json.dumps([SECRET])},
}
HELD = sorted(name for name, policy in POLICIES.items() if policy.own is not None)


class Holding:
    """A person of whom every table holds something; `rows` are the ids by table."""

    def __init__(self, connection: asyncpg.Connection, name: str) -> None:
        self.insert = inserting(connection)
        self.name = name
        self.email = f"{name}@example.com"
        self.rows: dict[str, UUID] = {}

    async def row(self, name: str) -> UUID:
        """The person's row in a table, with those that it takes."""
        if name not in self.rows:
            given = {column: value.format(n=self.name) for column, value in SEEDED.get(name, {}).items() if "{n}" in value}
            self.rows[name] = await self.insert(name, **{**SEEDED.get(name, {}), **given, **await self._whose(name)})
        return self.rows[name]

    async def _whose(self, name: str) -> dict[str, Any]:
        own = POLICIES[name].own
        assert own is not None
        if name == "users":
            return {"email": self.email, "username": self.name}
        if isinstance(own, Through):
            return {own.column: await self.row(own.parent)}
        id = await self.row("users")
        value = address_hash(self.email) if own.by is By.ADDRESS_HASH else str(id) if own.column == "record_id" else id
        return {own.column: value}


def event(user_id: UUID | None, **given: Any) -> dict[str, Any]:
    at = "2026-11-30T10:00:00Z"
    shared = {"event_type": "PAGE_VIEW", "timestamp": at, "received_at": at, "is_error": False, "session_id": "visit", "source": "client"}
    return {"id": uuid7(), "user_id": user_id, "ip_address": "198.51.100.1", "metadata": {"page": 1}, **shared, **given}


def ids(events: list[dict[str, Any]]) -> set[str]:
    return {str(event["id"]) for event in events}


@pytest.fixture
async def analytical(repositories: Repositories, clickhouse: ClickHouse) -> Repositories:
    return replace(repositories, clickhouse=clickhouse)


def archives_in(folder: Path, repositories: Repositories, max_bytes: int = 10**7) -> Archives:
    return Archives(repositories, LocalStorage(folder), timedelta(days=1), max_bytes)


def files(folder: Path) -> list[str]:
    return [str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()]


def opened(content: bytes) -> tuple[dict[str, list[dict[str, Any]]], dict[str, Any]]:
    """The rows by file, and the manifest; the README names every file."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        found = {
            name.removesuffix(".jsonl"): [json.loads(line) for line in archive.read(name).splitlines()]
            for name in archive.namelist()
            if name.endswith(".jsonl")
        }
        manifest, readme = json.loads(archive.read("manifest.json")), archive.read("README.md").decode()
    assert {content["file"].removesuffix(".jsonl"): content["rows"] for content in manifest["files"]} == {
        name: len(rows) for name, rows in found.items()
    }
    assert all(content["file"] in readme and content["description"] for content in manifest["files"])
    return found, manifest


async def test_everything_of_the_person_and_nothing_else_is_in_the_archive(
    analytical: Repositories, database_url: str, tmp_path: Path
) -> None:
    connection = await asyncpg.connect(database_url, timeout=10)
    ada, bob = Holding(connection, "ada"), Holding(connection, "bob")
    for person in (ada, bob):
        for name in HELD:
            if name != "data_exports":
                await person.row(name)
    me, other = ada.rows["users"], bob.rows["users"]
    done_by_other = {"user_id": me, "performed_by": other, "type": "ROLE_ASSIGNED", "ip_address": ELSEWHERE, "user_agent": ELSEWHERE}
    by_other = await ada.insert("security_events", **done_by_other)
    await connection.execute("update users set role_assigned_by = $2, updated_by = $2 where id = $1", me, other)
    own = [event(me), event(None), event(me, session_id=None, ip_address=None)]
    foreign = [event(other), event(None, ip_address=ELSEWHERE), event(None, session_id=None), event(other, ip_address=ELSEWHERE)]
    await analytical.user_events.insert_batch([*own, *foreign], "one")
    waiting = [event(me, page_url="https://waiting/"), event(None)]
    await ada.insert("event_spool", events=3, lines=encoded([*waiting, event(other), event(None, ip_address=ELSEWHERE)]))

    export = await analytical.data_exports.request(me)
    ada.rows["data_exports"] = export.id
    await archives_in(tmp_path, analytical).make({"export": str(export.id)})
    export = await analytical.data_exports.get_by_id(export.id)
    assert (export.status, export.error) == ("READY", None)
    content = (tmp_path / EXPORTS.path_of(export)).read_bytes()
    found, manifest = opened(content)

    kept = {name: {str(id)} for name, id in ada.rows.items()}
    kept["security_events"].add(str(by_other))
    places = {f"postgresql/{name}" for name in (*HELD, "event_spool")} | {"clickhouse/user_events"}
    assert set(found) == places
    assert {name: {row["id"] for row in found[f"postgresql/{name}"]} for name in HELD} == kept
    assert ids(found["clickhouse/user_events"]) == ids(own)
    assert ids(found["postgresql/event_spool"]) == ids(waiting)
    assert export.row_count == sum(map(len, found.values()))

    text = json.dumps(found)
    assert "Ada" in text
    assert not [word for word in ("bob", str(other), ELSEWHERE) if word in text]
    assert not [id for id in map(str, bob.rows.values()) if id in text]
    left_out = {entry["table"]: set(entry["leftOut"]) for entry in manifest["files"]}
    for name in HELD:
        secret, row = POLICIES[name].secret, await connection.fetchrow(f"select * from {name} where id = $1", ada.rows[name])
        assert row is not None
        assert {*secret} <= left_out[name]
        assert not [column for column in secret if row[column] is not None and str(row[column]) in text]
    assert SECRET not in text
    await connection.close()


def test_no_secret_has_been_forgotten() -> None:
    """Columns that are named like secrets are none: keys of requests that the person chose itself, and the public part of an API key."""
    known = {"key", "idempotency_key", "key_identifier", "key_preview", "address_hash", "recipient_hash"}
    for name in HELD:
        assert POLICIES[name].says, name
        assert {column for column in handed_out(name) if is_secret(column)} <= known, name
    assert set(CLICKHOUSE) - {"user_events"} == {"orders_mirror"}, "a copy of orders, which are there themselves"


async def test_many_rows_come_page_by_page(analytical: Repositories, database: Database, tmp_path: Path) -> None:
    async with database.transaction() as tx:
        me = await tx.connection.fetchval("insert into users (email, username) values ('ada@example.com', 'ada') returning id")
        await tx.connection.execute(
            "insert into notifications (user_id, type, message) select $1, 'order', n::text from generate_series(1, 2500) n", me
        )
    await analytical.user_events.insert_batch([event(me, metadata={"n": n}) for n in range(2_300)], "many")
    export = await analytical.data_exports.request(me)
    await archives_in(tmp_path, analytical).make({"export": str(export.id)})
    found, _ = opened((tmp_path / EXPORTS.path_of(export)).read_bytes())
    assert sorted(int(row["message"]) for row in found["postgresql/notifications"]) == list(range(1, 2_501))
    assert sorted(row["metadata"]["n"] for row in found["clickhouse/user_events"]) == list(range(2_300))

    again = await analytical.data_exports.request(me)
    await archives_in(tmp_path, analytical, max_bytes=1_000).make({"export": str(again.id)})
    failed = await analytical.data_exports.get_by_id(again.id)
    assert (failed.status, failed.url) == ("FAILED", None)
    assert "1000 bytes" in (failed.error or "")
    assert files(tmp_path) == [EXPORTS.path_of(export)], "the earlier one stays"
    for outcome in ("ready", "too_large"):
        counted = {"work": "export", "kind": "", "outcome": outcome}
        assert analytical.metrics.registry.get_sample_value("background_work_seconds_count", counted) == 1


async def test_who_asks_twice_at_once_gets_one(analytical: Repositories, database: Database, tmp_path: Path) -> None:
    async with database.transaction() as tx:
        me = await tx.connection.fetchval("insert into users (email, username) values ('ada@example.com', 'ada') returning id")
    first = {export.id for export in await asyncio.gather(*(analytical.data_exports.request(me) for _ in range(8)))}
    assert len(first) == 1
    archives, [id] = archives_in(tmp_path, analytical), first
    await asyncio.gather(*(archives.make({"export": str(id)}) for _ in range(2)))
    second = await analytical.data_exports.request(me)
    assert second.id != id
    await archives.make({"export": str(second.id)})
    await archives.remove_old()
    assert files(tmp_path) == [EXPORTS.path_of(second)], "one is kept"


async def test_a_killed_worker_leaves_no_half_file(analytical: Repositories, database: Database, tmp_path: Path) -> None:
    async with database.transaction() as tx:
        me = await tx.connection.fetchval("insert into users (email, username) values ('ada@example.com', 'ada') returning id")
    export, now = await analytical.data_exports.request(me), analytical.now()
    assert await analytical.data_exports.take(export.id, now, now + LEASE) is not None, "by a worker that then dies"
    half = tmp_path / f"unfinished/{export.id}.1.part"
    half.parent.mkdir()
    half.write_bytes(b"half of a")
    later = replace(analytical, now=lambda: now + 2 * LEASE)
    archives = archives_in(tmp_path, later)
    await archives.take_up_lost()
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from pgqueuer where entrypoint = 'privacy.export'") == 2
    await archives.make({"export": str(export.id)})
    assert files(tmp_path) == [EXPORTS.path_of(export)]
    opened((tmp_path / EXPORTS.path_of(export)).read_bytes())


async def test_who_is_gone_meanwhile_leaves_no_archive(analytical: Repositories, database: Database, tmp_path: Path) -> None:
    async with database.transaction() as tx:
        me = await tx.connection.fetchval("insert into users (email, username) values ('ada@example.com', 'ada') returning id")
    export, archives = await analytical.data_exports.request(me), archives_in(tmp_path, analytical)
    row = await analytical.data_exports.take(export.id, analytical.now(), analytical.now() + LEASE)
    made = await archives._made(row)
    assert files(tmp_path) == [EXPORTS.path_of(export)]
    await analytical.data_exports.delete_by_id(export.id)
    await archives._end(row, made)
    assert files(tmp_path) == []
    assert await analytical.notifications.count() == 0
    await archives.make({"export": str(export.id)})
    assert files(tmp_path) == []


async def test_from_the_mutation_to_the_archive_and_its_end(premises: Premises) -> None:
    robin = await leave_traces(premises.visitor.http, premises.administrator, premises.repositories, premises.mailbox)
    given = {"email": "sam@example.com", "username": "sam", "password": PASSWORD}
    sam = Caller(premises.visitor.http, (await done(premises.visitor, SIGN_UP, input=given))["session"]["token"])
    await done(sam, TRACK, input={"sessionId": "visit-of-quill", "events": [{"eventType": "PAGE_VIEW", "metadata": {"page": "sams"}}]})

    answers = await asyncio.gather(*(done(robin.caller, EXPORT) for _ in range(2)))
    [id] = {answer["dataExport"]["id"] for answer in answers}

    async def is_ready() -> bool:
        [export] = (await robin.caller.ask(LIST))["dataExports"]["nodes"]
        assert export["error"] is None
        return bool(export["status"] == "READY")

    await eventually(is_ready, 30)
    told = [n["metadata"] for n in (await robin.caller.ask(LIST))["notifications"]["nodes"] if n["type"] == "data_export_ready"]
    assert told == [{"dataExportId": id}]
    assert (await sam.ask(LIST))["dataExports"]["nodes"] == []
    for stranger in (sam, premises.administrator):
        refused = (await stranger.post(LINK, {"id": id})).json()
        assert refused["errors"][0]["extensions"]["code"] == "NOT_FOUND"
    for caller in (robin.key, premises.visitor):
        assert (await caller.post(EXPORT)).json()["errors"][0]["extensions"]["code"] in ("FORBIDDEN", "UNAUTHENTICATED")

    link = await done(robin.caller, LINK, id=id)
    response = await premises.visitor.http.get(re.sub(r"^https?://[^/]+", "", link["url"]))
    assert (response.status_code, response.headers["content-type"]) == (200, "application/zip")
    assert re.fullmatch(r'attachment; filename="your-data-\d{4}-\d\d-\d\d\.zip"', response.headers["content-disposition"])
    found, _ = opened(response.content)
    assert [row["email"] for row in found["postgresql/users"]] == [EMAIL]
    assert len(found["postgresql/orders"]) == 2
    assert {row["event_type"] for row in found["clickhouse/user_events"]} >= {"PAGE_VIEW", "SEARCH"}
    text = json.dumps(found)
    assert "sams" not in text
    hashes = {word for word in robin.words if re.fullmatch("[0-9a-f]{64}", word)} - {address_hash(EMAIL)}
    assert len(hashes) == 2
    assert not [word for word in hashes if word in text]

    await premises.connection.execute("update orders set status = 'CANCELLED', cancelled_at = now() where status = 'PENDING'")
    await done(robin.caller, DELETE, password=PASSWORD)

    async def is_erased() -> bool:
        return (await premises.visitor.http.get(re.sub(r"^https?://[^/]+", "", link["url"]))).status_code == 404

    await eventually(is_erased, 30)
    assert await premises.connection.fetchval("select count(*) from data_exports") == 0
