"""The Node interface of Relay's global object identification, for types whose objects are rows."""

import asyncio
from typing import Any, ClassVar, cast
from uuid import UUID

import strawberry
from graphql import GraphQLResolveInfo

from app.api.context import Context, Info
from app.api.permissions import Guard, public
from app.api.scalars import decode_any_id, encode_id
from app.core.errors import BadInput
from app.execution.declarations import NodeLookup

MAX_NODES = 100


def _global_id(root: Any, info: strawberry.Info) -> strawberry.ID:
    return strawberry.ID(encode_id(info._raw_info.parent_type.name, root.id))  # noqa: SLF001 - the concrete type, also behind an interface


@strawberry.interface(description="An object with a global id.")
class Node:
    """Base of the types that mirror a model. `model` is the SQLModel class whose rows are objects of the type."""

    model: ClassVar[type[Any]]

    id: strawberry.ID = strawberry.field(resolver=_global_id, description="The global id: opaque, unique over all kinds of objects.")

    @classmethod
    def is_type_of(cls, row: Any, _info: GraphQLResolveInfo[Any]) -> bool:
        return getattr(row, "model", None) is cls.model

    @classmethod
    def resolve_type(cls, row: Any, _info: GraphQLResolveInfo[Any], _type: Any) -> str:
        return str(row.model.__name__)


def _locate(_context: Context, id: str) -> tuple[str, UUID]:
    return decode_any_id(id, "id")


@strawberry.type
class NodeQuery:
    @strawberry.field(
        extensions=[Guard(public)],
        description="Any object by its global id; null where the viewer sees none.",
        metadata={"node": NodeLookup(_locate), "access": public},
    )
    async def node(self, info: Info, id: strawberry.ID) -> Node | None:
        return cast(Node | None, await _load(info, id, "id"))

    @strawberry.field(
        extensions=[Guard(public)], description="Objects by their global ids, in the same order; null where the viewer sees none."
    )
    async def nodes(self, info: Info, ids: list[strawberry.ID]) -> list[Node | None]:
        if len(ids) > MAX_NODES:
            raise BadInput("ids", f"has {len(ids)} ids, at most {MAX_NODES} are allowed")
        return list(await asyncio.gather(*(_load(info, id, f"ids.{n}") for n, id in enumerate(ids))))


async def _load(info: Info, id: str, argument: str) -> Any:
    type_name, key = decode_any_id(id, argument)
    model = _model(info, type_name)
    if model is None:
        raise BadInput(argument, "is the id of no kind of object here")
    rows = getattr(info.context.repositories, model.__tablename__)
    return await info.context.loader((model, "node"), rows.find_by_ids).load(key)


def _model(info: Info, type_name: str) -> type[Any] | None:
    """The model behind a type that has ids of its own."""
    found = info.schema.get_type_by_name(type_name)
    origin = getattr(found, "origin", None)
    return origin.model if isinstance(origin, type) and issubclass(origin, Node) and origin is not Node else None
