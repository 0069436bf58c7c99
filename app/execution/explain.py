"""Shows how a query is executed: the plan, the SQL, and how PostgreSQL would run it."""

from collections.abc import Mapping
from typing import Any

from graphql import DocumentNode, OperationDefinitionNode

from app.execution.plan import shape_of
from app.execution.refusal import Refused
from app.execution.running import Run
from app.execution.runtime import CompiledExecution


async def explain(
    compiled: CompiledExecution,
    text: str,
    document: DocumentNode,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
    context: Any,
) -> dict[str, Any]:
    """A query's plan and, per root field, its SQL, the names of its parameters, PostgreSQL's plan, and the pass that Python makes.

    Of a query that is left to resolvers, the reason. Values are not shown: they could be secrets.
    """
    try:
        outline = compiled.outline(text, document, operation)
        given = compiled.variables(outline, variables)
        plan = compiled.plan(outline, given, context.viewer)
        runs = [run for root in plan.roots for run in compiled.runs(root, given, context).items()]
        roots = {name: await _explained(run, context) for name, run in runs}
    except Refused as refused:
        return {"execution": "standard", "reason": refused.reason, "detail": refused.detail}
    return {"execution": "compiled", "plan": shape_of(plan), "statements": roots}


async def _explained(run: Run | None, context: Any) -> dict[str, Any] | None:
    if run is None:
        return None
    prepared, statement = run.prepared, run.prepared.statement
    rows = await context.repositories.session.compose(f"explain {statement.text}", run.arguments)
    shown = {"sql": statement.text, "parameters": list(statement.names), "postgresql": [row[0] for row in rows]}
    if prepared.filler is not None:
        shown["fill"] = prepared.filler.source.splitlines()
    return shown
