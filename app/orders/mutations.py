"""Ordering a cart, paying and cancelling."""

from decimal import Decimal
from typing import Annotated, Any

import strawberry

from app.api.context import Info
from app.api.idempotency import DESCRIPTION as KEY
from app.api.idempotency import Effect
from app.api.inputs import IdInput
from app.api.mutations import given, mutation, shown
from app.api.permissions import own, requires
from app.api.scalars import decode_id
from app.core.errors import ErrorCode, UserError
from app.orders.agreement import Agreement
from app.orders.models import Capture, HeldResolution, RefundRequest
from app.orders.payments import Paid, Placing
from app.orders.refunds import capture, refund, resolve, void
from app.orders.repository import RefundingRepository
from app.orders.types import OrderPayload

WRITE = own("orders:write")
ONCE = Effect.ONE_TRANSACTION
CAPTURE = (
    "MANUAL sets the money aside, for staff to take (`capturePayment`) or let go (`voidPayment`). Default: as the store's setting says."
)


@strawberry.input
class CreateOrderInput:
    cart_id: strawberry.ID
    payment_method: str
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)
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
        default=None, description=f"{KEY} Asked again with it, an unanswered payment tells its outcome."
    )
    capture: Capture | None = strawberry.field(default=None, description=CAPTURE)


@strawberry.input
class PlaceOrderInput:
    cart_id: strawberry.ID
    payment_method: str
    payment_token: str = strawberry.field(description="From the payment provider, as for `processPayment`.")
    idempotency_key: str | None = strawberry.field(
        default=None, description=f"{KEY} Asked again with it, an unanswered payment tells its outcome."
    )
    accept_price_changes: bool = strawberry.field(default=False, description="As for `createOrder`.")
    cart_version: int | None = strawberry.field(default=None, description="As for `createOrder`.")
    capture: Capture | None = strawberry.field(default=None, description=CAPTURE)


@strawberry.input(description="One of `paymentId` and `orderId`.")
class RefundPaymentInput:
    payment_id: strawberry.ID | None = None
    order_id: strawberry.ID | None = strawberry.field(default=None, description="The payment that settled it.")
    amount: Decimal | None = strawberry.field(default=None, description="Default: all that is left.")
    reason: str | None = None
    restock: bool = strawberry.field(default=False, description="Put the order's pieces back on the shelf; once per order.")
    idempotency_key: str = strawberry.field(description=KEY)


@strawberry.input
class CapturePaymentInput:
    payment_id: strawberry.ID
    amount: Decimal | None = strawberry.field(default=None, description="Default: all that is set aside. What is not taken is let go.")
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input
class VoidPaymentInput:
    payment_id: strawberry.ID
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.input
class ResolveHeldPaymentInput:
    payment_id: strawberry.ID
    resolution: HeldResolution
    idempotency_key: str | None = strawberry.field(default=None, description=KEY)


