"""Products, their inventory and its movements: every statement on them."""

from app.catalog.repository.inventory import InventoryRepository
from app.catalog.repository.movements import InventoryMovementRepository
from app.catalog.repository.products import ProductRepository

__all__ = ["InventoryMovementRepository", "InventoryRepository", "ProductRepository"]
