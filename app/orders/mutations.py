"""Ordering a cart, paying and cancelling."""

import strawberry

from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import mutation, shown
from app.api.permissions import own
from app.api.scalars import decode_id
from app.orders.agreement import Agreement
from app.orders.types import OrderPayload

WRITE = own("orders:write")


@strawberry.input
class CreateOrderInput:
    cart_id: strawberry.ID
    payment_method: str
    idempotency_key: str | None = strawberry.field(default=None, description="The same key gives the same order again.")
    accept_price_changes: bool = strawberry.field(
        default=False, description="Without it, what has become dearer since it was put in is not ordered: PRICE_CHANGED names it."
    )
    cart_version: int | None = strawberry.field(
        default=None, description="The version that the caller saw: CONFLICT, if the cart has changed since."
    )


@strawberry.input
class ProcessPaymentInput:
    order_id: strawberry.ID
    payment_token: str = strawberry.field(
        description="From the payment provider. The test provider takes tok_success, tok_declined, tok_insufficient_funds, tok_timeout, "
        "tok_response_lost and tok_async."
    )
    idempotency_key: str | None = strawberry.field(
        default=None, description="The same key never charges twice; asked again with it, an unanswered payment tells its outcome."
    )


@strawberry.type
class OrderMutation:
    @mutation(access=WRITE, description="Order what is in a cart: stock is reserved, and the cart is CONVERTED.")
    async def create_order(self, info: Info, input: CreateOrderInput) -> OrderPayload | None:
        cart_id = decode_id(input.cart_id, "Cart", "cartId")
        orders = info.context.repositories.orders
        agreement = Agreement(input.accept_price_changes, input.cart_version)
        return OrderPayload(order=await orders.create_from_cart(cart_id, input.payment_method, input.idempotency_key, agreement))

    @mutation(access=WRITE, description="Charge for a pending order: it becomes COMPLETED, or FAILED when the charge is declined.")
    async def process_payment(self, info: Info, input: ProcessPaymentInput) -> OrderPayload | None:
        order_id = decode_id(input.order_id, "Order", "orderId")
        context = info.context
        paid = await context.services.payments.pay(context.repositories, order_id, input.payment_token, input.idempotency_key)
        return OrderPayload(order=paid.order, user_errors=[shown(paid.refusal)] if paid.refusal else [])

    @mutation(access=WRITE, description="Cancel a pending order and give its stock back.")
    async def cancel_order(self, info: Info, input: IdInput) -> OrderPayload | None:
        return OrderPayload(order=await info.context.repositories.orders.cancel(decode_id(input.id, "Order", "id")))
