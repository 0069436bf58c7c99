"""Collects what the fields of a schema declare: for executors that read declarations instead of calling resolvers."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import strawberry
from graphql import GraphQLObjectType
from strawberry.types.arguments import convert_arguments
from strawberry.types.field import StrawberryField

from app.api.connection import page_request
from app.api.node import Node
from app.api.permissions import Guard
from app.execution.declarations import (
    Column,
    Computed,
    Declarations,
    Declared,
    GlobalId,
    Listing,
    Lookup,
    Money,
    NodeLookup,
    Reader,
    Relation,
)

DEFINITION = "strawberry-definition"
"""Under which name Strawberry keeps its own definitions in those of graphql-core."""

SOURCES: dict[str, Callable[[Any], Any]] = {
    "relation": lambda found: found,
    "listing": lambda found: found,
    "lookup": lambda found: found,
    "node": lambda found: found,
    "computed": lambda found: found,
    "money": lambda found: Money(*found),
}


def declarations(schema: strawberry.Schema) -> Declarations:
    """Everything that is declared in a schema."""
    types = {kind.name: kind for kind in schema._schema.type_map.values() if isinstance(kind, GraphQLObjectType)}  # noqa: SLF001
    models = {name: model for name, kind in types.items() if (model := _model(kind)) is not None}
    return Declarations(
        fields={name: _fields(schema, kind, models.get(name)) for name, kind in types.items()},
        repositories={name: model.__tablename__ for name, model in models.items()},
    )


def _model(kind: GraphQLObjectType) -> Any:
    """The model that a type mirrors; None for types that are no rows."""
    origin = getattr(kind.extensions.get(DEFINITION), "origin", None)
    return origin.model if isinstance(origin, type) and issubclass(origin, Node) and origin is not Node else None


def _fields(schema: strawberry.Schema, kind: GraphQLObjectType, model: Any) -> dict[str, Declared]:
    found = {}
    for name, field in kind.fields.items():
        definition = field.extensions.get(DEFINITION)
        if isinstance(definition, StrawberryField):
            declared = _declared(schema, definition, model)
            if declared is not None:
                found[name] = declared
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
    if source is None or isinstance(source, Money | Computed):
        return None
    read: Callable[..., Any] = partial(page_request, source) if isinstance(source, Listing) else source.find
    assert isinstance(source, Listing | Lookup | NodeLookup)

    def read_arguments(context: Any, given: Mapping[str, Any]) -> Any:
        return read(context, **_converted(schema, field, given))

    return read_arguments


def _converted(schema: strawberry.Schema, field: StrawberryField, given: Mapping[str, Any]) -> dict[str, Any]:
    """Coerced arguments as Strawberry gives them to resolvers."""
    registry = schema.schema_converter.scalar_registry
    return convert_arguments(dict(given), field.arguments, registry, schema.config)
