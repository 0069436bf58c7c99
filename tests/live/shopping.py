"""Shoppers whose orders and carts change, in a gateway that is reached over sockets."""

from dataclasses import dataclass, field
from itertools import count
from typing import Any
from uuid import UUID

import httpx

from app.api.scalars import decode_any_id
from tests.serving import SIGN_IN, SIGN_UP, Caller

PASSWORD = "correct horse battery staple"
ADD = "mutation ($input: AddToCartInput!) { addToCart(input: $input) { cart { id } userErrors { message } } }"
ORDER = "mutation ($input: CreateOrderInput!) { createOrder(input: $input) { order { id } userErrors { message } } }"
CANCEL = "mutation ($input: IdInput!) { cancelOrder(input: $input) { order { id } userErrors { message } } }"
NUMBERS = count(1)


def uuid_of(id: str) -> UUID:
    return decode_any_id(id, "id")[1]


@dataclass
class Shopper(Caller):
    """Somebody with an account."""

    http: httpx.AsyncClient
    email: str = field(default_factory=lambda: f"shopper{next(NUMBERS)}@example.com")
    headers: dict[str, str] = field(default_factory=dict)

    async def join(self) -> "Shopper":
        given = {"email": self.email, "username": self.email.partition("@")[0], "password": PASSWORD}
        payload = (await self.ask(SIGN_UP, input=given))["signUp"]
        assert payload["userErrors"] == []
        self.headers = {"Authorization": f"Bearer {payload['session']['token']}"}
        return self

    async def again(self) -> "Shopper":
        """The same account in another session."""
        payload = (await self.ask(SIGN_IN, input={"email": self.email, "password": PASSWORD}))["signIn"]
        return Shopper(self.http, self.email, {"Authorization": f"Bearer {payload['session']['token']}"})

    async def fill_cart(self, product_id: str, quantity: int = 1) -> str:
        """The id of the shopper's cart."""
        payload = (await self.ask(ADD, input={"productId": product_id, "quantity": quantity}))["addToCart"]
        assert payload["userErrors"] == []
        return str(payload["cart"]["id"])

    async def order(self, cart_id: str) -> str:
        payload = (await self.ask(ORDER, input={"cartId": cart_id, "paymentMethod": "card"}))["createOrder"]
        assert payload["userErrors"] == []
        return str(payload["order"]["id"])

    async def cancel(self, order_id: str) -> None:
        assert (await self.ask(CANCEL, input={"id": order_id}))["cancelOrder"]["userErrors"] == []


async def some_product(caller: Caller) -> str:
    """The id of a product of which there are many."""
    found = await caller.ask("{ products(first: 50) { nodes { id inventory { available } } } }")
    stocked: list[Any] = [node for node in found["products"]["nodes"] if (node["inventory"] or {}).get("available", 0) > 20]
    return str(stocked[0]["id"])


async def metric(http: httpx.AsyncClient, name: str, **labels: str) -> float:
    """The sum of a metric's samples with these labels."""
    text = (await http.get("/metrics")).text
    wanted = [f'{label}="{value}"' for label, value in labels.items()]
    lines = [line for line in text.splitlines() if line.partition("{")[0].partition(" ")[0] == name]
    return sum(float(line.rpartition(" ")[2]) for line in lines if all(part in line for part in wanted))
