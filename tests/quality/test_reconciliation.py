"""Orders held against their mirror in ClickHouse: what is found, by whom, and what becomes of runs that are cut short."""

import asyncio
import os
import pty
import re
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core import clickhouse_migrations
from app.core.cache import Cache, memory_backend
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.clock import system_clock
from app.core.comparison import Kind, agree, projections
from app.core.comparison_clickhouse import ClickHouseSide
from app.core.comparison_postgres import PostgresSide
from app.core.database import Database
from app.core.errors import UserError
from app.core.metrics import Metrics
from app.orders.mirror import OrderMirror
from app.orders.models.mirror import MIRROR
from app.quality.models import ExecutionStatus, ReconciliationRuleCreate
from app.quality.reconciliation import LEASE, Reconciliation, next_run
from app.quality.reconciliation_repairs import Repairs
from app.quality.reconciliation_tables import CLICKHOUSE, POSTGRES, REPAIRABLE, checked_pairs
from app.quality.reconciling import unknown_rule
from app.repositories import Repositories, create_repository_factory
from tests.clickhouse_server import ClickHouseServer
from tests.quality.reconciling import break_some, fill, rule, write
from tests.serving import REPOSITORY, data_folder, eventually

ROWS = 20_000


def repositories_of(database: Database, clickhouse: ClickHouse, now: Any = system_clock) -> Repositories:
    metrics = Metrics()
    return create_repository_factory(database, Cache(memory_backend(), metrics), metrics, clickhouse=clickhouse, now=now)


@pytest.fixture
async def repositories(database: Database, clickhouse: ClickHouse) -> Repositories:
    return repositories_of(database, clickhouse)


async def finished(repositories: Repositories, reconciliation: Reconciliation, run: Any) -> Any:
    await reconciliation.work({"execution": str(run.id)})
    return await repositories.reconciliation_executions.get_by_id(run.id)


async def test_every_fault_is_found_and_nothing_else_and_repaired_once(
    repositories: Repositories, database: Database, clickhouse: ClickHouse
) -> None:
    await fill(repositories, ROWS)
    reconciliation = Reconciliation(repositories, segment=3_000)
    compared = await rule(repositories)
    clean = await finished(repositories, reconciliation, await reconciliation.start(compared))
    assert (clean.status, clean.discrepancies, clean.records_checked, clean.progress) == (ExecutionStatus.PASSED, 0, ROWS, 100)
    sums = await _sums(database)
    assert clean.details["source"] == {"table": "orders", "rows": ROWS, "sums": {**clean.details["source"]["sums"], "total": sums}}
    assert clean.details["target"]["sums"] == clean.details["source"]["sums"]

    faults = await break_some(database, clickhouse, ROWS, each=25)
    run = await finished(repositories, reconciliation, await reconciliation.start(compared))
    found: dict[str, set[str]] = {}
    for listed in run.details["discrepancies"]:
        found.setdefault(listed["kind"], set()).add(listed["key"])
    assert found == {
        "MISSING_IN_TARGET": faults.missing_in_target,
        "MISSING_IN_SOURCE": faults.missing_in_source,
        "DIFFERING": faults.differing,
    }
    assert (run.missing_in_target, run.missing_in_source, run.differing) == (25, 25, 50)
    assert (run.status, run.discrepancies, run.records_checked) == (ExecutionStatus.WARNING, 100, ROWS)

    repairs = await asyncio.gather(*(Repairs(repositories).repair(run, None) for _ in range(3)))
    assert {repair.operation_id for repair in repairs[0]} == faults.missing_in_target | faults.missing_in_source | faults.differing
    rows = await repositories.repair_operations.find_many({"execution_id": run.id}, limit=500)
    assert [repair.status for repair in rows] == ["SUCCESS"] * 100, "each once, though three asked at once"
    told: dict[str, Any] = {repair.operation_id: repair.details for repair in rows}
    changed = next(iter(faults.differing))
    assert told[changed]["before"] != told[changed]["after"]
    assert told[next(iter(faults.missing_in_target))]["before"] is None
    assert told[next(iter(faults.missing_in_source))]["after"] is None
    assert await Repairs(repositories).repair(run, None) == []
    again = await finished(repositories, reconciliation, await reconciliation.start(compared))
    assert again.status == ExecutionStatus.PASSED
    assert {outcome: _runs(repositories, outcome) for outcome in ("passed", "warning", "error")} == {
        "passed": 2,
        "warning": 1,
        "error": None,
    }


