"""The Node interface of Relay's global object identification, for types whose objects are rows."""

import asyncio
from collections.abc import Sequence
from typing import Any, ClassVar, cast
from uuid import UUID

import strawberry
from graphql import GraphQLResolveInfo

from app.api.context import Info
from app.api.permissions import Access, by_type, check, check_key, protected
from app.api.scalars import decode_any_id, encode_id
from app.core.errors import BadInput
from app.core.security import Viewer
from app.execution.declarations import NodeLookup, NodesLookup

MAX_NODES = 100


def _global_id(root: Any, info: strawberry.Info) -> strawberry.ID:
    return strawberry.ID(encode_id(info._raw_info.parent_type.name, root.id))  # noqa: SLF001 - the concrete type, also behind an interface


@strawberry.interface(description="An object with a global id.")
class Node:
    """Base of the types that mirror a model.

    `model` is the SQLModel class whose rows are objects of the type, `access` who may have one by its id: no less than the root fields
    ask for that show such objects. A class without it cannot be made.
    """

    model: ClassVar[type[Any]]
    access: ClassVar[Access]

    id: strawberry.ID = strawberry.field(resolver=_global_id, description="The global id: opaque, unique over all kinds of objects.")

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if not isinstance(getattr(cls, "access", None), Access):
            raise TypeError(f'{cls.__name__} must say who may have one, such as `access = requires("orders:read")`')

    @classmethod
    def is_type_of(cls, row: Any, _info: GraphQLResolveInfo[Any]) -> bool:
        return getattr(row, "model", None) is cls.model

    @classmethod
    def resolve_type(cls, row: Any, _info: GraphQLResolveInfo[Any], _type: Any) -> str:
        return str(row.model.__name__)


def _locate(_viewer: Viewer, id: str) -> tuple[str, UUID]:
    return decode_any_id(id, "id")


def _locate_all(_viewer: Viewer, ids: Sequence[str]) -> list[tuple[str, UUID]]:
    if len(ids) > MAX_NODES:
        raise BadInput("ids", f"has {len(ids)} ids, at most {MAX_NODES} are allowed")
    return [decode_any_id(id, f"ids.{n}") for n, id in enumerate(ids)]


@strawberry.type
class NodeQuery:
    @strawberry.field(
        description="Any object by its global id, as far as its type lets the caller have one; null where the caller sees none.",
        **protected(by_type, node=NodeLookup(_locate)),
    )
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        return cast(Node | None, await _load(info, _locate(info.context.viewer, id), "id"))

    @strawberry.field(
        description="Objects by their global ids, in the same order, each as `node` gives it.",
        **protected(by_type, nodes=NodesLookup(_locate_all)),
    )
    async def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        places = _locate_all(info.context.viewer, ids)
        return list(await asyncio.gather(*(_load(info, place, f"ids.{n}") for n, place in enumerate(places))))


async def _load(info: Info, place: tuple[str, UUID], argument: str) -> Any:
    type_name, key = place
    kind = node_type(info.schema.get_type_by_name(type_name))
    if kind is None:
        raise BadInput(argument, "is the id of no kind of object here")
    check_key(kind.access.key_scope, info.context.viewer)
    check(kind.access, info.context.viewer)
    model = kind.model
    rows = getattr(info.context.repositories, model.__tablename__)
    return await info.context.loader((model, "node"), rows.find_by_ids).load(key)


def node_type(definition: Any) -> type[Node] | None:
    """The class behind a Strawberry definition of a type that has ids of its own."""
    origin = getattr(definition, "origin", None)
    return origin if isinstance(origin, type) and issubclass(origin, Node) and origin is not Node else None
