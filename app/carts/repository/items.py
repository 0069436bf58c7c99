"""The lines of carts."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, exists, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import UUID as PG_UUID
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import MAX_LINE_QUANTITY, MAX_LINES, CartItem
from app.carts.offers import Offer
from app.carts.repository.offers import offer_of, offers
from app.carts.repository.scope import CARTS, cart_rows
from app.core.batch import many_by
from app.core.errors import ErrorCode
from app.core.model import MONEY
from app.core.paging import NEWEST_FIRST, Sort
from app.core.repository import Repository
from app.core.security import ViewerKind


class CartItemRepository(Repository[CartItem]):
    """Lines are seen through their cart."""

    model = CartItem
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "ck_cart_items_quantity": (ErrorCode.INVALID, "quantity", f"must be between 1 and {MAX_LINE_QUANTITY}"),
    }

    find_by_cart_ids = many_by("cart_id", sorts=(Sort("created_at"), Sort("id")), limit=MAX_LINES, scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return exists().where(CARTS.c.id == table.c.cart_id, ~CARTS.c.is_deleted, cart_rows(CARTS, viewer))

    async def find_by_cart_id(self, cart_id: UUID) -> list[CartItem]:
        """The lines in the order of their products, in which stock is locked."""
        return await self.find_many({"cart_id": cart_id}, (Sort("product_id"),))

    async def find_by_product_id(self, product_id: UUID) -> list[CartItem]:
        return await self.find_many({"product_id": product_id}, NEWEST_FIRST)

    async def find_by_cart_and_product(self, cart_id: UUID, product_id: UUID) -> CartItem | None:
        return await self.find_first({"cart_id": cart_id, "product_id": product_id})

    async def reprice(self, cart_id: UUID, prices: Mapping[UUID, Decimal]) -> None:
        """Give lines the present prices of their products."""
        statement = self.statement("reprice", self._reprice)
        await self.rows(statement, cart_id=cart_id, product_ids=list(prices), prices=list(prices.values()))

    async def get_cart_items_count(self, cart_id: UUID) -> int:
        """How many pieces a cart holds."""
        quantity = func.coalesce(func.sum(self.table.c.quantity), 0)
        statement = self.statement(
            "get_cart_items_count", lambda: select(quantity).where(self.table.c.cart_id == bindparam("cart_id"), self.visible(self.table))
        )
        return int(await self.value(statement, cart_id=cart_id))

    async def get_cart_total_value(self, cart_id: UUID) -> Decimal:
        """The sum of the lines, in the cart's currency."""
        total = func.coalesce(func.sum(self.table.c.quantity * self.table.c.price), 0)
        statement = self.statement(
            "get_cart_total_value", lambda: select(total).where(self.table.c.cart_id == bindparam("cart_id"), self.visible(self.table))
        )
        return Decimal(await self.value(statement, cart_id=cart_id))

    def _reprice(self) -> Any:
        ids, prices = bindparam("product_ids", type_=ARRAY(PG_UUID(as_uuid=True))), bindparam("prices", type_=ARRAY(MONEY))
        given = func.unnest(ids, prices).table_valued("product_id", "price", name="given").render_derived()
        return (
            update(self.table)
            .where(self.table.c.cart_id == bindparam("cart_id"), self.table.c.product_id == given.c.product_id, self.visible(self.table))
            .values(price=given.c.price, updated_at=func.now())
            .returning(self.table.c.id)
        )

    async def find_offers(self, ids: Sequence[UUID]) -> list[Offer | None]:
        """What the products of lines cost now and whether they can be had, in the order of the lines' ids."""
        found = {row["id"]: offer_of(row) for row in await self.rows(self.statement("find_offers", offers), ids=list(ids))}  # type: ignore[index]
        return [found.get(id) for id in ids]

    async def put(self, cart_id: UUID, lines: Sequence[Mapping[str, Any]]) -> None:
        """Set lines of a cart: quantity, price and currency by product. Those of other products stay."""
        statement = self.statement("put", self._put)
        columns = {f"{name}s": [line[name] for line in lines] for name in ("product_id", "quantity", "price", "currency")}
        await self.rows(statement, cart_id=cart_id, **columns)

    def _put(self) -> Any:
        names = ("product_id", "quantity", "price", "currency")
        given = func.unnest(*(bindparam(f"{name}s", type_=ARRAY(self.table.c[name].type)) for name in names))
        lines = given.table_valued(*names, name="given").render_derived()
        row = upsert(self.table).from_select(
            ["cart_id", *names], select(bindparam("cart_id", type_=self.table.c.cart_id.type), *(lines.c[name] for name in names))
        )
        changed = {name: row.excluded[name] for name in names[1:]}
        return row.on_conflict_do_update(index_elements=["cart_id", "product_id"], set_={**changed, "updated_at": func.now()}).returning(
            self.table.c.id
        )
