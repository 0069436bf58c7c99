"""Collects what the fields of a schema declare: for executors that read declarations instead of calling resolvers."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import strawberry
from graphql import GraphQLObjectType
from strawberry.relay import GlobalID
from strawberry.scalars import is_scalar
from strawberry.types.arguments import convert_arguments
from strawberry.types.base import StrawberryOptional
from strawberry.types.field import StrawberryField

from app.api.cache_control import CacheControl
from app.api.connection import page_request
from app.api.node import node_type
from app.api.permissions import Guard, directive_of
from app.api.scopes import DEFINITION, required_scope
from app.core.security import Viewer
from app.execution.declarations import (
    Batched,
    Column,
    Computed,
    Declarations,
    Declared,
    GlobalId,
    Listing,
    Lookup,
    Money,
    NodeLookup,
    NodesLookup,
    Reader,
    Relation,
    Total,
)

SOURCES: dict[str, Callable[[Any], Any]] = {
    "relation": lambda found: found,
    "total": lambda found: found,
    "listing": lambda found: found,
    "lookup": lambda found: found,
    "node": lambda found: found,
    "nodes": lambda found: found,
    "computed": lambda found: found,
    "batched": lambda found: found,
    "money": lambda found: Money(*found),
}


def declarations(schema: strawberry.Schema) -> Declarations:
    """Everything that is declared in a schema."""
    types = {kind.name: kind for kind in schema._schema.type_map.values() if isinstance(kind, GraphQLObjectType)}  # noqa: SLF001
    found = {name: node_type(kind.extensions.get(DEFINITION)) for name, kind in types.items()}
    # What is kept elsewhere than in PostgreSQL only its resolvers can read.
    nodes = {name: node for name, node in found.items() if node is not None and hasattr(node.model, "__table__")}
    return Declarations(
        fields={name: _fields(schema, kind, nodes[name].model if name in nodes else None) for name, kind in types.items()},
        repositories={name: node.model.__tablename__ for name, node in nodes.items()},
        accesses={name: node.access for name, node in nodes.items()},
    )


def show_access(schema: strawberry.Schema) -> None:
    """Print with each type whose objects are rows who may have one."""
    for kind in schema._schema.type_map.values():  # noqa: SLF001
        definition: Any = kind.extensions.get(DEFINITION)
        node = node_type(definition)
        if node is not None:
            hints = [found for found in definition.directives or () if isinstance(found, CacheControl)]
            definition.directives = [directive_of(node.access), *hints]


def _fields(schema: strawberry.Schema, kind: GraphQLObjectType, model: Any) -> dict[str, Declared]:
    found = {}
    for name, field in kind.fields.items():
        definition = field.extensions.get(DEFINITION)
        if isinstance(definition, StrawberryField):
            declared = _declared(schema, definition, model)
            if declared is not None:
                found[name] = replace(declared, scope=required_scope(schema._schema, kind, field))  # noqa: SLF001
    return found


def _declared(schema: strawberry.Schema, field: StrawberryField, model: Any) -> Declared | None:
    """What a field declares; None where an extension does more to it than to guard it."""
    if not all(isinstance(extension, Guard) for extension in field.extensions):
        return None
    access = field.metadata.get("access")
    for name, source_of in SOURCES.items():
        if name in field.metadata:
            source = source_of(field.metadata[name])
            return Declared(source, access, _reader(schema, field, source))
    if model is None:
        return None
    if field.python_name == "id":
        return Declared(GlobalId(), access)
    if field.base_resolver is None and field.python_name in model.__table__.columns:
        return Declared(Column(field.python_name), access)
    return None


def _reader(schema: strawberry.Schema, field: StrawberryField, source: Any) -> Reader | None:
    """How the field's arguments are read: exactly as its resolver would."""
    if isinstance(source, Relation):
        source = source.listing
    if source is None or isinstance(source, Money | Computed | Batched | Total):
        return None
    read: Callable[..., Any] = partial(page_request, source) if isinstance(source, Listing) else source.find
    assert isinstance(source, Listing | Lookup | NodeLookup | NodesLookup)

    convert = _converter(schema, field)

    def read_arguments(viewer: Viewer, given: Mapping[str, Any]) -> Any:
        return read(viewer, **convert(given))

    return read_arguments


def _converter(schema: strawberry.Schema, field: StrawberryField) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """Makes of coerced arguments what Strawberry gives to resolvers. Of scalars and enums that is the coerced value itself."""
    registry, config = schema.schema_converter.scalar_registry, schema.config
    named = {config.name_converter.from_argument(argument): argument for argument in field.arguments}
    plain = {name: argument.python_name for name, argument in named.items() if _is_plain(argument.type, registry)}

    def convert(given: Mapping[str, Any]) -> dict[str, Any]:
        if given.keys() <= plain.keys():
            return {plain[name]: value for name, value in given.items()}
        return convert_arguments(dict(given), field.arguments, registry, config)

    return convert


def _is_plain(kind: Any, registry: Any) -> bool:
    inner = kind.of_type if type(kind) is StrawberryOptional else kind
    return inner is not GlobalID and is_scalar(inner, registry)
