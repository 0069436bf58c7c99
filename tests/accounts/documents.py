"""The smallest document that asks for a root field."""

from uuid import UUID

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInputType,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_required_argument,
    is_required_input_field,
)

from app.api.scalars import encode_id

NOTHING = encode_id("Order", UUID(int=0))
LITERALS = {
    "ID": f'"{NOTHING}"',
    "String": '"x"',
    "Int": "1",
    "Boolean": "true",
    "Decimal": '"1"',
    "JSON": "{}",
    "DateTime": '"2099-01-01T00:00:00Z"',
}


def smallest(operation: str, name: str, field: GraphQLField) -> str:
    """Valid, though its ids name nothing that there is."""
    given = [f"{key}: {literal(argument.type)}" for key, argument in field.args.items() if is_required_argument(argument)]
    arguments = f"({', '.join(given)})" if given else ""
    return f"{operation} {{ {name}{arguments} {'' if is_leaf_type(get_named_type(field.type)) else '{ __typename }'} }}"


def literal(kind: GraphQLInputType) -> str:
    inner = get_nullable_type(kind)
    if is_list_type(inner):
        return f"[{literal(inner.of_type)}]"
    if isinstance(inner, GraphQLEnumType):
        return str(next(iter(inner.values)))
    if isinstance(inner, GraphQLInputObjectType):
        required = [f"{key}: {literal(field.type)}" for key, field in inner.fields.items() if is_required_input_field(field)]
        return f"{{ {', '.join(required)} }}"
    return LITERALS[get_named_type(inner).name]
