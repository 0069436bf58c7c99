"""The events of users: every statement on them. They are in ClickHouse, each seen once (FINAL) however often it arrived."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import BigInteger, Boolean, Integer, LargeBinary, Uuid, bindparam, delete, false, func, insert, literal, select, true
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from app.analytics.models import COLUMNS, PERSONAL, EventSource, EventSpool, UserEvent
from app.core.clickhouse import MAX_ROWS, ClickHouse
from app.core.clickhouse_lists import KINDS, MOMENT, beyond, condition, ordering
from app.core.clickhouse_migrations import stored
from app.core.database import Session
from app.core.errors import Unavailable
from app.core.factory import RepositoryFactory
from app.core.filtering import FilterReader
from app.core.operation import Instrumented
from app.core.paging import Page, PageRequest, Sort, decode_cursor, list_tag, parse_key, with_tie_break
from app.core.repository import Repository, transactional
from app.core.security import SYSTEM, Viewer, ViewerKind

NEWEST: Final = (Sort("timestamp", descending=True),)
TYPES: Final[Mapping[str, str]] = {
    **dict.fromkeys(COLUMNS, "String"),
    **dict.fromkeys(("id", "store_id", "user_id"), "UUID"),
    **dict.fromkeys(("timestamp", "received_at"), MOMENT),
    "is_error": "Bool",
}
ROWS: Final = f"SELECT {', '.join(COLUMNS)} FROM user_events FINAL"  # noqa: S608 - names of columns
ACTIVITY: Final = f"""
    SELECT user_id, count() AS events, uniqExact(toDate(timestamp)) AS days, max(timestamp) AS latest FROM user_events FINAL
    WHERE user_id IN {{user_ids:Array(UUID)}} AND timestamp > {{since:{MOMENT}}} AND timestamp <= {{until:{MOMENT}}}
"""  # noqa: S608 - the name of a type
SEEN_PRODUCTS: Final = f"""
    SELECT JSONExtractString(metadata, 'productId') AS product, countIf(event_type = 'PRODUCT_VIEW') AS views,
        countIf(event_type = 'ADD_TO_CART') AS additions
    FROM user_events FINAL
    WHERE event_type IN ('PRODUCT_VIEW', 'ADD_TO_CART') AND NOT is_error AND store_id = {{store_id:UUID}}
        AND timestamp > {{since:{MOMENT}}} AND timestamp <= {{until:{MOMENT}}} AND product IN {{products:Array(String)}}
"""  # noqa: S608 - the name of a type
VISITS: Final = "SELECT DISTINCT session_id FROM user_events WHERE user_id = {user_id:UUID} AND session_id IS NOT NULL"
PLACES: Final = f"""
    SELECT DISTINCT session_id, ip_address FROM user_events
    WHERE user_id = {{user_id:UUID}} AND session_id IS NOT NULL AND ip_address IS NOT NULL LIMIT {MAX_ROWS}
"""  # noqa: S608 - a number
OWN: Final = f"(user_id = {{user_id:UUID}} OR user_id IS NULL AND (session_id, ip_address) IN ({PLACES}))"
"""A user's events, and nobody's in the same visit from the same address. Clients name visits as they like: from elsewhere, an event may be
a stranger's who chose the same name."""

UNLINKED: Final = ", ".join(
    [*(f"{name} = NULL" for name in PERSONAL), f"metadata = if(source = '{EventSource.PLATFORM.value}', metadata, '{{}}')"]
)
"""What the platform itself tells of an order are ids and amounts; anything could be in what others tell."""

COUNT: Final = "SELECT count() FROM user_events FINAL"
LONGEST_PAUSE: Final = 60
PACKED_EVENTS: Final = 10_000
PACKED_BYTES: Final = 8 * 1024 * 1024
"""What is packed into one batch reaches this with its last part: an insert makes a part of a table, and ClickHouse bears few small ones."""


class EventReader(Instrumented):
    """Base of what reads events: they are for the staff of their store; administrators see those of all stores and of none."""

    def __init__(self, _session: Session, repositories: RepositoryFactory, viewer: Viewer = SYSTEM) -> None:
        self.viewer = viewer
        self.metrics = repositories.metrics
        self.cache = repositories.cache
        self._repositories = repositories

    @property
    def clickhouse(self) -> ClickHouse:
        return self._repositories.analytical

    def _scope(self) -> str:
        if self.viewer.sees_everything:
            return "true"
        of_store = self.viewer.kind is ViewerKind.STAFF and self.viewer.store_id is not None
        return "store_id = {viewer_store_id:UUID}" if of_store else "false"

    def _bind(self, values: Mapping[str, Any]) -> dict[str, Any]:
        scope = {} if self.viewer.store_id is None else {"viewer_store_id": self.viewer.store_id}
        return {**scope, **values}


