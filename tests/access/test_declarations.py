"""A walk over the whole schema: nothing can be asked for without a declared access, and whatever is declared is printed.

What the declarations mean over HTTP is tested with the matrices (`tests/access`); here it is that none is missing.
"""

from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
import strawberry
from graphql import (
    FieldDefinitionNode,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    ObjectTypeDefinitionNode,
    get_named_type,
    is_non_null_type,
    parse,
)

from app.api.declared import declarations
from app.api.node import node_type
from app.api.permissions import Access, Guard, Inherited, Own, OwnOrGuests, directive_of
from app.api.scopes import DEFINITION
from app.core.batch import Batch
from app.core.security import ANONYMOUS
from app.execution.declarations import Declarations, Relation
from app.repositories import Repositories
from app.schema import create_schema, printed_schema

ACCESS_DIRECTIVES = {"public", "authenticated", "requires", "requiresForOthers", "guestsOwn", "asParent"}
ROOTS = {"Query", "Mutation", "Subscription"}


@cache
def schema() -> strawberry.Schema:
    return create_schema()


@cache
def declared() -> Declarations:
    return declarations(schema())


@cache
def printed() -> dict[str, ObjectTypeDefinitionNode]:
    """The object types of schema.graphql."""
    return {node.name.value: node for node in parse(printed_schema()).definitions if isinstance(node, ObjectTypeDefinitionNode)}


def core() -> GraphQLSchema:
    return schema()._schema


def objects() -> Iterator[GraphQLObjectType]:
    for kind in core().type_map.values():
        if isinstance(kind, GraphQLObjectType) and not kind.name.startswith("__"):
            yield kind


def rows() -> dict[str, Any]:
    """The classes of the types whose objects are rows, by name."""
    return {kind.name: node for kind in objects() if (node := node_type(kind.extensions.get(DEFINITION))) is not None}


def fields() -> Iterator[tuple[str, str, GraphQLField, Access | None]]:
    """Every field of every object type: type, name, definition, declared access."""
    for kind in objects():
        for name, field in kind.fields.items():
            definition: Any = field.extensions.get(DEFINITION)
            yield kind.name, name, field, definition.metadata.get("access")


def shown(node: ObjectTypeDefinitionNode | FieldDefinitionNode) -> list[str]:
    return [directive.name.value for directive in node.directives or () if directive.name.value in ACCESS_DIRECTIVES]


def shown_field(type_name: str, name: str) -> list[str]:
    return next(shown(field) for field in printed()[type_name].fields or () if field.name.value == name)


def expected(access: Access) -> str:
    name = type(directive_of(access)).__name__
    return name[0].lower() + name[1:]


def strictness(access: Access) -> int:
    """How much an access asks for: nothing, an account, an account and for others a permission, a permission."""
    if isinstance(access, OwnOrGuests):
        return 0
    if isinstance(access, Own):
        return 2
    return 3 if access.permission else int(access.authenticated)


def target(field: GraphQLField) -> str:
    """The type that a field leads to: of a connection, that of its nodes."""
    kind = get_named_type(field.type)
    if isinstance(kind, GraphQLObjectType) and {"nodes", "edges"} <= kind.fields.keys():
        kind = get_named_type(kind.fields["nodes"].type)
    return kind.name


# --- Nothing without an access


def test_every_root_field_declares_who_may_ask() -> None:
    silent = [f"{kind}.{name}" for kind, name, _, access in fields() if kind in ROOTS and access is None]
    assert silent == []


def test_every_type_whose_objects_are_rows_declares_who_may_have_one() -> None:
    assert rows().keys() >= {"User", "Order", "Product"}
    assert {name for name, node in rows().items() if not isinstance(node.access, Access)} == set()


def test_a_type_that_does_not_say_who_may_have_one_cannot_be_made() -> None:
    from app.api.node import Node

    with pytest.raises(TypeError, match="Secret must say who may have one"):
        type("Secret", (Node,), {})


def test_every_field_of_a_type_that_others_lead_to_declares_whom_it_is_for() -> None:
    """`order.user` shows a buyer to staff who may not read users, so each column of a user must have been thought of."""
    led_to = {target(field) for _, _, field, access in fields() if isinstance(access, Inherited)} & rows().keys()
    assert "User" in led_to
    silent = [f"{kind}.{name}" for kind, name, _, access in fields() if kind in led_to and access is None and name != "id"]
    assert silent == []


def test_every_door_that_row_scopes_do_not_guard_is_declared() -> None:
    """A relation that shows rows whoever asks, of a type that asks for something else than its parent does, must say that it means to."""
    silent = []
    for kind, name, field, access in fields():
        source = declared().find(kind, name)
        if kind not in rows() or source is None or not isinstance(source.source, Relation) or access is not None:
            continue
        wanted = rows()[target(field)].access
        if not _is_scoped(source.source) and not wanted.allows(ANONYMOUS) and wanted != rows()[kind].access:
            silent.append(f"{kind}.{name}")
    assert silent == []


def _is_scoped(relation: Relation) -> bool:
    repository = getattr(Repositories, relation.repository).func.__annotations__["return"]
    batch = getattr(repository, relation.batch, None)
    return not isinstance(batch, Batch) or batch.scoped


def test_an_object_by_its_id_needs_what_its_root_field_needs() -> None:
    """The same permission will do where the root field lists, which is for nobody's own."""
    weaker = []
    for kind, name, field, access in fields():
        if kind == "Query" and access is not None and target(field) in rows():
            own = rows()[target(field)].access
            if strictness(own) < strictness(access) and own.permission != access.permission:
                weaker.append(name)
    assert weaker == []


def test_what_may_be_refused_may_be_null() -> None:
    """Or a refused field would take its object, and the objects around it, away with it."""
    rigid = [
        f"{kind}.{name}"
        for kind, name, field, access in fields()
        if kind in rows() and access is not None and not isinstance(access, Inherited) and is_non_null_type(field.type)
    ]
    assert rigid == []


# --- Nothing that is not printed


def test_every_access_is_printed_with_its_field() -> None:
    wrong = [
        f"{kind}.{name} shows {shown_field(kind, name)}"
        for kind, name, _, access in fields()
        if shown_field(kind, name) != ([] if access is None else [expected(access)])
    ]
    assert wrong == []


def test_every_access_is_printed_with_its_type() -> None:
    wrong = {name: shown(node) for name, node in printed().items() if shown(node) != _expected_of(name)}
    assert wrong == {}


def _expected_of(type_name: str) -> list[str]:
    return [expected(rows()[type_name].access)] if type_name in rows() else []


def test_every_access_is_guarded() -> None:
    """What is printed is also checked, before anything else that a field does."""
    open_ = []
    for kind, name, field, access in fields():
        extensions = field.extensions[DEFINITION].extensions
        if access is not None and not isinstance(access, Inherited) and not (extensions and isinstance(extensions[0], Guard)):
            open_.append(f"{kind}.{name}")
    assert open_ == []
