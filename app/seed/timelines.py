"""What happened to the demo shop's orders, as their log tells it."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final
from uuid import UUID

from app.orders.models import Actor, OrderEventKind, PaymentStatus
from app.seed.draw import Values, id_at

APART: Final = timedelta(milliseconds=1)
"""Events of one moment keep their order by so much."""

Happening = tuple[datetime, OrderEventKind, dict[str, Any]]


def timeline(order: Values, payments: list[Values]) -> list[Values]:
    """The events of an order, whose payments come in the order in which they were tried."""
    rows: list[Values] = []
    for moment, kind, details in _story(order, payments):
        at = max(moment, rows[-1]["created_at"] + APART) if rows else moment
        rows.append({**_event(order, kind, **details), "id": id_at(at), "created_at": at})
    return rows


def _story(order: Values, payments: list[Values]) -> Iterator[Happening]:
    yield order["created_at"], OrderEventKind.CREATED, {"amount": order["total"]}
    yield order["created_at"], OrderEventKind.RESERVED, {}
    for number, payment in enumerate(payments):
        paid = {"payment_id": payment["id"], "amount": payment["amount"]}
        if number:
            yield payment["created_at"], OrderEventKind.RESERVED, {}
        if payment["status"] is PaymentStatus.FAILED:
            yield payment["failed_at"], OrderEventKind.DECLINED, {**paid, "data": {"code": payment["failure_code"]}}
            yield payment["failed_at"], OrderEventKind.FAILED, {}
            continue
        yield payment["completed_at"], OrderEventKind.CHARGED, {**paid, "data": {"transaction_id": payment["transaction_id"]}}
        yield payment["completed_at"], OrderEventKind.COMPLETED, {}
        if payment["refunded_at"] is not None:
            yield payment["refunded_at"], OrderEventKind.REFUNDED, {**paid, "actor": Actor.STAFF}
    if order["cancelled_at"] is not None:
        yield order["cancelled_at"], OrderEventKind.CANCELLED, {}


def _event(
    order: Values,
    kind: OrderEventKind,
    *,
    actor: Actor = Actor.BUYER,
    payment_id: UUID | None = None,
    amount: Decimal | None = None,
    data: dict[str, Any] | None = None,
) -> Values:
    return {
        "order_id": order["id"],
        "kind": kind,
        "actor": actor,
        "actor_id": order["user_id"] if actor is Actor.BUYER else None,
        "payment_id": payment_id,
        "amount": amount,
        "currency": None if amount is None else order["currency"],
        "data": data or {},
    }
