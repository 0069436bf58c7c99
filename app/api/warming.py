"""Makes ready what the shop's own clients will ask, before anybody asks: texts read and checked, plans made, statements prepared.

A plan needs no values, but a statement depends on some: on page sizes, and on which parts of a filter are given. For variables without a
default, samples stand in where any value gives the same statement; the rest is composed when it is asked.
"""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from graphql import (
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    NamedTypeNode,
    NonNullTypeNode,
    OperationDefinitionNode,
    OperationType,
    get_named_type,
)

from app.api.context import Context
from app.api.documents import Document, Documents
from app.api.scalars import encode_id
from app.core.database import Database
from app.execution.refusal import Refused
from app.execution.runtime import CompiledExecution

MOST_STATEMENTS = 500

Read = tuple[str, Sequence[Any]]

log = structlog.get_logger(__name__)


class Warming:
    """Warms one process; `contexts` are those of the kinds of viewers that usually ask."""

    def __init__(self, schema: GraphQLSchema, documents: Documents, compiled: CompiledExecution | None) -> None:
        self._schema = schema
        self._documents = documents
        self._compiled = compiled

    async def warm(self, texts: Iterable[str], contexts: Sequence[Context], database: Database) -> int:
        """Make texts ready, and the database's connections with their statements; returns how many.

        May be cancelled at any time: what is not ready yet is made when it is asked. Raises `Unavailable` when the database is away.
        """
        reads: dict[str, Read] = {}
        for text in texts:
            reads.update((read[0], read) for read in self.prepared(text, contexts))
            await asyncio.sleep(0)
        first = list(reads.values())[:MOST_STATEMENTS]
        await database.warm(first)
        return len(first)

    def prepared(self, text: str, contexts: Sequence[Context]) -> list[Read]:
        """A text's statements for these viewers, each with values to run it with."""
        try:
            document = self._documents.read(text)
            errors = [error for name in document.operations for error in self._documents.check(document, name, {})]
        except GraphQLError as error:
            errors = [error]
        if errors:
            log.warning("trusted_document_invalid", document=text[:100], error=errors[0].message)
            return []
        return [read for operation in document.operations.values() for read in self._reads(document, operation, contexts)]

    def _reads(self, document: Document, operation: OperationDefinitionNode, contexts: Sequence[Context]) -> Iterator[Read]:
        if self._compiled is None or operation.operation is not OperationType.QUERY:
            return
        for variables in samples(self._schema, operation):
            for context in contexts:
                with suppress(Refused):
                    yield from _bound(self._compiled, document, operation, variables, context)


def _bound(
    compiled: CompiledExecution, document: Document, operation: OperationDefinitionNode, given: Mapping[str, Any], context: Context
) -> Iterator[Read]:
    outline = compiled.outline(document.text, document.node, operation)
    variables = compiled.variables(outline, given)
    for root in compiled.plan(outline, variables, context.viewer).roots:
        yield from ((run.prepared.statement.text, run.arguments) for run in compiled.runs(root, variables, context).values() if run)


def samples(schema: GraphQLSchema, operation: OperationDefinitionNode) -> list[dict[str, Any]]:
    """Values for the variables that must be given: each Boolean true and false, each ID one of a type that a root field shows."""
    kinds = {
        definition.variable.name.value: definition.type.type.name.value
        for definition in operation.variable_definitions or ()
        if isinstance(definition.type, NonNullTypeNode) and isinstance(definition.type.type, NamedTypeNode) and not definition.default_value
    }
    ids = _ids(schema, operation) if "ID" in kinds.values() else [""]
    flags = (True, False) if "Boolean" in kinds.values() else (True,)
    chosen = [{"String": "", "ID": id, "Boolean": flag} for id in ids for flag in flags]
    return [{variable: values[kind] for variable, kind in kinds.items() if kind in values} for values in chosen]


def _ids(schema: GraphQLSchema, operation: OperationDefinitionNode) -> list[str]:
    assert schema.query_type is not None
    names = {selection.name.value for selection in operation.selection_set.selections if isinstance(selection, FieldNode)}
    types = {get_named_type(field.type).name for name, field in schema.query_type.fields.items() if name in names}
    return [encode_id(name, UUID(int=0)) for name in sorted(types)]
