"""Carts, their lines and the attempts to win them back: every statement on them.

Whoever changes a cart locks its row first, so lines, total and version always agree, and an order sees a cart that nobody is changing.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, exists, false, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import MAX_LINE_QUANTITY, Cart, CartItem, CartStatus, RecoveryEvent, RecoveryStatus
from app.catalog.repository import ProductRepository
from app.core.batch import many_by
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.paging import NEWEST_FIRST, Sort
from app.core.repository import Repository, transactional
from app.core.security import ViewerKind

CARTS = Cart.__table__  # type: ignore[attr-defined]
MAX_LINES = 200
"""The most different products in one cart."""


def own_or_of_store(table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
    """A shopper's own rows; the rows of the store for its staff."""
    if viewer is ViewerKind.SHOPPER:
        return table.c.user_id == bindparam("viewer_id")
    if viewer is ViewerKind.STAFF:
        return (table.c.store_id == bindparam("viewer_store_id")) | (table.c.user_id == bindparam("viewer_id"))
    return false()


class CartRepository(Repository[Cart]):
    """Shoppers see their carts, staff the carts of their store."""

    model = Cart

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_or_of_store(table, viewer)

    async def find_by_user(self, user_id: UUID) -> list[Cart]:
        return await self.find_many({"user_id": user_id}, NEWEST_FIRST)

    async def find_by_status(self, status: CartStatus) -> list[Cart]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def find_active_by_user(self, user_id: UUID, store_id: UUID | None = None) -> Cart | None:
        """The user's newest ACTIVE cart; of one store where it is given."""
        where = {"user_id": user_id, "status": CartStatus.ACTIVE.value, **({"store_id": store_id} if store_id else {})}
        return await self.find_first(where, NEWEST_FIRST)

    async def obtain_active(self, user_id: UUID, store_id: UUID | None, currency: str) -> Cart:
        """The user's ACTIVE cart at a store, made if there is none. Callers that race get the same one."""
        await self.row(self.statement("make_active", self._make_active), user_id=user_id, store_id=store_id, currency=currency)
        found = await self.find_first({"user_id": user_id, "store_id": store_id, "status": CartStatus.ACTIVE.value})
        if found is None:
            raise NotFound("no Cart could be made")
        return found

    @transactional
    async def put_in(
        self, user_id: UUID, product_id: UUID, quantity: int, *, cart_id: UUID | None = None, store_id: UUID | None = None
    ) -> Cart:
        """Add pieces of a product to a cart: the one given, or else the user's active one, made if there is none.

        Raises `UserError` for a product that is not for sale there, a cart that cannot change, or too many pieces.
        """
        product = await self.repositories.unscoped.of(ProductRepository).find_first({"id": product_id, "status": "ACTIVE"})
        if product is None:
            raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, "this product is not for sale", "product_id")
        if cart_id is None:
            cart_id = await self._active_cart_id(user_id, product_id, store_id, product.currency)
        return await self.add_item(cart_id, product_id, quantity)

    @transactional
    async def add_item(self, cart_id: UUID, product_id: UUID, quantity: int, price: Decimal | None = None) -> Cart:
        """Add pieces of a product to an active cart; the price is the product's present one unless it is given. Raises `UserError`."""
        cart = await self.lock_active(cart_id)
        product = await self._for_sale(cart, product_id)
        line = {"cart_id": cart_id, "product_id": product_id, "quantity": quantity, "currency": cart.currency}
        added = await self.row(self.statement("add_line", self._add_line), **line, price=product.price if price is None else price)
        if added is None:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"a cart holds at most {MAX_LINE_QUANTITY} pieces of a product", "quantity")
        await self._check_lines(cart_id)
        return await self.recalculate_total(cart_id)

    @transactional
    async def update_item(self, cart_id: UUID, product_id: UUID, quantity: int) -> Cart:
        """Set how many pieces of a product an active cart holds; 0 removes it. Raises `UserError`."""
        await self.lock_active(cart_id)
        items = self.repositories.unscoped.of(CartItemRepository)
        line = {"cart_id": cart_id, "product_id": product_id}
        changed = await (items.update_many(line, {"quantity": quantity}) if quantity else items.delete_many(line))
        if not changed:
            raise UserError(ErrorCode.NOT_FOUND, "this product is not in the cart", "product_id")
        return await self.recalculate_total(cart_id)

    @transactional
    async def clear_cart(self, cart_id: UUID) -> Cart:
        """Remove every line of an active cart. Raises `UserError`."""
        await self.lock_active(cart_id)
        await self.repositories.unscoped.of(CartItemRepository).delete_many({"cart_id": cart_id})
        return await self.recalculate_total(cart_id)

    async def recalculate_total(self, cart_id: UUID) -> Cart:
        """Set the total to the sum of the lines, and count the change. Raises `NotFound`."""
        row = await self.row(self.statement("recalculate_total", self._recalculate), cart_id=cart_id)
        if row is None:
            raise NotFound("no Cart has this id")
        return row

    async def update_status(self, id: UUID, status: CartStatus) -> Cart:
        """Change a cart's status and stamp a conversion. Raises `NotFound`."""
        converted_at = self.repositories.now() if status is CartStatus.CONVERTED else None
        return await self.update_by_id(id, {"status": status.value, "converted_at": converted_at})

    async def lock_active(self, cart_id: UUID) -> Cart:
        """The cart, locked against other writers. Raises `UserError` when there is none that the viewer may change, or it is not active."""
        cart = await self.lock_by_id(cart_id)
        if cart is None:
            raise UserError(ErrorCode.NOT_FOUND, "no cart has this id", "cart_id")
        if cart.status != CartStatus.ACTIVE:
            raise UserError(ErrorCode.CART_NOT_ACTIVE, f"the cart is {cart.status} and cannot change", "cart_id")
        return cart

    async def _active_cart_id(self, user_id: UUID, product_id: UUID, store_id: UUID | None, currency: str) -> UUID:
        store_id = store_id or await self.repositories.unscoped.of(ProductRepository).find_oldest_store_id(product_id)
        if store_id is None:
            raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, "no store sells this product", "product_id")
        return (await self.obtain_active(user_id, store_id, currency)).id

    async def _for_sale(self, cart: Cart, product_id: UUID) -> Any:
        products = self.repositories.unscoped.of(ProductRepository)
        product = await products.find_first({"id": product_id, "status": "ACTIVE"})
        if product is None or (cart.store_id is not None and not await products.is_sold_by(product_id, cart.store_id)):
            raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, "this product is not for sale in the cart's store", "product_id")
        if product.currency != cart.currency:
            raise UserError(
                ErrorCode.CURRENCY_MISMATCH, f"the product is sold in {product.currency}, the cart is in {cart.currency}", "product_id"
            )
        return product

    async def _check_lines(self, cart_id: UUID) -> None:
        if await self.repositories.unscoped.of(CartItemRepository).count({"cart_id": cart_id}) > MAX_LINES:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"a cart holds at most {MAX_LINES} different products", "product_id")

    def _make_active(self) -> Any:
        row = upsert(self.table).values({name: self._bind(name) for name in ("user_id", "store_id", "currency")})
        active = text("status = 'ACTIVE' and not is_deleted and user_id is not null")
        return row.on_conflict_do_nothing(index_elements=["user_id", "store_id"], index_where=active).returning(self.table.c.id)

    def _bind(self, name: str) -> Any:
        return bindparam(name, type_=self.columns[name].type)

    def _add_line(self) -> Any:
        """Adds to a line that is there; gives no row where that would be too many pieces."""
        items = CartItem.__table__  # type: ignore[attr-defined]
        names = ("cart_id", "product_id", "quantity", "price", "currency")
        row = upsert(items).values({name: bindparam(name, type_=items.c[name].type) for name in names})
        more = items.c.quantity + row.excluded.quantity
        changed = row.on_conflict_do_update(
            index_elements=["cart_id", "product_id"],
            set_={"quantity": more, "price": row.excluded.price, "updated_at": func.now()},
            where=more <= MAX_LINE_QUANTITY,
        )
        return changed.returning(items.c.id)

    def _recalculate(self) -> Any:
        items = CartItem.__table__  # type: ignore[attr-defined]
        total = (
            select(func.coalesce(func.sum(items.c.quantity * items.c.price), 0)).where(items.c.cart_id == self.table.c.id).scalar_subquery()
        )
        return (
            update(self.table)
            .where(self.table.c.id == bindparam("cart_id"), self.visible(self.table))
            .values(total=total, version=self.table.c.version + 1, updated_at=func.now())
            .returning(*self.table.c)
        )


