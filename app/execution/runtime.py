"""Answers compiled operations: finds the plan, reads the arguments, has the statements run and joins their JSON to one answer.

What depends on what, from the rarest to the most frequent change:

    outline     (document, operation)                            which variables there are, and which of them @skip and @include use
    plan        + viewer's kind and permissions, those variables  the levels of the answer
    statement   + shapes of filters, orders, cursors, page sizes  SQL, and the pass that fills in Python's fields
    values      + everything else                                 what is bound
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import structlog
from cachetools import LRUCache
from graphql import (
    DirectiveNode,
    DocumentNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    Visitor,
    get_variable_values,
    visit,
)
from graphql.execution.values import VariableValues

from app.core.errors import BadInput, Unavailable
from app.core.metrics import Metrics
from app.core.repository import ListQuery
from app.core.security import Viewer
from app.core.statement import Statement, compile_statement
from app.execution.arguments import NO_VARIABLES, QuickVariables, quick_variables, uses_variables
from app.execution.declarations import Declarations, Where
from app.execution.fill import Filler
from app.execution.plan import Ask, NodeRoot, Paged, Plan, PlannedRoot, Planner, Root, TypeName, admit_key
from app.execution.refusal import Refused
from app.execution.running import NOTHING, Bound, Prepared, Rows, Run, Runner, Shared
from app.execution.statement import BY_ID, KEYS, Composer, prefix

MOST_OUTLINES = 1000
MOST_PLANS = 16
"""Plans of one operation: one for each set of permissions and each way that its @skip and @include fall."""

MOST_STATEMENTS = 2000
SWITCHES = frozenset({"skip", "include"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, eq=False)
class Outline:
    """What is known of an operation before anybody asks for it."""

    document: DocumentNode
    operation: OperationDefinitionNode
    switches: tuple[str, ...]
    quick: QuickVariables | None
    plans: dict[Any, "Plan | Refused"] = field(default_factory=dict)
    """The plans of the kinds of viewers that ask for it."""


class Keys(list[Any]):
    """The keys of the rows that are looked up, in place of a filter."""


NOWHERE: Mapping[str, Any] = {}
PLAIN = frozenset({UUID, str, int, bool})
"""Types of values that a filter compares with as they are: one parameter each, in the filter's order."""


