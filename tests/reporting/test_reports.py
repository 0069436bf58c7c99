"""Reports: their figures, their forms, who gets them, and what becomes of them when a worker dies."""

import csv
import json
from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pyarrow.parquet as pq
import pytest
from starlette.applications import Starlette
from starlette.routing import Route

from app.api.downloads import Downloads, FileLinks
from app.core.database import Database
from app.core.errors import UserError
from app.core.making import LEASE, MOST_ATTEMPTS
from app.core.s3 import S3Storage
from app.core.security import Viewer, ViewerKind
from app.core.signing import Seals
from app.core.storage import LocalStorage, Storage
from app.reporting.forms import FIELDS
from app.reporting.repository import pages
from app.reporting.work import REPORTS, Reports
from app.repositories import Repositories, create_repository_factory
from app.stores.models import ReportRequest, ReportType, StoreCreate
from tests.s3_server import KEY_ID, SECRET, s3_server

BEGIN, END = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
SEALS = Seals(["k" * 40])
FILL = """
    insert into users (email, username) values ('buyer@example.com', 'buyer');
    insert into products (id, name, sku, price, currency)
        select lpad(n::text, 32, '0')::uuid, case n when 1 then '=HYPERLINK("x")' else 'Tea ' || n end, 'SKU-' || n, n, 'EUR'
        from generate_series(1, 7) as n;
    insert into orders (user_id, store_id, number, status, currency, items_total, discount, total, created_at, completed_at)
        select (select id from users), case n % 5 when 0 then :other else :store end::uuid, n,
            case n % 3 when 0 then 'PENDING' else 'COMPLETED' end,
            case n % 2 when 0 then 'JPY' else 'EUR' end, 10 + n, 1, 9 + n, at, case n % 3 when 0 then null else at end
        from (select n, timestamptz '2025-12-31T12:00Z' + n * interval '8 hours' as at from generate_series(1, 200) as n) as made;
    insert into order_items (order_id, product_id, name, sku, quantity, price, currency, discount)
        select id, lpad((number % 7 + 1)::text, 32, '0')::uuid,
            case number % 7 when 0 then '=HYPERLINK("x")' else 'Tea ' || number % 7 + 1 end, 'SKU-' || number % 7 + 1,
            1 + number % 3, 3, currency, 1 from orders;
    insert into carts (user_id, store_id, status, currency, items_total, total, created_at)
        select (select id from users), :store::uuid, 'ABANDONED', 'EUR', n, n, timestamptz '2026-01-01T00:00Z' + n * interval '1 day'
        from generate_series(0, 19) as n;
    insert into cart_items (cart_id, product_id, quantity, price)
        select id, lpad('1', 32, '0')::uuid, 2, 3 from carts where total::int % 2 = 0;
    insert into recovery_events (cart_id, store_id, event_type, status, created_at, recovered_at, recovered_amount, currency)
        select id, store_id, 'cart_abandoned', 'RECOVERED', created_at, created_at + interval '1 hour', total, 'EUR'
        from carts where total > 9;
"""

FEATURES = """
    insert into features (cart_id, name, value, version, revision, created_at, updated_at)
        select id, 'item_count', '3', '1.0', 3, created_at, created_at + interval '2 years' from carts where store_id = :store::uuid;
    insert into feature_history (feature_id, revision, value, created_at)
        select id, n, to_jsonb(n), created_at + (n - 1) * interval '20 days' from features, generate_series(1, 3) as n;
    insert into product_features (product_id, store_id, name, version, value, created_at)
        select id, store, 'badge', '1.0', to_jsonb(repeat('x', n)), timestamptz '2026-01-10T00:00Z' + n * interval '20 days'
        from products, generate_series(0, 4) as n, unnest(array[:store, :other]::uuid[]) as store;
"""


@pytest.fixture
async def store(repositories: Repositories, database: Database) -> UUID:
    """A store with orders, carts and recoveries; a fifth of the orders are another store's."""
    ids = [(await repositories.stores.create_with_settings(StoreCreate(name="Tea", domain=f"{name}.example.com"))).id for name in "ab"]
    await database.execute_script((FILL + FEATURES).replace(":store", f"'{ids[0]}'").replace(":other", f"'{ids[1]}'"))
    return ids[0]


def reports_in(folder: Path, repositories: Repositories, **limits: int) -> Reports:
    return Reports(repositories, LocalStorage(folder), timedelta(days=7), **{"max_rows": 10_000, "max_bytes": 10**7, **limits})


async def requested(repositories: Repositories, store: UUID, type: str, format: str, **parameters: Any) -> Any:
    values = {"store_id": store, "type": type, "format": format, "from": BEGIN, "to": END, "parameters": parameters}
    return await repositories.reports.request(ReportRequest.model_validate(values))


