"""Orders, their payments and all that is kept of both."""

from app.orders.models.events import Actor, OrderEvent, OrderEventKind
from app.orders.models.ledger import TestCharge, TestRefund
from app.orders.models.news import ProviderEvent as ProviderEvent
from app.orders.models.numbers import OrderCounter
from app.orders.models.orders import (
    Checkout,
    Order,
    OrderCreate,
    OrderItem,
    OrderItemCreate,
    OrderStatus,
    OrderUpdate,
    allowed_sources,
    is_completed_order,
    validate_order_status_transition,
)
from app.orders.models.payments import Capture, HeldResolution, Payment, PaymentCreate, PaymentRequest, PaymentStatus
from app.orders.models.refunds import Refund, RefundRequest, RefundStatus

__all__ = [
    "Actor",
    "Capture",
    "Checkout",
    "HeldResolution",
    "Order",
    "OrderCounter",
    "OrderCreate",
    "OrderEvent",
    "OrderEventKind",
    "OrderItem",
    "OrderItemCreate",
    "OrderStatus",
    "OrderUpdate",
    "Payment",
    "PaymentCreate",
    "PaymentRequest",
    "PaymentStatus",
    "Refund",
    "RefundRequest",
    "RefundStatus",
    "TestCharge",
    "TestRefund",
    "allowed_sources",
    "is_completed_order",
    "validate_order_status_transition",
]