def _runs(repositories: Repositories, outcome: str) -> float | None:
    """How many runs the metrics tell of."""
    labels = {"work": "reconciliation", "kind": "", "outcome": outcome}
    return repositories.metrics.registry.get_sample_value("background_work_seconds_count", labels)


async def _sums(database: Database) -> str:
    async with database.connection() as connection:
        return str(await connection.fetchval("select sum(total) from orders"))


async def test_a_run_whose_process_was_killed_is_gone_on_with(
    database: Database, database_url: str, clickhouse_server: ClickHouseServer
) -> None:
    options = ClickHouseOptions(database=f"killed_{os.getpid()}")
    clickhouse = ClickHouse(clickhouse_server.url, data_folder(), Metrics(), options, clickhouse_migrations.apply)
    repositories = repositories_of(database, clickhouse)
    await fill(repositories, 6_000)
    compared = await rule(repositories)
    faults = await break_some(database, clickhouse, 6_000, each=4)
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "CLICKHOUSE_URL": clickhouse_server.url,
        "CLICKHOUSE_DATABASE": options.database,
        "DATA_DIR": str(data_folder()),
    }
    command = (sys.executable, "-m", "app", "reconcile", compared.name, "--segment", "100")
    process = await asyncio.create_subprocess_exec(*command, cwd=REPOSITORY, env=environment, stdout=-3, stderr=-3)

    async def begun() -> Any:
        run = await repositories.reconciliation_executions.get_latest_for_rule(compared.id)
        return run is not None and 0 < run.progress < 90

    await eventually(begun, 120)
    process.kill()
    await process.wait()
    left = await repositories.reconciliation_executions.get_latest_for_rule(compared.id)
    assert left is not None
    assert (left.status, left.finished_at) == ("RUNNING", None)
    assert (await Reconciliation(repositories).start(compared)).id == left.id, "a rule runs once at a time"
    assert (await finished(repositories, Reconciliation(repositories), left)).status == "RUNNING", "its lease has not ended"

    later = repositories_of(database, clickhouse, lambda: datetime.now(UTC) + 2 * LEASE)
    assert [run.id for run in await later.reconciliation_executions.find_lost(later.now(), later.now())] == [left.id]
    run = await finished(later, Reconciliation(later), left)
    assert (run.status, run.records_checked) == ("WARNING", 6_000), "nothing is counted twice"
    keys = {listed["key"] for listed in run.details["discrepancies"]}
    assert keys == faults.missing_in_target | faults.missing_in_source | faults.differing
    await clickhouse.execute(f"DROP DATABASE {options.database}")
    await clickhouse.close()


async def command(rule: str, environment: dict[str, str], *more: str) -> tuple[int, str]:
    """How `python -m app reconcile` ends on a terminal, and what it shows there."""
    ours, theirs = pty.openpty()
    arguments = (sys.executable, "-m", "app", "reconcile", rule, *more)
    process = await asyncio.create_subprocess_exec(*arguments, cwd=REPOSITORY, env=environment, stdout=theirs, stderr=theirs, stdin=theirs)
    os.close(theirs)
    shown = await asyncio.to_thread(_until_closed, ours)
    os.close(ours)
    return await process.wait(), shown


def _until_closed(terminal: int) -> str:
    shown = b""
    with suppress(OSError):  # Linux says so where nobody writes any more.
        while part := os.read(terminal, 10_000):
            shown += part
    return shown.decode()