class UserEventRepository(EventReader):
    """The events themselves."""

    entity = "user_events"

    async def insert_batch(self, events: Sequence[Mapping[str, Any]], token: str) -> None:
        """Add events, all of them or none; the same token again adds nothing. Raises `Unavailable`."""
        await self.insert_lines(encoded(events), token)

    async def insert_lines(self, lines: bytes, token: str) -> None:
        """Add events that are encoded already, as `insert_batch` does."""
        await self.clickhouse.insert("user_events", COLUMNS, lines, token)

    async def ping(self) -> None:
        """See that ClickHouse answers, the embedded one started where it was not; raises `Unavailable`."""
        await self.clickhouse.fetch_value("SELECT 1")

    async def find_visits(self, user_id: UUID) -> list[str]:
        """The visits in which a user's events were, at most 10,000."""
        rows = await self.clickhouse.fetch(f"{VISITS} LIMIT {MAX_ROWS}", {"user_id": user_id})
        return [row["session_id"] for row in rows]

    async def own_pages(self, user_id: UUID, size: int) -> AsyncIterator[list[UserEvent]]:
        """Pages of a user's events (`OWN`), oldest first."""
        after: dict[str, Any] = {"after_time": datetime(1970, 1, 1, tzinfo=UTC), "after_id": UUID(int=0)}
        beyond_last = f"(timestamp, id) > ({{after_time:{MOMENT}}}, {{after_id:UUID}})"
        while True:
            page = await self._rows(f"{OWN} AND {beyond_last}", {"user_id": user_id, **after}, size, "ORDER BY timestamp, id")
            if page:
                yield page
            if len(page) < size:
                return
            after = {"after_time": page[-1].timestamp, "after_id": page[-1].id}

    async def find_places(self, user_id: UUID) -> set[tuple[str, str]]:
        """The visits in which a user's events were, at most 10,000, and the addresses from which."""
        rows = await self.clickhouse.fetch(PLACES, {"user_id": user_id})
        return {(row["session_id"], row["ip_address"]) for row in rows}

    async def unlink_visits(self, visits: Sequence[str]) -> None:
        """Take off whatever tells of a person from nobody's events of these visits; raises as `unlink_user` does."""
        await self._unlink("user_id IS NULL AND session_id IN {visits:Array(String)}", {"visits": list(visits)} if visits else None)

    async def unlink_user(self, user_id: UUID) -> None:
        """Take off whatever tells of a person from a user's events, in every version of each that is stored.

        ClickHouse writes the parts of the table anew that hold such events; those before are removed from its disks within minutes. Raises
        `Unavailable` while it is still at it: look again later.
        """
        await self._unlink("user_id = {user_id:UUID}", {"user_id": user_id})

    async def _unlink(self, condition: str, values: Mapping[str, Any] | None) -> None:
        if values is None or not await self._stored(condition, values):
            return
        table = stored("user_events", self.clickhouse.options)
        change = f"ALTER TABLE {table} UPDATE {UNLINKED} WHERE {condition} SETTINGS mutations_sync = 2"
        await self.clickhouse.execute(change, values)
        if await self._stored(condition, values):
            raise Unavailable("ClickHouse is still rewriting events")

    async def _stored(self, condition: str, values: Mapping[str, Any]) -> bool:
        """Whether any version of any event is as the condition says."""
        return bool(await self.clickhouse.fetch_value(f"SELECT count() FROM user_events WHERE {condition}", values))  # noqa: S608 - ours

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

    async def find_activity(
        self, user_ids: Sequence[UUID], since: datetime, until: datetime, store_id: UUID | None = None
    ) -> dict[UUID, dict[str, Any]]:
        """What users did in a time, perhaps in one store, by their ids: `events`, `days` with any, and when the `latest` was.

        Who did nothing is left out.
        """
        of_store = "true" if store_id is None else "store_id = {store_id:UUID}"
        query = f"{ACTIVITY} AND {of_store} AND {self._scope()} GROUP BY user_id"
        store = {} if store_id is None else {"store_id": store_id}
        rows = await self.clickhouse.fetch(query, self._bind({"user_ids": list(user_ids), "since": since, "until": until, **store}))
        return {row["user_id"]: row for row in rows}

    async def find_product_activity(
        self, products: Sequence[str], store_id: UUID, since: datetime, until: datetime
    ) -> dict[str, dict[str, Any]]:
        """How often products were looked at (`views`) and put into carts (`additions`) in a store, by the names that events give them."""
        query = f"{SEEN_PRODUCTS} AND {self._scope()} GROUP BY product"
        values = {"products": list(products), "store_id": store_id, "since": since, "until": until}
        return {row["product"]: row for row in await self.clickhouse.fetch(query, self._bind(values))}

    async def count(self, where: Mapping[str, Any] | None = None) -> int:
        matching, values = self._matching(where)
        return int(await self.clickhouse.fetch_value(f"{COUNT} WHERE {self._scope()} AND {matching}", self._bind(values)))

    async def _rows(self, conditions: str, values: Mapping[str, Any], limit: int, tail: str = "") -> list[UserEvent]:
        query = f"{ROWS} WHERE {self._scope()} AND {conditions} {tail} LIMIT {{row_limit:UInt32}}"
        rows = await self.clickhouse.fetch(query, self._bind({**values, "row_limit": limit}))
        return [event_of(row) for row in rows]

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


