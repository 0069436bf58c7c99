"""Quick ways to coerce variables and arguments whose types are plain; whatever is not exactly as expected goes graphql-core's way.

graphql-core coerces by walking types and definitions for each request, some 20 us for a single variable. What the walk would do is known
once the operation is: here it is prepared as a few look-ups.
"""

from collections.abc import Callable, Mapping
from typing import Any

from graphql import (
    FieldNode,
    GraphQLField,
    ListValueNode,
    NonNullTypeNode,
    ObjectValueNode,
    OperationDefinitionNode,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    is_non_null_type,
)
from graphql.execution.values import VariableValues, get_argument_values
from graphql.utilities import coerce_input_literal

LARGEST_INT = 2**31 - 1

NO_VARIABLES = VariableValues({}, {})

_FITS: dict[str, Callable[[Any], bool]] = {
    "ID": lambda value: type(value) is str,
    "String": lambda value: type(value) is str,
    "Boolean": lambda value: type(value) is bool,
    "Int": lambda value: type(value) is int and -LARGEST_INT - 1 <= value <= LARGEST_INT,
}

QuickVariables = Callable[[Mapping[str, Any]], VariableValues | None]
QuickArguments = Callable[[VariableValues], dict[str, Any] | None]


def quick_variables(operation: OperationDefinitionNode) -> QuickVariables | None:
    """Coerces the variables of an operation that has only plain ones without defaults; gives None for values that it does not know."""
    expected = [_expected(definition) for definition in operation.variable_definitions or ()]
    known = [found for found in expected if found is not None]
    if len(known) != len(expected):
        return None

    def coerce(given: Mapping[str, Any]) -> VariableValues | None:
        coerced = {}
        for name, fits in known:
            value = given.get(name)
            if not fits(value):
                return None
            coerced[name] = value
        return VariableValues({}, coerced)

    return coerce


def _expected(definition: VariableDefinitionNode) -> tuple[str, Callable[[Any], bool]] | None:
    kind: Any = definition.type.type if isinstance(definition.type, NonNullTypeNode) else definition.type
    fits = _FITS.get(kind.name.value) if hasattr(kind, "name") else None
    return None if fits is None or definition.default_value is not None else (definition.variable.name.value, fits)


def quick_arguments(field: GraphQLField, node: FieldNode) -> QuickArguments | None:
    """Takes the arguments of a field where each is a variable or holds none; those left out have their defaults."""
    given = {argument.name.value: argument.value for argument in node.arguments or ()}
    absent = GraphQLField(field.type, {name: definition for name, definition in field.args.items() if name not in given})
    literals = get_argument_values(absent, FieldNode(name=node.name, arguments=()), NO_VARIABLES)
    variables = {}
    for name, value in given.items():
        definition = field.args[name]
        if isinstance(value, VariableNode):
            variables[definition.out_name or name] = (value.name.value, is_non_null_type(definition.type))
        elif uses_variables(value) or (literal := coerce_input_literal(value, definition.type)) is Undefined:
            return None
        else:
            literals[definition.out_name or name] = literal

    def take(values: VariableValues) -> dict[str, Any] | None:
        found = dict(literals)
        for name, (variable, required) in variables.items():
            value = values.coerced.get(variable, Undefined)
            if value is Undefined or (value is None and required):
                return None
            found[name] = value
        return found

    return take


def uses_variables(value: ValueNode) -> bool:
    """Whether a literal holds a variable."""
    if isinstance(value, ListValueNode):
        return any(map(uses_variables, value.values or ()))
    if isinstance(value, ObjectValueNode):
        return any(uses_variables(part.value) for part in value.fields or ())
    return isinstance(value, VariableNode)


def take_arguments(field: GraphQLField, node: FieldNode, quick: QuickArguments | None, variables: VariableValues) -> dict[str, Any]:
    """The coerced arguments of a field; raises `GraphQLError`."""
    found = quick(variables) if quick is not None else None
    return get_argument_values(field, node, variables) if found is None else found