async def made(reports: Reports, store: UUID, type: str, format: str, **parameters: Any) -> Any:
    report = await requested(reports.repositories, store, type, format, **parameters)
    await reports.make({"report": str(report.id)})
    return await reports.repositories.reports.get_by_id(report.id)


def runs(repositories: Repositories, **labels: str) -> float | None:
    """How many runs the metrics tell of."""
    return repositories.metrics.registry.get_sample_value("background_work_seconds_count", labels)


def files(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


def read(path: Path, format: str) -> list[dict[str, Any]]:
    """A file's rows, every value as a text, as its own library reads it."""
    if format == "CSV":
        with path.open(newline="") as file:
            return list(csv.DictReader(file))
    rows = json.loads(path.read_bytes()) if format == "JSON" else pq.read_table(path).to_pylist()
    return [{name: "" if value is None else _text(value) for name, value in row.items()} for row in rows]


def _text(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


async def slowly(database: Database, store: UUID, type: str) -> list[dict[str, str]]:
    """The same figures by Python, from all rows of the tables."""
    async with database.connection() as connection:
        tables = {name: await connection.fetch(f"select * from {name}") for name in ("orders", "order_items", "carts", "cart_items")}
    mine = [row for row in tables["orders"] if row["store_id"] == store and BEGIN <= row["created_at"] < END]
    if type == "SALES":
        amounts = ("items_total", "discount", "shipping", "tax", "total")
        return [
            {
                **{name: "" if row[name] is None else _text(row[name]) for name in FIELDS[ReportType.SALES] if name not in amounts},
                **{name: f"{row[name]:.0f}" if row["currency"] == "JPY" else f"{row[name]:.2f}" for name in amounts},
            }
            for row in sorted(mine, key=lambda row: (row["created_at"], row["id"]))
        ]
    if type == "CARTS":
        pieces: dict[UUID, int] = defaultdict(int)
        for line in tables["cart_items"]:
            pieces[line["cart_id"]] += line["quantity"]
        carts = sorted((row for row in tables["carts"] if row["store_id"] == store), key=lambda row: (row["created_at"], row["id"]))
        return [{"id": str(row["id"]), "pieces": str(pieces[row["id"]]), "total": f"{row['total']:.2f}"} for row in carts]
    completed = {row["id"] for row in mine if row["status"] == "COMPLETED"}
    sold: dict[tuple[UUID, str], list[Any]] = defaultdict(list)
    for line in tables["order_items"]:
        if line["order_id"] in completed:
            sold[line["product_id"], line["currency"]].append(line)
    return [
        {
            "id": str(id),
            "currency": currency,
            "orders": str(len(lines)),
            "pieces": str(sum(line["quantity"] for line in lines)),
            "revenue": f"{sum(line['price'] * line['quantity'] - line['discount'] for line in lines):.{0 if currency == 'JPY' else 2}f}",
        }
        for (id, currency), lines in sorted(sold.items())
    ]


@pytest.mark.parametrize("format", ["CSV", "JSON", "PARQUET"])
async def test_figures_are_those_of_a_slow_computation_in_every_form(
    repositories: Repositories, database: Database, store: UUID, tmp_path: Path, format: str
) -> None:
    reports = reports_in(tmp_path, repositories)
    for type in ("SALES", "CARTS", "PRODUCTS"):
        report = await made(reports, store, type, format)
        wanted = await slowly(database, store, type)
        assert (report.status, report.row_count, report.error) == ("READY", len(wanted), None)
        rows = read(tmp_path / "reports" / str(report.url), format)
        assert [{name: row[name] for name in expected} for row, expected in zip(rows, wanted, strict=True)] == wanted
        assert list(rows[0]) == list(FIELDS[ReportType(type)])
    recoveries = await made(reports, store, "RECOVERY", format)
    amounts = [row["recovered_amount"] for row in read(tmp_path / "reports" / str(recoveries.url), format)]
    assert amounts == [f"{n}.00" for n in range(10, 20)]
    yen = await made(reports, store, "SALES", format, currency="JPY")
    assert {row["currency"] for row in read(tmp_path / "reports" / str(yen.url), format)} == {"JPY"}
    assert not [name for name in files(tmp_path) if name.endswith(".part")]


async def test_pages_miss_and_repeat_nothing(repositories: Repositories, database: Database, store: UUID) -> None:
    values = {"store_id": store, "starts_at": BEGIN, "ends_at": END, "currency": None}
    for type in ReportType:
        whole = [row["id"] async for rows in pages(database, type, values) for row in rows]
        assert [row["id"] async for rows in pages(database, type, values, size=3) for row in rows] == whole != []


async def test_features_are_as_they_were_at_the_end_and_nothing_of_them_is_from_later(
    repositories: Repositories, database: Database, store: UUID, tmp_path: Path
) -> None:
    report = await made(reports_in(tmp_path, repositories), store, "FEATURES", "PARQUET")
    table = pq.read_table(tmp_path / "reports" / report.url)
    assert [str(field.type) for field in table.schema] == ["string"] * 5 + ["double", "timestamp[us, tz=UTC]"]
    rows = table.to_pylist()
    async with database.connection() as connection:
        carts = await connection.fetch("select id, created_at from carts where store_id = $1", store)
        products = await connection.fetch("select id from products")
    expected: dict[tuple[str, str], tuple[Any, ...]] = {}
    for cart in carts:
        # Values come 0, 20 and 40 days after the cart; the report's time ends on day 59.
        last = max(n for n in (1, 2, 3) if cart["created_at"] + (n - 1) * timedelta(days=20) < END)
        expected["cart", str(cart["id"])] = ("item_count", str(last), float(last), cart["created_at"] + (last - 1) * timedelta(days=20))
    for product in products:
        expected["product", str(product["id"])] = ("badge", '"xx"', None, datetime(2026, 2, 19, tzinfo=UTC))
    found = {(row["subject"], row["subject_id"]): (row["name"], row["value"], row["number"], row["computed_at"]) for row in rows}
    assert found == expected
    assert len(rows) == len(expected) == report.row_count


async def test_cells_that_a_spreadsheet_would_compute_are_texts(repositories: Repositories, store: UUID, tmp_path: Path) -> None:
    report = await made(reports_in(tmp_path, repositories), store, "PRODUCTS", "CSV")
    names = {row["name"] for row in read(tmp_path / "reports" / str(report.url), "CSV")}
    assert '\'=HYPERLINK("x")' in names
    assert not any(name.startswith(("=", "+", "-", "@")) for name in names)


async def test_a_report_that_is_too_large_says_so_and_leaves_no_file(repositories: Repositories, store: UUID, tmp_path: Path) -> None:
    for limits in ({"max_rows": 5}, {"max_bytes": 10}):
        report = await made(reports_in(tmp_path, repositories, **limits), store, "SALES", "CSV")
        assert (report.status, report.url, "ask for a shorter time" in report.error) == ("FAILED", None, True)
    await made(reports_in(tmp_path, repositories), store, "SALES", "CSV")
    counted = {outcome: runs(repositories, work="report", kind="SALES", outcome=outcome) for outcome in ("too_large", "ready", "error")}
    assert counted == {"too_large": 2, "ready": 1, "error": None}
    assert len(files(tmp_path)) == 1


async def test_a_report_whose_worker_was_killed_is_taken_up_again(
    repositories: Repositories, database: Database, store: UUID, tmp_path: Path
) -> None:
    report = await requested(repositories, store, "SALES", "CSV")
    now = repositories.now()
    assert await repositories.reports.take(report.id, now, now + LEASE) is not None, "by a worker that then dies"
    (tmp_path / "unfinished").mkdir()
    (tmp_path / f"unfinished/{report.id}.1.part").write_text("half of a")
    await reports_in(tmp_path, repositories).make({"report": str(report.id)})
    assert (await repositories.reports.get_by_id(report.id)).status == "PROCESSING", "the lease has not ended"

    later = create_repository_factory(database, repositories.cache, repositories.metrics, now=lambda: now + 2 * LEASE)
    reports = reports_in(tmp_path, later)
    await reports.take_up_lost()
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from pgqueuer where entrypoint = 'stores.report'") == 2
    await reports.make({"report": str(report.id)})
    after = await later.reports.get_by_id(report.id)
    assert (after.status, after.attempts) == ("READY", 2)
    assert files(tmp_path) == [f"{report.id}.csv"]


async def test_a_report_that_never_ends_has_failed(repositories: Repositories, database: Database, store: UUID, tmp_path: Path) -> None:
    report = await requested(repositories, store, "SALES", "CSV")
    now = repositories.now()
    for n in range(MOST_ATTEMPTS):
        assert await repositories.reports.take(report.id, now + 2 * n * LEASE, now + (2 * n + 1) * LEASE) is not None
    later = create_repository_factory(database, repositories.cache, repositories.metrics, now=lambda: now + 20 * LEASE)
    await reports_in(tmp_path, later).take_up_lost()
    after = await later.reports.get_by_id(report.id)
    assert (after.status, "shorter time" in (after.error or "")) == ("FAILED", True)


async def test_a_link_leads_to_the_file_for_a_while(repositories: Repositories, database: Database, store: UUID, tmp_path: Path) -> None:
    reports = reports_in(tmp_path, repositories)
    report = await made(reports, store, "SALES", "CSV")
    links = FileLinks(REPORTS, SEALS, "https://shop.example", timedelta(minutes=15))
    url, expires_at = links.link_to(report, repositories.now())
    assert timedelta(minutes=14) < expires_at - repositories.now() < timedelta(minutes=16)
    token = url.removeprefix("https://shop.example/reports/")
    found = await answer(repositories, LocalStorage(tmp_path), token)
    assert (found.status_code, found.content) == (200, (tmp_path / "reports" / str(report.url)).read_bytes())
    wanted = {
        "content-type": "text/csv; charset=utf-8",
        "content-disposition": 'attachment; filename="sales-2026-01-01-2026-03-01.csv"',
        "x-content-type-options": "nosniff",
        "cache-control": "private, no-store",
    }
    assert {name: found.headers[name] for name in wanted} == wanted
    forged = [SEALS.seal("unsubscribe", report.id.hex), Seals(["x" * 40]).seal("report-download", report.id.hex), token[:-1], "x"]
    assert [(await answer(repositories, LocalStorage(tmp_path), other)).status_code for other in forged] == [404] * 4

    later = create_repository_factory(database, repositories.cache, repositories.metrics, now=lambda: expires_at + timedelta(seconds=1))
    assert (await answer(later, LocalStorage(tmp_path), token)).status_code == 404
    old = create_repository_factory(database, repositories.cache, repositories.metrics, now=lambda: expires_at + timedelta(days=8))
    await reports_in(tmp_path, old).remove_old()
    assert files(tmp_path) == []
    with pytest.raises(UserError, match="ask for the report again"):
        links.link_to(await old.reports.get_by_id(report.id), old.now())


async def answer(repositories: Repositories, storage: Storage, token: str) -> httpx.Response:
    app = Starlette(routes=[Route("/reports/{token}", Downloads(REPORTS, repositories, SEALS, storage).answer)])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://gateway") as http:
        return await http.get(f"/reports/{token}")


async def test_a_report_in_a_bucket_is_made_again_after_a_broken_upload(repositories: Repositories, store: UUID, tmp_path: Path) -> None:
    async with s3_server() as bucket:
        storage = S3Storage(bucket.place(), tmp_path / "spool", KEY_ID, SECRET)
        reports = Reports(repositories, storage, timedelta(days=7), 10**7, 10_000)
        report = await requested(repositories, store, "SALES", "CSV")
        bucket.is_away = True
        with pytest.raises(OSError, match="did not take"):
            await reports.make({"report": str(report.id)})
        assert runs(repositories, work="report", kind="SALES", outcome="error") == 1
        pending = await repositories.reports.get_by_id(report.id)
        assert (pending.status, pending.url, bucket.objects, files(tmp_path)) == ("PENDING", None, {}, [])
        bucket.is_away = False
        await reports.make({"report": str(report.id)})

        links = FileLinks(REPORTS, SEALS, "https://shop.example", timedelta(minutes=15))
        url, expires_at = links.link_to(await repositories.reports.get_by_id(report.id), repositories.now())
        token = url.removeprefix("https://shop.example/reports/")
        found = await answer(repositories, storage, token)
        assert (found.status_code, found.content) == (200, bucket.objects[f"shop/reports/{report.id}.csv"])
        assert found.headers["content-disposition"] == 'attachment; filename="sales-2026-01-01-2026-03-01.csv"'
        bucket.is_away = True
        assert (await answer(repositories, storage, token)).status_code == 503
        bucket.is_away = False
        old = replace(repositories, now=lambda: expires_at + timedelta(days=8))
        await Reports(old, storage, timedelta(days=7), 10**7, 10_000).remove_old()
        assert bucket.objects == {}


async def test_staff_have_reports_of_their_own_store_only(repositories: Repositories, store: UUID) -> None:
    other = await repositories.stores.find_by_domain("b.example.com")
    assert other is not None
    report = await requested(repositories, store, "SALES", "CSV")
    permissions = frozenset({"reports:read", "reports:write"})
    own, foreign = (repositories.scoped(Viewer(ViewerKind.STAFF, UUID(int=1), id, permissions=permissions)) for id in (store, other.id))
    assert await own.reports.find_by_id(report.id) is not None
    assert await foreign.reports.find_by_id(report.id) is None
    await requested(own, store, "CARTS", "JSON")
    with pytest.raises(UserError) as refused:
        await requested(foreign, store, "CARTS", "JSON")
    assert refused.value.field == ("store_id",)


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"to": BEGIN}, "to"),
        ({"to": BEGIN + timedelta(days=367)}, "to"),
        ({"parameters": {"sql": "x"}}, "parameters"),
        ({"type": "ALL"}, "type"),
    ],
)
def test_impossible_reports_are_refused(given: dict[str, Any], field: str) -> None:
    values = {"store_id": UUID(int=1), "type": "sales", "format": "csv", "from": BEGIN, "to": END, **given}
    with pytest.raises(ValueError, match=field):
        ReportRequest.model_validate(values)
