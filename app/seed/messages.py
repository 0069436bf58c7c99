"""The demo shop's notifications: what became of orders, and what the staff should look at."""

from datetime import timedelta
from typing import Final
from uuid import UUID

from app.engagement.models import NotificationCreate, NotificationPriority
from app.orders.models import OrderStatus
from app.seed.draw import Draw, Values, id_at

LOW, NORMAL, HIGH = NotificationPriority
ORDER_NEWS: Final = {
    OrderStatus.PENDING: ("order_placed", "Your order over {total} {currency} has been placed and waits for payment.", NORMAL),
    OrderStatus.COMPLETED: ("order_completed", "Thank you: your order over {total} {currency} has been paid.", NORMAL),
    OrderStatus.CANCELLED: ("order_cancelled", "Your order over {total} {currency} has been cancelled.", NORMAL),
    OrderStatus.FAILED: ("payment_failed", "The payment for your order over {total} {currency} was declined. You can try again.", HIGH),
}
STAFF_NEWS: Final = (
    ("stock_alert", "Some products are down to their last pieces.", HIGH),
    ("cart_abandonment", "More carts than usual were left this week.", NORMAL),
    ("weekly_summary", "Last week's figures are ready.", LOW),
)


def order_news(draw: Draw, orders: list[Values]) -> list[Values]:
    """A notification of every order to its buyer, the older ones read."""
    return [_notification(draw, order["user_id"], order, *ORDER_NEWS[order["status"]]) for order in orders]


def staff_news(draw: Draw, user_ids: list[UUID]) -> list[Values]:
    """The same news for everybody who works here."""
    made = [{"updated_at": draw.ago(timedelta(days=3), timedelta(hours=1))} for _ in STAFF_NEWS]
    return [_notification(draw, user_id, about, *news) for user_id in user_ids for about, news in zip(made, STAFF_NEWS, strict=True)]


def _notification(draw: Draw, user_id: UUID, about: Values, kind: str, text: str, priority: NotificationPriority) -> Values:
    made = about["updated_at"]
    given = NotificationCreate(user_id=user_id, type=kind, message=text.format_map(about), priority=priority)
    read = made < draw.now - timedelta(days=7)
    read_at = draw.after(made, timedelta(minutes=10), timedelta(days=2)) if read else None
    return {"id": id_at(made), "created_at": made, **given.model_dump(), "read": read, "read_at": read_at}