async def test_the_command_shows_how_far_it_is_and_ends_by_what_it_found(
    database: Database, database_url: str, clickhouse_server: ClickHouseServer
) -> None:
    options = ClickHouseOptions(database=f"watched_{os.getpid()}")
    clickhouse = ClickHouse(clickhouse_server.url, data_folder(), Metrics(), options, clickhouse_migrations.apply)
    repositories = repositories_of(database, clickhouse)
    await fill(repositories, 2_000)
    compared = await rule(repositories)
    await break_some(database, clickhouse, 2_000, each=3)
    environment = {
        **os.environ,
        "DATABASE_URL": database_url,
        "CLICKHOUSE_URL": clickhouse_server.url,
        "CLICKHOUSE_DATABASE": options.database,
        "DATA_DIR": str(data_folder()),
    }

    code, shown = await command(compared.name, environment, "--segment", "200")

    assert code == 1, shown
    assert "WARNING: 2,000 rows compared, 3 missing in orders_mirror, 3 missing in orders, 6 differing" in shown
    percentages = [int(found) for found in re.findall(r"(\d+)%", shown)]
    assert percentages == sorted(percentages), "the bar only goes forward"
    assert (percentages[0], percentages[-1]) == (0, 100)
    run = await repositories.reconciliation_executions.get_latest_for_rule(compared.id)
    assert run is not None
    assert len(await Repairs(repositories).repair(run, None)) == 12

    code, shown = await command(compared.name, environment)

    assert code == 0, shown
    assert "PASSED: 1,997 rows compared, 0 missing in orders_mirror, 0 missing in orders, 0 differing" in shown
    assert await unknown_rule(repositories, "none") == f"no reconciliation rule is named 'none'; there are: {compared.name}"
    await clickhouse.execute(f"DROP DATABASE {options.database}")
    await clickhouse.close()


@pytest.fixture
async def small(repositories: Repositories) -> Repositories:
    await fill(repositories, 30)
    return repositories


async def test_a_run_that_fails_is_tried_again_then_ends_as_an_error(small: Repositories, clickhouse: ClickHouse) -> None:
    compared = await rule(small)
    reconciliation = Reconciliation(small)
    run = await reconciliation.start(compared)
    await clickhouse.execute(f"RENAME TABLE {MIRROR} TO away")
    for _ in range(4):
        with pytest.raises(Exception, match=r"ClickHouse"):
            await reconciliation.work({"execution": str(run.id)})
        assert (await small.reconciliation_executions.get_by_id(run.id)).status == "RUNNING"
    ended = await finished(small, reconciliation, run)
    assert (ended.status, ended.error_message is None, ended.finished_at is None) == ("ERROR", False, False)
    assert _runs(small, "error") == 1
    await clickhouse.execute(f"RENAME TABLE away TO {MIRROR}")
    another = await reconciliation.start(compared)
    assert another.id != run.id
    assert (await finished(small, reconciliation, another)).status == "PASSED"


async def test_due_rules_are_started_once_and_due_again_in_their_rhythm(small: Repositories) -> None:
    due = small.now() - timedelta(hours=5)
    compared = await rule(small, next_run_at=due)
    await rule(small, name="later", next_run_at=small.now() + timedelta(hours=1))
    await rule(small, name="disabled", next_run_at=due, enabled=False)
    await asyncio.gather(*(Reconciliation(small).start_due() for _ in range(4)))
    runs = await small.reconciliation_executions.find_many()
    assert [run.rule_id for run in runs] == [compared.id]
    after = await small.reconciliation_rules.get_by_id(compared.id)
    assert (after.next_run_at, after.last_run_at is None) == (due + timedelta(days=1), False)


