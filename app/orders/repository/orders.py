"""Orders: making them, their status, and their stock.

A PENDING order holds its pieces reserved, whoever made it: they are reserved with the order, sold when it is COMPLETED, and given back
when it is CANCELLED or FAILED. Locks are taken in one order, cart or order first, then stock by product id, so that concurrent shoppers
queue and never deadlock; stock comes last, since that is what strangers compete for.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from itertools import takewhile
from typing import Any, ClassVar
from uuid import UUID

import structlog
from sqlalchemy import ColumnElement

from app.carts.models import MAX_LINES, Cart
from app.carts.pricing import Charges, LineCharges, charges_of
from app.carts.repository import CartRepository, RecoveryEventRepository, require_open, unchanged
from app.catalog.models import Product
from app.catalog.repository import InventoryRepository
from app.catalog.repository.inventory import Cause
from app.core.batch import one_by
from app.core.changes import Announced
from app.core.errors import ErrorCode, UserError
from app.core.factory import RepositoryFactory
from app.core.money import line_total
from app.core.paging import NEWEST_FIRST
from app.core.repository import as_values, transactional
from app.core.scope import own_or_of_store
from app.core.security import Viewer, ViewerKind
from app.core.status import StatusRepository, invalid_transition
from app.orders.agreement import Agreement
from app.orders.models import (
    Checkout,
    Order,
    OrderCreate,
    OrderEventKind,
    OrderItem,
    OrderItemCreate,
    OrderStatus,
    Payment,
    PaymentCreate,
    PaymentStatus,
    allowed_sources,
)
from app.orders.repository.bills import BillRepository
from app.orders.repository.events import Note, OrderEventRepository
from app.orders.repository.items import OrderItemRepository
from app.orders.repository.numbers import numbering, numbering_of_all
from app.orders.repository.payments import STAMPS as PAYMENT_STAMPS
from app.orders.repository.payments import PaymentRepository
from app.stores.events import StoreEvent, happened

AS_SHOWN = Agreement()
KEY_OF_OTHER_ORDER = "this idempotency key has made another order; use a new key for each"
EVENTS = {
    OrderStatus.PENDING: OrderEventKind.RESERVED,
    OrderStatus.COMPLETED: OrderEventKind.COMPLETED,
    OrderStatus.CANCELLED: OrderEventKind.CANCELLED,
    OrderStatus.FAILED: OrderEventKind.FAILED,
}
STAMPS = {OrderStatus.COMPLETED: "completed_at", OrderStatus.CANCELLED: "cancelled_at", OrderStatus.FAILED: "failed_at"}

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class PlacedOrder:
    """A new order, its lines, and the repositories of the transaction that makes it."""

    order: Order
    items: list[OrderItem]
    repositories: RepositoryFactory


Step = Callable[[PlacedOrder], Awaitable[object]]
"""Something that belongs to making an order. It runs inside the transaction, so it must not call out of the process."""


async def nothing(_order: Order) -> None:
    """What there is to undo of most steps."""


@dataclass(frozen=True)
class External:
    """A step that leaves the process, such as charging a card: no lock and no transaction waits for it. `undo` takes it back."""

    run: Callable[[Order], Awaitable[object]]
    undo: Callable[[Order], Awaitable[object]] = nothing


class OrderRepository(StatusRepository[Order]):
    """Shoppers see their orders, staff the orders of their store; only its shopper changes an order, or who may write orders."""

    model = Order
    announces = Announced("orders")
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_orders_cart_id": (ErrorCode.CART_NOT_ACTIVE, "cart_id", "this cart has been ordered already"),
        "uq_orders_user_id_idempotency_key": (ErrorCode.CONFLICT, "idempotency_key", KEY_OF_OTHER_ORDER),
    }

    find_by_cart_ids = one_by("cart_id")

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_or_of_store(table, viewer, "orders")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return own_or_of_store(table, viewer, "orders", "write")

    async def find_by_user(self, user_id: UUID) -> list[Order]:
        return await self.find_many({"user_id": user_id}, NEWEST_FIRST)

    async def find_by_cart(self, cart_id: UUID) -> Order | None:
        return await self.find_first({"cart_id": cart_id})

    async def find_by_status(self, status: OrderStatus) -> list[Order]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def get_order_stats(self) -> dict[str, int]:
        """How many orders there are, and how many of each status."""
        found = await self.count_by_status(OrderStatus)
        return {"total": sum(found.values()), **found}

    # --- Making orders

    @transactional
    async def create_with_items(self, order: OrderCreate, items: Sequence[OrderItemCreate]) -> Order:
        """A new PENDING order, its lines and its reserved stock: all or nothing.

        Lines without a name or SKU take the product's present ones. Raises `UserError`: no lines or too many, a total that is not theirs,
        another currency, a product twice or unknown, OUT_OF_STOCK.
        """
        return await self._numbered((await self._create_checked(order, items)).order)

    async def create_with_inventory_check(self, order: OrderCreate, items: Sequence[OrderItemCreate], *steps: Step | External) -> Order:
        """As `create_with_items`, then the steps in their turn (specification, transaction management): what one raises undoes all.

        Steps before the first external one are part of the transaction that makes the order. From there on, external steps run outside of
        any transaction, the others each in one of its own, and undoing means: what external steps did is undone by them, the last first,
        and the order is FAILED and its stock released. Whoever dies meanwhile leaves a PENDING order, which expires.
        """
        inside = list(takewhile(lambda step: not isinstance(step, External), steps))
        placed = await self._create_and_run(order, items, inside)  # type: ignore[arg-type]
        rest = steps[len(inside) :]
        if not rest:
            return placed.order
        done: list[External] = []
        try:
            for step in rest:
                await self._run_outside(placed, step, done)
        except Exception:
            for step in reversed(done):
                await step.undo(placed.order)
            await self.update_status(placed.order.id, OrderStatus.FAILED)
            raise
        return await self.get_by_id(placed.order.id)

    @transactional
    async def _create_and_run(self, order: OrderCreate, items: Sequence[OrderItemCreate], steps: Iterable[Step]) -> PlacedOrder:
        placed = await self._create_checked(order, items)
        for step in steps:
            await step(placed)
        return replace(placed, order=await self._numbered(placed.order))

    async def _run_outside(self, placed: PlacedOrder, step: Step | External, done: list[External]) -> None:
        if isinstance(step, External):
            if self.session.current_transaction is not None:
                raise RuntimeError("external steps wait for others, and cannot run inside a transaction")
            await step.run(placed.order)
            done.append(step)
            return
        async with self.repositories.transaction() as tx:
            await step(PlacedOrder(placed.order, placed.items, tx))

    @transactional
    async def create_from_cart(
        self, cart_id: UUID, payment_method: str, idempotency_key: str | None = None, agreement: Agreement = AS_SHOWN
    ) -> Order:
        """Order what is in a cart: prices are read again, stock is reserved, and the cart, at these prices, becomes CONVERTED.

        The same key of a user gives the same order again. Raises `UserError`: no such cart, not active, empty, changed since it was seen,
        dearer than it was shown, a product not for sale or out of stock, a key of another order. Raises pydantic's `ValidationError` for
        texts that are too long.
        """
        checkout = Checkout(payment_method=payment_method, idempotency_key=idempotency_key)
        carts = self.repositories.of(CartRepository)
        found = await carts.lock_by_id(cart_id)
        if found is not None and found.user_id != self.viewer.user_id and not self.viewer.can("orders:write"):
            found = None
        made = await self._made_before(self.viewer.user_id if found is None else found.user_id, cart_id, checkout)
        if made is not None:
            return made
        cart = require_open(found)
        if cart.user_id is None:
            raise UserError(ErrorCode.FORBIDDEN, "the cart is a guest's; it can be ordered after signing in", "cart_id")
        bill = await self._bills().bill_of(unchanged(cart, agreement.cart_version), agreement)
        await carts.convert(cart, bill.charges, bill.repriced)
        order = {**_copied(cart), **_voucher(cart, bill.charges), **as_values(checkout), "cart_id": cart_id, **bill.charges.columns()}
        made = (await self._create(order, bill.lines)).order
        await self._tell_recovery(made, cart)
        return await self._numbered(made)

    async def number_all(self) -> int:
        """Give every order that was loaded without one its number, the oldest first; gives how many there were."""
        return len(await self.rows(self.statement("number_all", numbering_of_all)))

    # --- Status

    @transactional
    async def update_status(self, id: UUID, status: OrderStatus) -> Order:
        """Change an order's status where that is allowed, stamp the time, and move its stock along.

        Raises `UserError` INVALID_TRANSITION naming both statuses, OUT_OF_STOCK when a FAILED order is tried again; `NotFound`.
        """
        return await self.move_to(id, status)

    async def move_to(self, id: UUID, status: OrderStatus, note: Note | None = None, by: Viewer | None = None, **values: Any) -> Order:
        """As `update_status`, inside the caller's transaction and with other columns; in the log under another note or name."""
        now = self.repositories.now()
        stamps = {column: now if stamped is status else None for stamped, column in STAMPS.items()}
        order = await self._become(id, status, allowed_sources(status), **stamps, **values)
        await self._move_voucher(order, status)
        await self._move_stock(order, status)
        await self.log_of(order, note or Note(EVENTS[status]), by=by)
        return order

    @transactional
    async def cancel(self, id: UUID) -> Order:
        """Cancel a PENDING order and give its stock back. Raises `UserError`: no such order, not pending, a payment under way."""
        order = await self.lock_own(id, "id")
        if OrderStatus(order.status) not in allowed_sources(OrderStatus.CANCELLED):
            raise invalid_transition("order", order.status, OrderStatus.CANCELLED, "id")
        if await self._payments().find_pending(id) is not None:
            raise UserError(ErrorCode.PAYMENT_IN_PROGRESS, "a payment of this order is under way; try again when it has ended", "id")
        return await self.move_to(id, OrderStatus.CANCELLED)

    async def lock_own(self, id: UUID, field: str) -> Order:
        """The order, locked against other writers. Raises `UserError` on `field` where there is none that the viewer may change."""
        order = await self.lock_by_id(id)
        if order is None:
            raise UserError(ErrorCode.NOT_FOUND, "you have no order with this id", field)
        return order

    # --- Payments

    async def create_payment(self, order_id: UUID, payment: PaymentCreate) -> Payment:
        """Record a charge for an order, tried or done, and stamp its time. Raises `NotFound`."""
        await self.get_by_id(order_id)
        stamp = {PAYMENT_STAMPS[payment.status]: self.repositories.now()} if payment.status in PAYMENT_STAMPS else {}
        captured = payment.amount if payment.status in (PaymentStatus.COMPLETED, PaymentStatus.REFUNDED) else 0
        amounts = {"captured_amount": captured, "refunded_amount": captured if payment.status is PaymentStatus.REFUNDED else 0}
        return await self._payments().create({**as_values(payment), **stamp, **amounts, "order_id": order_id})

    # --- Steps

    async def _create_checked(self, order: OrderCreate, items: Sequence[OrderItemCreate]) -> PlacedOrder:
        lines = [as_values(item) for item in items]
        if not 1 <= len(lines) <= MAX_LINES:
            raise UserError(ErrorCode.INVALID, f"an order has 1 to {MAX_LINES} lines", "items")
        if any(line["currency"] != order.currency for line in lines):
            raise UserError(ErrorCode.CURRENCY_MISMATCH, f"every line must be in the order's currency, {order.currency}", "items")
        charges = _charges(order, lines)
        if order.total != charges.total:
            message = f"the total must be the sum of the lines less their discounts, with their taxes and shipping: {charges.total}"
            raise UserError(ErrorCode.INVALID, message, "total")
        return await self._create({**as_values(order), **charges.columns()}, lines)

    async def _create(self, order: Mapping[str, Any], lines: Sequence[Mapping[str, Any]]) -> PlacedOrder:
        row = await self.create(order)
        sold = {} if all(line.get("name") for line in lines) else await self._bills().find_sold(line["product_id"] for line in lines)
        items = await self._items().create_many([_as_sold(row, line, sold) for line in lines])
        await self._bills().hold(row)
        await self._reserve(_pieces(items), "cart_id")
        await self.log_of(row, Note(OrderEventKind.CREATED, amount=row.total), Note(OrderEventKind.RESERVED))
        return PlacedOrder(row, items, self.repositories)

    async def _tell_recovery(self, order: Order, cart: Cart) -> None:
        """Say whose doing the order is, where somebody had been reminded of its cart."""
        attempts = self.repositories.unscoped.of(RecoveryEventRepository)
        if await attempts.recover(cart.id, order.id, order.total, order.currency) is not None:
            await happened(self.repositories, StoreEvent.CART_RECOVERED, [order.store_id], Cart=cart.id, Order=order.id)

    async def _numbered(self, order: Order) -> Order:
        """The order with its number: the last that is done, for the counter is locked until the transaction ends (`numbers`)."""
        numbered = await self.row(self.statement("number", numbering), id=order.id)
        assert numbered is not None
        return numbered

    async def _made_before(self, user_id: UUID | None, cart_id: UUID, checkout: Checkout) -> Order | None:
        """The order that a key has made; refused where the request was another."""
        if checkout.idempotency_key is None:
            return None
        orders = self.repositories.unscoped.of(OrderRepository)
        found = await orders.find_first({"user_id": user_id, "idempotency_key": checkout.idempotency_key})
        if found is not None and (found.cart_id, found.payment_method) != (cart_id, checkout.payment_method):
            raise UserError(ErrorCode.CONFLICT, KEY_OF_OTHER_ORDER, "idempotency_key")
        return found

    async def _move_voucher(self, order: Order, status: OrderStatus) -> None:
        """What a transition means for the order's voucher: it is held as stock is, and kept by orders that were paid."""
        if status is OrderStatus.PENDING:
            await self._bills().hold_again(order)
        elif status is not OrderStatus.COMPLETED:
            await self._bills().let_go(order)

    async def _move_stock(self, order: Order, status: OrderStatus) -> None:
        """What a transition means for the pieces of the order; each status can be reached from one side only."""
        pieces = _pieces(await self._items().find_by_order(order.id))
        if status is OrderStatus.PENDING:
            await self._reserve(pieces, "order_id")
            return
        if status is OrderStatus.COMPLETED:
            short = await self._stock().commit(pieces, Cause(order.id, self.viewer.user_id))
        else:
            short = await self._stock().release(pieces)
        if short:
            log.error("stock_was_not_reserved", order=str(order.id), status=status.value, products=[str(id) for id in short])

    async def _reserve(self, pieces: Mapping[UUID, int], field: str) -> None:
        missing = await self._stock().reserve(pieces)
        if not missing:
            return
        names = await self._bills().find_sold(missing)
        left = {row.product_id: row.available for row in await self._stock().find_by_product_ids(missing) if row is not None}
        short = ", ".join(f"{names[id].name} ({pieces[id]} wanted, {left.get(id, 0)} available)" for id in missing)
        raise UserError(ErrorCode.OUT_OF_STOCK, f"not enough in stock: {short}", field)

    async def log_of(self, order: Order, *notes: Note, by: Viewer | None = None) -> None:
        """Add to the order's log, in the viewer's name unless another one made it happen."""
        await self.repositories.scoped(by or self.viewer).of(OrderEventRepository).record(order, *notes)

    def _items(self) -> OrderItemRepository:
        return self.repositories.unscoped.of(OrderItemRepository)

    def _payments(self) -> PaymentRepository:
        return self.repositories.unscoped.of(PaymentRepository)

    def _bills(self) -> BillRepository:
        return self.repositories.unscoped.of(BillRepository)

    def _stock(self) -> InventoryRepository:
        return self.repositories.unscoped.of(InventoryRepository)


