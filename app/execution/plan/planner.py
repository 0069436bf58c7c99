"""Plans operations: collects fields, finds where their values come from, and asks whether the viewer may have them."""

from dataclasses import replace
from functools import partial
from typing import Any

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)
from graphql.execution.collect_fields import CollectedFields, FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues

from app.core.security import Viewer
from app.execution.arguments import uses_variables
from app.execution.declarations import (
    Batched,
    Computed,
    Declarations,
    Declared,
    Listing,
    Lookup,
    NodeLookup,
    NodesLookup,
    Relation,
)
from app.execution.plan.parts import (
    Ask,
    Count,
    Cursor,
    Edges,
    Fill,
    Info,
    InfoField,
    Leaf,
    Level,
    Many,
    Node,
    NodeRoot,
    Nodes,
    One,
    Paged,
    Part,
    Plan,
    PlannedRoot,
    Root,
    TypeName,
)
from app.execution.refusal import Refused

TYPENAME = "__typename"
LONGEST_KEY = 63
"""Bytes that PostgreSQL keeps of a name."""


class Planner:
    """Plans one operation for one viewer's permissions and one set of values for the variables of @skip and @include."""

    def __init__(
        self,
        schema: GraphQLSchema,
        declarations: Declarations,
        document: DocumentNode,
        operation: OperationDefinitionNode,
        variables: VariableValues,
        viewer: Viewer,
    ) -> None:
        self._schema = schema
        self._declarations = declarations
        self._operation = operation
        self._variables = variables
        self._viewer = viewer
        self._scopes: set[str] = set()
        self._fragments = {d.name.value: FragmentDetails(d) for d in document.definitions if isinstance(d, FragmentDefinitionNode)}

    def plan(self) -> Plan:
        """Raises `Refused` for what cannot be compiled."""
        query = self._schema.query_type
        assert query is not None
        collected = collect_fields(self._schema, self._fragments, self._variables, query, self._operation)
        return Plan(tuple(self._root(key, query, found) for key, found in _groups(collected)))

    def _root(self, key: str, query: GraphQLObjectType, found: list[FieldDetails]) -> PlannedRoot:
        name = found[0].node.name.value
        if name == TYPENAME:
            return TypeName(key, query.name)
        if name.startswith("__"):
            raise Refused("introspection")
        self._scopes = set()
        declared = self._declared(query, name)
        definition = query.fields[name]
        if isinstance(declared.source, NodeLookup | NodesLookup):
            ask = _ask(declared, definition, found)
            root_of = partial(self._node, key, ask, found)
            return NodeRoot(key, ask, root_of, many=isinstance(declared.source, NodesLookup))
        if isinstance(declared.source, Lookup):
            if is_non_null_type(definition.type):
                raise Refused("unknown_field", f"{name} must not be null")
            return self._row(key, _object(definition.type), _ask(declared, definition, found), found)
        if isinstance(declared.source, Listing):
            asks: list[Ask] = []
            body = self._paged(key, declared, definition, found, asks)
            return Root(key, body, tuple(asks), frozenset(self._scopes))
        raise Refused("unknown_field", f"{query.name}.{name}")

    def _row(self, key: str, kind: GraphQLObjectType, ask: Ask, found: list[FieldDetails]) -> Root:
        asks = [ask]
        level = self._level(kind, found, asks)
        return Root(key, level, tuple(asks), frozenset(self._scopes))

    def _node(self, key: str, ask: Ask, found: list[FieldDetails], type_name: str) -> Root:
        kind = self._type(type_name)
        self._scopes = {self._declarations.accesses[type_name].key_scope}
        return self._row(key, kind, ask, found)

    def _type(self, name: str) -> GraphQLObjectType:
        """The type that a global id names."""
        kind = self._schema.get_type(name)
        if not isinstance(kind, GraphQLObjectType) or name not in self._declarations.repositories:
            raise Refused("bad_input", f"{name} has no ids")
        if not self._declarations.accesses[name].allows(self._viewer):
            raise Refused("denied", name)
        return kind

    def _declared(self, parent: GraphQLObjectType, name: str) -> Declared:
        declared = self._declarations.find(parent.name, name)
        if declared is None:
            raise Refused("unknown_field", f"{parent.name}.{name}")
        if declared.access is not None and not declared.access.allows(self._viewer):
            raise Refused("denied", f"{parent.name}.{name}")
        if declared.scope is not None:
            self._scopes.add(declared.scope)
        return declared

    # --- Objects

    def _level(self, kind: GraphQLObjectType, found: list[FieldDetails], asks: list[Ask]) -> Level:
        repository = self._declarations.repositories.get(kind.name)
        if repository is None:
            raise Refused("unknown_field", f"{kind.name} is no row")
        return Level(kind.name, repository, tuple(self._part(kind, key, group, asks) for key, group in self._fields(kind, found)))

    def _part(self, kind: GraphQLObjectType, key: str, found: list[FieldDetails], asks: list[Ask]) -> Part:
        if len(key) > LONGEST_KEY:
            raise Refused("long_alias", key)
        name = found[0].node.name.value
        if name == TYPENAME:
            return TypeName(key, kind.name)
        declared, definition = self._declared(kind, name), kind.fields[name]
        part = self._shown(key, declared, definition, found, asks)
        by_row = declared.access is not None and declared.access.depends_on_row(self._viewer)
        return replace(part, owner=declared.access.owner) if by_row and declared.access else part

    def _shown(
        self, key: str, declared: Declared, definition: GraphQLField, found: list[FieldDetails], asks: list[Ask]
    ) -> Leaf | Fill | One | Many | Paged:
        source = declared.source
        if isinstance(source, Relation):
            return self._related(key, declared, source, definition, found, asks)
        if isinstance(source, Computed | Batched):
            return _fill(key, source, definition)
        return Leaf(key, source, definition.type)

    def _related(
        self, key: str, declared: Declared, relation: Relation, definition: GraphQLField, found: list[FieldDetails], asks: list[Ask]
    ) -> One | Many | Paged:
        if relation.listing is not None:
            return self._paged(key, declared, definition, found, asks)
        level = self._level(_object(definition.type), found, asks)
        if is_list_type(get_nullable_type(definition.type)):
            return Many(key, relation, level)
        return One(key, relation, level, is_non_null_type(definition.type))

    # --- Connections

    def _paged(self, key: str, declared: Declared, definition: GraphQLField, found: list[FieldDetails], asks: list[Ask]) -> Paged:
        relation = declared.source if isinstance(declared.source, Relation) else None
        repository = declared.source.repository  # type: ignore[union-attr]
        place = len(asks)
        asks.append(_ask(declared, definition, found, repository, relation.batch if relation else None))
        connection = _object(definition.type)
        parts = tuple(self._page_part(connection, *group, asks) for group in self._fields(connection, found))
        return Paged(key, repository, relation, parts, place)

    def _page_part(
        self, connection: GraphQLObjectType, key: str, found: list[FieldDetails], asks: list[Ask]
    ) -> Nodes | Edges | Info | Count | TypeName:
        name = found[0].node.name.value
        if name == TYPENAME:
            return TypeName(key, connection.name)
        if name == "totalCount":
            return Count(key)
        kind = _object(connection.fields[name].type)
        if name == "nodes":
            return Nodes(key, self._level(kind, found, asks))
        if name == "pageInfo":
            return Info(key, tuple(_info_part(kind, *group) for group in self._fields(kind, found)))
        if name == "edges":
            return Edges(key, tuple(self._edge_part(kind, *group, asks) for group in self._fields(kind, found)))
        raise Refused("unknown_field", f"{connection.name}.{name}")

    def _edge_part(self, edge: GraphQLObjectType, key: str, found: list[FieldDetails], asks: list[Ask]) -> Cursor | Node | TypeName:
        name = found[0].node.name.value
        if name == TYPENAME:
            return TypeName(key, edge.name)
        return Cursor(key) if name == "cursor" else Node(key, self._level(_object(edge.fields[name].type), found, asks))

    def _fields(self, kind: GraphQLObjectType, found: list[FieldDetails]) -> list[tuple[str, list[FieldDetails]]]:
        return _groups(collect_subfields(self._schema, self._fragments, self._variables, self._operation, kind, found))


