"""Relay connections over keyset pages, declared rather than written.

    products: Connection[Product] = connection("products", filter=ProductFilter, order=ProductOrder, access=public)

From a declaration come the resolver, the arguments and the description of the list (`Listing`) that other executors of the schema read.
"""

import inspect
from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Generic, TypeVar

import strawberry

from app.api.cache_control import INHERITED, CacheControl, hints
from app.api.context import Info
from app.api.filters import to_where
from app.api.permissions import Access, protected
from app.core.errors import BadInput
from app.core.paging import MAX_SIZE, MAX_SIZE_STAFF, Page, PageRequest, Sort
from app.core.security import Viewer
from app.execution.declarations import Listing

T = TypeVar("T")
MAX_SORTS = 5


@strawberry.enum(description="Ascending or descending.")
class OrderDirection(StrEnum):
    ASC = "ASC"
    DESC = "DESC"


@strawberry.type(description="Where a page lies in its list (Relay cursor connections).", directives=[INHERITED])
class PageInfo:
    has_next_page: bool
    has_previous_page: bool
    start_cursor: str | None
    end_cursor: str | None


@strawberry.type(description="One item of a connection, with its cursor.", directives=[INHERITED])
class Edge(Generic[T]):
    cursor: str
    node: T


def _page_info(root: Page[Any]) -> PageInfo:
    nodes = root.nodes
    return PageInfo(
        has_next_page=root.has_next_page,
        has_previous_page=root.has_previous_page,
        start_cursor=root.cursor(nodes[0]) if nodes else None,
        end_cursor=root.cursor(nodes[-1]) if nodes else None,
    )


def _edges(root: Page[Any]) -> list[Any]:
    return [Edge(cursor=root.cursor(node), node=node) for node in root.nodes]


async def _total_count(root: Page[Any]) -> int:
    return await root.count()


@strawberry.type(description="One page of a list.", directives=[INHERITED])
class Connection(Generic[T]):
    edges: list[Edge[T]] = strawberry.field(resolver=_edges)
    nodes: list[T]
    page_info: PageInfo = strawberry.field(resolver=_page_info)
    total_count: int = strawberry.field(resolver=_total_count, description="Size of the whole list; counted only when asked for.")


def to_sorts(order_by: Sequence[Any] | None) -> tuple[Sort, ...]:
    """Raises `BadInput` for more sort keys than anybody can mean."""
    if order_by and len(order_by) > MAX_SORTS:
        raise BadInput("orderBy", f"has {len(order_by)} keys, at most {MAX_SORTS} are allowed")
    return tuple(Sort(order.field.value, descending=order.direction is OrderDirection.DESC) for order in order_by or ())


def page_request(
    listing: Listing,
    viewer: Viewer,
    first: int | None = None,
    after: str | None = None,
    last: int | None = None,
    before: str | None = None,
    filter: Any = None,
    order_by: Sequence[Any] | None = None,
) -> PageRequest:
    """What a list's arguments ask for; raises `BadInput` for a filter that makes no sense."""
    where = to_where(filter)
    if listing.fixed and not viewer.is_staff:
        where = {"and": [listing.fixed, where]}
    if listing.own:
        where = {"and": [{listing.own: viewer.user_id}, where]}
    return PageRequest(
        first=first,
        after=after,
        last=last,
        before=before,
        where=where,
        sorts=to_sorts(order_by) or listing.default_sorts,
        max_size=MAX_SIZE_STAFF if viewer.is_staff else MAX_SIZE,
    )


def connection(
    repository: str,
    *,
    access: Access,
    filter: type[Any] | None = None,
    order: type[Any] | None = None,
    sorts: tuple[Sort, ...] = (),
    fixed: dict[str, Any] | None = None,
    own: str | None = None,
    elsewhere: bool = False,
    cache: CacheControl | None = None,
    description: str | None = None,
) -> Any:
    """A root field that lists a repository's rows within the viewer's scope. Rows kept `elsewhere` than in PostgreSQL only it can read."""
    listing = Listing(repository, filter, order, sorts, fixed, own)

    async def resolve(info, first=None, after=None, last=None, before=None, filter=None, order_by=None):  # type: ignore[no-untyped-def]
        rows = getattr(info.context.repositories, repository)
        return await rows.find_page(page_request(listing, info.context.viewer, first, after, last, before, filter, order_by))

    annotate_listing(resolve, listing)
    declared = {} if elsewhere else {"listing": listing}
    return strawberry.field(resolver=resolve, description=description, **protected(access, *hints(cache), **declared))


def annotate_listing(resolve: Any, listing: Listing) -> None:
    """Give a resolver the arguments of a list; those that its listing has no types for are taken away."""
    hints: dict[str, Any] = {"info": Info, "first": int | None, "after": str | None, "last": int | None, "before": str | None}
    if listing.filter:
        hints["filter"] = listing.filter | None
    if listing.order:
        hints["order_by"] = list[listing.order] | None  # type: ignore[name-defined]
    signature = inspect.signature(resolve)
    kept = [p.replace(annotation=hints.get(p.name, p.annotation)) for p in signature.parameters.values() if p.name in {"root", *hints}]
    resolve.__annotations__ = {p.name: p.annotation for p in kept}
    resolve.__signature__ = signature.replace(parameters=kept)
