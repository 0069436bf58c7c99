"""Fields whose values come from outside: one call for all rows of a level, whoever executes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import pytest
import strawberry
from graphql import parse
from strawberry.schema.config import StrawberryConfig

from app.api.computed import batched, computed
from app.api.connection import Connection, connection
from app.api.context import Info
from app.api.node import Node
from app.api.permissions import public
from app.api.relations import to_many
from app.api.scalars import SCALARS, decode_any_id
from app.catalog import models as catalog
from app.core.errors import Unavailable
from app.orders import models as orders
from tests.execution.conftest import Both, both_over
from tests.execution.shop import Shop


class Counter:
    """Something outside: it counts, remembers what it was asked, and can be away."""

    def __init__(self) -> None:
        self.asked: list[list[UUID]] = []
        self.away = False

    async def views(self, _repositories: Any, ids: Sequence[UUID]) -> list[int]:
        self.asked.append(list(ids))
        if self.away:
            raise Unavailable("the counter is away")
        return [id.int % 1000 for id in ids]


COUNTER = Counter()


@strawberry.type
class Product(Node):
    model = catalog.Product
    access = public

    views: int | None = batched(COUNTER.views, needs=("id",))


@strawberry.type
class OrderItem(Node):
    model = orders.OrderItem
    access = public

    views: int | None = batched(COUNTER.views, needs=("product_id",))


@strawberry.type
class Order(Node):
    model = orders.Order
    access = public

    items: list[OrderItem] = to_many("order_items", "find_by_order_ids")


@strawberry.type
class Query:
    products: Connection[Product] = connection("products", access=public)
    orders: Connection[Order] = connection("orders", access=public)


@pytest.fixture(scope="module")
async def counted(shop_database: tuple[str, Shop]) -> AsyncIterator[Both]:
    schema = strawberry.Schema(query=Query, config=StrawberryConfig(info_class=Info, scalar_map=SCALARS))
    async with both_over(schema, *shop_database) as both:
        yield both


@pytest.fixture(autouse=True)
def counter() -> Counter:
    COUNTER.asked.clear()
    COUNTER.away = False
    return COUNTER


async def compiled(both: Both, text: str) -> Any:
    return await both.compile(text, parse(text), {}, both.shop.viewers["administrator"])


async def standard(both: Both, text: str) -> Any:
    return await both.standard(parse(text), {}, both.shop.viewers["administrator"])


PRODUCTS = "{ products { nodes { id seen: views } } }"


async def test_rows_of_a_level_are_asked_for_at_once(counted: Both, counter: Counter) -> None:
    data = await compiled(counted, PRODUCTS)
    (ids,) = counter.asked
    shown = {decode_any_id(node["id"], "id")[1]: node["seen"] for node in data["products"]["nodes"]}
    assert len(ids) > 3
    assert shown == {id: id.int % 1000 for id in ids}

    assert (await standard(counted, PRODUCTS)).data == data
    assert counter.asked == [ids, ids]


async def test_a_key_that_several_rows_share_is_asked_for_once(counted: Both, counter: Counter) -> None:
    text = "{ orders { nodes { items { views } } } }"
    data = await compiled(counted, text)
    (ids,) = counter.asked
    assert len(ids) == len(set(ids)) < sum(len(node["items"]) for node in data["orders"]["nodes"])

    assert (await standard(counted, text)).data == data
    assert [set(asked) for asked in counter.asked] == [set(ids)] * 2


async def test_nothing_is_asked_for_no_rows(counted: Both, counter: Counter) -> None:
    text = "{ products(filter: null, first: 1, after: null) { totalCount } orders(first: 1) { nodes { items { id } } } }"
    await compiled(counted, text.replace("filter: null, ", ""))
    assert counter.asked == []


async def test_what_is_away_is_an_error_of_each_field(counted: Both, counter: Counter) -> None:
    counter.away = True
    assert await compiled(counted, PRODUCTS) is None
    assert counted.refusals()["standard unavailable"] == 1
    answer = await standard(counted, PRODUCTS)
    assert len(answer.errors) == len(answer.data["products"]["nodes"])
    assert {node["seen"] for node in answer.data["products"]["nodes"]} == {None}


def test_a_function_that_waits_is_no_computed_field() -> None:
    with pytest.raises(TypeError, match="`batched` asks for all rows at once"):
        computed(COUNTER.views, needs=("id",))


async def test_a_field_that_is_cancelled_takes_nothing_from_others(counted: Both) -> None:
    """As where the field beside it failed: another row may wait for the same key."""
    context = counted.context(counted.shop.viewers["administrator"])

    async def load(keys: Sequence[int]) -> list[int]:
        await asyncio.sleep(0.01)
        return [key * 2 for key in keys]

    async def wait() -> int:
        return int(await context.loader("doubles", load).load(4))

    cancelled, other = asyncio.create_task(wait()), asyncio.create_task(wait())
    await asyncio.sleep(0.001)
    cancelled.cancel()
    assert await other == 8
    with pytest.raises(asyncio.CancelledError):
        await cancelled
