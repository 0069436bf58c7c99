"""The statement of each check, for PostgreSQL by SQLAlchemy, for ClickHouse with names bound as identifiers.

Every name comes from a catalog and is quoted or bound, every value is bound. A statement only reads, in a connection that cannot write, and
is ended after a time limit. It gives the number of rows, of those that are wrong, and the keys of the first of these.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from operator import eq, ge, gt, le, lt
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    DateTime,
    FromClause,
    Numeric,
    Select,
    Text,
    bindparam,
    cast,
    column,
    exists,
    func,
    literal,
    not_,
    or_,
    select,
    table,
    tuple_,
)

from app.carts.models import Cart, CartItem
from app.core.clickhouse import ClickHouse
from app.core.database import Database
from app.core.statement import compile_statement
from app.orders.models import Order, OrderItem, OrderStatus, Payment, PaymentStatus
from app.quality.models import QualityCheckType
from app.quality.models.parameters import Check, CheckedTable, ColumnKind, Finding, Operator, Rule

MOST_SAMPLES: Final = 20
KEY: Final = "id"


async def examine(check: Check, database: Database, clickhouse: ClickHouse | None, seconds: float) -> Finding:
    """Run a check. Raises `InvalidValue` for a pattern that is none, `Unavailable` or `TooLarge` where it takes too long."""
    if check.table.in_clickhouse:
        assert clickhouse is not None
        return await _examine_clickhouse(check, clickhouse, seconds)
    async with database.reading(seconds) as transaction:
        row = await transaction.fetch_row(compile_statement(_statement(check)), {})
    assert row is not None
    return Finding(**dict(row))


# --- PostgreSQL


def _statement(check: Check) -> Select[Any]:
    rows = _rows(check.table)
    total = select(func.count()).select_from(rows).scalar_subquery().label("total")
    if check.type is QualityCheckType.FRESHNESS_CHECK:
        return select(total, select(func.max(_column(rows, check))).scalar_subquery().label("newest"))
    key = cast(rows.c[KEY], Text).label("key") if KEY in check.table.columns else literal("").label("key")
    wrong = select(key).where(CONDITIONS[check.type](rows, check)).cte("wrong")
    sample = select(wrong.c.key).order_by(wrong.c.key).limit(MOST_SAMPLES).scalar_subquery()
    return select(
        total,
        select(func.count()).select_from(wrong).scalar_subquery().label("affected"),
        func.array(sample).label("sample"),
    )


def _rows(checked: CheckedTable) -> Any:
    return table(checked.name, *(column(name) for name in checked.columns))


def _column(rows: FromClause, check: Check) -> ColumnElement[Any]:
    assert check.column is not None
    return rows.c[check.column]


def _shared(rows: FromClause, check: Check) -> ColumnElement[bool]:
    others = _rows(check.table).alias("others")
    same = [others.c[name] for name in check.columns]
    shared = select(*same).group_by(*same).having(func.count() > 1)
    return tuple_(*(rows.c[name] for name in check.columns)).in_(shared)


def _beyond(rows: FromClause, check: Check) -> ColumnElement[bool]:
    kind: Any = DateTime(timezone=True) if check.kind is ColumnKind.MOMENT else Numeric()
    value = _column(rows, check)
    sides = {"min": value.__lt__, "max": value.__gt__}
    return or_(*(sides[name](bindparam(name, bound, type_=kind)) for name, bound in check.bounds.items()))


def _unlike(rows: FromClause, check: Check) -> ColumnElement[bool]:
    unlike: ColumnElement[bool] = _column(rows, check).op("!~", is_comparison=True)(
        bindparam("pattern", check.parameters.expression, type_=Text)
    )
    return unlike


def _orphaned(rows: FromClause, check: Check) -> ColumnElement[bool]:
    assert check.parent is not None
    parents, value = _rows(check.parent).alias("parents"), _column(rows, check)
    return value.is_not(None) & ~exists(select(1).where(parents.c[check.parameters.column] == value))


def _inconsistent(rows: FromClause, check: Check) -> ColumnElement[bool]:
    if check.parameters.rule is not None:
        return RULES[check.parameters.rule](rows, check)
    compare = COMPARISONS[check.parameters.operator]
    consistent: ColumnElement[bool] = compare(_column(rows, check), rows.c[check.parameters.column])
    return not_(consistent)


def _unlike_lines(rows: FromClause, check: Check) -> ColumnElement[bool]:
    lines, owner = LINES[check.table.name]
    total = select(func.coalesce(func.sum(lines.c.quantity * lines.c.price), 0)).where(lines.c[owner] == rows.c.id)
    unlike: ColumnElement[bool] = rows.c.items_total != total.scalar_subquery()
    return unlike


def _unpaid(rows: FromClause, _check: Check) -> ColumnElement[bool]:
    taken = or_(*(PAYMENTS.c.status == status.value for status in (PaymentStatus.COMPLETED, PaymentStatus.REFUNDED)))
    paid = exists(select(1).where(PAYMENTS.c.order_id == rows.c.id, taken))
    return (rows.c.status == OrderStatus.COMPLETED.value) & (rows.c.total > 0) & ~paid


Condition = Callable[[FromClause, Check], ColumnElement[bool]]
CONDITIONS: Final[Mapping[QualityCheckType, Condition]] = {
    QualityCheckType.NULL_CHECK: lambda rows, check: _column(rows, check).is_(None),
    QualityCheckType.DUPLICATE_CHECK: _shared,
    QualityCheckType.RANGE_CHECK: _beyond,
    QualityCheckType.FORMAT_CHECK: _unlike,
    QualityCheckType.REFERENCE_CHECK: _orphaned,
    QualityCheckType.CONSISTENCY_CHECK: _inconsistent,
}
RULES: Final[Mapping[Rule, Condition]] = {Rule.LINES_TOTAL: _unlike_lines, Rule.PAID: _unpaid}
COMPARISONS: Final[Mapping[Operator, Callable[[Any, Any], Any]]] = {
    Operator.EQ: eq,
    Operator.LT: lt,
    Operator.LTE: le,
    Operator.GT: gt,
    Operator.GTE: ge,
}
LINES: Final[Mapping[str, tuple[Any, str]]] = {
    Cart.__tablename__: (CartItem.__table__, "cart_id"),  # type: ignore[attr-defined]
    Order.__tablename__: (OrderItem.__table__, "order_id"),  # type: ignore[attr-defined]
}
PAYMENTS: Final[Any] = Payment.__table__  # type: ignore[attr-defined]


# --- ClickHouse


SETTINGS: Final = "SETTINGS final = 1, prefer_column_name_to_alias = 1"
"""Each row in its latest version; and a column that is called as one of our figures is meant where it is named."""


async def _examine_clickhouse(check: Check, clickhouse: ClickHouse, seconds: float) -> Finding:
    names = {"table": check.table.name, **({"column": check.column} if check.column else {})}
    if check.type is QualityCheckType.FRESHNESS_CHECK:
        query = f"SELECT count() AS total, maxOrNull({{column:Identifier}}) AS newest FROM {{table:Identifier}} {SETTINGS}"  # noqa: S608
        [row] = await clickhouse.fetch(query, names, timeout=seconds)
        return Finding(**row)
    wrong, values = WRONG[check.type](check)
    sample = f"groupArraySortedIf({MOST_SAMPLES})(toString({{key:Identifier}}), {wrong})" if KEY in check.table.columns else "[]"
    query = f"SELECT count() AS total, countIf({wrong}) AS affected, {sample} AS sample FROM {{table:Identifier}} {SETTINGS}"  # noqa: S608 - every name is bound
    [row] = await clickhouse.fetch(query, {**names, "key": KEY, **values}, timeout=seconds)
    return Finding(**row)


Wrong = tuple[str, dict[str, Any]]


def _null(_check: Check) -> Wrong:
    return "isNull({column:Identifier})", {}


def _shared_in_clickhouse(check: Check) -> Wrong:
    values = {f"c{n}": name for n, name in enumerate(check.columns)}
    same = ", ".join(f"{{{name}:Identifier}}" for name in values)
    there = " AND ".join(f"isNotNull({{{name}:Identifier}})" for name in values)
    groups = f"SELECT {same} FROM {{table:Identifier}} WHERE {there} GROUP BY {same} HAVING count() > 1"  # noqa: S608 - every name is bound
    return f"({there} AND ({same}) IN ({groups}))", values


def _beyond_in_clickhouse(check: Check) -> Wrong:
    kind = "DateTime64(6, 'UTC')" if check.kind is ColumnKind.MOMENT else "Decimal(38, 9)"
    signs, bounds = {"min": "<", "max": ">"}, check.bounds
    values = {name: format(bound, "f") if isinstance(bound, Decimal) else bound for name, bound in bounds.items()}
    return " OR ".join(f"{{column:Identifier}} {signs[name]} {{{name}:{kind}}}" for name in bounds), values


def _unlike_in_clickhouse(check: Check) -> Wrong:
    return "NOT match({column:Identifier}, {pattern:String})", {"pattern": check.parameters.expression}


def _orphaned_in_clickhouse(check: Check) -> Wrong:
    parents = "SELECT {parent_column:Identifier} FROM {parent:Identifier}"
    assert check.parent is not None
    names = {"parent": check.parent.name, "parent_column": check.parameters.column}
    return f"(isNotNull({{column:Identifier}}) AND {{column:Identifier}} NOT IN ({parents}))", names


def _inconsistent_in_clickhouse(check: Check) -> Wrong:
    sign = {Operator.EQ: "=", Operator.LT: "<", Operator.LTE: "<=", Operator.GT: ">", Operator.GTE: ">="}[check.parameters.operator]
    return f"NOT ({{column:Identifier}} {sign} {{other:Identifier}})", {"other": check.parameters.column}


WRONG: Final[Mapping[QualityCheckType, Callable[[Check], Wrong]]] = {
    QualityCheckType.NULL_CHECK: _null,
    QualityCheckType.DUPLICATE_CHECK: _shared_in_clickhouse,
    QualityCheckType.RANGE_CHECK: _beyond_in_clickhouse,
    QualityCheckType.FORMAT_CHECK: _unlike_in_clickhouse,
    QualityCheckType.REFERENCE_CHECK: _orphaned_in_clickhouse,
    QualityCheckType.CONSISTENCY_CHECK: _inconsistent_in_clickhouse,
}
