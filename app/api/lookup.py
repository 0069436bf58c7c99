"""Root fields that show one row, declared rather than written.

    def _product(viewer: Viewer, id: strawberry.ID | None = None, sku: str | None = None) -> Where | None:
        return exactly_one(id=decode(id), sku=sku)

    product: Product | None = single("products", _product, access=public)

The finder takes the field's arguments and gives the filter of the row, or None where there can be none.
"""

import inspect
from collections.abc import Callable
from typing import Any

import strawberry

from app.api.cache_control import CacheControl, hints
from app.api.context import Context, Info
from app.api.permissions import Access, protected
from app.execution.declarations import Lookup, Where


def single(
    repository: str,
    find: Callable[..., Where | None],
    *,
    access: Access,
    cache: CacheControl | None = None,
    description: str | None = None,
) -> Any:
    """A root field that shows the first row within the viewer's scope that `find(viewer, **arguments)` describes."""

    async def resolve(info, **arguments):  # type: ignore[no-untyped-def]
        return await first_row(info.context, repository, find(info.context.viewer, **arguments))

    annotate(resolve, find)
    return strawberry.field(
        resolver=resolve,
        description=description,
        **protected(access, *hints(cache), lookup=Lookup(repository, find)),
    )


async def first_row(context: Context, repository: str, where: Where | None) -> Any:
    """The first row that a filter finds. By id alone it may come from the cache."""
    if where is None:
        return None
    rows = getattr(context.repositories, repository)
    return await (rows.find_by_id(where["id"]) if where.keys() == {"id"} else rows.find_first(where))


def annotate(resolve: Any, find: Callable[..., Any]) -> None:
    """Give the resolver the arguments of its finder, whose first one is the viewer."""
    _, *given = inspect.signature(find).parameters.values()
    info = inspect.Parameter("info", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Info)
    parameters = [info, *given]
    resolve.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    resolve.__signature__ = inspect.Signature(parameters)
