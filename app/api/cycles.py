"""Whether an operation goes round in circles: from an order to its cart, to the cart's order, and so on.

A circle costs little per turn, so the limits on depth and cost let some turns pass, each a join that shows nothing new. Every fragment is
looked at once, however often it is spread.
"""

from collections.abc import Mapping
from typing import NamedTuple

from graphql import (
    FieldNode,
    GraphQLNamedType,
    GraphQLObjectType,
    OperationDefinitionNode,
    SelectionSetNode,
    get_named_type,
)

from app.api.selections import SelectionWalk

Visits = Mapping[str, int]
"""How often, at most, one path comes to each type."""

NONE: Visits = {}


class Circle(NamedTuple):
    """The type that a path comes to most often, and how often."""

    type_name: str
    visits: int


class Paths(SelectionWalk[Visits]):
    """Follows the paths of one valid document whose nesting is bounded."""

    nothing = NONE

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

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Visits:
        field = getattr(parent, "fields", {}).get(node.name.value)
        if field is None or node.selection_set is None:
            return NONE
        shown = get_named_type(field.type)
        behind = self._selections(node.selection_set, shown)
        is_object = isinstance(shown, GraphQLObjectType) and shown.interfaces
        return {**behind, shown.name: behind.get(shown.name, 0) + 1} if is_object and shown is not parent else behind
