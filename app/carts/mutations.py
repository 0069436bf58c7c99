"""Filling a cart, and keeping the vouchers that make it cheaper."""

from datetime import datetime
from decimal import Decimal
from typing import Any

import strawberry
from strawberry import UNSET

from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import given, mutation, validated
from app.api.permissions import own_or_guests, requires
from app.api.rate_limit import Per, Rate
from app.api.scalars import decode_id
from app.carts.models import MAX_LINE_QUANTITY, CartContact, VoucherCreate, VoucherUpdate
from app.carts.restoring import restore
from app.carts.types import CartPayload, VoucherPayload
from app.core.errors import ErrorCode, UserError
from app.core.security import guest

WRITE = own_or_guests("carts:write")
KEEP = requires("vouchers:write")
SEEN = "The version that the caller saw: CONFLICT, if the cart has changed since."


@strawberry.input
class AddToCartInput:
    product_id: strawberry.ID
    quantity: int = strawberry.field(default=1, description=f"Added to what is there, up to {MAX_LINE_QUANTITY} pieces.")
    cart_id: strawberry.ID | None = strawberry.field(default=None, description="Default: the active cart, made when there is none.")
    store_id: strawberry.ID | None = strawberry.field(default=None, description="Default: the cart's store, else the product's oldest one.")
    cart_version: int | None = strawberry.field(default=None, description=SEEN)


@strawberry.input
class UpdateCartItemInput:
    cart_id: strawberry.ID
    product_id: strawberry.ID
    quantity: int = strawberry.field(description="0 removes the product.")
    cart_version: int | None = strawberry.field(default=None, description=SEEN)


@strawberry.input
class RemoveFromCartInput:
    cart_id: strawberry.ID
    product_id: strawberry.ID
    cart_version: int | None = strawberry.field(default=None, description=SEEN)


@strawberry.input(description="One of `cartId` and `token`.")
class RestoreCartInput:
    cart_id: strawberry.ID | None = None
    token: str | None = strawberry.field(default=None, description="From the link in a mail about the cart.")


@strawberry.input
class SetCartEmailInput:
    cart_id: strawberry.ID
    email: str | None = strawberry.field(description="Null: nowhere.")


@strawberry.input
class AcceptPricesInput:
    cart_id: strawberry.ID
    cart_version: int | None = strawberry.field(default=None, description=SEEN)


@strawberry.input
class ApplyVoucherInput:
    cart_id: strawberry.ID
    code: str = strawberry.field(description="In either case.")
    cart_version: int | None = strawberry.field(default=None, description=SEEN)


@strawberry.input
class RemoveVoucherInput:
    cart_id: strawberry.ID
    cart_version: int | None = strawberry.field(default=None, description=SEEN)


@strawberry.input(description="Over either a percentage or an amount; dates and limits that are left out do not bind.")
class CreateVoucherInput:
    store_id: strawberry.ID
    code: str = strawberry.field(description="3 to 64 letters, digits, - and _; the same in either case.")
    percent: Decimal | None = strawberry.field(default=UNSET, description="10 for a tenth.")
    amount: Decimal | None = strawberry.field(default=UNSET, description="In the currency.")
    currency: str | None = strawberry.field(default=UNSET, description="Default, and only choice: the store's.")
    minimum_amount: Decimal | None = strawberry.field(default=UNSET, description="What the products must cost at least, in the currency.")
    max_uses: int | None = UNSET
    once_per_user: bool = False
    starts_at: datetime | None = UNSET
    ends_at: datetime | None = UNSET


@strawberry.input(description="What is left out stays as it is; null takes a limit away. Code and currency stay.")
class UpdateVoucherInput:
    id: strawberry.ID
    percent: Decimal | None = UNSET
    amount: Decimal | None = UNSET
    minimum_amount: Decimal | None = UNSET
    max_uses: int | None = UNSET
    once_per_user: bool | None = UNSET
    starts_at: datetime | None = UNSET
    ends_at: datetime | None = UNSET
    is_active: bool | None = UNSET


def _quantity(value: int, least: int) -> int:
    if not least <= value <= MAX_LINE_QUANTITY:
        raise UserError(ErrorCode.INVALID, f"must be between {least} and {MAX_LINE_QUANTITY}", "quantity")
    return value


