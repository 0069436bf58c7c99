"""Filling a cart."""

import strawberry

from app.api.context import Info
from app.api.mutations import mutation
from app.api.permissions import own_or_guests
from app.api.scalars import decode_id
from app.carts.models import MAX_LINE_QUANTITY
from app.carts.types import CartPayload
from app.core.errors import ErrorCode, UserError
from app.core.security import guest

WRITE = own_or_guests("carts:write")
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


@strawberry.input
class RestoreCartInput:
    cart_id: strawberry.ID


@strawberry.input
class AcceptPricesInput:
    cart_id: strawberry.ID
    cart_version: int | None = strawberry.field(default=None, description=SEEN)


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

    @mutation(access=WRITE, description="Go on with a cart that was ABANDONED.")
    async def restore_cart(self, info: Info, input: RestoreCartInput) -> CartPayload | None:
        return CartPayload(cart=await info.context.repositories.carts.reopen(decode_id(input.cart_id, "Cart", "cartId")))

    @mutation(access=WRITE, description="Take the products' present prices for all lines of a cart: the shopper has seen them.")
    async def accept_prices(self, info: Info, input: AcceptPricesInput) -> CartPayload | None:
        cart_id = decode_id(input.cart_id, "Cart", "cartId")
        return CartPayload(cart=await info.context.repositories.carts.accept_prices(cart_id, input.cart_version))
