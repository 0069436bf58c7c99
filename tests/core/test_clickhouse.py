"""The door to ClickHouse: limits, errors, deduplication, migrations, and an engine that dies and comes back."""

import asyncio
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from app.core import clickhouse_migrations
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.clickhouse_migrations import Migration, distributed, known, rendered, stored
from app.core.errors import InvalidValue, RepositoryError, TooLarge, Unavailable
from app.core.metrics import Metrics
from app.core.migrations import MigrationError, SchemaDrift
from tests.serving import REPOSITORY

TABLE = (
    "CREATE TABLE t (n UInt64) ENGINE = MergeTree ORDER BY n SETTINGS non_replicated_deduplication_window = 10000, fsync_after_insert = 1"
)


async def test_values_are_bound_by_the_server(clickhouse: ClickHouse) -> None:
    values = {"text": "'; DROP TABLE t; --", "numbers": [1, 2], "none": None}
    row = (await clickhouse.fetch("SELECT {text:String} AS a, {numbers:Array(UInt8)} AS b, {none:Nullable(String)} AS c", values))[0]
    assert row == {"a": values["text"], "b": [1, 2], "c": None}


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("SELECT number FROM numbers(11)", TooLarge),
        ("SELECT groupUniqArray(number) FROM numbers(1000000000)", TooLarge),
        ("SELECT groupArray(repeat('a', 1000)) FROM numbers(100000)", TooLarge),
        ("SELECT {n:UInt8}", InvalidValue),
        ("SELECT toUUID('x')", InvalidValue),
        ("SELECT 1 FROM nowhere", Unavailable),
        ("SELEC 1", RepositoryError),
    ],
)
async def test_what_is_refused(clickhouse: ClickHouse, query: str, error: type[Exception]) -> None:
    with pytest.raises(error) as refused:
        await clickhouse.fetch(query, {"n": "x"}, limit=10, timeout=3)
    assert not any(part in str(refused.value) for part in ("nowhere", "groupUniqArray", "SELEC", "Code:"))


async def test_a_slow_question_ends_in_time_and_the_loop_goes_on(clickhouse: ClickHouse) -> None:
    await clickhouse.fetch_value("SELECT 1")
    slow = asyncio.create_task(clickhouse.fetch("SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1", timeout=0.5))
    ticks = 0
    while not slow.done():
        await asyncio.sleep(0.01)
        ticks += 1
    with pytest.raises(TooLarge):
        await slow
    assert ticks > 10