def _groups(collected: CollectedFields) -> list[tuple[str, list[FieldDetails]]]:
    if collected.new_defer_usages:
        raise Refused("deferred")
    return list(collected.grouped_field_set.items())


def _object(kind: Any) -> GraphQLObjectType:
    named = get_named_type(kind)
    if not isinstance(named, GraphQLObjectType):
        raise Refused("unknown_field", f"{named} is no object type")
    return named


def _fill(key: str, computed: Computed | Batched, definition: GraphQLField) -> Fill:
    leaf = get_nullable_type(definition.type)
    if not is_leaf_type(leaf):
        raise Refused("unknown_field", f"{key} computes no scalar")
    return Fill(key, computed, leaf.serialize, is_non_null_type(definition.type))


def _info_part(kind: GraphQLObjectType, key: str, found: list[FieldDetails]) -> InfoField | TypeName:
    name = found[0].node.name.value
    return TypeName(key, kind.name) if name == TYPENAME else InfoField(key, name)


def _ask(declared: Declared, definition: GraphQLField, found: list[FieldDetails], repository: str = "", by: str | None = None) -> Ask:
    assert declared.read is not None
    node = found[0].node
    listing = declared.source.listing if isinstance(declared.source, Relation) else declared.source
    return Ask(
        definition,
        node,
        declared.read,
        repository,
        by,
        varies=any(uses_variables(argument.value) for argument in node.arguments or ()),
        personal=isinstance(listing, Listing) and listing.own is not None,
    )
