"""A walk over the selections of one document that follows each fragment once, however often it is spread, so that it stays linear."""

from abc import ABC, abstractmethod
from typing import Generic, TypeVar

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    SelectionNode,
    SelectionSetNode,
)

T = TypeVar("T")


class SelectionWalk(ABC, Generic[T]):
    """What each selection of a document comes to."""

    nothing: T

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        self._followed: dict[str, T] = {}

    @abstractmethod
    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> T: ...

    @abstractmethod
    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> T: ...

    def _selection(self, selection: SelectionNode, parent: GraphQLNamedType | None) -> T:
        if isinstance(selection, FieldNode):
            return self._field(selection, parent)
        if isinstance(selection, FragmentSpreadNode):
            return self._fragment(selection.name.value)
        assert isinstance(selection, InlineFragmentNode)
        condition = selection.type_condition
        return self._selections(selection.selection_set, self._schema.get_type(condition.name.value) if condition else parent)

    def _fragment(self, name: str) -> T:
        """What a fragment comes to; one that there is not, and one inside itself, which validation refuses, come to nothing."""
        if name not in self._followed:
            self._followed[name] = self.nothing
            if node := self._fragments.get(name):
                self._followed[name] = self._selections(node.selection_set, self._schema.get_type(node.type_condition.name.value))
        return self._followed[name]
