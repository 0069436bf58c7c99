"""Relations, declared rather than written.

    user: User = to_one("users", key="user_id")
    items: list[OrderItem] = to_many("order_items", "find_by_order_ids")
    orders: Connection[Order] = to_connection("orders", by="user_id", filter=OrderFilter, order=OrderOrder)

A declaration names the repository, its batch method and the parent's column. From it come the resolver over a dataloader and, as data
(`Relation` in the field's metadata), what a subquery needs: parent column, batch method (key, order, limit, scope) and repository.
"""

from collections.abc import Sequence
from typing import Any

import strawberry

from app.api.connection import annotate_listing, page_request
from app.api.context import Context, Info
from app.api.permissions import Access, protected
from app.core.paging import PageRequest, Sort
from app.execution.declarations import Listing, Relation, Total


def _batched(context: Context, relation: Relation, value: Any) -> Any:
    loader = context.loader(relation, getattr(getattr(context.repositories, relation.repository), relation.batch))
    return loader.load(value)


def _related(relation: Relation, access: Access | None, description: str | None) -> Any:
    async def resolve(root, info):  # type: ignore[no-untyped-def]
        value = getattr(root, relation.key)
        return None if value is None else await _batched(info.context, relation, value)

    resolve.__annotations__ = {"root": Any, "info": Info}
    return strawberry.field(
        resolver=resolve,
        description=description,
        **protected(access, relation=relation),
    )


def to_one(repository: str, batch: str = "find_by_ids", *, key: str, access: Access | None = None, description: str | None = None) -> Any:
    """The one row that the parent's `key` column points to, or that points to it by another batch method."""
    return _related(Relation(repository, batch, key), access, description)


def to_many(repository: str, batch: str, *, key: str = "id", access: Access | None = None, description: str | None = None) -> Any:
    """The bounded list of rows that belong to the parent; the limit is the batch method's."""
    return _related(Relation(repository, batch, key), access, description)


def sum_of(repository: str, batch: str, of: str, *, key: str = "id", access: Access | None = None, description: str | None = None) -> Any:
    """The sum of a whole-number column over the list that `to_many` shows of the same batch; asking for both reads the rows once."""
    relation = Relation(repository, batch, key)

    async def resolve(root, info):  # type: ignore[no-untyped-def]
        return sum(getattr(row, of) for row in await _batched(info.context, relation, getattr(root, key)))

    resolve.__annotations__ = {"root": Any, "info": Info}
    return strawberry.field(
        resolver=resolve,
        description=description,
        **protected(access, total=Total(relation, of)),
    )


def to_connection(
    repository: str,
    *,
    by: str,
    key: str = "id",
    filter: type[Any] | None = None,
    order: type[Any] | None = None,
    sorts: tuple[Sort, ...] = (),
    fixed: dict[str, Any] | None = None,
    access: Access | None = None,
    description: str | None = None,
) -> Any:
    """The page of rows whose `by` column is the parent's `key`: one statement for all parents that ask for the same page."""
    listing = Listing(repository, filter, order, sorts, fixed)
    relation = Relation(repository, by, key, listing)

    async def resolve(root, info, first=None, after=None, last=None, before=None, filter=None, order_by=None):  # type: ignore[no-untyped-def]
        request = page_request(listing, info.context.viewer, first, after, last, before, filter, order_by)
        return await _paged(info.context, relation, request, getattr(root, key))

    annotate_listing(resolve, listing)
    return strawberry.field(
        resolver=resolve,
        description=description,
        **protected(access, relation=relation),
    )


async def _paged(context: Context, relation: Relation, request: PageRequest, value: Any) -> Any:
    rows = getattr(context.repositories, relation.repository)

    async def load(keys: Sequence[Any]) -> Sequence[Any]:
        return await rows.find_pages(relation.batch, keys, request)  # type: ignore[no-any-return]

    return await context.loader((relation, repr(request)), load).load(value)
