"""Documents at random, valid by the schema: aliases, fragments, directives, arguments of every kind, and now and then a fault."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from random import Random
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLInterfaceType,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    get_nullable_type,
    is_leaf_type,
    is_list_type,
    is_non_null_type,
)

from app.core.security import Viewer
from app.execution.declarations import Access, Declarations

MOST_DEPTH = 7
ALIASES = ("a", "b", "c", "d")
JOINS = ("and", "or", "not")


@dataclass
class Pools:
    """Values that mean something in the database: ids by type, cursors by the field that gave them."""

    ids: dict[str, list[str]]
    skus: list[str]
    cursors: dict[str, list[str]] = field(default_factory=dict)


@dataclass
class Generated:
    """A document with its variables; `faulty` where it asks for something that should fail."""

    text: str
    variables: dict[str, Any]
    faulty: bool


class Writer:
    """Writes one document."""

    def __init__(self, schema: GraphQLSchema, declarations: Declarations, pools: Pools, viewer: Viewer, seed: str) -> None:
        self._schema = schema
        self._declarations = declarations
        self._pools = pools
        self._viewer = viewer
        self._random = Random(seed)
        self._fault = self._random.random() < 0.08
        self._faulty = False
        self._fragments: list[str] = []
        self._variables: dict[str, tuple[str, Any]] = {}
        self._budget = 30
        self._number = 0

    def write(self) -> Generated:
        query = self._schema.query_type
        assert query is not None
        selections = self._selections(query, 0)
        head = ", ".join(f"${name}: {kind}" for name, (kind, _) in self._variables.items())
        text = f"query Q{f'({head})' if head else ''} {selections}\n" + "\n".join(self._fragments)
        return Generated(text, {name: value for name, (_, value) in self._variables.items()}, self._faulty)

    # --- Selections

    def _selections(self, kind: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        fields = [name for name, field in kind.fields.items() if self._may_ask(kind.name, name) and self._fits(field, depth)]
        chosen = self._random.sample(fields, min(len(fields), self._random.randint(1, 2 if depth == 0 else 4)))
        found = [self._field(kind, name, depth) for name in chosen]
        if self._chance(0.15):
            found.append("t: __typename" if self._chance(0.3) else "__typename")
        if self._chance(0.2) and depth:
            found.append(self._fragment(kind, depth))
        if isinstance(kind, GraphQLInterfaceType):
            found += [f"... on {name} {self._selections(self._object(name), depth)}" for name in self._implementations(kind)]
        if not found:
            found = ["__typename"]
        self._random.shuffle(found)
        return "{ " + " ".join(found) + " }"

    def _implementations(self, kind: GraphQLInterfaceType) -> list[str]:
        names = [found.name for found in self._schema.get_possible_types(kind)]
        return self._random.sample(names, min(len(names), 3))

    def _object(self, name: str) -> GraphQLObjectType:
        kind = self._schema.get_type(name)
        assert isinstance(kind, GraphQLObjectType)
        return kind

    def _may_ask(self, kind: str, name: str) -> bool:
        """Fields that the viewer may not read are asked for as a fault only; fields that declare nothing are left out."""
        declared = self._declarations.find(kind, name)
        if kind == "Query" and declared is None:
            return False
        if declared is None or (self._may_use(declared.scope) and (declared.access is None or declared.access.allows(self._viewer))):
            return True
        return self._inject(0.3)

    def _may_use(self, scope: str | None) -> bool:
        return scope is None or self._viewer.key is None or scope in self._viewer.key.scopes

    def _fits(self, field: GraphQLField, depth: int) -> bool:
        return is_leaf_type(get_named_type(field.type)) or (depth < MOST_DEPTH and self._budget > 0)

    def _field(self, kind: GraphQLObjectType | GraphQLInterfaceType, name: str, depth: int) -> str:
        definition = kind.fields[name]
        times = 2 if definition.args and self._chance(0.15) else 1
        return " ".join(self._one_field(f"{kind.name}.{name}", name, definition, depth) for _ in range(times))

    def _one_field(self, place: str, name: str, definition: GraphQLField, depth: int) -> str:
        self._budget -= 1
        text = self._named(name, definition) + self._arguments(place, definition) + self._directive()
        inner = get_named_type(definition.type)
        if isinstance(inner, GraphQLObjectType | GraphQLInterfaceType):
            text += " " + self._selections(inner, depth + 1)
        return text

    def _named(self, name: str, definition: GraphQLField) -> str:
        """An alias says what it stands for, so that equal ones never conflict."""
        if definition.args:
            self._number += 1
            return f"{self._random.choice(ALIASES)}{self._number}: {name}"
        return f"{self._random.choice(ALIASES)}_{name}: {name}" if self._chance(0.15) else name

    def _fragment(self, kind: GraphQLObjectType | GraphQLInterfaceType, depth: int) -> str:
        selections = self._selections(kind, depth) if isinstance(kind, GraphQLObjectType) else "{ id }"
        condition = self._random.choice((kind.name, "Node" if any(i.name == "Node" for i in kind.interfaces) else kind.name))
        if condition == "Node" and kind.name != "Node":
            selections = f"{{ id ... on {kind.name} {selections} }}"
        if self._chance(0.5):
            return f"... on {condition}{self._directive()} {selections}"
        name = f"F{len(self._fragments)}"
        self._fragments.append(f"fragment {name} on {condition} {selections}")
        return f"...{name}{self._directive()}" + (f" ...{name}" if self._chance(0.2) else "")

    def _directive(self) -> str:
        if not self._chance(0.1):
            return ""
        name = self._random.choice(("skip", "include"))
        value = self._random.choice(("true", "false"))
        return f" @{name}(if: {self._variable('Boolean!', value == 'true') if self._chance(0.5) else value})"

    # --- Arguments

    def _arguments(self, place: str, definition: GraphQLField) -> str:
        given = {name: value for name, value in self._chosen(place, definition) if value is not None}
        if not given:
            return ""
        parts = [f"{name}: {self._passed(definition.args[name], value)}" for name, value in given.items()]
        return f"({', '.join(parts)})"

    def _passed(self, argument: GraphQLArgument, value: Any) -> str:
        return self._variable(str(argument.type), value) if self._chance(0.3) else literal(value, argument.type)

    def _variable(self, kind: str, value: Any) -> str:
        name = f"v{len(self._variables)}"
        self._variables[name] = (kind, value)
        return f"${name}"

    def _chosen(self, place: str, definition: GraphQLField) -> Iterator[tuple[str, Any]]:
        if "first" in definition.args:
            yield from self._page(place, definition)
            return
        names = list(definition.args)
        required = [name for name in names if is_non_null_type(definition.args[name].type)]
        for name in required or ([self._random.choice(names)] if names else []):
            yield name, self._lookup_value(get_named_type(definition.type).name, name)
        if names and self._inject(0.1):
            yield self._random.choice(names), "bm90aGluZw=="

    def _lookup_value(self, type_name: str, name: str) -> Any:
        if name in ("id", "ids"):
            ids = self._pools.ids.get(type_name) or self._ids_of_all()
            return self._random.choice(ids) if name == "id" else self._random.sample(ids, min(3, len(ids)))
        return self._random.choice((*self._pools.skus, "nothing", "store0.example.com", "STORE1.example.com"))

    def _ids_of_all(self) -> list[str]:
        """Ids of the types that the viewer may have by their ids; of the others as a fault only."""
        found = self._pools.ids.items()
        return [id for name, ids in found if self._may_have(self._declarations.accesses[name]) or self._inject(0.3) for id in ids]

    def _may_have(self, access: Access) -> bool:
        return access.allows(self._viewer) and self._may_use(access.key_scope)

    def _page(self, place: str, definition: GraphQLField) -> Iterator[tuple[str, Any]]:
        backward = self._chance(0.25)
        if backward or self._chance(0.8):
            yield "last" if backward else "first", self._size()
        cursors = self._pools.cursors.get(place, [])
        bounded = bool(cursors) and self._chance(0.3)
        if bounded:
            yield "after", self._random.choice(cursors)
            if self._chance(0.2):
                yield "before", self._random.choice(cursors)
        if self._inject(0.2):
            yield "before", "bm90aGluZw=="
        if "orderBy" in definition.args and self._chance(0.3) and not bounded:
            yield "orderBy", [self._input(get_named_type(definition.args["orderBy"].type), 0) for _ in range(self._random.randint(1, 2))]
        if "filter" in definition.args and self._chance(0.3):
            yield "filter", self._input(get_named_type(definition.args["filter"].type), 0)

    def _size(self) -> int:
        if self._inject(0.2):
            return self._random.choice((0, -1, 1000))
        return self._random.choice((1, 2, 3, 5, 20))

    def _input(self, kind: Any, depth: int) -> dict[str, Any]:
        assert isinstance(kind, GraphQLInputObjectType)
        required = [name for name, field in kind.fields.items() if is_non_null_type(field.type)]
        optional = [name for name in kind.fields if name not in required and (name not in JOINS or depth < 2)]
        chosen = required + self._random.sample(optional, min(len(optional), self._random.randint(0 if required else 1, 2)))
        return {name: self._input_value(kind, name, depth) for name in chosen}

    def _input_value(self, kind: GraphQLInputObjectType, name: str, depth: int) -> Any:
        shape = get_nullable_type(kind.fields[name].type)
        if is_list_type(shape):
            return [self._value(get_named_type(shape), kind, name, depth) for _ in range(self._random.randint(0, 2))]
        return self._value(get_named_type(shape), kind, name, depth)

    def _value(self, kind: Any, parent: GraphQLInputObjectType, name: str, depth: int) -> Any:
        if isinstance(kind, GraphQLInputObjectType):
            found = self._input(kind, depth + 1)
            if kind.name == "IdFilter":
                return self._id_filter(found, parent, name)
            return found
        if isinstance(kind, GraphQLEnumType):
            return Symbol(self._random.choice(list(kind.values)))
        return self._scalar(kind.name)

    def _id_filter(self, found: dict[str, Any], parent: GraphQLInputObjectType, name: str) -> dict[str, Any]:
        """Ids of the type that the filter speaks of."""
        type_name = parent.name.removesuffix("Filter") if name == "id" else name.removesuffix("Id").capitalize()
        ids = self._pools.ids.get(type_name) or ["bm90aGluZw=="]
        return {k: [self._random.choice(ids)] if k == "in" else self._random.choice(ids) if k == "eq" else v for k, v in found.items()}

    def _scalar(self, name: str) -> Any:
        choices: dict[str, tuple[Any, ...]] = {
            "String": ("Teapot", "tea", "%", "_", "\\", "Ü", "", "USD", "user1@example.com"),
            "Int": (0, 1, 5, 20),
            "Float": (0.5, 2),
            "Boolean": (True, False),
            "ID": ("x",),
            "Decimal": ("0", "1.25", "99999", "-1"),
            "DateTime": ("2026-01-01T00:00:01Z", "2026-01-01T01:00:02.5+01:00"),
        }
        return self._random.choice(choices[name])

    def _chance(self, share: float) -> bool:
        return self._random.random() < share

    def _inject(self, share: float) -> bool:
        """Whether to put a fault here: never in documents that are to be without."""
        found = self._fault and self._chance(share)
        self._faulty = self._faulty or found
        return found


class Symbol(str):
    """The name of an enum's value."""


def literal(value: Any, kind: Any) -> str:
    """A value as it stands in a document."""
    shown: dict[type[Any], Callable[[Any], str]] = {
        Symbol: str,
        str: _text,
        bool: lambda v: str(v).lower(),
        dict: lambda v: "{" + ", ".join(f"{name}: {literal(inner, None)}" for name, inner in v.items()) + "}",
        list: lambda v: "[" + ", ".join(literal(inner, None) for inner in v) + "]",
    }
    return shown.get(type(value), repr)(value)


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
