"""Who may do what: every operation of the schema, and what it is to each role that every installation has.

`python -m app schema` writes the table into the README, and the tests hold each of its cells against what the gateway answers.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from uuid import UUID

import strawberry
from graphql import GraphQLObjectType

from app.accounts.viewers import kind_of
from app.api.node import node_type
from app.api.permissions import Access, Own, OwnOrGuests
from app.api.scopes import DEFINITION, required_scope
from app.core.security import ANONYMOUS, ANY, Viewer
from app.execution.declarations import NO_KEY
from app.repositories import Repositories
from app.schema import create_schema

NOBODY: Final = "anonymous"
REFUSED: Final = "no"
MARKS: Final = ("<!-- permissions -->\n", "<!-- /permissions -->")


@dataclass(frozen=True)
class Operation:
    """A root field, or an object of a type by its id: what it is called, who may ask for it, and what an API key needs."""

    name: str
    access: Access
    key_scope: str | None


async def installed_roles(repositories: Repositories) -> dict[str, frozenset[str]]:
    """The permissions of the roles that every installation has, the least trusted first."""
    roles = await repositories.roles.find_many({"category": "system"})
    ordered = sorted(roles, key=lambda role: -role.level)
    return {role.name: await repositories.roles.get_all_permissions(role.id) for role in ordered}


async def permission_table(repositories: Repositories) -> str:
    """The table as Markdown."""
    roles = await installed_roles(repositories)
    viewers = {NOBODY: ANONYMOUS, **{name: _viewer(permissions) for name, permissions in roles.items()}}
    lines = [_line("Operation", "Needs", "API key", *viewers), _line(*["---"] * (3 + len(viewers)))]
    for operation in operations(create_schema()):
        cells = (cell(operation.access, viewer) for viewer in viewers.values())
        lines.append(_line(f"`{operation.name}`", _needs(operation.access), _scope(operation.key_scope), *cells))
    return "\n".join(lines) + "\n"


def operations(schema: strawberry.Schema) -> Iterator[Operation]:
    """The root fields as they are declared, then `node` for each type that has ids."""
    core = schema._schema  # noqa: SLF001 - the graphql-core schema, which Strawberry keeps for itself
    for root in filter(None, (core.query_type, core.mutation_type, core.subscription_type)):
        for name, field in root.fields.items():
            access = field.extensions[DEFINITION].metadata["access"]
            yield Operation(f"{root.name.lower()} {name}", access, required_scope(core, root, field))
    for kind in core.type_map.values():
        node = node_type(kind.extensions.get(DEFINITION)) if isinstance(kind, GraphQLObjectType) else None
        if node is not None:
            yield Operation(f"node {kind.name}", node.access, node.access.key_scope)


def cell(access: Access, viewer: Viewer) -> str:
    """What an access is to a viewer: refused, allowed, or allowed for some rows."""
    if not access.allows(viewer):
        return REFUSED
    if not isinstance(access, Own):
        return "yes"
    if viewer.sees_everything:
        return "all"
    return "own and store's" if viewer.can(access.permission or "") else "own"


def between_marks(readme: Path, table: str) -> str:
    """The README with the table in its place. Raises ValueError where there is no place for it."""
    before, mark, rest = readme.read_text(encoding="utf-8").partition(MARKS[0])
    _, end, after = rest.partition(MARKS[1])
    if not mark or not end:
        raise ValueError(f"{readme} has no place for the table: put {MARKS[0].strip()} and {MARKS[1]} there")
    return f"{before}{mark}{table}{end}{after}"


def _viewer(permissions: frozenset[str]) -> Viewer:
    return Viewer(kind_of(permissions), user_id=UUID(int=1), store_id=UUID(int=2), permissions=permissions)


def _needs(access: Access) -> str:
    if isinstance(access, OwnOrGuests):
        return f"nothing; `{access.permission}` for others"
    if isinstance(access, Own):
        return f"an account; `{access.permission}` for others"
    if access.permission:
        return f"`{access.permission}`"
    return "an account" if access.authenticated else "nothing"


def _scope(scope: str | None) -> str:
    if scope in (NO_KEY, f"{ANY}:{ANY}"):
        return "never"
    return "by type" if scope in (None, ANY) else f"`{scope}`"


def _line(*cells: Any) -> str:
    return f"| {' | '.join(cells)} |"
