"""Carts: every statement on them.

Whoever changes a cart locks its row first, so lines, total and version always agree, and an order sees a cart that nobody is changing.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import MAX_LINE_QUANTITY, MAX_LINES, Cart, CartStatus
from app.carts.repository.items import CartItemRepository
from app.carts.repository.scope import ITEMS, cart_rows
from app.catalog.models import Product
from app.catalog.repository import ProductRepository
from app.core.changes import Announced
from app.core.errors import Conflict, ErrorCode, InvalidValue, NotFound, UserError
from app.core.paging import NEWEST_FIRST
from app.core.repository import transactional
from app.core.security import ViewerKind
from app.core.status import StatusRepository, invalid_transition

ANOTHER_ACTIVE = (ErrorCode.CONFLICT, "cart_id", "another cart is active at this store; order or empty that one first")
OBTAIN_ATTEMPTS = 5
"""How often a cart may be ordered by another request between finding and locking it."""


class CartRepository(StatusRepository[Cart]):
    """Shoppers see their carts, guests those of their token, staff the carts of their store; only its shopper changes a cart, or who may
    write carts.

    Every change counts the version.
    """

    model = Cart
    announces = Announced("carts")
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "ck_cart_items_quantity": (ErrorCode.INVALID, "quantity", f"must be between 1 and {MAX_LINE_QUANTITY}"),
        "uq_carts_active_of_user": ANOTHER_ACTIVE,
        "uq_carts_active_of_guest": ANOTHER_ACTIVE,
    }

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return cart_rows(table, viewer)

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return cart_rows(table, viewer, "write")

    async def find_by_user(self, user_id: UUID) -> list[Cart]:
        return await self.find_many({"user_id": user_id}, NEWEST_FIRST)

    async def find_by_status(self, status: CartStatus) -> list[Cart]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def find_active_by_user(self, user_id: UUID, store_id: UUID | None = None) -> Cart | None:
        """The user's newest ACTIVE cart; of one store where it is given."""
        where = {"user_id": user_id, "status": CartStatus.ACTIVE.value, **({"store_id": store_id} if store_id else {})}
        return await self.find_first(where, NEWEST_FIRST)

    # --- Filling

    @transactional
    async def obtain_active(self, user_id: UUID, store_id: UUID | None, currency: str) -> Cart:
        """The user's ACTIVE cart at a store, made if there is none and locked. Callers that race get the same one."""
        return await self._obtain({"user_id": user_id}, store_id, currency)

    @transactional
    async def put_in(
        self,
        user_id: UUID | None,
        product_id: UUID,
        quantity: int,
        *,
        cart_id: UUID | None = None,
        store_id: UUID | None = None,
        version: int | None = None,
    ) -> Cart:
        """Add pieces of a product to a cart: the one given, or else the user's active one at the store, made if there is none.

        Without a user it is the guest's whose token the viewer holds. The store is by default the oldest that sells the product. Raises
        `UserError` as `add_item` does.
        """
        if cart_id is None:
            cart = unchanged(await self._obtain_for(user_id, product_id, store_id), version)
        else:
            cart = await self.lock_active(cart_id, version)
            if store_id not in (None, cart.store_id):
                raise UserError(ErrorCode.INVALID, "the cart is of another store; leave storeId out", "store_id")
        return await self._add(cart, product_id, quantity)

    @transactional
    async def add_item(self, cart_id: UUID, product_id: UUID, quantity: int = 1) -> Cart:
        """Add pieces of a product to an active cart, at the product's present price, which the pieces there take as well.

        Raises `UserError`: no such cart or product, not active, not for sale in its store, another currency, too many pieces or lines.
        """
        return await self._add(await self.lock_active(cart_id), product_id, quantity)

    @transactional
    async def update_item(self, cart_id: UUID, product_id: UUID, quantity: int, version: int | None = None) -> Cart:
        """Set how many pieces of a product an active cart holds; 0 removes it. Raises `UserError`."""
        await self.lock_active(cart_id, version)
        line = {"cart_id": cart_id, "product_id": product_id}
        items = self._items()
        changed = await (items.update_many(line, {"quantity": quantity}) if quantity else items.delete_many(line))
        if not changed:
            raise UserError(ErrorCode.NOT_FOUND, "this product is not in the cart", "product_id")
        return await self._recalculated(cart_id)

    async def remove_item(self, cart_id: UUID, product_id: UUID, version: int | None = None) -> Cart:
        """Take a product out of an active cart. Raises `UserError`."""
        return await self.update_item(cart_id, product_id, 0, version)

    @transactional
    async def accept_prices(self, cart_id: UUID, version: int | None = None) -> Cart:
        """Let every line of an active cart have its product's present price: the shopper has seen them. Raises `UserError`."""
        cart = await self.lock_active(cart_id, version)
        items = self._items()
        offers = await items.find_offers([item.id for item in await items.find_by_cart_id(cart_id)])
        changed = [offer for offer in offers if offer is not None and offer.price_changed]
        new = {offer.product_id: offer.current_price for offer in changed if offer.current_price is not None}
        if not new:
            return cart
        await items.reprice(cart_id, new)
        return await self._recalculated(cart_id)

    @transactional
    async def clear_cart(self, cart_id: UUID) -> Cart:
        """Remove every line of an active cart. Raises `UserError`."""
        await self.lock_active(cart_id)
        await self._items().delete_many({"cart_id": cart_id})
        return await self._recalculated(cart_id)

    async def recalculate_total(self, cart_id: UUID) -> Cart:
        """Set the total to the sum of the lines, and count the change. Raises `NotFound`."""
        row = await self.row(self.statement("recalculate_total", self._recalculate), cart_id=cart_id)
        if row is None:
            raise NotFound("no Cart has this id")
        return row

    # --- Status

    async def update_status(self, id: UUID, status: CartStatus) -> Cart:
        """Change a cart's status where that is allowed, and stamp a conversion.

        Raises `UserError` INVALID_TRANSITION naming both statuses, `NotFound`.
        """
        return await self._become(id, status, status.sources, converted_at=self._conversion(status))

    @transactional
    async def reopen(self, id: UUID) -> Cart:
        """Let the shopper go on with a cart that it had left.

        Raises `UserError`: no such cart, ordered or expired, or another one is active at the store.
        """
        cart = await self.lock_by_id(id)
        if cart is None:
            raise UserError(ErrorCode.NOT_FOUND, "you have no cart with this id", "cart_id")
        if CartStatus(cart.status) not in CartStatus.ACTIVE.sources:
            raise invalid_transition("cart", cart.status, CartStatus.ACTIVE, "cart_id")
        owner = {"user_id": cart.user_id} if cart.user_id else {"cart_token_hash": cart.cart_token_hash}
        if await self.exists({**owner, "store_id": cart.store_id, "status": CartStatus.ACTIVE.value}):
            code, field, message = ANOTHER_ACTIVE
            raise UserError(code, message, field)
        return await self.update_status(id, CartStatus.ACTIVE)

    async def convert(self, cart: Cart, total: Decimal, repriced: Mapping[UUID, Decimal]) -> Cart:
        """Close a locked, active cart that has been ordered for this total; its lines take the prices that have changed."""
        if repriced:
            await self._items().reprice(cart.id, repriced)
        stamp = self._conversion(CartStatus.CONVERTED)
        return await self._become(cart.id, CartStatus.CONVERTED, {CartStatus.ACTIVE}, converted_at=stamp, total=total)

    async def lock_active(self, cart_id: UUID, version: int | None = None) -> Cart:
        """The active cart, locked.

        Raises `UserError` when there is none that the viewer may change, it is not active, or it has another version than the caller saw.
        """
        return unchanged(require_active(await self.lock_by_id(cart_id)), version)

    # --- Steps

    def _conversion(self, status: CartStatus) -> Any:
        return self.repositories.now() if status is CartStatus.CONVERTED else None

    def _items(self) -> CartItemRepository:
        return self.repositories.unscoped.of(CartItemRepository)

    async def _obtain_for(self, user_id: UUID | None, product_id: UUID, store_id: UUID | None) -> Cart:
        products = self.repositories.unscoped.of(ProductRepository)
        store_id = store_id or await products.find_oldest_store_id(product_id)
        product = await self._for_sale(product_id, store_id)
        return await self._obtain(self._owner(user_id), store_id, product.currency)

    def _owner(self, user_id: UUID | None) -> dict[str, Any]:
        if user_id is not None:
            return {"user_id": user_id}
        if self.viewer.cart_token_hash is None:
            raise UserError(ErrorCode.NOT_FOUND, "sign in, or send the token of your cart", "cart_id")
        return {"cart_token_hash": self.viewer.cart_token_hash}

    async def _obtain(self, owner: Mapping[str, Any], store_id: UUID | None, currency: str) -> Cart:
        [by] = owner
        values = {**owner, "store_id": store_id}
        for _ in range(OBTAIN_ATTEMPTS):
            found = await self.row(self.statement(("lock_active_of", by), lambda: self._active_of(by)), **values)
            make = self.statement(("make_active", by), lambda: self._make_active(by))
            found = found or await self.row(make, **values, currency=currency)
            if found is not None:
                return found
        raise Conflict("the cart keeps being ordered; try again")

    async def _add(self, cart: Cart, product_id: UUID, quantity: int) -> Cart:
        product = await self._for_sale(product_id, cart.store_id)
        line = {"cart_id": cart.id, "product_id": product_id, "quantity": quantity, "price": product.price, "currency": product.currency}
        if product.currency != cart.currency:
            await self._change_currency(cart, product)
        if await self.row(self.statement("add_line", self._add_line), **line) is None:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"a cart holds at most {MAX_LINE_QUANTITY} pieces of a product", "quantity")
        return await self._recalculated(cart.id)

    async def _for_sale(self, product_id: UUID, store_id: UUID | None) -> Product:
        products = self.repositories.unscoped.of(ProductRepository)
        found = (await products.find_for_sale([product_id], store_id)).get(product_id)
        if found is not None:
            return found
        if await products.find_by_id(product_id) is None:
            raise UserError(ErrorCode.NOT_FOUND, "no product has this id", "product_id")
        raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, "this product is not for sale in this store", "product_id")

    async def _change_currency(self, cart: Cart, product: Product) -> None:
        """An empty cart takes any currency; amounts of different ones never add."""
        if await self._items().exists({"cart_id": cart.id}):
            message = f"the product is sold in {product.currency}, the cart is in {cart.currency}; order them separately"
            raise UserError(ErrorCode.CURRENCY_MISMATCH, message, "product_id")
        await self.update_by_id(cart.id, {"currency": product.currency})

    async def _recalculated(self, cart_id: UUID) -> Cart:
        """The cart after a change of its lines, which must stay within the limits."""
        try:
            cart = await self.recalculate_total(cart_id)
        except InvalidValue as error:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, "the total would have more than 15 digits; take fewer pieces", "quantity") from error
        if cart["line_count"] > MAX_LINES:  # type: ignore[index]
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"a cart holds at most {MAX_LINES} different products", "product_id")
        return cart

    # --- Statements

    def _assignments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {**super()._assignments(given), "version": self.table.c.version + 1}

    def _bind(self, name: str) -> Any:
        return bindparam(name, type_=self.columns[name].type)

    def _active_of(self, owner: str) -> Any:
        columns = self.table.c
        owned = (columns[owner] == self._bind(owner), columns.store_id.is_not_distinct_from(self._bind("store_id")))
        active = (columns.status == CartStatus.ACTIVE.value, ~columns.is_deleted)
        return select(self.table).where(*owned, *active).with_for_update()

    def _make_active(self, owner: str) -> Any:
        row = upsert(self.table).values({name: self._bind(name) for name in (owner, "store_id", "currency")})
        active = text(f"status = 'ACTIVE' and not is_deleted and {owner} is not null")
        return row.on_conflict_do_nothing(index_elements=[owner, "store_id"], index_where=active).returning(*self.table.c)

    def _add_line(self) -> Any:
        """Adds to a line that is there; gives no row where that would be too many pieces."""
        names = ("cart_id", "product_id", "quantity", "price", "currency")
        row = upsert(ITEMS).values({name: bindparam(name, type_=ITEMS.c[name].type) for name in names})
        more = ITEMS.c.quantity + row.excluded.quantity
        changed = row.on_conflict_do_update(
            index_elements=["cart_id", "product_id"],
            set_={"quantity": more, "price": row.excluded.price, "currency": row.excluded.currency, "updated_at": func.now()},
            where=more <= MAX_LINE_QUANTITY,
        )
        return changed.returning(ITEMS.c.id)

    def _recalculate(self) -> Any:
        lines = select(func.coalesce(func.sum(ITEMS.c.quantity * ITEMS.c.price), 0)).where(ITEMS.c.cart_id == self.table.c.id)
        counted = select(func.count()).select_from(ITEMS).where(ITEMS.c.cart_id == self.table.c.id)
        return (
            update(self.table)
            .where(self.table.c.id == bindparam("cart_id"), self.visible(self.table, writing=True))
            .values(self._assignments({}) | {"total": lines.scalar_subquery()})
            .returning(*self.table.c, counted.scalar_subquery().label("line_count"))
        )


def unchanged(cart: Cart, version: int | None) -> Cart:
    """The cart, if it is as the caller saw it; raises `UserError`."""
    if version is not None and cart.version != version:
        raise UserError(ErrorCode.CONFLICT, f"the cart has changed, it is at version {cart.version} now; look at it again", "cart_version")
    return cart


def require_active(cart: Cart | None) -> Cart:
    """The cart, if there is one and it is active; raises `UserError`."""
    if cart is None:
        raise UserError(ErrorCode.NOT_FOUND, "you have no cart with this id", "cart_id")
    if cart.status != CartStatus.ACTIVE:
        raise UserError(ErrorCode.CART_NOT_ACTIVE, f"the cart is {cart.status} and cannot change", "cart_id")
    return cart