class CartItemRepository(Repository[CartItem]):
    """Lines are seen through their cart."""

    model = CartItem
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "ck_cart_items_quantity": (ErrorCode.INVALID, "quantity", f"must be between 1 and {MAX_LINE_QUANTITY}"),
    }

    find_by_cart_ids = many_by("cart_id", sorts=(Sort("created_at"), Sort("id")), limit=MAX_LINES, scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return exists().where(CARTS.c.id == table.c.cart_id, ~CARTS.c.is_deleted, own_or_of_store(CARTS, viewer))

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


class RecoveryEventRepository(Repository[RecoveryEvent]):
    """Attempts to win back carts are for the staff of the cart's store."""

    model = RecoveryEvent

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return table.c.store_id == bindparam("viewer_store_id") if viewer is ViewerKind.STAFF else false()

    async def find_by_cart_id(self, cart_id: UUID) -> list[RecoveryEvent]:
        return await self.find_many({"cart_id": cart_id}, NEWEST_FIRST)

    async def find_by_status(self, status: RecoveryStatus) -> list[RecoveryEvent]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def update_status(self, id: UUID, status: RecoveryStatus, outcome: str | None = None) -> RecoveryEvent:
        """Say how an attempt ended. Raises `NotFound`."""
        change: Mapping[str, Any] = {"status": status.value, **({"outcome": outcome} if outcome else {})}
        return await self.update_by_id(id, change)