async def test_too_many_callers_are_refused_at_once(clickhouse: ClickHouse) -> None:
    calls = [clickhouse.fetch_value("SELECT sleepEachRow(0.002)") for _ in range(150)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    assert sum(isinstance(answer, Unavailable) for answer in answers) == 50
    assert await clickhouse.fetch_value("SELECT 1") == 1


async def test_a_token_counts_once(clickhouse: ClickHouse) -> None:
    await clickhouse.execute(TABLE)
    for token in ("a", "a", "b"):
        await clickhouse.insert("t", ["n"], b'{"n": 1}\n{"n": 2}', token)
    assert await clickhouse.fetch_value("SELECT count() FROM t") == 4


async def test_rows_that_the_engine_refuses_are_still_the_callers(clickhouse: ClickHouse) -> None:
    await clickhouse.execute(TABLE)
    for lines in (b'{"n": "x"}', b'{"n": 1}\n{"n":', b"nonsense"):
        with pytest.raises(Unavailable):
            await clickhouse.insert("t", ["n"], lines, "token")
    assert await clickhouse.fetch_value("SELECT count() FROM t") == 0


async def test_every_statement_is_timed(clickhouse: ClickHouse) -> None:
    await clickhouse.fetch_value("SELECT 1")
    with pytest.raises(Unavailable):
        await clickhouse.fetch_value("SELECT 1 FROM nowhere")
    text = clickhouse._metrics.render().decode()
    assert 'clickhouse_operation_seconds_count{operation="query",result="success"} 1.0' in text
    assert 'clickhouse_operation_seconds_count{operation="query",result="error"} 1.0' in text


async def test_the_engine_starts_with_the_first_question_and_not_before(tmp_path: Path) -> None:
    engine = ClickHouse(None, tmp_path / "unused", Metrics())
    await engine.ping()
    await engine.close()
    assert not (tmp_path / "unused").exists()
    with pytest.raises(Unavailable):
        await engine.fetch("SELECT 1")


async def test_a_server_that_refuses_is_left_alone_for_a_moment(unused_tcp_port: int, tmp_path: Path) -> None:
    engine = ClickHouse(f"http://user:secret@127.0.0.1:{unused_tcp_port}", tmp_path, Metrics(), ClickHouseOptions(connect_timeout=1))
    started = asyncio.get_running_loop().time()
    answers = await asyncio.gather(*(engine.ping() for _ in range(20)), return_exceptions=True)
    assert all(isinstance(answer, Unavailable) for answer in answers)
    assert all("secret" not in f"{answer}{answer.__cause__}" for answer in answers if isinstance(answer, Exception))
    assert asyncio.get_running_loop().time() - started < 1
    await engine.close()


# --- Migrations


async def test_migrations_can_be_repeated_and_run_at_once(clickhouse: ClickHouse) -> None:
    await asyncio.gather(*(clickhouse_migrations.upgrade(clickhouse) for _ in range(3)))
    rows = await clickhouse.fetch("SELECT version, name FROM schema_migrations FINAL ORDER BY version")
    assert [(row["version"], row["name"]) for row in rows] == [(migration.version, migration.name) for migration in known()]


async def test_a_changed_or_unknown_migration_is_refused(clickhouse: ClickHouse) -> None:
    await clickhouse.execute(clickhouse_migrations.RECORD, {"version": 9999, "name": "later", "checksum": "x"})
    with pytest.raises(MigrationError, match="9999"):
        await clickhouse_migrations.upgrade(clickhouse)
    await clickhouse.execute("TRUNCATE TABLE schema_migrations")
    await clickhouse.execute(clickhouse_migrations.RECORD, {"version": 1, "name": "user_events", "checksum": "other"})
    with pytest.raises(MigrationError, match="0001 has changed"):
        await clickhouse_migrations.upgrade(clickhouse)


async def test_a_model_that_says_something_else_is_found_out(clickhouse: ClickHouse) -> None:
    with pytest.raises(SchemaDrift, match="event_type"):
        await clickhouse_migrations.check(clickhouse, {"user_events": ["id"]})


async def test_on_a_cluster_tables_are_replicated_on_all_hosts(clickhouse: ClickHouse) -> None:
    """There is no cluster here to make them on, so the engine's own parser reads the statements."""
    for options in (ClickHouseOptions(cluster="shop"), ClickHouseOptions(cluster="shop", sharded=True)):
        await _parsed(clickhouse, options)


async def _parsed(clickhouse: ClickHouse, options: ClickHouseOptions) -> None:
    statements = [rendered(clickhouse_migrations.RECORDS, options), *(part for found in known() for part in found.statements(options))]
    for statement in statements:
        parsed = await clickhouse.fetch_value("SELECT formatQuerySingleLine({statement:String})", {"statement": statement})
        if parsed.startswith("CREATE TABLE"):
            assert "ON CLUSTER shop" in parsed
            assert "ENGINE = Replicated" in parsed
            assert "non_replicated" not in parsed
        assert ("user_events_local" in parsed) == (options.sharded and "user_events" in parsed)
    over = await clickhouse.fetch_value("SELECT formatQuerySingleLine({s:String})", {"s": distributed("user_events", options)})
    assert over.startswith("CREATE OR REPLACE TABLE user_events ON CLUSTER shop AS user_events_local ENGINE = Distributed(shop, ")
    assert stored("user_events", options) == f"user_events{'_local' if options.sharded else ''} ON CLUSTER `shop`"


async def test_a_cluster_that_the_server_does_not_know_is_named(clickhouse: ClickHouse) -> None:
    await clickhouse.fetch_value("SELECT 1")
    clickhouse._engine.options = replace(clickhouse.options, cluster="shop")  # type: ignore[union-attr]
    with pytest.raises(MigrationError, match="CLICKHOUSE_CLUSTER is 'shop', but ClickHouse knows no cluster"):
        await clickhouse_migrations.upgrade(clickhouse)


async def test_tables_that_hold_rows_are_not_made_over_shards(clickhouse: ClickHouse) -> None:
    await clickhouse.execute("INSERT INTO orders_mirror (id) VALUES (generateUUIDv4())")
    clickhouse._engine.options = replace(clickhouse.options, sharded=True)  # type: ignore[union-attr]
    with pytest.raises(MigrationError, match="holds rows of its own: unset CLICKHOUSE_SHARDED"):
        await clickhouse_migrations.upgrade(clickhouse)
    assert await clickhouse.fetch_value("SELECT count() FROM orders_mirror") == 1


SHARDS = """<clickhouse><tcp_port>9000</tcp_port><remote_servers><shop>
  <shard><replica><host>127.0.0.1</host><port>9000</port></replica></shard>
</shop></remote_servers></clickhouse>"""
SHARDED = """
import structlog, sys
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
import clickhouse_connect
from app.core.clickhouse import ClickHouseOptions, Engine
from app.core.clickhouse_migrations import distributed, known

path, config = sys.argv[1:]
client = clickhouse_connect.get_client(interface="chdb", path=f"{path}?config-file={config}", tz_mode="aware")
options = ClickHouseOptions("shop", "shop", True)
engine = Engine(client, options)
engine.create_database("")
statements = [statement for migration in known() for statement in migration.statements(options)]
for statement in (*statements, distributed("user_events", options), distributed("user_events", options)):
    statement = statement.replace(" ON CLUSTER `shop`", "").replace("ReplicatedReplacing", "Replacing")
    engine.execute(statement.replace("replicated_deduplication_window", "non_replicated_deduplication_window"))
row = '{"id": "00000000-0000-7000-8000-%012d", "timestamp": "2026-01-01T00:00:00Z", "received_at": "2026-01-01T00:00:0%dZ"}'
for version, token in ((1, "a"), (1, "a"), (2, "b")):
    lines = "\\n".join(row % (n, version) for n in range(200)).encode()
    engine.insert("user_events", ["id", "timestamp", "received_at"], lines, token, 10)
count = lambda query: engine.fetch(f"SELECT count() AS n FROM {query}", {}, 10, 10)[0]["n"]
print(engine.clusters(), count("user_events FINAL"), count("user_events"), count("user_events_local"))
print(count("user_events WHERE id IN (SELECT id FROM user_events GROUP BY id HAVING count() > 1)"))
client.close()
"""


async def test_rows_go_through_a_table_over_shards_and_count_once(tmp_path: Path) -> None:
    """One shard, in this process: neither replicas nor statements for all hosts, which take servers and a keeper."""
    (tmp_path / "shards.xml").write_text(SHARDS)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", SHARDED, str(tmp_path / "data"), str(tmp_path / "shards.xml"),
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 120)
    assert output.decode().splitlines() == ["['shop'] 200 400 400", "400"], errors.decode()[-3000:]


