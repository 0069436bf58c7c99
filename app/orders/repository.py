"""Orders, their lines and payments: every statement on them, and the rules that need the database.

Locks are taken in one order, cart or order first, then stock by product id, so that concurrent shoppers queue and never deadlock.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, any_, bindparam, exists, false, func, select, update
from sqlalchemy.dialects.postgresql import ARRAY

from app.carts.models import Cart, CartStatus
from app.carts.repository import CartItemRepository, CartRepository, own_or_of_store
from app.catalog.models import Product
from app.catalog.repository import InventoryRepository, ProductRepository
from app.core.batch import many_by, one_by
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.money import line_total
from app.core.paging import NEWEST_FIRST, Sort
from app.core.repository import Repository, as_values, transactional
from app.core.security import ViewerKind
from app.orders.models import Order, OrderItem, OrderStatus, Payment, PaymentStatus, allowed_sources

ORDERS = Order.__table__  # type: ignore[attr-defined]
KEY_OF_OTHER_CART = "this idempotency key was used to order another cart; use a new key for each order"

STAMPS = {OrderStatus.COMPLETED: "completed_at", OrderStatus.CANCELLED: "cancelled_at", OrderStatus.FAILED: "failed_at"}
PAYMENT_STAMPS = {PaymentStatus.COMPLETED: "completed_at", PaymentStatus.FAILED: "failed_at", PaymentStatus.REFUNDED: "refunded_at"}

AfterCreation = Callable[[Order], Awaitable[None]]


class OrderRepository(Repository[Order]):
    """Shoppers see their orders, staff the orders of their store."""

    model = Order
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_orders_cart_id": (ErrorCode.CART_NOT_ACTIVE, "cart_id", "this cart has been ordered already"),
        "uq_orders_user_id_idempotency_key": (ErrorCode.CONFLICT, "idempotency_key", KEY_OF_OTHER_CART),
    }

    find_by_cart_ids = one_by("cart_id")

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_or_of_store(table, viewer)

    async def find_by_user(self, user_id: UUID) -> list[Order]:
        return await self.find_many({"user_id": user_id}, NEWEST_FIRST)

    async def find_by_cart(self, cart_id: UUID) -> Order | None:
        return await self.find_first({"cart_id": cart_id})

    async def find_by_status(self, status: OrderStatus) -> list[Order]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    @transactional
    async def create_with_items(self, order: BaseModel | Mapping[str, Any], items: Sequence[BaseModel | Mapping[str, Any]]) -> Order:
        """A new order and its lines, both or neither; lines without a name take the product's present name and SKU."""
        row = await self.create(order)
        lines = [as_values(item) for item in items]
        products = await self.repositories.unscoped.of(ProductRepository).find_sold_by_ids([line["product_id"] for line in lines])
        await self.repositories.unscoped.of(OrderItemRepository).create_many(
            [_line(row, line, product) for line, product in zip(lines, products, strict=True)]
        )
        return row

    @transactional
    async def create_with_inventory_check(
        self, order: BaseModel | Mapping[str, Any], items: Sequence[BaseModel | Mapping[str, Any]], then: AfterCreation | None = None
    ) -> Order:
        """A new order whose stock is reserved in the same transaction; whatever `then` raises undoes both.

        Raises `UserError` OUT_OF_STOCK naming the products. `then` runs inside the transaction: it must not call out of the process.
        """
        row = await self.create_with_items(order, items)
        await self._reserve({line["product_id"]: line["quantity"] for line in map(as_values, items)})
        if then is not None:
            await then(row)
        return row

    async def create_from_cart(self, cart_id: UUID, payment_method: str, idempotency_key: str | None = None) -> Order:
        """Order what is in a cart, in one transaction: prices are read again, stock is reserved, the cart becomes CONVERTED.

        The same key gives the same order again. Raises `UserError`: no such cart, not active, empty, product gone, out of stock.
        """
        if idempotency_key is not None and (known := await self._known(cart_id, idempotency_key)) is not None:
            return known
        try:
            return await self._convert(cart_id, payment_method, idempotency_key)
        except UserError:
            # The same request may have been answered while this one waited for the cart.
            if idempotency_key is not None and (known := await self._known(cart_id, idempotency_key)) is not None:
                return known
            raise

    async def update_status(self, id: UUID, status: OrderStatus) -> Order:
        """Change an order's status where the transition is allowed, guarded in the UPDATE itself, and stamp the time.

        Raises `UserError` INVALID_TRANSITION naming both statuses, `NotFound`.
        """
        statement = self.statement(("update_status", status), lambda: self._update_status(status))
        row = await self.row(statement, id=id, sources=[source.value for source in allowed_sources(status)])
        if row is None:
            current = await self.get_by_id(id)
            raise UserError(ErrorCode.INVALID_TRANSITION, f"an order that is {current.status} cannot become {status.value}", "order_id")
        return row

    @transactional
    async def cancel(self, id: UUID) -> Order:
        """Cancel a pending order and give its stock back. Raises `UserError`: not pending, or a payment is under way; `NotFound`."""
        order = await self.lock_by_id(id)
        if order is None:
            raise NotFound("no Order has this id")
        if await self.repositories.unscoped.of(PaymentRepository).find_pending(id) is not None:
            raise UserError(ErrorCode.PAYMENT_IN_PROGRESS, "a payment of this order is under way; try again when it has ended", "id")
        cancelled = await self.update_status(id, OrderStatus.CANCELLED)
        await self._stock().release(await self.quantities(id))
        return cancelled

    async def create_payment(self, order_id: UUID, payment: BaseModel | Mapping[str, Any]) -> Payment:
        """Record a charge for an order."""
        return await self.repositories.unscoped.of(PaymentRepository).create({**as_values(payment), "order_id": order_id})

    async def quantities(self, id: UUID) -> dict[UUID, int]:
        """How many pieces of which product an order has."""
        items = await self.repositories.unscoped.of(OrderItemRepository).find_by_order(id)
        return {item.product_id: item.quantity for item in items}

    @transactional
    async def reopen(self, id: UUID) -> Order:
        """Let a failed order be paid after all: its stock is reserved again. Raises `UserError` OUT_OF_STOCK, INVALID_TRANSITION."""
        order = await self.update_status(id, OrderStatus.PENDING)
        await self._reserve(await self.quantities(id))
        return order

    async def get_order_stats(self) -> dict[str, int]:
        """How many orders there are, and how many of each status."""
        statement = self.statement(
            "get_order_stats",
            lambda: select(self.table.c.status, func.count().label("orders")).where(self.visible(self.table)).group_by(self.table.c.status),
        )
        found = {row["status"]: row["orders"] for row in await self.rows(statement)}  # type: ignore[index]
        return {"total": sum(found.values()), **{status.value.lower(): found.get(status.value, 0) for status in OrderStatus}}

    @transactional
    async def _convert(self, cart_id: UUID, payment_method: str, idempotency_key: str | None) -> Order:
        carts = self.repositories.of(CartRepository)
        cart = await carts.lock_active(cart_id)
        if cart.user_id != self.viewer.user_id and not self.viewer.sees_everything:
            raise UserError(ErrorCode.NOT_FOUND, "no cart has this id", "cart_id")
        lines = await self._priced_lines(cart)
        total = sum((line_total(line["price"], line["quantity"], cart.currency) for line in lines), Decimal(0))
        order = {
            "cart_id": cart_id,
            "user_id": cart.user_id,
            "store_id": cart.store_id,
            "total": total,
            "currency": cart.currency,
            "payment_method": payment_method,
            "idempotency_key": idempotency_key,
        }

        async def convert_cart(_order: Order) -> None:
            await carts.update_status(cart_id, CartStatus.CONVERTED)

        return await self.create_with_inventory_check(order, lines, convert_cart)

    async def _priced_lines(self, cart: Cart) -> list[dict[str, Any]]:
        """The cart's lines at the products' present prices."""
        items = await self.repositories.unscoped.of(CartItemRepository).find_many({"cart_id": cart.id}, (Sort("product_id"),))
        if not items:
            raise UserError(ErrorCode.EMPTY_CART, "the cart is empty; add a product first", "cart_id")
        products = await self.repositories.unscoped.of(ProductRepository).lock_for_sale([item.product_id for item in items])
        gone = [item for item in items if item.product_id not in products or products[item.product_id].currency != cart.currency]
        if gone:
            raise UserError(
                ErrorCode.PRODUCT_UNAVAILABLE, f"{len(gone)} products in the cart are no longer for sale; remove them", "cart_id"
            )
        return [
            {"product_id": item.product_id, "quantity": item.quantity, "price": products[item.product_id].price, "currency": cart.currency}
            for item in items
        ]

    async def _known(self, cart_id: UUID, idempotency_key: str) -> Order | None:
        """The order that a key has made before; refused where it was for another cart."""
        found = await self.find_first({"idempotency_key": idempotency_key, "user_id": self.viewer.user_id})
        if found is not None and found.cart_id != cart_id:
            raise UserError(ErrorCode.CONFLICT, KEY_OF_OTHER_CART, "idempotency_key")
        return found

    def _stock(self) -> InventoryRepository:
        return self.repositories.unscoped.of(InventoryRepository)

    async def _reserve(self, quantities: Mapping[UUID, int]) -> None:
        missing = await self._stock().reserve(quantities)
        if missing:
            products = await self.repositories.unscoped.of(ProductRepository).find_sold_by_ids(missing)
            names = ", ".join(product.name for product in products if product)
            raise UserError(ErrorCode.OUT_OF_STOCK, f"not enough pieces are available of: {names}")

    def _update_status(self, status: OrderStatus) -> Any:
        stamps = {column: func.now() if stamped is status else None for stamped, column in STAMPS.items()}
        sources = bindparam("sources", type_=ARRAY(self.table.c.status.type))
        return (
            update(self.table)
            .where(self.table.c.id == bindparam("id"), self.visible(self.table), self.table.c.status == any_(sources))
            .values(status=status.value, updated_at=func.now(), **stamps)
            .returning(*self.table.c)
        )


