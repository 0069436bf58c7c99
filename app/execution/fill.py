"""Fields worked out in Python: a function is generated that walks one root field's answer and puts them in.

The statement leaves, in the place of each such field, the list of the columns that it needs. For `products { nodes { slug views } }`, where
`views` are asked for all rows at once, the source is

    def fill(v1, later1):
        for v2 in v1["nodes"]:
            a0, = v2["slug"]
            v2["slug"] = show0(compute0(a0))
            later1(v2)

so no key is added, none is taken away, and the order of the answer stays. What comes later is asked for when the walk is over.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from app.core.errors import Unavailable
from app.execution.declarations import MAX_BATCH_KEYS, Batched
from app.execution.plan import Edges, Fill, Level, Many, Node, Nodes, One, Paged, levels
from app.execution.refusal import Refused
from app.execution.together import together
from app.execution.values import restorer

Show = Callable[..., Any]


class Filler:
    """The pass over the answer of one root field that is not null. It raises what the fields' functions raise."""

    def __init__(self, body: Paged | Level, repositories: Any) -> None:
        writer = Writer(repositories)
        lines = list(writer.lines(body, "v1"))
        self._later = list(writer.later.values())
        parameters = ", ".join(["v1", *writer.later])
        self.source = "\n".join([f"def fill({parameters}):", *(f"    {line}" for line in lines)])
        scope: dict[str, Any] = dict(writer.functions)
        exec(compile(self.source, "<filler>", "exec"), scope)  # noqa: S102 - made of keys, which are GraphQL names, and of our own words
        self._walk = scope["fill"]

    async def fill(self, data: Any, repositories: Any) -> None:
        """Put the fields into an answer. Batch methods get the viewer's repositories."""
        if not self._later:
            self._walk(data)
            return
        found: list[list[Any]] = [[] for _ in self._later]
        self._walk(data, *(objects.append for objects in found))
        await together([later.put(objects, repositories) for later, objects in zip(self._later, found, strict=True) if objects])


class Later:
    """One field of a level whose values come from a batch method."""

    def __init__(self, part: Fill, batched: Batched, restorers: Sequence[Callable[[Any], Any] | None]) -> None:
        self._part = part
        self._compute = batched.compute
        self._restorers = [restore or _same for restore in restorers]
        self._show = _shower(part)

    async def put(self, objects: Sequence[Any], repositories: Any) -> None:
        """Work out the field for all objects, which hold the columns it needs in its place."""
        key = self._part.key
        rows = list(dict.fromkeys(tuple(row[key]) for row in objects))
        values = await self._values([self._restored(row) for row in rows], repositories)
        shown = dict(zip(rows, map(self._shown, values), strict=True))
        for row in objects:
            row[key] = shown[tuple(row[key])]

    async def _values(self, keys: Sequence[Any], repositories: Any) -> list[Any]:
        chunks = [keys[start : start + MAX_BATCH_KEYS] for start in range(0, len(keys), MAX_BATCH_KEYS)]
        try:
            found = await together([self._compute(repositories, chunk) for chunk in chunks])
        except Unavailable as error:
            raise Refused("unavailable", self._part.key) from error
        if [len(values) for values in found] != [len(chunk) for chunk in chunks]:
            raise ValueError(f"the batch method of {self._part.key} gave more or fewer values than it had keys")
        return [value for values in found for value in values]

    def _restored(self, row: tuple[Any, ...]) -> Any:
        made = tuple(None if value is None else restore(value) for restore, value in zip(self._restorers, row, strict=True))
        return made if len(made) > 1 else made[0]

    def _shown(self, value: Any) -> Any:
        if isinstance(value, BaseException):
            raise value
        return self._show(value)


class Writer:
    """Writes the source of one pass; `functions` are the names that it uses, `later` the parameters that collect what comes later."""

    def __init__(self, repositories: Any) -> None:
        self._repositories = repositories
        self._variables = 1
        self.functions: dict[str, Show] = {}
        self.later: dict[str, Later] = {}

    def lines(self, part: Any, variable: str) -> Iterator[str]:
        """What is done to the object in `variable`."""
        for inner in part.parts:
            place = f'{variable}["{inner.key}"]'
            if isinstance(inner, Fill):
                yield from self._fill(inner, part, place, variable)
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

    def _fill(self, part: Fill, level: Level, place: str, variable: str) -> Iterator[str]:
        columns = [getattr(self._repositories, level.repository).columns[name] for name in part.computed.needs]
        if isinstance(part.computed, Batched):
            name = f"later{self._number()}"
            self.later[name] = Later(part, part.computed, [restorer(column.type) for column in columns])
            yield f"{name}({variable})"
            return
        names = [f"a{n}" for n in range(len(columns))]
        yield f"{''.join(f'{name}, ' for name in names)}= {place}" if names else "pass"
        compute, show = self._named("compute", part.computed.compute), self._named("show", _shower(part))
        yield f"{place} = {show}({compute}({', '.join(map(self._restored, columns, names))}))"

    def _restored(self, column: Any, name: str) -> str:
        """What makes a row's value of the JSON that `name` holds."""
        restore = restorer(column.type)
        if restore is None:
            return name
        made = f"{self._named('make', restore)}({name})"
        return f"(None if {name} is None else {made})" if column.nullable else made

    def _named(self, name: str, function: Show) -> str:
        name = f"{name}{self._number()}"
        self.functions[name] = function
        return name

    def _number(self) -> int:
        return len(self.functions) + len(self.later)


def _computes(part: Any) -> bool:
    if isinstance(part, Edges):
        return any(map(_computes, part.parts))
    if isinstance(part, One | Many | Nodes | Node):
        return any(isinstance(inner, Fill) for level in levels(part.level) for inner in level.parts)
    return isinstance(part, Paged) and any(map(_computes, part.parts))


def _shower(part: Fill) -> Show:
    """From what a field's function gave to what its scalar shows."""
    serialize, required, key = part.serialize, part.required, part.key

    def shown(value: Any) -> Any:
        if value is not None:
            return serialize(value)
        if required:
            raise Refused("null", key)
        return None

    return shown


def _same(value: Any) -> Any:
    return value
