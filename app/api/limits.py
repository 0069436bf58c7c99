"""How much one operation may ask for, found before validation and execution in one walk over the document.

Each fragment is measured once however often it is spread, so the walk is linear in the document: expanding fragments is how a small
document blocks a server. The cost of a field is 1 plus, for a list, its size times what is asked of each item. A connection's size is
its `first` or `last`, which its `nodes` and `edges` have wherever they stand; a plain list counts as `LIST_SIZE`. An item of a page within
other objects costs `NESTED_ITEM` more: it is looked for anew for each parent, so that a hundred pages of a hundred are always too much.

Introspection reads memory and nests deeply by nature: it has no depth, and its cost is discounted. What bounds its depth is
`MaxIntrospectionDepthRule`, which validation applies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    IntValueNode,
    ListValueNode,
    OperationDefinitionNode,
    SchemaMetaFieldDef,
    SelectionSetNode,
    TypeMetaFieldDef,
    VariableNode,
    get_named_type,
    is_list_type,
    is_non_null_type,
)

from app.api.errors import TOO_COMPLEX
from app.api.selections import SelectionWalk
from app.core.paging import DEFAULT_SIZE

LIST_SIZE = 5
"""Items that a list without a size is taken to have: order lines, payments, stores of a product."""

NESTED_ITEM = 3

LARGEST_INT = 2**31 - 1
"""A larger number is no Int: validation and execution refuse it where it stands, so that nothing is fetched for it."""

MAX_NESTING = 100
"""Levels of selections, fragments counted, beyond which a document is not measured."""

BEYOND_MEASURE = 10**15

INTROSPECTION = {"__schema": SchemaMetaFieldDef, "__type": TypeMetaFieldDef}
INTROSPECTION_DISCOUNT = 20
"""A field of introspection costs about a twentieth of one that comes from the database, measured."""

PAGE_FIELDS = frozenset({"nodes", "edges"})


@dataclass(frozen=True)
class Limits:
    """The most that one operation may have; see `Settings` for the meaning of each."""

    depth: int = 12
    cost: int = 35_000
    aliases: int = 30
    root_fields: int = 20
    visits: int = 2


class Weight(NamedTuple):
    """What a part of a document asks for, fragments expanded.

    `per_item` is the cost for each item of the page that the part stands in, `fields` how many fields stand side by side in it.
    """

    cost: int = 0
    per_item: int = 0
    depth: int = 0
    aliases: int = 0
    fields: int = 0


NOTHING = Weight()


class Scale(SelectionWalk[Weight]):
    """Weighs the parts of one document for one set of variables."""

    nothing = NOTHING

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, variables: Mapping[str, Any]) -> None:
        super().__init__(schema, document)
        self._variables = variables
        self._defaults: dict[str, int] = {}
        self._nesting = 0
        self.sized_by_variables = False

    def weigh(self, operation: OperationDefinitionNode) -> Weight:
        for definition in operation.variable_definitions or ():
            if isinstance(definition.default_value, IntValueNode):
                self._defaults[definition.variable.name.value] = _literal(definition.default_value)
        return self._selections(operation.selection_set, self._schema.get_root_type(operation.operation))

    def _selections(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> Weight:
        self._nesting += 1
        if self._nesting > MAX_NESTING:
            self._nesting -= 1
            return Weight(depth=BEYOND_MEASURE)
        cost = per_item = depth = aliases = fields = 0
        for selection in selections.selections:
            part = self._selection(selection, parent)
            cost += part.cost
            per_item += part.per_item
            depth = max(depth, part.depth)
            aliases += part.aliases
            fields += part.fields
        self._nesting -= 1
        return Weight(cost, per_item, depth, aliases, fields)

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> Weight:
        name = node.name.value
        field: GraphQLField | None = INTROSPECTION.get(name) or getattr(parent, "fields", {}).get(name)
        inner = self._selections(node.selection_set, get_named_type(field.type) if field else None) if node.selection_set else NOTHING
        cost, per_item = self._cost(node, field, inner, 0 if parent is self._schema.query_type else NESTED_ITEM)
        depth = 1 if name in INTROSPECTION else 1 + inner.depth
        return Weight(cost, per_item, depth, inner.aliases + (node.alias is not None), 1)

    def _cost(self, node: FieldNode, field: GraphQLField | None, inner: Weight, item: int) -> tuple[int, int]:
        """The cost of a field, and the part of it that each item of the surrounding page has; an item of a page here costs `item` more."""
        whole = inner.cost + inner.per_item
        if node.name.value in INTROSPECTION:
            return 1 + whole // INTROSPECTION_DISCOUNT, 0
        if field is None:
            return 1 + whole, 0
        if "first" in field.args:
            return 1 + inner.cost + (inner.per_item + item) * self._page_size(node), 0
        if not _is_list(field):
            return 1 + inner.cost, inner.per_item
        if node.name.value in PAGE_FIELDS and not field.args:
            return 1, whole
        return 1 + whole * self._list_size(node), 0

    def _list_size(self, node: FieldNode) -> int:
        """A list of ids says how long its answer is."""
        for argument in node.arguments or ():
            if argument.name.value == "ids":
                return self._length(argument.value)
        return len(self._schema.type_map) if node.name.value == "types" else LIST_SIZE

    def _length(self, value: Any) -> int:
        if isinstance(value, VariableNode):
            self.sized_by_variables = True
            found = self._variables.get(value.name.value)
            return len(found) if isinstance(found, list) else LIST_SIZE
        return len(value.values) if isinstance(value, ListValueNode) else 1

    def _page_size(self, node: FieldNode) -> int:
        given = [self._number(argument.value) for argument in node.arguments or () if argument.name.value in ("first", "last")]
        return max((size for size in given if size is not None), default=DEFAULT_SIZE)

    def _number(self, value: Any) -> int | None:
        """The size that a value stands for; GraphQL takes 5.0 in a variable for the Int 5."""
        if isinstance(value, IntValueNode):
            return _literal(value)
        if not isinstance(value, VariableNode):
            return None
        self.sized_by_variables = True
        name = value.name.value
        found = self._variables.get(name, self._defaults.get(name))
        return _size(found) if isinstance(found, (int, float)) else None


def _literal(node: IntValueNode) -> int:
    """Python reads no number of more than 4,300 digits."""
    return _size(int(node.value)) if len(node.value) <= len(str(LARGEST_INT)) else 0


def _size(number: float) -> int:
    return int(number) if 0 <= number <= LARGEST_INT else 0


def _is_list(field: GraphQLField) -> bool:
    return is_list_type(field.type.of_type if is_non_null_type(field.type) else field.type)


def excess(weight: Weight, limits: Limits) -> GraphQLError | None:
    """The first limit that an operation of this weight breaks, with the value found."""
    found = {
        "root fields": (weight.fields, limits.root_fields),
        "aliases": (weight.aliases, limits.aliases),
        "levels of depth": (weight.depth, limits.depth),
        "points of cost": (weight.cost + weight.per_item, limits.cost),
    }
    for name, (value, most) in found.items():
        if value > most:
            shown = value if value < BEYOND_MEASURE else "far more"
            return GraphQLError(f"The operation has {shown} {name}; at most {most} are allowed.", extensions={"code": TOO_COMPLEX})
    return None
