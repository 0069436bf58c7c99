"""What reports list: rows of one store over a time, page by page in the order of a key, nothing of them about a person."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import (
    Column,
    Double,
    Select,
    String,
    Table,
    Text,
    Uuid,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    literal,
    select,
    true,
    tuple_,
    union_all,
)

from app.carts.models import Cart, CartItem, RecoveryEvent
from app.core.database import Session
from app.core.model import TIMESTAMP
from app.core.statement import Statement, compile_statement
from app.engagement.models import Feature, FeatureHistory, ProductFeature
from app.orders.models import Order, OrderItem, OrderStatus
from app.stores.models import ReportType, StoreSettings

PAGE: Final = 5_000
LEAST: Final = UUID(int=0)
ORDERS: Final[Table] = Order.__table__  # type: ignore[attr-defined]
LINES: Final[Table] = OrderItem.__table__  # type: ignore[attr-defined]
CARTS: Final[Table] = Cart.__table__  # type: ignore[attr-defined]
CART_LINES: Final[Table] = CartItem.__table__  # type: ignore[attr-defined]
FEATURES: Final[Table] = Feature.__table__  # type: ignore[attr-defined]
HISTORY: Final[Table] = FeatureHistory.__table__  # type: ignore[attr-defined]
OF_PRODUCTS: Final[Table] = ProductFeature.__table__  # type: ignore[attr-defined]
SETTINGS: Final[Table] = StoreSettings.__table__  # type: ignore[attr-defined]
RECOVERIES: Final[Table] = RecoveryEvent.__table__  # type: ignore[attr-defined]
WRITTEN: Final[Mapping[ReportType, tuple[Table, tuple[str, ...]]]] = {
    ReportType.SALES: (
        ORDERS,
        ("id", "number", "status", "currency", "items_total", "discount", "shipping", "tax", "total", "created_at", "completed_at"),
    ),
    ReportType.CARTS: (CARTS, ("id", "status", "currency", "items_total", "discount", "total", "created_at", "updated_at")),
    ReportType.RECOVERY: (
        RECOVERIES,
        ("id", "cart_id", "status", "created_at", "sent_at", "opened_at", "recovered_at", "currency", "recovered_amount"),
    ),
}


async def pages(session: Session, type: ReportType, values: Mapping[str, Any], size: int = PAGE) -> AsyncIterator[Sequence[Any]]:
    """Pages of a report's rows; `values` are `store_id`, `starts_at`, `ends_at` and `currency`, which may be None."""
    after: dict[str, Any] = {"after_time": values["starts_at"], "after_currency": "", "after_id": LEAST}
    while True:
        rows = await session.fetch(_statement(type, values["currency"] is not None), {**values, **after, "size": size})
        if rows:
            yield rows
        if len(rows) < size:
            return
        last = rows[-1]
        after = {"after_time": last.get("created_at"), "after_currency": last["currency"], "after_id": last["id"]}


@lru_cache(maxsize=20)
def _statement(type: ReportType, one_currency: bool) -> Statement:
    if type is ReportType.FEATURES:
        return compile_statement(_featured(one_currency))
    return compile_statement(_sold(one_currency) if type is ReportType.PRODUCTS else _listed(type, one_currency))


def _listed(type: ReportType, one_currency: bool) -> Select[Any]:
    """Rows by the time that they were made."""
    table, names = WRITTEN[type]
    columns: list[Any] = [table.c[name] for name in names]
    if type is ReportType.CARTS:
        lines = select(func.coalesce(func.sum(CART_LINES.c.quantity), 0)).where(CART_LINES.c.cart_id == table.c.id)
        columns.append(lines.scalar_subquery().label("pieces"))
    position = tuple_(table.c.created_at, table.c.id)
    after = tuple_(bindparam("after_time", type_=TIMESTAMP), bindparam("after_id", type_=Uuid))
    rows = select(*columns).where(_of_the_report(table, one_currency), position > after)
    return rows.order_by(table.c.created_at, table.c.id).limit(bindparam("size"))


def _sold(one_currency: bool) -> Select[Any]:
    """What completed orders held of each product in each currency, by the orders' time, after discounts."""
    revenue = func.sum(LINES.c.price * LINES.c.quantity - LINES.c.discount)
    after = tuple_(bindparam("after_id", type_=Uuid), bindparam("after_currency", type_=String))
    return (
        select(
            LINES.c.product_id.label("id"),
            func.max(LINES.c.name).label("name"),
            func.max(LINES.c.sku).label("sku"),
            LINES.c.currency,
            func.count().label("orders"),
            func.sum(LINES.c.quantity).label("pieces"),
            revenue.label("revenue"),
        )
        .select_from(LINES.join(ORDERS, LINES.c.order_id == ORDERS.c.id))
        .where(_of_the_report(ORDERS, one_currency), ORDERS.c.status == OrderStatus.COMPLETED.value)
        .where(tuple_(LINES.c.product_id, LINES.c.currency) > after)
        .group_by(LINES.c.product_id, LINES.c.currency)
        .order_by(LINES.c.product_id, LINES.c.currency)
        .limit(bindparam("size"))
    )