async def test_a_long_run_is_handed_from_job_to_job(small: Repositories, database: Database) -> None:
    compared = await rule(small)
    reconciliation = Reconciliation(small, segment=7, slice_seconds=0)
    run = await reconciliation.start(compared)
    seen = []
    for _ in range(5):
        run = await finished(small, reconciliation, run)
        seen.append(run.progress)
    assert seen == [23, 46, 70, 93, 100]
    assert run.status == "PASSED"
    async with database.connection() as connection:
        assert await connection.fetchval("select count(*) from pgqueuer where entrypoint = 'quality.reconcile'") == 5


async def test_what_changes_meanwhile_is_no_discrepancy(small: Repositories, clickhouse: ClickHouse, database: Database) -> None:
    """Orders that changed since the last sync are on their way: the run brings them there before it calls them different."""
    await database.execute_script("update orders set status = 'FAILED', failed_at = now(), updated_at = now() where number = 1")
    reconciliation = Reconciliation(small)
    assert (await finished(small, reconciliation, await reconciliation.start(await rule(small)))).status == "PASSED"


async def test_the_mirror_ships_what_commits_late_and_forgets_a_lost_one(
    small: Repositories, clickhouse: ClickHouse, database: Database
) -> None:
    mirror, count = OrderMirror(small), f"SELECT count() FROM {MIRROR} FINAL WHERE status = 'FAILED'"
    await database.execute_script("update orders set updated_at = now() where number = 2")
    await mirror.sync()
    late = "update orders set status = 'FAILED', failed_at = now(), updated_at = now() - interval '1 minute' where number = 1"
    await database.execute_script(late)
    await mirror.sync()
    assert await clickhouse.fetch_value(count) == 1
    await clickhouse.execute(f"TRUNCATE TABLE {MIRROR}")
    assert await mirror.sync() == 30
    assert await clickhouse.fetch_value(f"SELECT count() FROM {MIRROR} FINAL") == 30


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"source_table": "users"}, "source_table"),
        ({"target_table": "pg_class"}, "target_table"),
        ({"target_table": "orders"}, "target_table"),
        ({"join_key": "number"}, "join_key"),
        ({"source_columns": ["password_hash"], "target_columns": ["total"]}, "source_columns"),
        ({"source_columns": ["total"], "target_columns": ["totals"]}, "target_columns"),
        ({"source_columns": ["total"], "target_columns": ["status"]}, "target_columns"),
    ],
)
def test_only_what_is_in_the_catalogue_is_compared(given: dict[str, Any], field: str) -> None:
    values = {"name": "x", "source_table": "orders", "target_table": MIRROR, "join_key": "id", **given}
    with pytest.raises(UserError) as refused:
        checked_pairs(ReconciliationRuleCreate(**values))
    assert refused.value.field == (field,)
    assert len(refused.value.message) > 20


async def test_every_column_of_the_catalogue_is_there_and_both_engines_write_it_alike(
    small: Repositories, clickhouse: ClickHouse, database: Database
) -> None:
    for name, table in POSTGRES.items():
        columns = [(column, column) for column in table.columns]
        side = PostgresSide(database, projections(table, table, "id", columns)[0])
        assert sum(digest.rows for digest in (await side.digests(None, None)).values()) == await side.count(), name
    source, target = REPAIRABLE[0]
    pairs = [(column, column) for column in CLICKHOUSE[target].columns]
    ours, theirs = projections(POSTGRES[source], CLICKHOUSE[target], "id", pairs)
    left, right = PostgresSide(database, ours), ClickHouseSide(clickhouse, theirs)
    assert await left.digests(None, None) == await right.digests(None, None)
    keys = list(await left.hashes(None, None, range(256)))
    assert len(keys) == 30
    assert await left.values(keys) == await right.values(keys)
    assert await left.nth_key(None, 30) == await right.nth_key(None, 30) == max(keys)
    assert await left.nth_key(None, 31) is None
    assert await right.nth_key(None, 31) is None