def _line(order: Order, line: Mapping[str, Any], product: Product | None) -> dict[str, Any]:
    """A line as it is stored: with the name, SKU and currency as sold."""
    if product is None:
        raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, "a product of the order does not exist", "product_id")
    return {
        "order_id": order.id,
        "product_id": product.id,
        "name": line.get("name") or product.name,
        "sku": line.get("sku") or product.sku,
        "quantity": line["quantity"],
        "price": line["price"],
        "currency": order.currency,
    }


def of_visible_order(table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
    """Rows whose order the viewer may see."""
    if viewer is ViewerKind.ANONYMOUS:
        return false()
    return exists().where(ORDERS.c.id == table.c.order_id, own_or_of_store(ORDERS, viewer))


class OrderItemRepository(Repository[OrderItem]):
    """Lines are seen through their order."""

    model = OrderItem

    find_by_order_ids = many_by("order_id", scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return of_visible_order(table, viewer)

    async def find_by_order(self, order_id: UUID) -> list[OrderItem]:
        return await self.find_many({"order_id": order_id}, (Sort("product_id"),))

    async def get_order_total(self, order_id: UUID) -> Decimal:
        """The sum of the lines, in the order's currency."""
        total = func.coalesce(func.sum(self.table.c.quantity * self.table.c.price), 0)
        statement = self.statement(
            "get_order_total", lambda: select(total).where(self.table.c.order_id == bindparam("order_id"), self.visible(self.table))
        )
        return Decimal(await self.value(statement, order_id=order_id))


class PaymentRepository(Repository[Payment]):
    """Payments are seen through their order."""

    model = Payment

    find_by_order_ids = many_by("order_id", sorts=(Sort("created_at"), Sort("id")), limit=100, scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return of_visible_order(table, viewer)

    async def find_by_order(self, order_id: UUID) -> list[Payment]:
        return await self.find_many({"order_id": order_id}, NEWEST_FIRST)

    async def find_pending(self, order_id: UUID) -> Payment | None:
        """The charge whose outcome is not known yet."""
        return await self.find_first({"order_id": order_id, "status": PaymentStatus.PENDING.value})

    async def find_by_status(self, status: PaymentStatus) -> list[Payment]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def find_by_transaction_id(self, transaction_id: str) -> Payment | None:
        return await self.find_first({"transaction_id": transaction_id})

    async def update_status(self, id: UUID, status: PaymentStatus, **details: Any) -> Payment:
        """Say how a charge ended, and stamp the time. Raises `NotFound`."""
        stamp = {PAYMENT_STAMPS[status]: self.repositories.now()} if status in PAYMENT_STAMPS else {}
        return await self.update_by_id(id, {"status": status.value, **stamp, **details})

    async def get_payment_stats(self) -> dict[str, int]:
        """How many payments there are of each status."""
        statement = self.statement(
            "get_payment_stats",
            lambda: (
                select(self.table.c.status, func.count().label("payments")).where(self.visible(self.table)).group_by(self.table.c.status)
            ),
        )
        found = {row["status"]: row["payments"] for row in await self.rows(statement)}  # type: ignore[index]
        return {status.value.lower(): found.get(status.value, 0) for status in PaymentStatus}