def _featured(one_currency: bool) -> Select[Any]:
    """Features that were first computed within the time, with the values that they had at its end: nothing of them is from later.

    `value` is JSON as text, `number` the same where it is one, for those who train models.
    """
    after = tuple_(bindparam("after_time", type_=TIMESTAMP), bindparam("after_id", type_=Uuid))
    parts = [_last_of_carts(one_currency), _last_of_products(one_currency)]
    rows = [
        part.where(
            tuple_(times, id) > after, times >= bindparam("starts_at", type_=TIMESTAMP), times < bindparam("ends_at", type_=TIMESTAMP)
        )
        .order_by(times, id)
        .limit(bindparam("size"))
        .subquery()
        for part, times, id in parts
    ]
    both = union_all(*(select(row) for row in rows)).subquery("features")
    return select(both).order_by(both.c.created_at, both.c.id).limit(bindparam("size"))


def _last_of_carts(one_currency: bool) -> tuple[Select[Any], Any, Any]:
    before = select(HISTORY).where(HISTORY.c.feature_id == FEATURES.c.id, HISTORY.c.created_at < bindparam("ends_at", type_=TIMESTAMP))
    last = before.order_by(HISTORY.c.revision.desc()).limit(1).correlate(FEATURES).lateral("last")
    found = FEATURES.join(CARTS, FEATURES.c.cart_id == CARTS.c.id).join(last, true())
    rows = select(*_shown(FEATURES, last, "cart"), CARTS.c.currency).select_from(found)
    return rows.where(*_of_store(CARTS, one_currency)), FEATURES.c.created_at, FEATURES.c.id


def _last_of_products(one_currency: bool) -> tuple[Select[Any], Any, Any]:
    """Rows are revisions: the first of each says when it began, and stands for it."""
    later, earlier, key = OF_PRODUCTS.alias("later"), OF_PRODUCTS.alias("earlier"), ("product_id", "store_id", "name", "version")
    before = select(later).where(
        *(later.c[name] == OF_PRODUCTS.c[name] for name in key), later.c.created_at < bindparam("ends_at", type_=TIMESTAMP)
    )
    last = before.order_by(later.c.created_at.desc()).limit(1).correlate(OF_PRODUCTS).lateral("last")
    sooner = (earlier.c[name] == OF_PRODUCTS.c[name] for name in key)
    first = ~exists().where(*sooner, earlier.c.created_at < OF_PRODUCTS.c.created_at)
    found = OF_PRODUCTS.join(SETTINGS, SETTINGS.c.store_id == OF_PRODUCTS.c.store_id).join(last, true())
    rows = select(*_shown(OF_PRODUCTS, last, "product"), SETTINGS.c.currency).select_from(found)
    in_currency = [SETTINGS.c.currency == bindparam("currency", type_=String)] if one_currency else ()
    of_store = OF_PRODUCTS.c.store_id == bindparam("store_id", type_=Uuid)
    return rows.where(first, of_store, *in_currency), OF_PRODUCTS.c.created_at, OF_PRODUCTS.c.id


def _shown(table: Table, last: Any, subject: str) -> list[Any]:
    number = case((func.jsonb_typeof(last.c.value) == "number", cast(cast(last.c.value, Text), Double)))
    named = {
        "subject": literal(subject, String),
        "subject_id": table.c[f"{subject}_id"],
        "value": cast(last.c.value, Text),
        "number": number,
    }
    columns = [value.label(name) for name, value in named.items()]
    return [table.c.id, table.c.created_at, table.c.name, table.c.version, *columns, last.c.created_at.label("computed_at")]


def _of_the_report(table: Table, one_currency: bool) -> Any:
    made: Column[Any] = table.c.created_at
    period = (made >= bindparam("starts_at", type_=TIMESTAMP), made < bindparam("ends_at", type_=TIMESTAMP))
    return and_(*period, *_of_store(table, one_currency))


def _of_store(table: Table, one_currency: bool) -> list[Any]:
    in_currency = [table.c.currency == bindparam("currency", type_=String)] if one_currency else []
    return [table.c.store_id == bindparam("store_id", type_=Uuid), *in_currency]
