"""Orders, their lines and payments: every statement on them, and the rules that need the database."""

from app.orders.repository.events import Note, OrderEventRepository
from app.orders.repository.items import OrderItemRepository
from app.orders.repository.orders import External, OrderRepository, PlacedOrder, Step
from app.orders.repository.payments import Attempt, PaymentRepository
from app.orders.repository.refunds import RefundingRepository, RefundRepository
from app.orders.repository.settlement import SettlementRepository

__all__ = [
    "Attempt",
    "External",
    "Note",
    "OrderEventRepository",
    "OrderItemRepository",
    "OrderRepository",
    "PaymentRepository",
    "PlacedOrder",
    "RefundRepository",
    "RefundingRepository",
    "SettlementRepository",
    "Step",
]
