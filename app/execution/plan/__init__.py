"""From an operation to a plan: what each level of the answer shows, as data.

Fields are collected as the GraphQL specification says (section 6.3.2, "Field Collection"): fragments opened for the type at hand,
@skip and @include decided, selections of one response key merged, in the order of their first appearance. Each collected field must
declare where its value comes from (`declarations`), and the viewer must be allowed to ask for it; if not, the operation is `Refused`.
"""

from app.execution.plan.parts import (
    Ask,
    Count,
    Cursor,
    Edges,
    Fill,
    Info,
    InfoField,
    Leaf,
    Level,
    Many,
    Node,
    NodeRoot,
    Nodes,
    One,
    Paged,
    Part,
    Plan,
    PlannedRoot,
    Root,
    TypeName,
    admit_key,
    levels,
)
from app.execution.plan.planner import Planner
from app.execution.plan.shape import shape_of

__all__ = [
    "Ask",
    "Count",
    "Cursor",
    "Edges",
    "Fill",
    "Info",
    "InfoField",
    "Leaf",
    "Level",
    "Many",
    "Node",
    "NodeRoot",
    "Nodes",
    "One",
    "Paged",
    "Part",
    "Plan",
    "PlannedRoot",
    "Planner",
    "Root",
    "TypeName",
    "admit_key",
    "levels",
    "shape_of",
]
