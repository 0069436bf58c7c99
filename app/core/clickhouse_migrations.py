"""Versioned migrations of ClickHouse: the files of `migrations/clickhouse`, each applied once and recorded in `schema_migrations`.

ClickHouse has no transactions over definitions, so each statement can be repeated (IF NOT EXISTS): a run that was cut short, or two
runs at once, come to the same end. There is no way back; a later file mends an earlier one.

On a cluster the tables are replicated and made on all its hosts, by the cluster's macros and its default path of replicas. Over its shards,
they are called `<name>_local`, and `<name>` is a Distributed table that spreads rows by their `id`, so that all versions of one meet in one
shard; an insert is acknowledged once the shards have it, and its token counts once in each.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from string import Template
from typing import Final

from app.core.clickhouse import ClickHouse, ClickHouseOptions, Engine
from app.core.migrations import MigrationError, SchemaDrift, folder

MIGRATE_SECONDS: Final = 300.0
FILE_NAME: Final = re.compile(r"(?P<version>\d{4})_(?P<name>\w+)\.sql")
RECORDS: Final = """
    CREATE TABLE IF NOT EXISTS schema_migrations${on_cluster}
    (version UInt32, name String, checksum String, applied_at DateTime64(6, 'UTC') DEFAULT now64(6))
    ENGINE = ${replicated}ReplacingMergeTree ORDER BY version
"""
APPLIED: Final = "SELECT version, checksum FROM schema_migrations FINAL ORDER BY version"
COLUMNS: Final = """
    SELECT table, name FROM system.columns
    WHERE database = currentDatabase() AND table <> 'schema_migrations' ORDER BY table, position
"""
LOCAL: Final = "_local"
DISTRIBUTED: Final = """
    CREATE OR REPLACE TABLE `${table}`${on_cluster} AS `${table}_local`
    ENGINE = Distributed(`${cluster}`, `${database}`, `${table}_local`, cityHash64(id))
"""
ON_HOSTS: Final = re.compile(r"\b(\w+)(?=\$\{on_cluster\})")
MADE: Final = "SELECT name, engine FROM system.tables WHERE database = currentDatabase()"
RECORD: Final = "INSERT INTO schema_migrations (version, name, checksum) VALUES ({version:UInt32}, {name:String}, {checksum:String})"


@dataclass(frozen=True)
class Migration:
    """One file, as it was written: what it makes depends on the kind of server."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return sha256(self.text.encode()).hexdigest()

    def statements(self, options: ClickHouseOptions) -> Iterator[str]:
        """The statements of the file for one kind of server."""
        text = ON_HOSTS.sub(rf"\1{LOCAL}", self.text) if options.sharded else self.text
        for part in re.split(r";\s*$", rendered(text, options), flags=re.MULTILINE):
            lines = [line for line in part.splitlines() if not line.lstrip().startswith("--")]
            if statement := "\n".join(lines).strip():
                yield statement


def stored(table: str, options: ClickHouseOptions) -> str:
    """Where the rows of a table are, on all hosts: what a statement names that changes them."""
    return rendered(f"{table}{LOCAL if options.sharded else ''}${{on_cluster}}", options)


def distributed(table: str, options: ClickHouseOptions) -> str:
    """The statement that makes a table over the shards; it holds nothing itself, so it is made anew when columns have changed."""
    place = {"cluster": options.cluster, "database": options.database, "on_cluster": rendered("${on_cluster}", options)}
    return Template(DISTRIBUTED).substitute(table=table, **place).strip()


def rendered(text: str, options: ClickHouseOptions) -> str:
    """The text for a server alone, or for the hosts of a cluster."""
    on_cluster = f" ON CLUSTER `{options.cluster}`" if options.cluster else ""
    window = "replicated_deduplication_window" if options.cluster else "non_replicated_deduplication_window"
    replicated = "Replicated" if options.cluster else ""
    return Template(text).substitute(on_cluster=on_cluster, replicated=replicated, deduplication_window=window)


def known() -> list[Migration]:
    """Every migration of the code, in order. Raises `MigrationError` for a file name that is none."""
    return [_read(path) for path in sorted((folder() / "clickhouse").glob("*.sql"))]