def event_of(row: Mapping[str, Any]) -> UserEvent:
    """A row of ClickHouse's table as an event."""
    return UserEvent(**{**row, "metadata": orjson.loads(row["metadata"]), "source": EventSource(row["source"])})


def encoded(events: Sequence[Mapping[str, Any]]) -> bytes:
    """Events as lines of JSON, the form in which they travel and wait; `metadata` becomes text."""
    return b"\n".join(
        orjson.dumps({**event, "metadata": orjson.dumps(event.get("metadata") or {}).decode()}, default=str) for event in events
    )


def decoded(lines: bytes) -> list[dict[str, Any]]:
    """Events as they wait; `metadata` is text."""
    return [orjson.loads(line) for line in lines.splitlines()]


def _place(event: Mapping[str, Any]) -> tuple[Any, Any]:
    """The visit that an event was in and the address that it came from; unlike any other where either is not known."""
    place = (event["session_id"], event["ip_address"])
    return (object(), None) if None in place else place


def _unlinked(event: dict[str, Any], user_id: str, visits: Collection[str]) -> dict[str, Any]:
    mine = event["user_id"] == user_id or (event["user_id"] is None and event["session_id"] in visits)
    told = {} if event.get("source") == EventSource.PLATFORM.value else {"metadata": "{}"}
    return {**event, **dict.fromkeys(PERSONAL), **told} if mine else event