@strawberry.type
class OrderMutation:
    @mutation(access=WRITE, idempotent=ONCE, description="Order what is in a cart: stock is reserved, and the cart is CONVERTED.")
    async def create_order(self, info: Info, input: CreateOrderInput) -> OrderPayload | None:
        cart_id = decode_id(input.cart_id, "Cart", "cartId")
        orders = info.context.repositories.orders
        agreement = Agreement(input.accept_price_changes, input.cart_version)
        return OrderPayload(order=await orders.create_from_cart(cart_id, input.payment_method, input.idempotency_key, agreement))

    @mutation(
        access=WRITE,
        idempotent=Effect.SEVERAL_STEPS,
        description="Charge for a pending order: it becomes COMPLETED, or FAILED when the charge is declined.",
    )
    async def process_payment(self, info: Info, input: ProcessPaymentInput) -> OrderPayload | None:
        order_id = decode_id(input.order_id, "Order", "orderId")
        context = info.context
        pay, key = context.services.payments.pay, input.idempotency_key
        return paid_payload(await pay(context.repositories, order_id, input.payment_token, key, input.capture))

    @mutation(
        access=WRITE,
        idempotent=Effect.SEVERAL_STEPS,
        description="Order what is in a cart and charge for it: the order is COMPLETED, or FAILED and its stock released.",
    )
    async def place_order(self, info: Info, input: PlaceOrderInput) -> OrderPayload | None:
        cart_id = decode_id(input.cart_id, "Cart", "cartId")
        order = Placing(cart_id, input.payment_method, Agreement(input.accept_price_changes, input.cart_version), input.capture)
        context, token = info.context, input.payment_token
        return paid_payload(await context.services.payments.place(context.repositories, order, token, input.idempotency_key))

    @mutation(access=WRITE, idempotent=ONCE, description="Cancel a pending order and give its stock back.")
    async def cancel_order(
        self, info: Info, input: IdInput, idempotency_key: Annotated[str | None, strawberry.argument(description=KEY)] = None
    ) -> OrderPayload | None:
        return OrderPayload(order=await info.context.repositories.orders.cancel(decode_id(input.id, "Order", "id")))

    @mutation(
        access=requires("payments:refund"),
        idempotent=Effect.SEVERAL_STEPS,
        description="Give money of a payment back, in parts or as a whole; all of it gives a payment that is REFUNDED.",
    )
    async def refund_payment(self, info: Info, input: RefundPaymentInput) -> OrderPayload | None:
        if (input.payment_id is None) == (input.order_id is None):
            raise UserError(ErrorCode.INVALID, "give either a paymentId or an orderId", "payment_id")
        request = RefundRequest.model_validate(given(input, without=("payment_id", "order_id")))
        repositories = info.context.repositories
        payment = await repositories.of(RefundingRepository).find_payment(
            payment_id=decode_id(input.payment_id, "Payment", "paymentId") if input.payment_id else None,
            order_id=decode_id(input.order_id, "Order", "orderId") if input.order_id else None,
        )
        return paid_payload(await refund(info.context.services.payments, repositories, payment, request))

    @mutation(
        access=requires("payments:capture"),
        idempotent=Effect.SEVERAL_STEPS,
        description="Take the money that is set aside for an order: it becomes COMPLETED.",
    )
    async def capture_payment(self, info: Info, input: CapturePaymentInput) -> OrderPayload | None:
        payment_id = decode_id(input.payment_id, "Payment", "paymentId")
        repositories = info.context.repositories
        payment = await repositories.of(RefundingRepository).find_payment(payment_id=payment_id)
        return paid_payload(await capture(info.context.services.payments, repositories, payment, input.amount))

    @mutation(
        access=requires("payments:capture"),
        idempotent=Effect.SEVERAL_STEPS,
        description="Let go of the money that is set aside for an order: it becomes CANCELLED, and its stock is released.",
    )
    async def void_payment(self, info: Info, input: VoidPaymentInput) -> OrderPayload | None:
        payment_id = decode_id(input.payment_id, "Payment", "paymentId")
        repositories = info.context.repositories
        payment = await repositories.of(RefundingRepository).find_payment(payment_id=payment_id)
        return paid_payload(await void(info.context.services.payments, repositories, payment))

    @mutation(
        access=requires("payments:refund"),
        idempotent=Effect.SEVERAL_STEPS,
        description="Bring a payment to its end that is held because its provider says other money than the order: ACCEPT that as its "
        "payment, or REJECT it, which gives it back and lets the buyer pay again.",
    )
    async def resolve_held_payment(self, info: Info, input: ResolveHeldPaymentInput) -> OrderPayload | None:
        payment_id = decode_id(input.payment_id, "Payment", "paymentId")
        repositories = info.context.repositories
        payment = await repositories.of(RefundingRepository).find_payment(payment_id=payment_id)
        return paid_payload(await resolve(info.context.services.payments, repositories, payment, input.resolution))


def paid_payload(paid: Paid) -> OrderPayload:
    """The order as it is now, and what can be mended."""
    order: Any = paid.order
    return OrderPayload(order=order, user_errors=[shown(paid.refusal)] if paid.refusal else [])
