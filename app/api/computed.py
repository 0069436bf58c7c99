"""Fields worked out in Python from columns of their row: alone, or for many rows at once.

    slug: str = computed(slug_of, needs=("name",))
    views: int = batched(views_of, needs=("id",))           # async def views_of(repositories, ids: Sequence[UUID]) -> list[int]

What the function needs is declared, so that a row can be read with these columns alone.
"""

import inspect
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

import strawberry

from app.api.context import Info
from app.api.permissions import Access, protected
from app.execution.declarations import Batched, Computed


def computed(compute: Callable[..., Any], *, needs: tuple[str, ...], access: Access | None = None, description: str | None = None) -> Any:
    """A field whose value is `compute` of the row's columns `needs`, in this order. It must depend on nothing else."""
    if inspect.iscoroutinefunction(compute):
        raise TypeError(f"{compute.__name__} waits for something: `batched` asks for all rows at once")

    def resolve(root):  # type: ignore[no-untyped-def]
        return compute(*(getattr(root, name) for name in needs))

    resolve.__annotations__ = {"root": Any}
    return strawberry.field(
        resolver=resolve,
        description=description,
        **protected(access, computed=Computed(needs, compute)),
    )


def batched(
    compute: Callable[[Any, Sequence[Any]], Awaitable[Sequence[Any]]],
    *,
    needs: tuple[str, ...],
    access: Access | None = None,
    description: str | None = None,
) -> Any:
    """A field whose values come from outside of the row's database, such as ClickHouse or Redis.

    `compute(repositories, keys)` is called once for all rows of a level, with the viewer's repositories, and gives the values in the order
    of the keys, none of which comes twice. A key is the row's column, or a tuple where it needs several. A value that is an exception
    fails its row's field.
    """
    source, key_of = Batched(needs, compute), attrgetter(*needs)

    async def resolve(root, info):  # type: ignore[no-untyped-def]
        return await info.context.loader(source, partial(compute, info.context.repositories)).load(key_of(root))

    resolve.__annotations__ = {"root": Any, "info": Info}
    return strawberry.field(resolver=resolve, description=description, **protected(access, batched=source))
