"""Which tables and columns may be checked: what the databases' own catalogs say, without secrets."""

from typing import Any, Final

from sqlalchemy import column, select, table, text

from app.core.factory import RepositoryFactory
from app.core.statement import Statement, compile_statement
from app.quality.models.parameters import CLICKHOUSE_TABLES, TABLES, CheckedTable, ColumnKind, is_secret

KINDS: Final = {
    **dict.fromkeys(("smallint", "integer", "bigint", "numeric", "real", "double precision"), ColumnKind.NUMBER),
    "timestamp with time zone": ColumnKind.MOMENT,
    **dict.fromkeys(("text", "character varying"), ColumnKind.TEXT),
    "uuid": ColumnKind.ID,
    "boolean": ColumnKind.FLAG,
}
IN_CLICKHOUSE: Final = {
    **dict.fromkeys(("Int", "UInt", "Float", "Decimal"), ColumnKind.NUMBER),
    "DateTime": ColumnKind.MOMENT,
    "String": ColumnKind.TEXT,
    "UUID": ColumnKind.ID,
    "Bool": ColumnKind.FLAG,
}
CLICKHOUSE_COLUMNS: Final = """
    SELECT name, type FROM system.columns WHERE database = currentDatabase() AND table = {table:String} ORDER BY position
"""
WRAPPERS: Final = ("LowCardinality(", "Nullable(")


def _columns() -> Statement:
    columns = table("columns", column("table_name"), column("column_name"), column("data_type"), schema="information_schema")
    found = select(columns.c.column_name, columns.c.data_type)
    return compile_statement(found.where(text("table_schema = 'public' and table_name = :table")))


COLUMNS: Final = _columns()


async def find_table(repositories: RepositoryFactory, name: str) -> CheckedTable | None:
    """The table, if it may be checked and is there. ClickHouse is only asked about its own."""
    if name in TABLES:
        rows: list[Any] = await repositories.database.fetch(COLUMNS, {"table": name})
        kinds = {row.column_name: KINDS.get(row.data_type, ColumnKind.OTHER) for row in rows}
        return _checked(name, kinds, in_clickhouse=False)
    if name in CLICKHOUSE_TABLES and repositories.clickhouse is not None:
        found = await repositories.clickhouse.fetch(CLICKHOUSE_COLUMNS, {"table": name})
        return _checked(name, {row["name"]: _kind(row["type"]) for row in found}, in_clickhouse=True)
    return None


def _checked(name: str, kinds: dict[str, ColumnKind], *, in_clickhouse: bool) -> CheckedTable | None:
    open_columns = {column: kind for column, kind in kinds.items() if not is_secret(column)}
    return CheckedTable(name, open_columns, in_clickhouse) if open_columns else None


def _kind(type_name: str) -> ColumnKind:
    """The kind of a type such as `LowCardinality(Nullable(String))` or `DateTime64(6, 'UTC')`."""
    for wrapper in WRAPPERS:
        type_name = type_name.removeprefix(wrapper)
    plain = type_name.partition("(")[0].rstrip(")0123456789")
    return IN_CLICKHOUSE.get(plain, ColumnKind.OTHER)
