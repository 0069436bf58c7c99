"""What a cart costs when it is ordered: prices, shipping, taxes and its voucher are read again, and held until the order is made."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import UUID

from app.carts.discounts import VoucherDiscount
from app.carts.models import Cart
from app.carts.pricing import Charges, LineCharges, priced
from app.carts.repository import Basis, CartChargesRepository, VoucherRepository
from app.catalog.models import Product
from app.catalog.repository import ProductRepository
from app.core.errors import ErrorCode, UserError
from app.core.repository import Repository
from app.orders.agreement import Agreement
from app.orders.models import Order


@dataclass(frozen=True)
class Bill:
    """The lines of the order to be, what they cost, and the prices that are new to the cart."""

    lines: list[dict[str, Any]]
    charges: Charges
    repriced: dict[UUID, Decimal]


@dataclass(frozen=True)
class _Sold:
    """A line at the price that its product has now."""

    product_id: UUID
    quantity: int
    price: Decimal


class BillRepository(Repository[Order]):
    """For the system: whose cart it is has been asked before."""

    model = Order

    async def bill_of(self, cart: Cart, agreement: Agreement) -> Bill:
        """What a locked cart costs now; its voucher is locked as well.

        Raises `UserError`: empty, in another currency than its store's, not for sale, dearer than it was shown, a voucher no longer good.
        """
        basis = await self._basis(cart)
        sold = await self._lock_sold(cart, [line.product_id for line in basis.lines])
        agreement.check(basis.lines, sold)
        now = [_Sold(line.product_id, line.quantity, sold[line.product_id].price) for line in basis.lines]
        voucher = await self._lock_voucher(cart)
        terms = basis.terms if voucher is None else replace(basis.terms, discount=voucher)
        charges = priced(now, terms, cart.currency)
        if voucher is not None:
            agreement.check_voucher(cart, voucher, charges)
        agreement.check_charges(cart, priced(basis.lines, terms, cart.currency), charges)
        lines = [_line(sold[line.product_id], line.quantity, borne) for line, borne in zip(now, charges.lines, strict=True)]
        repriced = {line.product_id: line.price for line, before in zip(now, basis.lines, strict=True) if line.price != before.price}
        return Bill(lines, charges, repriced)

    async def hold(self, order: Order) -> None:
        """Have an order hold the voucher that made it cheaper, which `bill_of` has locked."""
        if order.voucher_id is not None:
            await self._vouchers().redeem(order.voucher_id, order.id, order.user_id)

    async def hold_again(self, order: Order) -> None:
        """Have an order that let go of its voucher hold it again, at the same discount. Raises `UserError` where it is no longer good."""
        voucher = None if order.voucher_id is None else await self._vouchers().lock_by_id(order.voucher_id)
        if voucher is None:
            return
        problem = (await self._pricing().find_discount(voucher, order.user_id)).problem(order.items_total, order.currency)
        if problem is not None:
            message = f"the voucher {voucher.code} is no longer good for this order: {problem}; make a new one"
            raise UserError(ErrorCode.VOUCHER_NOT_APPLICABLE, message, "order_id")
        await self.hold(order)

    async def let_go(self, order: Order) -> None:
        """Let somebody else use the voucher of an order that comes to nothing."""
        if order.voucher_id is not None:
            await self._vouchers().release(order.id)

    async def find_sold(self, ids: Iterable[UUID]) -> dict[UUID, Product]:
        """Products whether they are still for sale or not."""
        found = await self._products().find_sold_by_ids(list(ids))
        return {product.id: product for product in found if product is not None}

    async def _basis(self, cart: Cart) -> Basis:
        basis = await self._pricing().find_basis(cart)
        if not basis.lines:
            raise UserError(ErrorCode.EMPTY_CART, "the cart is empty; add a product first", "cart_id")
        if basis.store_currency not in (None, cart.currency):
            message = f"the store sells in {basis.store_currency} now, the cart is in {cart.currency}; empty it first"
            raise UserError(ErrorCode.CURRENCY_MISMATCH, message, "cart_id")
        return basis

    async def _lock_sold(self, cart: Cart, ids: Sequence[UUID]) -> dict[UUID, Product]:
        """The products of a cart, kept from changing until the transaction ends."""
        sold = await self._products().lock_for_sale(ids, cart.store_id)
        gone = [id for id in ids if id not in sold or sold[id].currency != cart.currency]
        if gone:
            names = ", ".join(product.name for product in (await self.find_sold(gone)).values())
            raise UserError(ErrorCode.PRODUCT_UNAVAILABLE, f"no longer for sale here, take out of the cart: {names}", "cart_id")
        return sold

    async def _lock_voucher(self, cart: Cart) -> VoucherDiscount | None:
        """What the cart's voucher takes off, and nobody can change or redeem it until the transaction ends."""
        voucher = None if cart.voucher_id is None else await self._vouchers().lock_by_id(cart.voucher_id)
        return None if voucher is None else await self._pricing().find_discount(voucher, cart.user_id)

    def _pricing(self) -> CartChargesRepository:
        return self.repositories.of(CartChargesRepository)

    def _products(self) -> ProductRepository:
        return self.repositories.of(ProductRepository)

    def _vouchers(self) -> VoucherRepository:
        return self.repositories.of(VoucherRepository)


def _line(product: Product, quantity: int, borne: LineCharges) -> dict[str, Any]:
    """A line as it is sold now."""
    return {
        "product_id": product.id,
        "name": product.name,
        "sku": product.sku,
        "quantity": quantity,
        "price": product.price,
        "currency": product.currency,
        **asdict(borne),
    }