def test_a_migration_is_split_at_the_ends_of_its_statements() -> None:
    text = "-- a comment; with a semicolon\nCREATE TABLE a\n(\n    b String\n);\n\nINSERT INTO a VALUES (';');\n"
    assert list(Migration(1, "a", text).statements(ClickHouseOptions())) == [
        "CREATE TABLE a\n(\n    b String\n)",
        "INSERT INTO a VALUES (';')",
    ]


# --- An engine that dies

WRITER = """
import asyncio, itertools, structlog, sys
from pathlib import Path
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.metrics import Metrics

async def main():
    engine = ClickHouse(None, Path(sys.argv[1]), Metrics(), ClickHouseOptions(database="default"))
    await engine.execute(sys.argv[2])
    for n in itertools.count(1):
        await engine.insert("t", ["n"], b'{"n": %d}' % n, f"token-{n}")
        print(n, flush=True)

asyncio.run(main())
"""

READER = """
import asyncio, structlog, sys
from pathlib import Path
structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
from app.core.clickhouse import ClickHouse, ClickHouseOptions
from app.core.metrics import Metrics

async def main():
    engine = ClickHouse(None, Path(sys.argv[1]), Metrics(), ClickHouseOptions(database="default"))
    last = int(sys.argv[2])
    for n in range(1, last + 2):
        await engine.insert("t", ["n"], b'{"n": %d}' % n, f"token-{n}")
    print(await engine.fetch("SELECT count() AS rows, uniqExact(n) AS numbers, max(n) AS last FROM t"))
    await engine.close()

asyncio.run(main())
"""


async def test_what_was_acknowledged_survives_a_kill_and_is_not_there_twice(tmp_path: Path) -> None:
    """Killed between any two steps, the engine opens again with every insert that it acknowledged; all of them again change nothing."""
    writer = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, str(tmp_path), TABLE.replace("TABLE t", "TABLE IF NOT EXISTS t"),
        cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert writer.stdout is not None
    last = 0
    while last < 40:
        last = int(await asyncio.wait_for(writer.stdout.readline(), 30))
    second = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, str(tmp_path), "0", cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    _, complaint = await asyncio.wait_for(second.communicate(), 60)
    assert b"app.core.errors.Unavailable" in complaint
    os.kill(writer.pid, signal.SIGKILL)
    rest, _ = await writer.communicate()
    last = int(rest.split()[-1]) if rest.split() else last

    reader = await asyncio.create_subprocess_exec(
        sys.executable, "-c", READER, str(tmp_path), str(last), cwd=REPOSITORY, stdout=asyncio.subprocess.PIPE
    )
    said, _ = await asyncio.wait_for(reader.communicate(), 60)
    assert said.decode().strip() == str([{"rows": last + 1, "numbers": last + 1, "last": last + 1}])