async def test_tables_of_one_engine_are_compared_as_well(small: Repositories, database: Database) -> None:
    compared = await rule(small, name="orders_vs_carts", target_table="carts", source_columns=["total"], target_columns=["total"])
    async with database.connection() as connection:
        first = await connection.fetchrow("select id, total, user_id from orders order by id limit 1")
        assert first is not None
        added = "insert into carts (id, user_id, total, items_total) values ($1, $2, $3, $3)"
        await connection.execute(added, first["id"], first["user_id"], first["total"])
    reconciliation = Reconciliation(small)
    run = await finished(small, reconciliation, await reconciliation.start(compared))
    assert (run.missing_in_target, run.missing_in_source, run.differing) == (29, 0, 0)
    with pytest.raises(UserError, match="cannot be repaired"):
        await Repairs(small).repair(run, None)


async def test_a_repair_that_fails_says_so_and_can_be_tried_again(small: Repositories, clickhouse: ClickHouse, database: Database) -> None:
    async with database.connection() as connection:
        id = await connection.fetchval("select id from orders where number = 5")
    await write(clickhouse, [id], total="total + 5", synced_at="synced_at + INTERVAL 1 DAY")
    reconciliation = Reconciliation(small)
    run = await finished(small, reconciliation, await reconciliation.start(await rule(small)))
    assert run.differing == 1
    (repair,) = await Repairs(small).repair(run, [str(id)])
    assert (repair.status, "still differs" in (repair.error or "")) == ("FAILED", True)
    with pytest.raises(UserError) as refused:
        await Repairs(small).repair(run, ["nothing"])
    assert refused.value.field == ("keys",)
    await clickhouse.execute(f"ALTER TABLE {MIRROR} DELETE WHERE id = toUUID('{id}') SETTINGS mutations_sync = 1")
    (repair,) = await Repairs(small).repair(run, [str(id)])
    assert (repair.status, repair.error) == ("SUCCESS", None)


amounts = st.decimals(min_value=-(10**12), max_value=10**12, places=4)


@given(amounts, amounts, st.decimals(min_value=0, max_value=1, places=4))
def test_numbers_agree_within_a_fraction_of_the_larger_one(one: Decimal, other: Decimal, tolerance: Decimal) -> None:
    left, right = (format(value, "f") for value in (one, other))
    wanted = one == other or abs(one - other) <= tolerance * max(abs(one), abs(other))
    assert agree(Kind.NUMBER, left, right, tolerance) == agree(Kind.NUMBER, right, left, tolerance) == wanted
    assert agree(Kind.NUMBER, left, left, Decimal(0))


def test_edges_of_the_tolerance() -> None:
    percent = Decimal("0.01")
    assert agree(Kind.NUMBER, "100.0000", "99.0000", percent)
    assert not agree(Kind.NUMBER, "100.0000", "98.9999", percent)
    assert not agree(Kind.NUMBER, "0.0000", "0.0001", percent), "nothing is near to zero"
    assert agree(Kind.NUMBER, "0.0000", "-0.0000", Decimal(0))
    assert not agree(Kind.NUMBER, "1.0000", None, Decimal(1))
    assert agree(Kind.NUMBER, None, None, Decimal(0))
    assert not agree(Kind.TEXT, "100", "101", Decimal(1)), "only numbers are forgiven"


def test_the_next_run_keeps_its_time_of_day() -> None:
    due = datetime(2026, 3, 1, 4, tzinfo=UTC)
    daily = ReconciliationRuleCreate(name="x", source_table="a", target_table="b", join_key="id", next_run_at=due)
    assert next_run(daily, due) == due + timedelta(days=1)  # type: ignore[arg-type]
    assert next_run(daily, due + timedelta(days=3, hours=1)) == due + timedelta(days=4)  # type: ignore[arg-type]


def test_statuses_follow_the_number_of_discrepancies() -> None:
    assert [ExecutionStatus.of(n) for n in (0, 1, 100, 101)] == ["PASSED", "WARNING", "WARNING", "FAILED"]
