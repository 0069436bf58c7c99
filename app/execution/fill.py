"""Fields worked out in Python: a function is generated that walks one root field's answer and puts them in.

The statement leaves, in the place of each such field, the list of the columns that it needs. For `products { nodes { slug } }` the
source is

    def fill(v1):
        for v2 in v1["nodes"]:
            v2["slug"] = show0(*v2["slug"])

so no key is added, none is taken away, and the order of the answer stays.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from app.execution.plan import Edges, Fill, Level, Many, Node, Nodes, One, Paged, levels
from app.execution.refusal import Refused
from app.execution.values import restorer

Show = Callable[..., Any]


def filler(body: Paged | Level, repositories: Any) -> tuple[str, Callable[[Any], None]]:
    """The generated pass over a root field's answer that is not null, and its source. It raises what `compute` raises."""
    writer = Writer(repositories)
    lines = ["def fill(v1):", *(f"    {line}" for line in writer.lines(body, "v1"))]
    source = "\n".join(lines)
    scope: dict[str, Any] = dict(writer.functions)
    exec(compile(source, "<filler>", "exec"), scope)  # noqa: S102 - made of keys, which are GraphQL names, and of our own words
    return source, scope["fill"]


class Writer:
    """Writes the source of one pass; `functions` are the names that it uses."""

    def __init__(self, repositories: Any) -> None:
        self._repositories = repositories
        self._variables = 1
        self.functions: dict[str, Show] = {}

    def lines(self, part: Any, variable: str) -> Iterator[str]:
        """What is done to the object in `variable`."""
        for inner in part.parts:
            place = f'{variable}["{inner.key}"]'
            if isinstance(inner, Fill):
                yield f"{place} = {self._function(inner, part)}(*{place})"
            elif _computes(inner):
                yield from self._inner_lines(inner, place)

    def _inner_lines(self, part: Any, place: str) -> Iterator[str]:
        self._variables += 1
        variable = f"v{self._variables}"
        if isinstance(part, Many | Nodes | Edges):
            yield f"for {variable} in {place}:"
        elif isinstance(part, One):
            yield f"if ({variable} := {place}) is not None:"
        else:
            yield f"if ({variable} := {place}):"
        shown = part if isinstance(part, Paged | Edges) else part.level
        yield from (f"    {line}" for line in self.lines(shown, variable))

    def _function(self, part: Fill, level: Level) -> str:
        name = f"show{len(self.functions)}"
        columns = getattr(self._repositories, level.repository).columns
        self.functions[name] = _show(part, [restorer(columns[column].type) for column in part.computed.needs])
        return name


def _computes(part: Any) -> bool:
    if isinstance(part, Edges):
        return any(map(_computes, part.parts))
    if isinstance(part, One | Many | Nodes | Node):
        return any(isinstance(inner, Fill) for level in levels(part.level) for inner in level.parts)
    return isinstance(part, Paged) and any(map(_computes, part.parts))


def _show(part: Fill, restorers: Sequence[Callable[[Any], Any] | None]) -> Show:
    """From the values of the needed columns to what the scalar shows."""
    compute, serialize, required = part.computed.compute, part.serialize, part.required

    def shown(value: Any) -> Any:
        if value is not None:
            return serialize(value)
        if required:
            raise Refused("null", part.key)
        return None

    if not any(restorers):
        return lambda *values: shown(compute(*values))
    makers = [maker or _same for maker in restorers]

    def restored(*values: Any) -> Any:
        made = (None if value is None else make(value) for make, value in zip(makers, values, strict=True))
        return shown(compute(*made))

    return restored


def _same(value: Any) -> Any:
    return value
