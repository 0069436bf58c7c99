"""What `python -m app explain FILE` prints."""

from typing import Any
from uuid import UUID

import orjson
from graphql import GraphQLError, OperationDefinitionNode, parse, validate

from app.api.context import Context, RequestInfo
from app.api.declared import declarations
from app.core.metrics import Metrics
from app.core.security import SYSTEM, Viewer, ViewerKind
from app.execution.explain import explain
from app.execution.runtime import CompiledExecution
from app.repositories import Repositories
from app.schema import create_schema

ADMINISTRATOR = Viewer(ViewerKind.ADMINISTRATOR, user_id=UUID(int=0), permissions=SYSTEM.permissions)


async def explained(repositories: Repositories, text: str, variables: str = "{}") -> str:
    """How a query is executed for a viewer who sees everything. Raises ValueError for what is no valid query, or no JSON object."""
    schema = create_schema()
    graphql_schema = schema._schema  # noqa: SLF001 - the graphql-core schema, which Strawberry keeps for itself
    document, operation = _query(graphql_schema, text)
    compiled = CompiledExecution(graphql_schema, declarations(schema), Metrics())
    context = Context(repositories=repositories.scoped(ADMINISTRATOR), request=RequestInfo(id=""), services=None)
    return _shown(await explain(compiled, text, document, operation, _object(variables), context))


def _query(schema: Any, text: str) -> tuple[Any, OperationDefinitionNode]:
    try:
        document = parse(text)
    except GraphQLError as error:
        raise ValueError(str(error)) from error
    errors = validate(schema, document)
    operations = [definition for definition in document.definitions if isinstance(definition, OperationDefinitionNode)]
    if errors or len(operations) != 1:
        raise ValueError("\n\n".join(map(str, errors)) or "the document must have one operation")
    return document, operations[0]


def _object(text: str) -> dict[str, Any]:
    found = orjson.loads(text)
    if not isinstance(found, dict):
        raise ValueError("the variables must be a JSON object")
    return found


def _shown(found: dict[str, Any]) -> str:
    statements = found.pop("statements", {})
    parts = [orjson.dumps(found, option=orjson.OPT_INDENT_2).decode()]
    for key, statement in statements.items():
        shown = statement or {"sql": "none: the arguments say that there is no row", "postgresql": []}
        parts += [f"\n{key}:\n", shown["sql"], "", *shown["postgresql"], *shown.get("fill", ())]
    return "\n".join(parts)
