"""For how long answers may be kept, and for whom: declared on types and fields, printed in the schema, mirrored in HTTP.

    @strawberry.type(directives=[cached(60)])
    class Product(Node): ...

    products: Connection[Product] = connection("products", access=public, cache=cached(60))

The rule is Apollo Server's ("Server-side caching"): a field's hint wins over its type's; the policy of an operation is the least of all
maximum ages, and private where anything is. Root fields and fields that show objects have 0 unless they say otherwise; scalars, and what
says `inheritMaxAge`, have what their parent has. Parts that @skip or @include may leave out count as well.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import strawberry
from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    get_named_type,
    is_composite_type,
)
from strawberry import UNSET
from strawberry.schema_directive import Location

from app.api.documents import Document

DEFINITION = "strawberry-definition"
PLACES = [Location.FIELD_DEFINITION, Location.OBJECT, Location.INTERFACE, Location.UNION]


@strawberry.enum(description="Whether a kept answer is for everybody, or only for whoever asked.")
class CacheControlScope(Enum):
    PUBLIC = "PUBLIC"
    PRIVATE = "PRIVATE"


@strawberry.schema_directive(locations=PLACES, description="How long this may be kept in seconds, and for whom.")
class CacheControl:
    max_age: int | None = UNSET
    scope: CacheControlScope | None = UNSET
    inherit_max_age: bool | None = UNSET


def cached(seconds: int, *, private: bool = False) -> CacheControl:
    """The hint that something may be kept for so long."""
    return CacheControl(max_age=seconds, scope=CacheControlScope.PRIVATE if private else UNSET)


def hints(cache: CacheControl | None) -> tuple[CacheControl, ...]:
    """The directives of a field that may have a hint."""
    return (cache,) if cache else ()


INHERITED = CacheControl(inherit_max_age=True)
"""The hint of objects that only group what others show, such as the pages of a list."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How many seconds an answer may be kept, and whether only for whoever asked; 0 for one that must not be kept."""

    max_age: int = 0
    private: bool = False

    @property
    def header(self) -> str:
        """The value of Cache-Control (RFC 9111, 5.2)."""
        return f"max-age={self.max_age}, {'private' if self.private else 'public'}" if self.max_age else "no-store"


NEVER = Policy()


class Hint(NamedTuple):
    """What a type or a field says."""

    max_age: int | None = None
    private: bool | None = None
    inherits: bool = False

    def or_else(self, other: "Hint") -> "Hint":
        """This hint, and what another says where this one says nothing."""
        return Hint(
            other.max_age if self.max_age is None else self.max_age,
            other.private if self.private is None else self.private,
            other.inherits or self.inherits,
        )


class CachePolicies:
    """Works out the policies of the operations of one schema."""

    def __init__(self, schema: GraphQLSchema) -> None:
        self._schema = schema
        self._hints: dict[tuple[str, str], Hint] = {}

    def policy(self, document: Document, operation: OperationDefinitionNode) -> Policy:
        """The policy of a valid operation; worked out once."""
        name = operation.name.value if operation.name else None
        found: Policy | None = document.policies.get(name)
        if found is None:
            found = document.policies[name] = self._policy(document, operation)
        return found

    def _policy(self, document: Document, operation: OperationDefinitionNode) -> Policy:
        if operation.operation is not OperationType.QUERY:
            return NEVER
        hints = list(self._all(document, operation))
        ages = [hint.max_age for hint in hints if hint.max_age is not None]
        return Policy(min(ages, default=0), any(hint.private for hint in hints))

    def _all(self, document: Document, operation: OperationDefinitionNode) -> Iterator[Hint]:
        """The hints of all fields, those of a fragment once."""
        fragments = {part.name.value: part for part in document.node.definitions if isinstance(part, FragmentDefinitionNode)}
        query: Any = self._schema.query_type
        todo: list[tuple[SelectionSetNode, Any]] = [(operation.selection_set, query)]
        while todo:
            selections, parent = todo.pop()
            for selection in selections.selections:
                if isinstance(selection, FieldNode):
                    kind = self._type(parent, selection.name.value)
                    yield self._hint(parent, selection.name.value, kind, root=parent is query)
                    if selection.selection_set and kind is not None:
                        todo.append((selection.selection_set, kind))
                    continue
                inner = selection if isinstance(selection, InlineFragmentNode) else fragments.pop(_name(selection), None)
                if inner is not None:
                    condition = inner.type_condition
                    todo.append((inner.selection_set, self._schema.get_type(condition.name.value) if condition else parent))

    def _type(self, parent: Any, name: str) -> Any:
        """The type that a field shows; None for meta fields."""
        return None if name.startswith("__") else get_named_type(parent.fields[name].type)

    def _hint(self, parent: Any, name: str, kind: Any, *, root: bool) -> Hint:
        known = self._hints.get((parent.name, name))
        if known is None:
            known = self._hints[parent.name, name] = self._worked_out(parent, name, kind, root=root)
        return known

    def _worked_out(self, parent: Any, name: str, kind: Any, *, root: bool) -> Hint:
        composite = kind is not None and is_composite_type(kind)
        own = _declared(parent.fields[name]) if kind is not None else Hint()
        hint = own.or_else(_declared(kind)) if composite else own
        if hint.max_age is None and (root or (composite and not hint.inherits)):
            return hint._replace(max_age=0)
        return hint


def _name(selection: Any) -> str:
    assert isinstance(selection, FragmentSpreadNode)
    return selection.name.value


def _declared(part: Any) -> Hint:
    """The hint of a type or field of the schema."""
    directives: Sequence[object] = getattr(part.extensions.get(DEFINITION), "directives", None) or ()
    for found in directives:
        if isinstance(found, CacheControl):
            age = found.max_age if isinstance(found.max_age, int) else None
            private = found.scope is CacheControlScope.PRIVATE if isinstance(found.scope, CacheControlScope) else None
            return Hint(age, private, found.inherit_max_age is True)
    return Hint()
