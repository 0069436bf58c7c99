"""Orders, their lines and payments: every statement on them, and the rules that need the database."""

from app.orders.repository.items import OrderItemRepository
from app.orders.repository.orders import OrderRepository, PlacedOrder, Step
from app.orders.repository.payments import Attempt, PaymentRepository

__all__ = ["Attempt", "OrderItemRepository", "OrderRepository", "PaymentRepository", "PlacedOrder", "Step"]
