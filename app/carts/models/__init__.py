"""Carts, the attempts to win them back, and the vouchers that make them cheaper."""

from app.carts.models.carts import (
    MAX_LINE_QUANTITY,
    MAX_LINES,
    MAX_RECOVERY_ATTEMPTS,
    OPEN_CART,
    OPEN_RECOVERIES,
    QUANTITY_RANGE,
    Cart,
    CartContact,
    CartCreate,
    CartItem,
    CartItemAdd,
    CartStatus,
    Quantity,
    RecoveryEvent,
    RecoveryEventCreate,
    RecoveryStatus,
)
from app.carts.models.charges import adds_up, taxed_line
from app.carts.models.vouchers import Voucher, VoucherCode, VoucherCreate, VoucherRedemption, VoucherUpdate

__all__ = [
    "MAX_LINES",
    "MAX_LINE_QUANTITY",
    "MAX_RECOVERY_ATTEMPTS",
    "OPEN_CART",
    "OPEN_RECOVERIES",
    "QUANTITY_RANGE",
    "Cart",
    "CartContact",
    "CartCreate",
    "CartItem",
    "CartItemAdd",
    "CartStatus",
    "Quantity",
    "RecoveryEvent",
    "RecoveryEventCreate",
    "RecoveryStatus",
    "Voucher",
    "VoucherCode",
    "VoucherCreate",
    "VoucherRedemption",
    "VoucherUpdate",
    "adds_up",
    "taxed_line",
]
