"""The statement that looks at the products behind lines of carts."""

from typing import Any

from sqlalchemy import and_, any_, bindparam, case, false, func, null, or_, select
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID

from app.carts.offers import Offer
from app.carts.repository.scope import CARTS, ITEMS
from app.catalog.models import Inventory, InventoryPolicy, ProductStatus
from app.catalog.repository.scope import PRODUCTS, sold_in, sold_somewhere

STOCK = Inventory.__table__  # type: ignore[attr-defined]


def offers() -> Any:
    """The products of the lines `:ids`, which the caller may see, as they are now."""
    same_currency = PRODUCTS.c.currency == ITEMS.c.currency
    sold = or_(sold_in(PRODUCTS, CARTS.c.store_id), and_(CARTS.c.store_id.is_(None), sold_somewhere(PRODUCTS)))
    for_sale = and_(PRODUCTS.c.status == ProductStatus.ACTIVE.value, ~PRODUCTS.c.is_deleted, same_currency, sold)
    limited = func.coalesce(STOCK.c.policy, InventoryPolicy.DENY.value) == InventoryPolicy.DENY.value
    return (
        select(
            *(ITEMS.c[name] for name in ("id", "product_id", "quantity", "currency", "price")),
            case((same_currency, PRODUCTS.c.price), else_=null()).label("current_price"),
            func.coalesce(for_sale, false()).label("is_for_sale"),
            case((limited, func.coalesce(STOCK.c.available, 0)), else_=null()).label("free"),
        )
        .join(CARTS, CARTS.c.id == ITEMS.c.cart_id)
        .join(PRODUCTS, PRODUCTS.c.id == ITEMS.c.product_id)
        .outerjoin(STOCK, STOCK.c.product_id == ITEMS.c.product_id)
        .where(ITEMS.c.id == any_(bindparam("ids", type_=ARRAY(PG_UUID(as_uuid=True)))))
        .order_by(ITEMS.c.product_id)
    )


def offer_of(row: Any) -> Offer:
    return Offer(row["product_id"], row["quantity"], row["currency"], row["price"], row["current_price"], row["is_for_sale"], row["free"])
