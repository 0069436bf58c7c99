"""Orders, their payments and all that is kept of both."""

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
from app.orders.models.payments import Payment, PaymentCreate, PaymentRequest, PaymentStatus

__all__ = [
    "Checkout",
    "Order",
    "OrderCreate",
    "OrderItem",
    "OrderItemCreate",
    "OrderStatus",
    "OrderUpdate",
    "Payment",
    "PaymentCreate",
    "PaymentRequest",
    "PaymentStatus",
    "allowed_sources",
    "is_completed_order",
    "validate_order_status_transition",
]