class CompiledExecution:
    """Answers queries by one statement per root field. One instance serves a schema; it keeps plans and statements, bounded."""

    def __init__(self, schema: GraphQLSchema, declarations: Declarations, metrics: Metrics) -> None:
        self._schema = schema
        self._declarations = declarations
        self._metrics = metrics
        self._compiled, self._filled = (metrics.executions.labels(mode, "") for mode in ("compiled", "filled"))
        self._runner = Runner(metrics)
        self._outlines: LRUCache[Any, Outline | Refused] = LRUCache(MOST_OUTLINES)
        self._statements: LRUCache[Any, Prepared] = LRUCache(MOST_STATEMENTS)

    async def execute(
        self, text: str, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any], context: Any
    ) -> bytes | None:
        """The answer to a valid query, as JSON without errors; None where resolvers must give it. Raises `Unavailable`.

        `text` is the document's own, by which its plans are found. `context` is the request's: its `repositories` are scoped to its
        `viewer`, and the readers of arguments get it.
        """
        bound = self.prepare(text, document, operation, variables, context)
        return None if bound is None else await self.run(bound, context.repositories)

    def prepare(
        self, text: str, document: DocumentNode, operation: OperationDefinitionNode, variables: Mapping[str, Any], context: Any
    ) -> Bound | None:
        """A valid query made ready for `run`, which may run it as often as the same viewer asks for it; None for resolvers' ones."""
        try:
            outline = self.outline(text, document, operation)
            coerced = self.variables(outline, variables)
            plan = self.plan(outline, coerced, context.viewer)
            return Bound([self._ready(root, coerced, context) for root in plan.roots])
        except Exception as error:
            self._leave(error)
            return None

    async def run(self, bound: Bound, repositories: Any, end: bytes = b"}") -> bytes | None:
        """The answer to a prepared query, as `execute` gives it; `repositories` are scoped to the viewer that it was prepared for.

        `end` is what the answer ends with after its data, closing brace included.
        """
        try:
            data = await self._runner.data(bound, repositories)
        except Unavailable:
            # Resolvers would wait for the same database once more.
            raise
        except Exception as error:
            self._leave(error)
            return None
        self._metrics.tally.count(self._filled if bound.is_filled else self._compiled)
        return b'{"data":{%b}%b' % (data, end)

    def _leave(self, error: Exception) -> None:
        """Count what is left to resolvers, and why."""
        if not isinstance(error, Refused):
            log.warning("compiled_execution_failed", exc_info=error)
        self._metrics.executions.labels("standard", error.reason if isinstance(error, Refused) else "exception").inc()

    # --- Outlines and plans

    def outline(self, text: str, document: DocumentNode, operation: OperationDefinitionNode) -> Outline:
        """What is known of the operation by itself; raises `Refused`."""
        key = (text, operation.name.value if operation.name else None)
        found = self._outlines.get(key)
        if found is None:
            found = self._outlines[key] = outlined(document, operation)
        if isinstance(found, Refused):
            raise Refused(found.reason, found.detail)
        return found

    def variables(self, outline: Outline, given: Mapping[str, Any]) -> VariableValues:
        """The coerced variables; raises `Refused`."""
        if not outline.operation.variable_definitions:
            return NO_VARIABLES
        quick = outline.quick(given) if outline.quick is not None else None
        if quick is not None:
            return quick
        found = get_variable_values(self._schema, outline.operation.variable_definitions or (), dict(given), max_errors=1)
        if isinstance(found, list):
            raise Refused("bad_input", found[0].message)
        return found

    def plan(self, outline: Outline, variables: VariableValues, viewer: Viewer) -> Plan:
        """The plan for this viewer; raises `Refused`. Keys of all scopes share it, or keys could crowd out the plans of others."""
        switched = tuple(variables.coerced.get(name) for name in outline.switches)
        key = (viewer.kind, viewer.permissions, switched)
        found = outline.plans.get(key)
        if found is None:
            while len(outline.plans) >= MOST_PLANS:
                del outline.plans[next(iter(outline.plans))]
            found = outline.plans[key] = self._planned(outline, variables, viewer)
        if isinstance(found, Refused):
            raise Refused(found.reason, found.detail)
        admit_key(found.scopes, viewer)
        return found

    def _planned(self, outline: Outline, variables: VariableValues, viewer: Viewer) -> Plan | Refused:
        try:
            return Planner(self._schema, self._declarations, outline.document, outline.operation, variables, viewer).plan()
        except Refused as refused:
            return refused

    # --- Root fields

    def _ready(self, root: PlannedRoot, variables: VariableValues, context: Any) -> bytes | Run | Rows:
        if isinstance(root, TypeName):
            return b'%b"%b"' % (root.head, root.name.encode())
        if isinstance(root, NodeRoot) and root.many:
            return self._nodes(root, variables, context)
        found = self.bind(root, variables, context)
        return root.head + NOTHING if found is None else found

    def _nodes(self, root: NodeRoot, variables: VariableValues, context: Any) -> Rows:
        places = self._read(root.ask, variables, context)
        numbers: dict[str, list[int]] = {}
        for number, (type_name, _) in enumerate(places):
            numbers.setdefault(type_name, []).append(number)
        runs = []
        for type_name, own in numbers.items():
            keys = Keys(places[number][1] for number in own)
            prepared, values = self._bound(root.root(type_name, context.viewer), keys, variables, context)
            runs.append(Run.of(b"", prepared, context.viewer.scope_values | values))
        return Rows(root.head, len(places), runs, list(numbers.values()))

    def runs(self, root: PlannedRoot, variables: VariableValues, context: Any) -> dict[str, Run | None]:
        """What would run for a root field, by name: one statement, or none where there is no row; for many ids one for each type."""
        ready = self._ready(root, variables, context)
        if isinstance(ready, Rows):
            return {f"{root.key}: {run.prepared.root.body.type_name}": run for run in ready.runs}  # type: ignore[union-attr]
        return {} if isinstance(root, TypeName) else {root.key: ready if isinstance(ready, Run) else None}

    def bind(self, root: Root | NodeRoot, variables: VariableValues, context: Any) -> Run | None:
        """The statement of a root field and its values; None where its arguments say that there is no row. Raises `Refused`."""
        head = root.head
        where: Mapping[str, Any] = NOWHERE
        if isinstance(root, NodeRoot):
            type_name, key = self._read(root.ask, variables, context)
            root, where = root.root(type_name, context.viewer), {"id": key}
        if not where and not isinstance(root.body, Paged):
            found = self._read(root.asks[0], variables, context)
            if found is None:
                return None
            where = found
        prepared, values = self._kept(root, where, variables, context)
        return Run.of(head, prepared, context.viewer.scope_values | values, where["id"] if where.keys() == {"id"} else None)

    def _kept(self, root: Root, where: Mapping[str, Any], variables: VariableValues, context: Any) -> tuple[Prepared, dict[str, Any]]:
        """The statement and its values, from what is kept where the columns looked up are all that tells requests apart."""
        if not (root.is_steady and all(type(value) in PLAIN for value in where.values())):
            return self._bound(root, where, variables, context)
        kept = root.kept.get(tuple(where))
        if kept is None:
            prepared, values = self._bound(root, where, variables, context)
            names = [name for name in values if name.startswith(prefix(0))] if where else []
            root.kept[tuple(where)] = prepared, values, names
            return prepared, values
        prepared, values, names = kept
        return prepared, {**values, **dict(zip(names, where.values(), strict=True))} if where else values

    def _bound(
        self, root: Root, where: Mapping[str, Any] | Keys, variables: VariableValues, context: Any
    ) -> tuple[Prepared, dict[str, Any]]:
        queries = self._queries(root, where, variables, context)
        values = {prefix(n) + name: value for n, (_, bound) in enumerate(queries) for name, value in bound.items()}
        return self._prepared(root, [query for query, _ in queries], context.repositories), values

    def _queries(
        self, root: Root, where: Mapping[str, Any] | Keys, variables: VariableValues, context: Any
    ) -> list[tuple[Any, dict[str, Any]]]:
        """Each ask as what its repository makes of it, and the values to bind."""
        found: list[tuple[Any, dict[str, Any]]] = []
        for ask in root.asks:
            if where and not found:
                found.append(_looked_up(root, where, context))
                continue
            rows = getattr(context.repositories, ask.repository)
            try:
                query: ListQuery = rows.list_query(self._read(ask, variables, context), ask.by)
            except BadInput as error:
                raise Refused("bad_input", str(error)) from error
            found.append((query, query.values))
        return found

    def _read(self, ask: Ask, variables: VariableValues, context: Any) -> Any:
        try:
            return ask.read(context.viewer, ask.arguments(variables))
        except (BadInput, GraphQLError) as error:
            raise Refused("bad_input", str(error)) from error

    def _prepared(self, root: Root, queries: Sequence[Any], repositories: Any) -> Prepared:
        key = (root, *((q.shape, q.size) if isinstance(q, ListQuery) else q for q in queries))
        found = self._statements.get(key)
        if found is None:
            found = self._statements[key] = prepare(root, queries, repositories)
        return found


