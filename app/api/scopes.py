"""What an API key must be good for, field by field.

Nothing is declared for keys but what is declared for people (`api.permissions`): the permission that an access names is the scope that a
key needs, whoever's rows they are. From this follows of every field what it asks of a key:

- A field that leads to objects of a type, alone, in a list or on a page, asks for the scope of that type. Within a type's own resource,
  from an order to its lines, nothing more is asked: whoever got there had the scope.
- A mutation asks for the scope of its access, and what it answers with is part of it.
- What names no permission, such as sessions, passwords and keys, is for people alone: no key reaches it.
- `node` asks for the scope of the type that an id names; anything else that could show objects of several types is for people alone.

A scope opens nothing by itself. The guards of fields and the row scopes of repositories hold for the owner of a key as they do without.
"""

from collections.abc import Callable
from typing import Any

from graphql import (
    GraphQLField,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    default_field_resolver,
    get_named_type,
    is_abstract_type,
)

from app.api.connection import Connection, Edge
from app.api.mutations import Payload
from app.api.node import node_type
from app.api.permissions import Access, check_key, public
from app.core.security import ANY
from app.execution.declarations import NO_KEY

DEFINITION = "strawberry-definition"
"""Under which name Strawberry keeps its own definitions in those of graphql-core."""


def required_scope(schema: GraphQLSchema, parent: GraphQLObjectType, field: GraphQLField) -> str | None:
    """The scope that a field asks of a key; None where it asks for nothing that its parent has not asked for."""
    own, shown = _own_scope(field), scope_of(get_named_type(field.type))
    if parent is schema.mutation_type:
        return own
    if parent in (schema.query_type, schema.subscription_type):
        return None if own == ANY else shown or own
    return None if shown == scope_of(parent) or _is_a(parent, Payload) else shown


def scope_of(kind: GraphQLNamedType) -> str | None:
    """The scope of a type: of one whose objects are rows its own, of pages that of their items, of other objects and values none."""
    if is_abstract_type(kind):
        return NO_KEY
    definition = kind.extensions.get(DEFINITION)
    node = node_type(definition)
    if node is not None:
        return node.access.key_scope
    for page, items in ((Connection, "nodes"), (Edge, "node")):
        if isinstance(kind, GraphQLObjectType) and _is_a(kind, page):
            return scope_of(get_named_type(kind.fields[items].type))
    return None


def enforce_scopes(schema: GraphQLSchema) -> None:
    """Have every field of a schema check the key that a request comes with, before anything else."""
    for kind in schema.type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            for field in kind.fields.values():
                scope = required_scope(schema, kind, field)
                if scope is not None:
                    field.resolve = _checked(field.resolve or default_field_resolver, scope)
                    field.subscribe = _checked(field.subscribe, scope) if field.subscribe else None


def _checked(resolve: Callable[..., Any], scope: str) -> Callable[..., Any]:
    def run(source: Any, info: Any, **arguments: Any) -> Any:
        check_key(scope, info.context.viewer)
        return resolve(source, info, **arguments)

    return run


def _own_scope(field: GraphQLField) -> str:
    definition = field.extensions.get(DEFINITION)
    access: Access = getattr(definition, "metadata", {}).get("access", public)
    return access.key_scope


def _is_a(kind: GraphQLObjectType, base: type) -> bool:
    """Whether a type is made of this class; those of generic classes are made of subclasses."""
    origin = getattr(kind.extensions.get(DEFINITION), "origin", None)
    return isinstance(origin, type) and issubclass(origin, base)
