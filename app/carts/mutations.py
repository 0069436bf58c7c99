"""Filling a cart."""

import strawberry

from app.api.context import Info
from app.api.mutations import mutation
from app.api.permissions import own
from app.api.scalars import decode_id
from app.carts.models import MAX_LINE_QUANTITY
from app.carts.types import CartPayload
from app.core.errors import ErrorCode, UserError

WRITE = own("carts:write")


@strawberry.input
class AddToCartInput:
    product_id: strawberry.ID
    quantity: int = strawberry.field(default=1, description=f"Added to what is there, up to {MAX_LINE_QUANTITY} pieces.")
    cart_id: strawberry.ID | None = strawberry.field(default=None, description="Default: the active cart, made when there is none.")
    store_id: strawberry.ID | None = strawberry.field(default=None, description="Default: the cart's store, else the product's oldest one.")


@strawberry.input
class UpdateCartItemInput:
    cart_id: strawberry.ID
    product_id: strawberry.ID
    quantity: int = strawberry.field(description="0 removes the product.")


@strawberry.input
class RemoveFromCartInput:
    cart_id: strawberry.ID
    product_id: strawberry.ID


def _quantity(value: int, least: int) -> int:
    if not least <= value <= MAX_LINE_QUANTITY:
        raise UserError(ErrorCode.INVALID, f"must be between {least} and {MAX_LINE_QUANTITY}", "quantity")
    return value


@strawberry.type
class CartMutation:
    @mutation(access=WRITE, description="Put pieces of a product into a cart, at its present price.")
    async def add_to_cart(self, info: Info, input: AddToCartInput) -> CartPayload | None:
        cart = await info.context.repositories.carts.put_in(
            info.context.viewer.user_id,
            decode_id(input.product_id, "Product", "productId"),
            _quantity(input.quantity, 1),
            cart_id=decode_id(input.cart_id, "Cart", "cartId") if input.cart_id else None,
            store_id=decode_id(input.store_id, "Store", "storeId") if input.store_id else None,
        )
        return CartPayload(cart=cart)

    @mutation(access=WRITE, description="Set how many pieces of a product a cart holds.")
    async def update_cart_item(self, info: Info, input: UpdateCartItemInput) -> CartPayload | None:
        cart_id, product_id = decode_id(input.cart_id, "Cart", "cartId"), decode_id(input.product_id, "Product", "productId")
        return CartPayload(cart=await info.context.repositories.carts.update_item(cart_id, product_id, _quantity(input.quantity, 0)))

    @mutation(access=WRITE, description="Take a product out of a cart.")
    async def remove_from_cart(self, info: Info, input: RemoveFromCartInput) -> CartPayload | None:
        cart_id, product_id = decode_id(input.cart_id, "Cart", "cartId"), decode_id(input.product_id, "Product", "productId")
        return CartPayload(cart=await info.context.repositories.carts.remove_item(cart_id, product_id))
