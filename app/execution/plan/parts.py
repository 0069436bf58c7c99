"""What a plan is made of: root fields, levels, and what each level shows, as data."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from graphql import FieldNode, GraphQLField
from graphql.execution.values import VariableValues

from app.core.security import Viewer
from app.execution.arguments import QuickArguments, quick_arguments, take_arguments
from app.execution.declarations import Batched, Computed, Reader, Relation, Source
from app.execution.refusal import Refused


@dataclass(frozen=True)
class TypeName:
    """`__typename`."""

    key: str
    name: str

    @cached_property
    def head(self) -> bytes:
        return _head(self.key)


@dataclass(frozen=True)
class Leaf:
    """A value that SQL shows. Here and below, `owner` is a column of the row: the part is for the viewer whose id is in it alone."""

    key: str
    source: Source
    shown_as: Any
    owner: str | None = None


@dataclass(frozen=True)
class Fill:
    """A value that Python works out; `serialize` is its scalar's."""

    key: str
    computed: Computed | Batched
    serialize: Callable[[Any], Any]
    required: bool
    owner: str | None = None


@dataclass(frozen=True)
class Level:
    """An object that is a row: of which repository, and what it shows."""

    type_name: str
    repository: str
    parts: tuple["Part", ...]


@dataclass(frozen=True)
class One:
    """At most one related row; `required` where the schema lets no null be."""

    key: str
    relation: Relation
    level: Level
    required: bool
    owner: str | None = None


@dataclass(frozen=True)
class Many:
    """A bounded list of related rows."""

    key: str
    relation: Relation
    level: Level
    owner: str | None = None


@dataclass(frozen=True)
class Nodes:
    """`nodes` of a connection."""

    key: str
    level: Level


@dataclass(frozen=True)
class Cursor:
    """`cursor` of an edge."""

    key: str


@dataclass(frozen=True)
class Node:
    """`node` of an edge."""

    key: str
    level: Level


@dataclass(frozen=True)
class Edges:
    """`edges` of a connection."""

    key: str
    parts: tuple[Cursor | Node | TypeName, ...]


@dataclass(frozen=True)
class InfoField:
    """A field of `pageInfo`, by its name in the schema."""

    key: str
    name: str


@dataclass(frozen=True)
class Info:
    """`pageInfo` of a connection."""

    key: str
    parts: tuple[InfoField | TypeName, ...]


@dataclass(frozen=True)
class Count:
    """`totalCount` of a connection."""

    key: str


@dataclass(frozen=True)
class Paged:
    """A connection: of all rows, or of those related to a parent. `ask` numbers its arguments."""

    key: str
    repository: str
    relation: Relation | None
    parts: tuple[Nodes | Edges | Info | Count | TypeName, ...]
    ask: int
    owner: str | None = None


Part = TypeName | Leaf | Fill | One | Many | Paged


@dataclass(frozen=True, eq=False)
class Ask:
    """The arguments of a field: how they are coerced and read, and of which list they speak."""

    definition: GraphQLField
    node: FieldNode
    read: Reader
    repository: str = ""
    by: str | None = None
    varies: bool = False
    """Whether a variable is among them."""
    personal: bool = False
    """Whether they mean something else to each viewer."""

    @cached_property
    def _quick(self) -> QuickArguments | None:
        return quick_arguments(self.definition, self.node)

    def arguments(self, variables: VariableValues) -> dict[str, Any]:
        """The coerced arguments; raises `GraphQLError`."""
        return take_arguments(self.definition, self.node, self._quick, variables)


@dataclass(frozen=True, eq=False)
class Root:
    """A root field: a page, or the single row that its first ask finds."""

    key: str
    body: Paged | Level
    asks: tuple[Ask, ...]
    scopes: frozenset[str]
    """What an API key must be good for, for all that is shown."""
    kept: dict[Any, Any] = field(default_factory=dict)
    """Where the executor keeps what it made of arguments that give one statement always; few, by what a root can be asked by."""

    @property
    def name(self) -> str:
        """The field's name."""
        return self.asks[0].node.name.value

    @cached_property
    def head(self) -> bytes:
        """The root's key as it stands in the answer."""
        return _head(self.key)

    @cached_property
    def is_steady(self) -> bool:
        """Whether its arguments, but for the filter that finds a single row, are the same in every request."""
        asks = self.asks if isinstance(self.body, Paged) else self.asks[1:]
        return not any(ask.varies or ask.personal for ask in asks)

    @property
    def fills(self) -> bool:
        return any(isinstance(part, Fill) for level in levels(self.body) for part in level.parts)


@dataclass(frozen=True, eq=False)
class NodeRoot:
    """`node(id:)`, or of `many` ids: one root per type that ids have named so far."""

    key: str
    ask: Ask
    root_of: Callable[[str], Root]
    many: bool
    roots: dict[str, Root] = field(default_factory=dict)

    @cached_property
    def head(self) -> bytes:
        return _head(self.key)

    def root(self, type_name: str, viewer: Viewer) -> Root:
        """Raises `Refused`."""
        if type_name not in self.roots:
            self.roots[type_name] = self.root_of(type_name)
        root = self.roots[type_name]
        admit_key(root.scopes, viewer)
        return root


PlannedRoot = Root | NodeRoot | TypeName


@dataclass(frozen=True, eq=False)
class Plan:
    """An operation's root fields, in the order of the answer."""

    roots: tuple[PlannedRoot, ...]

    @cached_property
    def scopes(self) -> frozenset[str]:
        """What an API key must be good for, but for what ids name."""
        return frozenset[str]().union(*(root.scopes for root in self.roots if isinstance(root, Root)))


def admit_key(scopes: frozenset[str], viewer: Viewer) -> None:
    """Raises `Refused` for a key that is not good for all of it."""
    if viewer.key is not None and not scopes <= viewer.key.scopes:
        raise Refused("denied", ", ".join(sorted(scopes - viewer.key.scopes)))


def levels(part: Any) -> Iterator[Level]:
    """Every object level in a part of a plan."""
    if isinstance(part, Level):
        yield part
    for inner in getattr(part, "parts", ()):
        yield from levels(inner)
    if not isinstance(part, Level) and (level := getattr(part, "level", None)) is not None:
        yield from levels(level)


def _head(key: str) -> bytes:
    return b'"%b":' % key.encode()