def _looked_up(root: Root, where: Where | Keys, context: Any) -> tuple[Any, dict[str, Any]]:
    if isinstance(where, Keys):
        return KEYS, {KEYS: where}
    return getattr(context.repositories, root.body.repository).lookup_query(where)  # type: ignore[no-any-return]


def prepare(root: Root, queries: Sequence[Any], repositories: Any) -> Prepared:
    """Compose and compile the statement of a root field; takes some milliseconds."""
    composer = Composer(repositories, queries)
    if isinstance(root.body, Paged):
        composed = composer.page(root.body)
    else:
        composed = composer.rows(root.body) if queries[0] == KEYS else composer.row(root.body)
    statement = compile_statement(composed)
    shared = _shared(root, statement, repositories) if queries == [BY_ID] else None
    return Prepared(statement, root, Filler(root.body, repositories) if root.fills else None, shared)


def _shared(root: Root, one: Statement, repositories: Any) -> Shared:
    (id_name,) = (name for name in one.names if name.startswith(prefix(0)))
    return Shared(one, id_name, lambda: compile_statement(Composer(repositories, [KEYS]).rows(root.body)), prefix(0) + KEYS)  # type: ignore[arg-type]


class DirectiveReader(Visitor):
    """Finds the variables of @skip and @include, and whether there is any other directive."""

    def __init__(self) -> None:
        super().__init__()
        self.switches: dict[str, None] = {}
        self.others: set[str] = set()

    def enter_directive(self, node: DirectiveNode, *_: Any) -> None:
        if node.name.value not in SWITCHES:
            self.others.add(node.name.value)
        for argument in node.arguments or ():
            if uses_variables(argument.value):
                self.switches[argument.value.name.value] = None  # type: ignore[attr-defined]


def outlined(document: DocumentNode, operation: OperationDefinitionNode) -> Outline | Refused:
    """What is known of an operation by itself."""
    if operation.operation is not OperationType.QUERY:
        return Refused(operation.operation.value)
    reader = DirectiveReader()
    visit(document, reader)
    if reader.others:
        return Refused("directive", ", ".join(sorted(reader.others)))
    return Outline(document, operation, tuple(reader.switches), quick_variables(operation))