class EventSpoolRepository(Repository[EventSpool]):
    """What waits for ClickHouse; nobody's to see."""

    model = EventSpool

    async def add(self, token: UUID, events: int, lines: bytes, most: int, *, is_loose: bool = False) -> bool:
        """Keep a batch, unless more than `most` events would wait then; returns whether it is kept. `is_loose` where it was never sent."""
        values = {"token": token, "events": events, "lines": lines, "most": most, "is_loose": is_loose}
        return await self.row(self.statement("add", self._adding), **values) is not None

    async def keep(self, token: UUID, lines: bytes) -> None:
        """Keep one event that nobody could send again, whatever waits; it may be kept already."""
        await self.row(self.statement("keep", self._keeping), token=token, lines=lines)

    async def is_due(self) -> bool:
        """Whether a batch should be tried now."""
        due = self.statement("is_due", lambda: select(select(self.table.c.id).where(self.table.c.due_at <= func.now()).exists()))
        return bool(await self.value(due))

    @transactional
    async def pack(self) -> bool:
        """Make one batch of the oldest loose ones; returns whether there were any."""
        await self.lock_name(self.entity)
        return await self.row(self.statement("pack", self._packing)) is not None

    async def take(self) -> EventSpool | None:
        """The oldest batch that is due and that no other process has, locked until the transaction ends."""
        return await self.row(self.statement("take", self._taking))

    async def postpone(self, batch: EventSpool) -> None:
        """Try a batch again later: after 2 seconds, then 4, at most a minute."""
        pause = timedelta(seconds=min(2 ** (batch.attempts + 1), LONGEST_PAUSE))
        await self.update_by_id(batch.id, {"attempts": batch.attempts + 1, "due_at": self.repositories.now() + pause})

    async def find_visits(self, user_id: UUID) -> set[str]:
        """The visits in which events of a user that wait were."""
        batches = await self.rows(self.statement("mentioning", self._mentioning), words=[str(user_id).encode()])
        events = [event for batch in batches for event in decoded(batch.lines) if event["user_id"] == str(user_id)]
        return {event["session_id"] for event in events if event["session_id"] is not None}

    async def own_pages(self, user_id: UUID, places: Collection[tuple[str, str]]) -> AsyncIterator[list[dict[str, Any]]]:
        """A user's events that wait, batch by batch, and nobody's that come from the same visits and addresses."""
        known = set(places)
        words = [str(user_id).encode(), *{orjson.dumps(visit) for visit, _ in places}]
        after = UUID(int=0)
        while True:
            batch = await self.row(self.statement("own_batch", self._next_mentioning), words=words, after=after)
            if batch is None:
                return
            events = decoded(batch.lines)
            known |= {_place(event) for event in events if event["user_id"] == str(user_id)}
            own = [event for event in events if event["user_id"] == str(user_id) or (event["user_id"] is None and _place(event) in known)]
            if own:
                yield own
            after = batch.id

    @transactional
    async def unlink(self, user_id: UUID, visits: Collection[str]) -> None:
        """Take off whatever tells of a person from the events of a user that wait, and from nobody's in these visits.

        A batch that is being sent is waited for: then it is no longer there. None is packed meanwhile, since it would be missed.
        """
        await self.lock_name(self.entity)
        words = [str(user_id).encode(), *(orjson.dumps(visit) for visit in visits)]
        for batch in await self.rows(self.statement("lock_mentioning", lambda: self._mentioning().with_for_update()), words=words):
            events = [_unlinked(event, str(user_id), visits) for event in decoded(batch.lines)]
            await self.update_by_id(batch.id, {"lines": b"\n".join(map(orjson.dumps, events))})

    async def waiting(self) -> int:
        """How many events wait."""
        return int(await self.value(self.statement("waiting", lambda: select(self._waiting()))))

    def _mentioning(self) -> Any:
        """The batches in which any of some words is."""
        word = func.unnest(bindparam("words", type_=ARRAY(LargeBinary))).column_valued("word")
        return self.base().where(select(word).where(func.position(word.op("in")(self.table.c.lines)) > 0).exists())

    def _next_mentioning(self) -> Any:
        return self._mentioning().where(self.table.c.id > bindparam("after", type_=Uuid)).order_by(self.table.c.id).limit(1)

    def _taking(self) -> Any:
        due = self.base().where(self.table.c.due_at <= func.now(), ~self.table.c.is_loose).order_by(self.table.c.due_at, self.table.c.id)
        return due.limit(1).with_for_update(skip_locked=True)

    def _packing(self) -> Any:
        """The loose batches before which there is room, in one; they are measured before their lines are read."""
        spool = self.table.c
        loose = select(spool.id, spool.events, func.octet_length(spool.lines).label("size")).where(spool.is_loose)
        oldest = loose.order_by(spool.id).limit(PACKED_EVENTS).subquery()
        before = {name: func.sum(oldest.c[name]).over(order_by=oldest.c.id) - oldest.c[name] for name in ("events", "size")}
        measured = select(oldest.c.id, *(total.label(name) for name, total in before.items())).subquery()
        fitting = select(measured.c.id).where(measured.c.events < PACKED_EVENTS, measured.c.size < PACKED_BYTES)
        taken = delete(self.table).where(spool.id.in_(fitting)).returning(spool.events, spool.lines).cte("taken")
        packed = select(func.sum(taken.c.events), func.string_agg(taken.c.lines, literal(b"\n")), false()).having(func.count() > 0)
        return insert(self.table).from_select(["events", "lines", "is_loose"], packed).returning(spool.id)

    def _waiting(self) -> Any:
        return func.coalesce(func.sum(self.table.c.events), 0)

    def _keeping(self) -> Any:
        values = {"id": bindparam("token", type_=Uuid), "events": 1, "lines": bindparam("lines", type_=LargeBinary), "is_loose": true()}
        return upsert(self.table).values(values).on_conflict_do_nothing().returning(self.table.c.id)

    def _adding(self) -> Any:
        room = select(self._waiting() + bindparam("events", type_=Integer) <= bindparam("most", type_=BigInteger)).scalar_subquery()
        types = {"token": Uuid, "events": Integer, "lines": LargeBinary, "is_loose": Boolean}
        given: Any = select(*(bindparam(name, type_=kind) for name, kind in types.items())).where(room)
        return insert(self.table).from_select(["id", "events", "lines", "is_loose"], given).returning(self.table.c.id)
