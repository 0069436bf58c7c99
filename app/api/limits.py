"""How much one operation may ask for, found before validation and execution in one walk over the document.

Each fragment is measured once however often it is spread, so the walk is linear in the document: expanding fragments is how a small
document blocks a server. The cost of a field is 1 plus, for a list, its size times what is asked of each item. A connection's size is
its `first` or `last`; a plain list counts as `LIST_SIZE`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    OperationDefinitionNode,
    SelectionNode,
    SelectionSetNode,
    VariableNode,
    get_named_type,
    is_list_type,
    is_non_null_type,
)

from app.api.errors import TOO_COMPLEX
from app.core.paging import DEFAULT_SIZE

LIST_SIZE = 5
"""Items that a list without a size is taken to have: order lines, payments, stores of a product."""

PAGE_FIELDS = frozenset({"nodes", "edges"})


@dataclass(frozen=True)
class Limits:
    """The most that one operation may have; see `Settings` for the meaning of each."""

    depth: int = 12
    cost: int = 20_000
    aliases: int = 30
    root_fields: int = 20


@dataclass(frozen=True)
class Weight:
    """What a part of a document asks for, fragments expanded."""

    cost: int = 0
    depth: int = 0
    aliases: int = 0

    def __add__(self, other: "Weight") -> "Weight":
        return Weight(self.cost + other.cost, max(self.depth, other.depth), self.aliases + other.aliases)


NOTHING = Weight()


class Scale:
    """Weighs the parts of one document for one set of variables."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        self._schema = schema
        self._variables = variables
        self._defaults: dict[str, Any] = {}
        self._fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
        self._weighed: dict[str, Weight | None] = {}
        self.sized_by_variables = False

    def weigh(self, operation: OperationDefinitionNode) -> Weight:
        for definition in operation.variable_definitions or ():
            if isinstance(definition.default_value, IntValueNode):
                self._defaults[definition.variable.name.value] = int(definition.default_value.value)
        return self._selections(operation.selection_set, self._schema.get_root_type(operation.operation), None)

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None, page: int | None) -> Weight:
        total = NOTHING
        for selection in selections.selections:
            total += self._selection(selection, parent, page)
        return total

    def _selection(self, selection: SelectionNode, parent: GraphQLNamedType | None, page: int | None) -> Weight:
        if isinstance(selection, FieldNode):
            return self._field(selection, parent, page)
        if isinstance(selection, FragmentSpreadNode):
            return self._fragment(selection.name.value, page)
        assert isinstance(selection, InlineFragmentNode)
        condition = selection.type_condition
        return self._selections(selection.selection_set, self._schema.get_type(condition.name.value) if condition else parent, page)

    def _fragment(self, name: str, page: int | None) -> Weight:
        """A fragment's weight, found once; inside itself (which validation refuses) it weighs nothing."""
        key = f"{name}:{page}" if page is not None else name
        if key not in self._weighed:
            self._weighed[key] = None
            node = self._fragments.get(name)
            found = self._selections(node.selection_set, self._schema.get_type(node.type_condition.name.value), page) if node else NOTHING
            self._weighed[key] = found
        return self._weighed[key] or NOTHING

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None, page: int | None) -> Weight:
        field = getattr(parent, "fields", {}).get(node.name.value)
        own_type = get_named_type(field.type) if field else None
        size, inner_page = self._size(node, field, page)
        inner = self._selections(node.selection_set, own_type, inner_page) if node.selection_set else NOTHING
        return Weight(1 + size * inner.cost, 1 + inner.depth, inner.aliases + (node.alias is not None))

    def _size(self, node: FieldNode, field: Any, page: int | None) -> tuple[int, int | None]:
        """How many items the field gives, and the page size that its `nodes` and `edges` have."""
        if field is not None and "first" in field.args:
            return 1, self._page_size(node)
        if node.name.value in PAGE_FIELDS and page is not None:
            return page, None
        return (LIST_SIZE if field is not None and _is_list(field.type) else 1), None

    def _page_size(self, node: FieldNode) -> int:
        given = [self._number(argument.value) for argument in node.arguments if argument.name.value in ("first", "last")]
        return max((size for size in given if size is not None), default=DEFAULT_SIZE)

    def _number(self, value: Any) -> int | None:
        if isinstance(value, IntValueNode):
            return int(value.value)
        if not isinstance(value, VariableNode):
            return None
        self.sized_by_variables = True
        name = value.name.value
        found = self._variables.get(name, self._defaults.get(name))
        return found if isinstance(found, int) else None


def _is_list(kind: Any) -> bool:
    return is_list_type(kind.of_type if is_non_null_type(kind) else kind)


def excess(operation: OperationDefinitionNode, weight: Weight, limits: Limits) -> GraphQLError | None:
    """The first limit that an operation breaks, with the value found."""
    found = {
        "root fields": (len(operation.selection_set.selections), limits.root_fields),
        "aliases": (weight.aliases, limits.aliases),
        "levels of depth": (weight.depth, limits.depth),
        "points of cost": (weight.cost, limits.cost),
    }
    for name, (value, most) in found.items():
        if value > most:
            shown = value if value < 10**15 else "far more"
            return GraphQLError(f"The operation has {shown} {name}; at most {most} are allowed.", extensions={"code": TOO_COMPLEX})
    return None
