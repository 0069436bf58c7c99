"""Whether an operation goes round in circles: from an order to its cart, to the cart's order, and so on.

A circle costs little per turn, so the limits on depth and cost let some turns pass, each a join that shows nothing new. Every fragment is
looked at once, however often it is spread.
"""

from collections.abc import Mapping
from typing import NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    get_named_type,
)

Visits = Mapping[str, int]
"""How often, at most, one path comes to each type."""

NONE: Visits = {}


class Circle(NamedTuple):
    """The type that a path comes to most often, and how often."""

    type_name: str
    visits: int


class Paths:
    """Follows the paths of one valid document whose nesting is bounded."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        self._followed: dict[str, Visits] = {}

    def widest_circle(self, operation: OperationDefinitionNode) -> Circle:
        """Where an operation comes to one type most often. From an object to another one of its type, as to a parent, is no circle."""
        visits = self._selections(operation.selection_set, self._schema.get_root_type(operation.operation))
        return max((Circle(*found) for found in visits.items()), key=lambda circle: circle.visits, default=Circle("", 0))

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> Visits:
        most: dict[str, int] = {}
        for selection in selections.selections:
            for name, times in self._selection(selection, parent).items():
                most[name] = max(times, most.get(name, 0))
        return most

    def _selection(self, selection: SelectionNode, parent: GraphQLNamedType | None) -> Visits:
        if isinstance(selection, FieldNode):
            return self._field(selection, parent)
        if isinstance(selection, FragmentSpreadNode):
            return self._fragment(selection.name.value)
        assert isinstance(selection, InlineFragmentNode)
        condition = selection.type_condition
        return self._selections(selection.selection_set, self._schema.get_type(condition.name.value) if condition else parent)

    def _fragment(self, name: str) -> Visits:
        if name not in self._followed:
            node = self._fragments[name]
            self._followed[name] = self._selections(node.selection_set, self._schema.get_type(node.type_condition.name.value))
        return self._followed[name]

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Visits:
        field = getattr(parent, "fields", {}).get(node.name.value)
        if field is None or node.selection_set is None:
            return NONE
        shown = get_named_type(field.type)
        behind = self._selections(node.selection_set, shown)
        is_object = isinstance(shown, GraphQLObjectType) and shown.interfaces
        return {**behind, shown.name: behind.get(shown.name, 0) + 1} if is_object and shown is not parent else behind