def _read(path: Path) -> Migration:
    found = FILE_NAME.fullmatch(path.name)
    if found is None:
        raise MigrationError(f"{path.name} is not named like 0001_name.sql")
    return Migration(int(found["version"]), found["name"], path.read_text(encoding="utf-8"))


def apply(engine: Engine) -> None:
    """Make the database and bring its tables up to date, in the engine's thread.

    Raises:
        MigrationError: a migration has changed since it was applied, the database is ahead of this code, or its server knows no such
            cluster or has tables of another kind than the settings say.
        clickhouse_connect's errors: the server refused a statement; what came before it stays, and the next run goes on from there.
    """
    options = engine.options
    _check_cluster(engine)
    engine.create_database(rendered("${on_cluster}", options))
    _check_tables(engine)
    engine.execute(rendered(RECORDS, options))
    migrations = known()
    applied = {row["version"]: row["checksum"] for row in engine.fetch(APPLIED, {}, len(migrations) + 1000, MIGRATE_SECONDS)}
    _compare(migrations, applied)
    for migration in migrations:
        if migration.version not in applied:
            _apply(engine, migration)
    if options.sharded:
        _distribute(engine, anew=any(migration.version not in applied for migration in migrations))


def _check_cluster(engine: Engine) -> None:
    cluster = engine.options.cluster
    if cluster is not None and cluster not in (known := engine.clusters()):
        raise MigrationError(f"CLICKHOUSE_CLUSTER is {cluster!r}, but ClickHouse knows {', '.join(known) or 'no cluster'}")


def _tables(engine: Engine) -> dict[str, str]:
    """The engines of what is there, by name."""
    return {row["name"]: row["engine"] for row in engine.fetch(MADE, {}, 1000, MIGRATE_SECONDS)}


def _check_tables(engine: Engine) -> None:
    """Before anything is made: a table that holds rows is never replaced."""
    for name, kind in _tables(engine).items():
        is_over_shards = kind == "Distributed"
        if is_over_shards and not engine.options.sharded:
            raise MigrationError(f"{name} is spread over shards: set CLICKHOUSE_SHARDED=true, or name another CLICKHOUSE_DATABASE")
        if engine.options.sharded and not is_over_shards and not name.endswith(LOCAL) and name != "schema_migrations":
            raise MigrationError(f"{name} holds rows of its own: unset CLICKHOUSE_SHARDED, or name another CLICKHOUSE_DATABASE")


def _distribute(engine: Engine, *, anew: bool) -> None:
    """Make a table over the shards for each that they have."""
    made = _tables(engine)
    for name in sorted(name.removesuffix(LOCAL) for name in made if name.endswith(LOCAL)):
        if anew or name not in made:
            engine.execute(distributed(name, engine.options))


def _apply(engine: Engine, migration: Migration) -> None:
    for statement in migration.statements(engine.options):
        engine.execute(statement)
    engine.execute(RECORD, {"version": migration.version, "name": migration.name, "checksum": migration.checksum})


def _compare(migrations: list[Migration], applied: dict[int, str]) -> None:
    checksums = {migration.version: migration.checksum for migration in migrations}
    for version, checksum in applied.items():
        if version not in checksums:
            raise MigrationError(f"ClickHouse has migration {version:04d}, which this code does not know")
        if checksum != checksums[version]:
            raise MigrationError(f"ClickHouse's migration {version:04d} has changed since it was applied; add a new one instead")


async def upgrade(clickhouse: ClickHouse) -> None:
    """Bring ClickHouse up to date; raises `MigrationError`, `Unavailable`."""
    await clickhouse.run(apply, timeout=MIGRATE_SECONDS)


async def check(clickhouse: ClickHouse, tables: Mapping[str, Sequence[str]]) -> None:
    """Migrate, twice, and compare the columns of each table with what the models say.

    Raises:
        SchemaDrift: they differ.
        MigrationError, Unavailable: as `upgrade` does.
    """
    await upgrade(clickhouse)
    await upgrade(clickhouse)
    found = await clickhouse.fetch(COLUMNS)
    made: dict[str, list[str]] = {}
    for row in found:
        made.setdefault(row["table"], []).append(row["name"])
    said = {table: list(columns) for table, columns in tables.items()}
    if made != said:
        raise SchemaDrift(f"ClickHouse's migrations make {made}, but the models say {said}")
