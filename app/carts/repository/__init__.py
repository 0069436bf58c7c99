"""Carts, their lines and the attempts to win them back: every statement on them."""

from app.carts.repository.carts import CartRepository, require_active, unchanged
from app.carts.repository.guests import GuestCartRepository
from app.carts.repository.items import CartItemRepository
from app.carts.repository.recovery import RecoveryEventRepository

__all__ = ["CartItemRepository", "CartRepository", "GuestCartRepository", "RecoveryEventRepository", "require_active", "unchanged"]
