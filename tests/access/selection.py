"""Everything that a type shows, written as a selection."""

from graphql import GraphQLInterfaceType, GraphQLObjectType, GraphQLSchema, get_named_type, is_leaf_type, is_non_null_type

PAGE = "(first: 100)"


def everything(schema: GraphQLSchema, type_name: str, depth: int) -> str:
    """All fields of a type that need no arguments, and of the objects behind them down to a depth."""
    kind = schema.get_type(type_name)
    assert isinstance(kind, GraphQLObjectType | GraphQLInterfaceType)
    parts = ["__typename"]
    for name, field in kind.fields.items():
        inner = get_named_type(field.type)
        if any(is_non_null_type(argument.type) for argument in field.args.values()):
            continue
        if is_leaf_type(inner):
            parts.append(name)
        elif depth > 0:
            parts.append(f"{name}{PAGE if 'first' in field.args else ''} {everything(schema, inner.name, depth - _costs(kind, name))}")
    return "{ " + " ".join(parts) + " }"


def _costs(kind: GraphQLObjectType | GraphQLInterfaceType, name: str) -> int:
    """Levels that a field leads deeper: the parts of a connection lead nowhere by themselves."""
    return 0 if {"nodes", "edges"} <= kind.fields.keys() and name in ("nodes", "pageInfo") else 1
