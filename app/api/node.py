"""The Node interface of Relay's global object identification, for types whose objects are rows."""

from typing import Any, ClassVar

import strawberry
from graphql import GraphQLResolveInfo

from app.api.scalars import encode_id


def _global_id(root: Any, info: strawberry.Info) -> strawberry.ID:
    return strawberry.ID(encode_id(info._raw_info.parent_type.name, root.id))


@strawberry.interface(description="An object with a global id.")
class Node:
    """Base of the types that mirror a model. `model` is the SQLModel class whose rows are objects of the type."""

    model: ClassVar[type[Any]]

    id: strawberry.ID = strawberry.field(resolver=_global_id, description="The global id: opaque, unique over all kinds of objects.")

    @classmethod
    def is_type_of(cls, row: Any, _info: GraphQLResolveInfo) -> bool:
        return getattr(row, "model", None) is cls.model

    @classmethod
    def resolve_type(cls, row: Any, _info: GraphQLResolveInfo, _type: Any) -> str:
        return str(row.model.__name__)
