"""The events of users: every statement on them. They are in ClickHouse, each seen once (FINAL) however often it arrived."""

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

import orjson

from app.analytics.models import COLUMNS, UserEvent
from app.core.clickhouse import ClickHouse
from app.core.clickhouse_lists import KINDS, MOMENT, beyond, bound, condition, ordering
from app.core.database import Session
from app.core.errors import Unavailable
from app.core.factory import RepositoryFactory
from app.core.filtering import FilterReader
from app.core.operation import Instrumented
from app.core.paging import Page, PageRequest, Sort, decode_cursor, list_tag, parse_key, with_tie_break
from app.core.security import SYSTEM, Viewer, ViewerKind

NEWEST: Final = (Sort("timestamp", descending=True),)
TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(COLUMNS, "String"),
    **dict.fromkeys(("id", "store_id", "user_id"), "UUID"),
    **dict.fromkeys(("timestamp", "received_at"), MOMENT),
    "is_error": "Bool",
}
ROWS: Final = f"SELECT {', '.join(COLUMNS)} FROM user_events FINAL"  # noqa: S608 - names of columns
COUNT: Final = "SELECT count() FROM user_events FINAL"


class UserEventRepository(Instrumented):
    """Events are for the staff of their store; administrators see those of all stores and of none."""

    entity = "user_events"

    def __init__(self, _session: Session, repositories: RepositoryFactory, viewer: Viewer = SYSTEM) -> None:
        self.viewer = viewer
        self.metrics = repositories.metrics
        self._clickhouse = repositories.clickhouse

    @property
    def clickhouse(self) -> ClickHouse:
        if self._clickhouse is None:
            raise Unavailable("this process has no ClickHouse")
        return self._clickhouse

    async def insert_batch(self, events: Sequence[Mapping[str, Any]], token: str) -> None:
        """Add events, all of them or none; the same token again adds nothing. Raises `Unavailable`."""
        await self.insert_lines(encoded(events), token)

    async def insert_lines(self, lines: bytes, token: str) -> None:
        """Add events that are encoded already, as `insert_batch` does."""
        await self.clickhouse.insert("user_events", COLUMNS, lines, token)

    async def find_by_id(self, id: UUID) -> UserEvent | None:
        return (await self.find_by_ids([id]))[0]

    async def find_by_ids(self, ids: Sequence[UUID]) -> list[UserEvent | None]:
        """The events in the order of their ids; None where the viewer sees none."""
        found = {event.id: event for event in await self._rows("id IN {ids:Array(UUID)}", {"ids": list(ids)}, len(ids))}
        return [found.get(id) for id in ids]

    async def find_page(self, request: PageRequest) -> Page[UserEvent]:
        """One page of the events that match, newest first by default; raises `BadInput` for impossible arguments and foreign cursors."""
        size, sorts = request.size, with_tie_break(request.sorts or NEWEST)
        tag = list_tag(self.entity, sorts)
        matching, values = self._matching(request.where)
        conditions = [matching, *self._bounds(request, tag, sorts, values)]
        tail = f"ORDER BY {ordering(sorts, backward=request.backward)}"
        rows = await self._rows(" AND ".join(conditions), values, size + 1, tail)
        more, nodes = len(rows) > size, rows[:size]
        return Page(
            nodes=nodes[::-1] if request.backward else nodes,
            has_next_page=request.before is not None if request.backward else more,
            has_previous_page=more if request.backward else request.after is not None,
            tag=tag,
            sorts=sorts,
            count=lambda: self.count(request.where),
        )

    async def count(self, where: Mapping[str, Any] | None = None) -> int:
        matching, values = self._matching(where)
        return int(await self.clickhouse.fetch_value(f"{COUNT} WHERE {self._scope()} AND {matching}", self._bind(values)))

    async def _rows(self, conditions: str, values: Mapping[str, Any], limit: int, tail: str = "") -> list[UserEvent]:
        query = f"{ROWS} WHERE {self._scope()} AND {conditions} {tail} LIMIT {{row_limit:UInt32}}"
        rows = await self.clickhouse.fetch(query, self._bind({**values, "row_limit": limit}))
        return [UserEvent(**{**row, "metadata": orjson.loads(row["metadata"])}) for row in rows]

    def _scope(self) -> str:
        if self.viewer.sees_everything:
            return "true"
        of_store = self.viewer.kind is ViewerKind.STAFF and self.viewer.store_id is not None
        return "store_id = {viewer_store_id:UUID}" if of_store else "false"

    def _bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        scope = {} if self.viewer.store_id is None else {"viewer_store_id": self.viewer.store_id}
        return {name: bound(value) for name, value in {**scope, **values}.items()}

    def _matching(self, where: Mapping[str, Any] | None) -> tuple[str, dict[str, Any]]:
        reader = FilterReader(TYPES)
        return condition(reader.read(where), TYPES), reader.values

    def _bounds(self, request: PageRequest, tag: str, sorts: Sequence[Sort], values: dict[str, Any]) -> list[str]:
        """The conditions of the cursors, whose keys join the values."""
        conditions = []
        for argument, cursor in (("after", request.after), ("before", request.before)):
            if cursor is None:
                continue
            for n, (sort, key) in enumerate(zip(sorts, decode_cursor(cursor, tag, argument), strict=True)):
                values[f"{argument}{n}"] = parse_key(key, KINDS[TYPES[sort.column]], argument)
            conditions.append(beyond(sorts, TYPES, argument, backward=argument == "before"))
        return conditions


def encoded(events: Sequence[Mapping[str, Any]]) -> bytes:
    """Events as lines of JSON, the form in which they travel and wait; `metadata` becomes text."""
    return b"\n".join(
        orjson.dumps({**event, "metadata": orjson.dumps(event.get("metadata") or {}).decode()}, default=str) for event in events
    )
