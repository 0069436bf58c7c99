"""Carts: every statement on them.

Whoever changes a cart locks its row first, so lines, total and version always agree, and an order sees a cart that nobody is changing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, select, text
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import MAX_LINE_QUANTITY, MAX_LINES, OPEN_CART, OPEN_STATUSES, Cart, CartStatus
from app.carts.pricing import Charges, priced
from app.carts.repository.charges import SETTINGS, Basis, CartChargesRepository
from app.carts.repository.feature_requests import FeatureRequestRepository
from app.carts.repository.idle import abandoning, forgetting
from app.carts.repository.items import CartItemRepository
from app.carts.repository.scope import ITEMS, cart_rows
from app.carts.repository.vouchers import VoucherRepository
from app.catalog.models import Product
from app.catalog.repository import ProductRepository
from app.core.changes import Announced, Kind
from app.core.errors import Conflict, ErrorCode, InvalidValue, UserError
from app.core.paging import NEWEST_FIRST
from app.core.repository import transactional
from app.core.security import ViewerKind
from app.core.statement import Statement
from app.core.status import StatusRepository, invalid_transition
from app.stores.events import CART_CREATED, counted

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

    async def _wrote(self, statement: Statement, rows: Sequence[Any]) -> None:
        """What is computed of a cart is to be computed again, by the transaction that changes it. Of a new, empty one nothing is."""
        await super()._wrote(statement, rows)
        kind, table = statement.change or ("", "")
        if table == self.entity and kind in (Kind.INSERT, Kind.UPDATE):
            changed = [row.id for row in rows if kind == Kind.UPDATE or row.total]
            if changed:
                await self.repositories.unscoped.of(FeatureRequestRepository).add(changed)

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
    async def obtain_active(self, user_id: UUID, store_id: UUID | None) -> Cart:
        """The user's ACTIVE cart at a store, in its currency, made if there is none and locked. Callers that race get the same one."""
        return await self._obtain({"user_id": user_id}, store_id)

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
            store_id = store_id or await self._products().find_oldest_store_id(product_id)
            product = await self._for_sale(product_id, store_id)
            return await self._add(await self._obtain(self._owner(user_id), store_id, version), product, quantity)
        cart = await self.lock_active(cart_id, version)
        if store_id not in (None, cart.store_id):
            raise UserError(ErrorCode.INVALID, "the cart is of another store; leave storeId out", "store_id")
        return await self._add(cart, await self._for_sale(product_id, cart.store_id), quantity)

    @transactional
    async def add_item(self, cart_id: UUID, product_id: UUID, quantity: int = 1) -> Cart:
        """Add pieces of a product to an active cart, at the product's present price, which the pieces there take as well.

        Raises `UserError`: no such cart or product, not active, not for sale in its store, another currency, too many pieces or lines.
        """
        cart = await self.lock_active(cart_id)
        return await self._add(cart, await self._for_sale(product_id, cart.store_id), quantity)

    @transactional
    async def update_item(self, cart_id: UUID, product_id: UUID, quantity: int, version: int | None = None) -> Cart:
        """Set how many pieces of a product an active cart holds; 0 removes it. Raises `UserError`."""
        cart = await self.lock_active(cart_id, version)
        line = {"cart_id": cart_id, "product_id": product_id}
        items = self._items()
        changed = await (items.update_many(line, {"quantity": quantity}) if quantity else items.delete_many(line))
        if not changed:
            raise UserError(ErrorCode.NOT_FOUND, "this product is not in the cart", "product_id")
        return await self._recalculated(cart)

    async def remove_item(self, cart_id: UUID, product_id: UUID, version: int | None = None) -> Cart:
        """Take a product out of an active cart. Raises `UserError`."""
        return await self.update_item(cart_id, product_id, 0, version)

    @transactional
    async def accept_prices(self, cart_id: UUID, version: int | None = None) -> Cart:
        """Let an active cart have what its products, its shipping, its taxes and its voucher come to now: the shopper has seen it.

        Raises `UserError`.
        """
        cart = await self.lock_active(cart_id, version)
        items = self._items()
        offers = await items.find_offers([item.id for item in await items.find_by_cart_id(cart_id)])
        changed = [offer for offer in offers if offer is not None and offer.price_changed]
        new = {offer.product_id: offer.current_price for offer in changed if offer.current_price is not None}
        if new:
            await items.reprice(cart_id, new)
        charges = await self._charges(cart, await self._basis(cart))
        same = all(getattr(cart, name) == amount for name, amount in charges.columns().items())
        return cart if same and not new else await self._charged(cart, charges)

    @transactional
    async def clear_cart(self, cart_id: UUID) -> Cart:
        """Remove every line of an active cart. Raises `UserError`."""
        cart = await self.lock_active(cart_id)
        await self._items().delete_many({"cart_id": cart_id})
        return await self._recalculated(cart)

    async def recalculate_total(self, cart_id: UUID) -> Cart:
        """Set the amounts to what the lines come to by the present terms of store and voucher, and count the change. Raises `NotFound`."""
        return await self._recalculated(await self.get_by_id(cart_id))

    # --- Vouchers

    @transactional
    async def apply_voucher(self, cart_id: UUID, code: str, version: int | None = None) -> Cart:
        """Let a voucher of the cart's store make an active cart cheaper, in place of any other.

        Nothing is redeemed before the cart is ordered. Raises `UserError`: no such cart or voucher, or one that is not good for this cart.
        """
        cart = await self.lock_active(cart_id, version)
        voucher = await self._vouchers().find_by_code(cart.store_id, code)
        if voucher is None:
            raise UserError(ErrorCode.NOT_FOUND, "the store has no voucher with this code", "code")
        basis, discount = await self._basis(cart), await self._pricing().find_discount(voucher, cart.user_id)
        charges = priced(basis.lines, replace(basis.terms, discount=discount), cart.currency)
        problem = discount.problem(charges.items_total, cart.currency)
        if problem is not None:
            raise UserError(ErrorCode.VOUCHER_NOT_APPLICABLE, f"{voucher.code} takes nothing off: {problem}", "code")
        return await self._charged(cart, charges, voucher_id=voucher.id, voucher_code=voucher.code)

    @transactional
    async def remove_voucher(self, cart_id: UUID, version: int | None = None) -> Cart:
        """Take the voucher off an active cart, if it has one. Raises `UserError`."""
        cart = await self.lock_active(cart_id, version)
        if cart.voucher_code is None:
            return cart
        basis = await self._basis(cart)
        return await self._charged(cart, priced(basis.lines, basis.terms, cart.currency), voucher_id=None, voucher_code=None)

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
        return await self._reopened(cart)

    async def _reopened(self, cart: Cart) -> Cart:
        """A locked cart, ACTIVE again."""
        if CartStatus(cart.status) not in CartStatus.ACTIVE.sources:
            raise invalid_transition("cart", cart.status, CartStatus.ACTIVE, "cart_id")
        owner = {"user_id": cart.user_id} if cart.user_id else {"cart_token_hash": cart.cart_token_hash}
        if await self.exists({**owner, "store_id": cart.store_id, "status": CartStatus.ACTIVE.value}):
            code, field, message = ANOTHER_ACTIVE
            raise UserError(code, message, field)
        return await self.update_status(cart.id, CartStatus.ACTIVE)

    async def abandon_idle(self, limit: int) -> list[Cart]:
        """The carts that nobody has changed for as long as their store's setting says, ABANDONED by this statement: up to `limit`.

        Each is given to one caller only, and one that is being changed to none. Their versions stay: what is in them has not changed.
        """
        statement = self.statement("abandon_idle", abandoning)
        return await self.rows(statement, now=self.repositories.now(), row_limit=limit)

    async def abandon_forgotten(self, limit: int) -> list[Cart]:
        """The carts that nobody has changed for `FORGOTTEN`, ABANDONED by this statement as `abandon_idle` does it: up to `limit`."""
        return await self.rows(self.statement("abandon_forgotten", forgetting), now=self.repositories.now(), row_limit=limit)

    @transactional
    async def set_email(self, cart_id: UUID, email: str | None) -> Cart:
        """Say where a guest may be written to about its cart. Raises `UserError`: none such, not active, an account's."""
        cart = await self.lock_active(cart_id)
        if cart.user_id is not None:
            raise UserError(ErrorCode.INVALID, "the cart is an account's, which is written to at its own address", "cart_id")
        return await self.update_by_id(cart_id, {"email": email})

    async def convert(self, cart: Cart, charges: Charges, repriced: Mapping[UUID, Decimal]) -> Cart:
        """Close a locked cart that has been ordered for these amounts; its lines take the prices that have changed."""
        if repriced:
            await self._items().reprice(cart.id, repriced)
        stamp = self._conversion(CartStatus.CONVERTED)
        return await self._become(cart.id, CartStatus.CONVERTED, CartStatus.CONVERTED.sources, converted_at=stamp, **charges.columns())

    async def lock_active(self, cart_id: UUID, version: int | None = None) -> Cart:
        """The active cart, locked; an abandoned one becomes active again.

        Raises `UserError` when there is none that the viewer may change, it is not active, or it has another version than the caller saw.
        """
        cart = unchanged(require_open(await self.lock_by_id(cart_id)), version)
        return cart if cart.status == CartStatus.ACTIVE else await self._reopened(cart)

    # --- Steps

    def _conversion(self, status: CartStatus) -> Any:
        return self.repositories.now() if status is CartStatus.CONVERTED else None

    def _items(self) -> CartItemRepository:
        return self.repositories.unscoped.of(CartItemRepository)

    def _products(self) -> ProductRepository:
        return self.repositories.unscoped.of(ProductRepository)

    def _vouchers(self) -> VoucherRepository:
        return self.repositories.unscoped.of(VoucherRepository)

    def _pricing(self) -> CartChargesRepository:
        return self.repositories.unscoped.of(CartChargesRepository)

    def _owner(self, user_id: UUID | None) -> dict[str, Any]:
        if user_id is not None:
            return {"user_id": user_id}
        if self.viewer.cart_token_hash is None:
            raise UserError(ErrorCode.NOT_FOUND, "sign in, or send the token of your cart", "cart_id")
        return {"cart_token_hash": self.viewer.cart_token_hash}

    async def _obtain(self, owner: Mapping[str, Any], store_id: UUID | None, version: int | None = None) -> Cart:
        [by] = owner
        values = {**owner, "store_id": store_id}
        for _ in range(OBTAIN_ATTEMPTS):
            found = await self.row(self.statement(("lock_active_of", by), lambda: self._active_of(by)), **values)
            found = found or await self._make(by, values)
            if found is not None:
                active = unchanged(found, version).status == CartStatus.ACTIVE
                return found if active else await self.update_status(found.id, CartStatus.ACTIVE)
        raise Conflict("the cart keeps being ordered; try again")

    async def _make(self, owner: str, values: Mapping[str, Any]) -> Cart | None:
        """A new active cart; None where somebody else has just made one."""
        made = await self.row(self.statement(("make_active", owner), lambda: self._make_active(owner)), **values)
        if made is not None:
            await counted(self.repositories, CART_CREATED, made.store_id, Cart=made.id)
        return made

    async def _add(self, cart: Cart, product: Product, quantity: int) -> Cart:
        if product.currency != cart.currency:
            cart = await self._in_currency_of(product, cart)
        line = {"cart_id": cart.id, "product_id": product.id, "quantity": quantity, "price": product.price, "currency": product.currency}
        if await self.row(self.statement("add_line", self._add_line), **line) is None:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"a cart holds at most {MAX_LINE_QUANTITY} pieces of a product", "quantity")
        basis = await self._basis(cart)
        if basis.store_currency not in (None, cart.currency):
            raise _mismatch(f"the store sells in {basis.store_currency} now, the cart is in {cart.currency}; empty it first")
        return await self._charged(cart, await self._charges(cart, basis))

    async def _for_sale(self, product_id: UUID, store_id: UUID | None) -> Product:
        products = self._products()
        found = (await products.find_for_sale([product_id], store_id)).get(product_id)
        if found is not None:
            return found
        if await products.find_by_id(product_id) is None:
            raise UserError(ErrorCode.NOT_FOUND, "no product has this id", "product_id")
        raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, "this product is not for sale in this store", "product_id")

    async def _in_currency_of(self, product: Product, cart: Cart) -> Cart:
        """The cart, if its store sells in the product's currency and the cart is empty: amounts of different currencies never add.

        Without a store, the first product decides.
        """
        basis = await self._basis(cart)
        if basis.store_currency not in (None, product.currency):
            raise _mismatch(f"the store sells in {basis.store_currency}, and this product is sold in {product.currency}")
        if basis.lines:
            raise _mismatch(f"the product is sold in {product.currency}, the cart is in {cart.currency}; order them separately")
        return await self.update_by_id(cart.id, {"currency": product.currency})

    async def _basis(self, cart: Cart) -> Basis:
        return await self._pricing().find_basis(cart)

    async def _charges(self, cart: Cart, basis: Basis) -> Charges:
        """What the lines come to, with what the cart's voucher takes off."""
        voucher = None if cart.voucher_id is None else await self._vouchers().find_by_id(cart.voucher_id)
        if voucher is None:
            return priced(basis.lines, basis.terms, cart.currency)
        discount = await self._pricing().find_discount(voucher, cart.user_id)
        return priced(basis.lines, replace(basis.terms, discount=discount), cart.currency)

    async def _recalculated(self, cart: Cart) -> Cart:
        return await self._charged(cart, await self._charges(cart, await self._basis(cart)))

    async def _charged(self, cart: Cart, charges: Charges, **changes: Any) -> Cart:
        """The cart after a change, which must stay within the limits."""
        if len(charges.lines) > MAX_LINES:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"a cart holds at most {MAX_LINES} different products", "product_id")
        try:
            return await self.update_by_id(cart.id, {**charges.columns(), **changes})
        except InvalidValue as error:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, "the total would have more than 15 digits; take fewer pieces", "quantity") from error

    # --- Statements

    def _assignments(self, given: Mapping[str, Any]) -> dict[str, Any]:
        return {**super()._assignments(given), "version": self.table.c.version + 1}

    def _bind(self, name: str) -> Any:
        return bindparam(name, type_=self.columns[name].type)

    def _active_of(self, owner: str) -> Any:
        """The active cart of an owner at a store, or else the one that was left last."""
        columns = self.table.c
        owned = (columns[owner] == self._bind(owner), columns.store_id.is_not_distinct_from(self._bind("store_id")))
        newest = (columns.status == CartStatus.ABANDONED.value, columns.updated_at.desc(), columns.id)
        return select(self.table).where(*owned, text(OPEN_CART)).order_by(*newest).limit(1).with_for_update()

    def _make_active(self, owner: str) -> Any:
        store_id = self._bind("store_id")
        currency = select(SETTINGS.c.currency).where(SETTINGS.c.store_id == store_id).scalar_subquery()
        row = upsert(self.table).values({owner: self._bind(owner), "store_id": store_id, "currency": func.coalesce(currency, "USD")})
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


def unchanged(cart: Cart, version: int | None) -> Cart:
    """The cart, if it is as the caller saw it; raises `UserError`."""
    if version is not None and cart.version != version:
        raise UserError(ErrorCode.CONFLICT, f"the cart has changed, it is at version {cart.version} now; look at it again", "cart_version")
    return cart


def require_open(cart: Cart | None) -> Cart:
    """The cart, if there is one that its shopper can go on with; raises `UserError`."""
    if cart is None:
        raise UserError(ErrorCode.NOT_FOUND, "you have no cart with this id", "cart_id")
    if cart.status not in OPEN_STATUSES:
        raise UserError(ErrorCode.CART_NOT_ACTIVE, f"the cart is {cart.status} and cannot change", "cart_id")
    return cart


def _mismatch(message: str) -> UserError:
    return UserError(ErrorCode.CURRENCY_MISMATCH, message, "product_id")