def _charges(order: OrderCreate, lines: Iterable[Mapping[str, Any]]) -> Charges:
    """What the lines of an order come to."""
    items_total = sum((line_total(line["price"], line["quantity"], line["currency"]) for line in lines), Decimal(0))
    borne = (LineCharges(line["discount"], line["tax"], line["included_tax"]) for line in lines)
    return charges_of(items_total, order.shipping, borne)


def _pieces(items: Iterable[OrderItem]) -> dict[UUID, int]:
    return {item.product_id: item.quantity for item in items}


def _copied(cart: Cart) -> dict[str, Any]:
    """What an order has of its cart."""
    return {"user_id": cart.user_id, "store_id": cart.store_id, "currency": cart.currency}


def _voucher(cart: Cart, charges: Charges) -> dict[str, Any]:
    """The cart's voucher, if it takes something off: only then the order holds it."""
    return {"voucher_id": cart.voucher_id, "voucher_code": cart.voucher_code} if charges.discount else {}


def _as_sold(order: Order, line: Mapping[str, Any], sold: Mapping[UUID, Product]) -> dict[str, Any]:
    """A line of an order as it is stored: what it does not say of its product is taken from there."""
    if line.get("name"):
        return {**line, "order_id": order.id}
    product = sold.get(line["product_id"])
    if product is None:
        raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, "a product of the order does not exist", "items")
    return {**line, "order_id": order.id, "name": product.name, "sku": line.get("sku") or product.sku}
