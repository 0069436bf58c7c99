"""What compiled statements say of themselves."""

from typing import Any

import pytest
from sqlalchemy import bindparam, delete, exists, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.catalog.models import Inventory, Product, ProductStore
from app.core.statement import compile_statement
from app.stores.models import Store

PRODUCTS, INVENTORY, LINKS, STORES = (model.__table__ for model in (Product, Inventory, ProductStore, Store))  # type: ignore[union-attr]
ONE, OTHER = PRODUCTS.alias("one"), PRODUCTS.alias("other")
MOVED = update(INVENTORY).values(on_hand=0).returning(INVENTORY.c.product_id).cte("moved")


@pytest.mark.parametrize(
    ("clause", "reads"),
    [
        (select(PRODUCTS), ["products"]),
        (select(ONE.c.id).join(OTHER, ONE.c.id == OTHER.c.id), ["products", "products"]),
        (select(ONE.c.id).where(exists().where(LINKS.c.product_id == ONE.c.id)), ["product_stores", "products"]),
        (select(select(func.count()).select_from(STORES).scalar_subquery(), ONE.c.id), ["products", "stores"]),
        (select(select(PRODUCTS).limit(3).subquery().lateral("rows")), ["products"]),
        (select(func.now()), []),
    ],
)
def test_a_statement_knows_which_tables_it_reads_and_how_often(clause: Any, reads: list[str]) -> None:
    statement = compile_statement(clause)
    assert sorted(statement.reads) == reads
    assert statement.writes == frozenset()


@pytest.mark.parametrize(
    ("clause", "writes"),
    [
        (insert(PRODUCTS).values(name=bindparam("name")), {"products"}),
        (upsert(LINKS).values(product_id=bindparam("id"), store_id=bindparam("store")).on_conflict_do_nothing(), {"product_stores"}),
        (update(INVENTORY).where(INVENTORY.c.product_id == PRODUCTS.c.id).values(on_hand=1), {"inventory"}),
        (select(PRODUCTS.c.name).join(MOVED, MOVED.c.product_id == PRODUCTS.c.id), {"inventory"}),
        (delete(LINKS), {"product_stores"}),
    ],
)
def test_a_statement_knows_which_tables_it_changes(clause: Any, writes: set[str]) -> None:
    assert compile_statement(clause).writes == writes


def test_a_deletion_changes_what_refers_to_the_row() -> None:
    writes = compile_statement(delete(PRODUCTS)).writes
    assert {"products", "inventory", "product_stores", "cart_items"} <= writes
    assert "order_items" not in writes
