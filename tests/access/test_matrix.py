"""Who may do what, held against the README: every cell of its table, over HTTP.

A refusal says UNAUTHENTICATED to a visitor and FORBIDDEN to everybody else, and changes nothing. What is sent makes little sense, so that
it is seen to be the first thing that the gateway says, and the only one.
"""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from graphql import GraphQLEnumType, GraphQLField, GraphQLInputObjectType, get_named_type, get_nullable_type, is_list_type, is_non_null_type

from app.api.scalars import encode_id
from app.matrix import MARKS, NOBODY, REFUSED, between_marks, permission_table
from app.schema import create_schema
from tests.access.world import HARBOUR, Person, World
from tests.serving import REPOSITORY, Caller

pytestmark = pytest.mark.usefixtures("unmeasured")
SCHEMA = create_schema()._schema
README = REPOSITORY / "README.md"
DENIALS = {"UNAUTHENTICATED", "FORBIDDEN"}
SCALARS: dict[str, Any] = {
    "ID": encode_id("Nothing", UUID(int=0)),
    "String": "x",
    "Int": 1,
    "Float": 1.0,
    "Boolean": True,
    "Decimal": "1",
    "DateTime": datetime(2030, 1, 1, tzinfo=UTC).isoformat(),
    "JSON": {},
}


def table() -> tuple[list[str], dict[str, list[str]]]:
    """The roles in the README's table, and its cells by operation."""
    text = README.read_text(encoding="utf-8").partition(MARKS[0])[2].partition(MARKS[1])[0]
    head, _, *rows = [[part.strip(" `") for part in line.strip("| ").split(" | ")] for line in text.splitlines()]
    return head[3:], {row[0]: row[3:] for row in rows}


ROLES, CELLS = table()


async def test_the_table_in_the_readme_is_up_to_date(world: World) -> None:
    assert README.read_text(encoding="utf-8") == between_marks(README, await permission_table(world.repositories)), "run `make schema`"


def test_the_table_has_every_role() -> None:
    assert ROLES == [NOBODY, "USER", "VIEWER", "ANALYST", "ADMIN"]


@pytest.fixture(scope="module")
def people(world: World) -> dict[str, Person]:
    """Who calls, by role. Whoever may have changed something is replaced: it could have been its own account."""
    return {NOBODY: Person(NOBODY, world.visitor)}


@pytest.mark.parametrize("operation", CELLS)
async def test_every_cell(world: World, people: dict[str, Person], operation: str) -> None:
    document, variables = request(*operation.split())
    for role, cell in zip(ROLES, CELLS[operation], strict=True):
        if role not in people:
            people[role] = await world.person("somebody", role, HARBOUR)
        person = people.pop(role) if cell != REFUSED and operation.startswith("mutation") and role != NOBODY else people[role]
        before = await world.checksums() if cell == REFUSED else {}
        answer = await (events if operation.startswith("subscription") else single)(person.caller, document, variables)
        denials = {error["extensions"]["code"] for error in answer.get("errors", ())} & DENIALS
        if cell != REFUSED:
            assert not denials, (role, answer)
            continue
        assert denials == {"UNAUTHENTICATED" if role == NOBODY else "FORBIDDEN"}, (role, answer)
        assert not any((answer.get("data") or {}).values()), (role, answer)
        assert before == await world.checksums(), role


async def single(caller: Caller, document: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The answer to a query or a mutation."""
    return cast(dict[str, Any], (await caller.post(document, variables)).json())


async def events(caller: Caller, document: str, variables: dict[str, Any]) -> dict[str, Any]:
    """The first event of a subscription; nothing where it waits for one."""
    try:
        async with asyncio.timeout(0.5):
            response = await caller.post(document, variables, Accept="text/event-stream")
    except TimeoutError:
        return {}
    return cast(dict[str, Any], json.loads(response.text.partition("data: ")[2].partition("\n")[0]))


def request(kind: str, name: str) -> tuple[str, dict[str, Any]]:
    """A document that asks for an operation alone, with values that its arguments could have."""
    if kind == "node":
        return "query ($id: ID!) { node(id: $id) { __typename } }", {"id": encode_id(name, UUID(int=0))}
    root = {"query": SCHEMA.query_type, "mutation": SCHEMA.mutation_type, "subscription": SCHEMA.subscription_type}[kind]
    assert root is not None
    field: GraphQLField = root.fields[name]
    needed = {argument: given.type for argument, given in field.args.items() if is_non_null_type(given.type)}
    head = ", ".join(f"${argument}: {given}" for argument, given in needed.items())
    passed = ", ".join(f"{argument}: ${argument}" for argument in needed)
    shown = "{ __typename }" if hasattr(get_named_type(field.type), "fields") else ""
    document = f"{kind} {f'({head})' if head else ''} {{ {name}{f'({passed})' if passed else ''} {shown} }}"
    return document, {argument: sample(given) for argument, given in needed.items()}


def sample(kind: Any) -> Any:
    """A value of a type, with no more than it must have."""
    inner = get_nullable_type(kind)
    if is_list_type(inner):
        return [sample(inner.of_type)]
    if isinstance(inner, GraphQLEnumType):
        return next(iter(inner.values))
    if isinstance(inner, GraphQLInputObjectType):
        return {name: sample(field.type) for name, field in inner.fields.items() if is_non_null_type(field.type)}
    return SCALARS[inner.name]
