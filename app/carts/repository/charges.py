"""What the amounts of a cart are worked out from: its lines, the terms of its store, and its voucher."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import bindparam, select

from app.carts.discounts import VoucherDiscount
from app.carts.models import Cart, Voucher
from app.carts.pricing import Bought, FlatShipping, PercentTax, Terms
from app.carts.repository.scope import CARTS, ITEMS
from app.carts.repository.vouchers import VoucherRepository
from app.core.repository import Repository
from app.stores.models import StoreSettings

SETTINGS = StoreSettings.__table__  # type: ignore[attr-defined]
TERMS = ("shipping_price", "free_shipping_from", "tax_rate", "prices_include_tax")


@dataclass(frozen=True)
class Basis:
    """The lines of a cart in the order of their products, and what its store asks for beside their prices.

    `store_currency` is None where the cart has no store, or one without settings.
    """

    lines: list[Bought]
    store_currency: str | None
    terms: Terms


class CartChargesRepository(Repository[Cart]):
    """For the system: who may see a cart has been asked before."""

    model = Cart

    async def find_basis(self, cart: Cart) -> Basis:
        """One statement. A store that counts in another currency than the cart by now asks for nothing: it does not take the order."""
        rows: list[Any] = await self.rows(self.statement("find_basis", _basis), cart_id=cart.id)
        first = rows[0]
        lines = [row for row in rows if row["product_id"] is not None]
        return Basis(lines, first["currency"], _terms(first) if first["currency"] == cart.currency else Terms())

    async def find_discount(self, voucher: Voucher, user_id: UUID | None) -> VoucherDiscount:
        """What a voucher takes off for a shopper now."""
        used = False
        if voucher.once_per_user and user_id is not None:
            used = await self.repositories.of(VoucherRepository).is_held(voucher.id, user_id)
        return VoucherDiscount(voucher, self.repositories.now(), used)


def _terms(settings: Any) -> Terms:
    shipping = FlatShipping(settings["shipping_price"], settings["free_shipping_from"])
    return Terms(shipping, PercentTax(settings["tax_rate"], settings["prices_include_tax"]))


def _basis() -> Any:
    """A row per line, each with the settings of the store; one without a product where the cart is empty."""
    return (
        select(ITEMS.c.product_id, ITEMS.c.quantity, ITEMS.c.price, SETTINGS.c.currency, *(SETTINGS.c[name] for name in TERMS))
        .select_from(CARTS.outerjoin(ITEMS, ITEMS.c.cart_id == CARTS.c.id).outerjoin(SETTINGS, SETTINGS.c.store_id == CARTS.c.store_id))
        .where(CARTS.c.id == bindparam("cart_id"))
        .order_by(ITEMS.c.product_id)
    )
