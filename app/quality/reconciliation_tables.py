"""The tables that rules may compare. Names of tables and columns that are not here reach no statement."""

from collections.abc import Mapping
from typing import Any, Final

from app.core.comparison import Column, ComparedTable, Comparison, Kind, Projection, Side, fit, projections, table
from app.core.comparison_clickhouse import ClickHouseSide
from app.core.comparison_postgres import PostgresSide
from app.core.errors import ErrorCode, UserError
from app.orders.models.mirror import MIRROR
from app.quality.models import MOST_PAIRS


def ids(*names: str) -> list[Column]:
    return [Column(name, Kind.UUID) for name in names]


def amounts(*names: str) -> list[Column]:
    """Money: `numeric(19,4)`."""
    return [Column(name, Kind.NUMBER, 4) for name in names]


def whole(*names: str) -> list[Column]:
    return [Column(name, Kind.INTEGER) for name in names]


def texts(*names: str) -> list[Column]:
    return [Column(name, Kind.TEXT) for name in names]


def moments(*names: str) -> list[Column]:
    return [Column(name, Kind.MOMENT) for name in names]


ORDER: Final = (
    *ids("id", "store_id"),
    *whole("number"),
    *texts("status", "currency"),
    *amounts("items_total", "discount", "shipping", "tax", "total"),
    *moments("created_at", "updated_at", "completed_at"),
)
POSTGRES: Final[Mapping[str, ComparedTable]] = {
    found.name: found
    for found in (
        table(
            "orders", *ORDER, *ids("cart_id", "user_id", "payment_id"), *texts("payment_method", "voucher_code"), *amounts("included_tax")
        ),
        table(
            "order_items", *ids("id", "order_id", "product_id"), *texts("name", "sku", "currency"), *whole("quantity"), *amounts("price")
        ),
        table("payments", *ids("id", "order_id"), *texts("status", "currency", "provider"), *amounts("amount", "captured_amount")),
        table("carts", *ids("id", "user_id", "store_id"), *texts("status", "currency"), *amounts("items_total", "total")),
        table("cart_items", *ids("id", "cart_id", "product_id"), *whole("quantity"), *amounts("price")),
        table("products", *ids("id"), *texts("name", "sku", "status", "currency"), *amounts("price"), Column("is_deleted", Kind.FLAG)),
    )
}
CLICKHOUSE: Final[Mapping[str, ComparedTable]] = {MIRROR: table(MIRROR, *ORDER)}
TABLES: Final = {**POSTGRES, **CLICKHOUSE}
REPAIRABLE: Final = (("orders", MIRROR),)
"""Pairs whose target can be made of its source."""


def checked_pairs(rule: Any) -> list[tuple[str, str]]:
    """The pairs of columns that a rule compares; without any of its own, all that both tables have but the key.

    Raises `UserError` naming the field of the rule and what it may be.
    """
    source, target = _table(rule.source_table, "source_table"), _table(rule.target_table, "target_table")
    if source is target:
        raise UserError(ErrorCode.INVALID, "must be another table than sourceTable", "target_table")
    keys = [key for key in source.keys if key in target.keys]
    if rule.join_key not in keys:
        raise UserError(ErrorCode.INVALID, f"must be a key of both tables: {_listed(keys)}", "join_key")
    given = list(zip(rule.source_columns, rule.target_columns, strict=True)) or [
        (name, name) for name in source.columns if name in target.columns and name != rule.join_key
    ]
    for left, right in given[:MOST_PAIRS]:
        ours, theirs = _column(source, left, "source_columns"), _column(target, right, "target_columns")
        if not fit(ours, theirs):
            message = f"{left} holds {ours.kind.lower()} values and {right} {theirs.kind.lower()} ones, which cannot be compared"
            raise UserError(ErrorCode.INVALID, message, "target_columns")
    return given


def comparison_of(repositories: Any, rule: Any) -> Comparison:
    """The comparison that a rule stands for; raises as `checked_pairs` does, and `Unavailable` where this process has no ClickHouse."""
    pairs = checked_pairs(rule)
    source, target = projections(TABLES[rule.source_table], TABLES[rule.target_table], rule.join_key, pairs)
    return Comparison(_side(repositories, source), _side(repositories, target), rule.tolerance)


def is_repairable(rule: Any) -> bool:
    return (rule.source_table, rule.target_table) in REPAIRABLE


def _side(repositories: Any, projection: Projection) -> Side:
    if projection.table.name in POSTGRES:
        return PostgresSide(repositories.database, projection)
    return ClickHouseSide(repositories.analytical, projection)


def _table(name: str, field: str) -> ComparedTable:
    if name not in TABLES:
        raise UserError(ErrorCode.INVALID, f"must be one of {_listed(TABLES)}", field)
    return TABLES[name]


def _column(of: ComparedTable, name: str, field: str) -> Column:
    if name not in of.columns:
        raise UserError(ErrorCode.INVALID, f"{of.name} has no column {name} to compare; it has {_listed(of.columns)}", field)
    return of.columns[name]


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