@strawberry.type
class CartMutation:
    @mutation(
        access=WRITE,
        description="Put pieces of a product into a cart, at its present price. A guest gets a token for it; browsers keep it as a cookie.",
    )
    async def add_to_cart(self, info: Info, input: AddToCartInput) -> CartPayload | None:
        context, token = info.context, None
        if not context.viewer.is_authenticated:
            token = await context.services.guest_carts.token(context.repositories.unscoped, context.request)
            context.signed_in_as(guest(token))
        cart = await context.repositories.carts.put_in(
            context.viewer.user_id,
            decode_id(input.product_id, "Product", "productId"),
            _quantity(input.quantity, 1),
            cart_id=decode_id(input.cart_id, "Cart", "cartId") if input.cart_id else None,
            store_id=decode_id(input.store_id, "Store", "storeId") if input.store_id else None,
            version=input.cart_version,
        )
        if token is not None:
            context.keep_cart(token, context.services.guest_carts.lifetime)
        return CartPayload(cart=cart, cart_token=token)

    @mutation(access=WRITE, description="Set how many pieces of a product a cart holds.")
    async def update_cart_item(self, info: Info, input: UpdateCartItemInput) -> CartPayload | None:
        cart_id, product_id = decode_id(input.cart_id, "Cart", "cartId"), decode_id(input.product_id, "Product", "productId")
        carts, quantity = info.context.repositories.carts, _quantity(input.quantity, 0)
        return CartPayload(cart=await carts.update_item(cart_id, product_id, quantity, input.cart_version))

    @mutation(access=WRITE, description="Take a product out of a cart.")
    async def remove_from_cart(self, info: Info, input: RemoveFromCartInput) -> CartPayload | None:
        cart_id, product_id = decode_id(input.cart_id, "Cart", "cartId"), decode_id(input.product_id, "Product", "productId")
        return CartPayload(cart=await info.context.repositories.carts.remove_item(cart_id, product_id, input.cart_version))

    @mutation(
        access=WRITE,
        description="Go on with a cart that was ABANDONED: the caller's own, or the one that a mail has led to. The link of a guest's cart "
        "gives a new token for it.",
    )
    async def restore_cart(self, info: Info, input: RestoreCartInput) -> CartPayload | None:
        context = info.context
        if (input.cart_id is None) == (input.token is None):
            raise UserError(ErrorCode.INVALID, "give either a cartId or a token", "cart_id")
        if input.cart_id is not None:
            return CartPayload(cart=await context.repositories.carts.reopen(decode_id(input.cart_id, "Cart", "cartId")))
        cart: Any
        cart, new_token = await restore(context.repositories, context.services.seals, input.token or "")
        if new_token is not None:
            context.signed_in_as(guest(new_token))
            context.keep_cart(new_token, context.services.guest_carts.lifetime)
        return CartPayload(cart=cart, cart_token=new_token)

    @mutation(
        access=WRITE,
        rate=Rate("20/hour", per=Per.ADDRESS),
        description="Say where a guest may be written to if it leaves its cart.",
    )
    async def set_cart_email(self, info: Info, input: SetCartEmailInput) -> CartPayload | None:
        cart_id, contact = decode_id(input.cart_id, "Cart", "cartId"), validated(CartContact, input, without=("cart_id",))
        return CartPayload(cart=await info.context.repositories.carts.set_email(cart_id, contact.email))

    @mutation(
        access=WRITE, description="Take what products, shipping, taxes and voucher of a cart come to at present: the shopper has seen it."
    )
    async def accept_prices(self, info: Info, input: AcceptPricesInput) -> CartPayload | None:
        cart_id = decode_id(input.cart_id, "Cart", "cartId")
        return CartPayload(cart=await info.context.repositories.carts.accept_prices(cart_id, input.cart_version))

    @mutation(
        access=WRITE,
        rate=Rate("30/minute"),
        description="Have a voucher make a cart cheaper, in place of any other. It is redeemed when the cart is ordered.",
    )
    async def apply_voucher(self, info: Info, input: ApplyVoucherInput) -> CartPayload | None:
        cart_id = decode_id(input.cart_id, "Cart", "cartId")
        return CartPayload(cart=await info.context.repositories.carts.apply_voucher(cart_id, input.code, input.cart_version))

    @mutation(access=WRITE, description="Take the voucher off a cart.")
    async def remove_voucher(self, info: Info, input: RemoveVoucherInput) -> CartPayload | None:
        cart_id = decode_id(input.cart_id, "Cart", "cartId")
        return CartPayload(cart=await info.context.repositories.carts.remove_voucher(cart_id, input.cart_version))


@strawberry.type
class VoucherMutation:
    @mutation(access=KEEP)
    async def create_voucher(self, info: Info, input: CreateVoucherInput) -> VoucherPayload | None:
        named = {"store_id": decode_id(input.store_id, "Store", "storeId"), "created_by": info.context.viewer.user_id}
        voucher = VoucherCreate.model_validate({**given(input), **named})
        return VoucherPayload(voucher=await info.context.repositories.vouchers.create_within(voucher))

    @mutation(access=KEEP, description="Change a voucher. Orders that have it stay as they are.")
    async def update_voucher(self, info: Info, input: UpdateVoucherInput) -> VoucherPayload | None:
        change = validated(VoucherUpdate, input, without=("id",))
        return VoucherPayload(voucher=await info.context.repositories.vouchers.update_voucher(decode_id(input.id, "Voucher", "id"), change))

    @mutation(access=KEEP, description="Let nobody use a voucher any more; `updateVoucher` makes it active again.")
    async def deactivate_voucher(self, info: Info, input: IdInput) -> VoucherPayload | None:
        id = decode_id(input.id, "Voucher", "id")
        return VoucherPayload(voucher=await info.context.repositories.vouchers.update_voucher(id, VoucherUpdate(is_active=False)))
