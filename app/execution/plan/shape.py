"""Plans as plain data, for people to read."""

from collections.abc import Mapping
from typing import Any

from app.execution.declarations import Batched
from app.execution.plan.parts import Edges, Fill, Info, InfoField, Leaf, Level, Many, Node, Nodes, One, Paged, Plan, Root


def shape_of(plan: Plan) -> Mapping[str, Any]:
    """A plan as plain data, for people to read."""
    return {root.key: _shape(root) for root in plan.roots}


def _shape(part: Any) -> Any:
    if isinstance(part, Root):
        return _shape(part.body)
    if isinstance(part, Level):
        return {"type": part.type_name, "rows": part.repository, "shows": {inner.key: _shape(inner) for inner in part.parts}}
    if isinstance(part, One | Many):
        rule = f"{part.relation.repository}.{part.relation.batch}({part.relation.key})"
        return {"relation": rule, "many": isinstance(part, Many), **_shape(part.level)}
    if isinstance(part, Paged):
        relation = f"{part.relation.batch} = {part.relation.key}" if part.relation else None
        return {"page": part.repository, "by": relation, "shows": {inner.key: _shape(inner) for inner in part.parts}}
    if isinstance(part, Nodes | Node):
        return _shape(part.level)
    if isinstance(part, Edges | Info):
        return {inner.key: _shape(inner) for inner in part.parts}
    return _described(part)


def _described(part: Any) -> str:
    if isinstance(part, Leaf):
        return str(part.source)
    if isinstance(part, Fill):
        how = "batched" if isinstance(part.computed, Batched) else "computed"
        return f"{how} from {', '.join(part.computed.needs)}"
    if isinstance(part, InfoField):
        return part.name
    return type(part).__name__.lower()
