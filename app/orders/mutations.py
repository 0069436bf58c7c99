"""Ordering a cart, paying and cancelling."""

import strawberry

from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import mutation, shown
from app.api.permissions import signed_in
from app.api.scalars import decode_id
from app.core.errors import ErrorCode, UserError
from app.orders.payments import process_payment
from app.orders.types import OrderPayload

MAX_KEY = 255
MAX_METHOD = 64


@strawberry.input
class CreateOrderInput:
    cart_id: strawberry.ID
    payment_method: str
    idempotency_key: str | None = strawberry.field(default=None, description="The same key gives the same order again.")


@strawberry.input
class ProcessPaymentInput:
    order_id: strawberry.ID
    payment_token: str = strawberry.field(description="From the payment provider; the test provider takes tok_success, tok_declined, ...")
    idempotency_key: str | None = strawberry.field(default=None, description="The same key never charges twice.")


def _line(value: str, most: int, field: str) -> str:
    stripped = value.strip()
    if not 1 <= len(stripped) <= most:
        raise UserError(ErrorCode.INVALID, f"must have 1 to {most} characters", field)
    return stripped


def _key(value: str | None) -> str | None:
    return None if value is None else _line(value, MAX_KEY, "idempotency_key")


@strawberry.type
class OrderMutation:
    @mutation(access=signed_in, description="Order what is in a cart: stock is reserved, and the cart is CONVERTED.")
    async def create_order(self, info: Info, input: CreateOrderInput) -> OrderPayload | None:
        order = await info.context.repositories.orders.create_from_cart(
            decode_id(input.cart_id, "Cart", "cartId"),
            _line(input.payment_method, MAX_METHOD, "payment_method"),
            _key(input.idempotency_key),
        )
        return OrderPayload(order=order)

    @mutation(access=signed_in, description="Charge for a pending order: it becomes COMPLETED, or FAILED when the charge is declined.")
    async def process_payment(self, info: Info, input: ProcessPaymentInput) -> OrderPayload | None:
        paid = await process_payment(
            info.context.repositories,
            info.context.services.payments,
            decode_id(input.order_id, "Order", "orderId"),
            _line(input.payment_token, MAX_KEY, "payment_token"),
            _key(input.idempotency_key),
        )
        return OrderPayload(order=paid.order, user_errors=[shown(paid.refusal)] if paid.refusal else [])  # type: ignore[arg-type]

    @mutation(access=signed_in, description="Cancel a pending order and give its stock back.")
    async def cancel_order(self, info: Info, input: IdInput) -> OrderPayload | None:
        return OrderPayload(order=await info.context.repositories.orders.cancel(decode_id(input.id, "Order", "id")))
