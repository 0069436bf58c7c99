"""Carts, their lines and the attempts to win them back: every statement on them."""

from app.carts.repository.carts import CartRepository, require_open, unchanged
from app.carts.repository.charges import Basis, CartChargesRepository
from app.carts.repository.feature_requests import FeatureRequestRepository
from app.carts.repository.guests import GuestCartRepository
from app.carts.repository.items import CartItemRepository
from app.carts.repository.recovery import RecoveryEventRepository
from app.carts.repository.vouchers import VoucherRepository

__all__ = [
    "Basis",
    "CartChargesRepository",
    "CartItemRepository",
    "CartRepository",
    "FeatureRequestRepository",
    "GuestCartRepository",
    "RecoveryEventRepository",
    "VoucherRepository",
    "require_open",
    "unchanged",
]
