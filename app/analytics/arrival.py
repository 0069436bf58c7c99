"""Reads the events of one request: what each must be like, what the server adds, and when it must have happened.

An event may have happened up to 30 days ago, since devices are offline for a while, and up to 5 minutes ahead of our clock, since theirs
go wrong; anything else is refused, so that no clock can write into a past that reports have closed or into the future. Within these
bounds its own time is kept as it is.

Its id follows from whose it is and what the client calls it, so that an event sent again is the same one, and nobody can send another
one's. Without a name from the client each event is a new one.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid5

from pydantic import ValidationError
from uuid_utils.compat import uuid7

from app.analytics.models import UserEventCreate
from app.analytics.types import RejectedEvent, TrackEventsInput, UserEventInput
from app.api.context import Context
from app.api.errors import camel_case
from app.api.scalars import decode_id
from app.core.errors import BadInput

OLDEST: Final = timedelta(days=30)
AHEAD: Final = timedelta(minutes=5)
AT_ONCE: Final = 50
"""Events that are read before others get a turn."""

NAMESPACE: Final = UUID("5f0d8a52-6c0e-5b7e-9b0f-3d1d6f3c2a11")


class Rejected(Exception):
    """An event that is not taken; the text is for its sender."""


@dataclass
class Arrivals:
    """What became of the events of one request: those to store, by id, and those that were refused."""

    accepted: list[tuple[UUID, UserEventCreate]] = field(default_factory=list)
    rejected: list[RejectedEvent] = field(default_factory=list)


class Reception:
    """Reads the events of one request, which arrive together."""

    def __init__(self, context: Context, input: TrackEventsInput, now: datetime) -> None:
        self._context = context
        self._input = input
        self._now = now
        self._stores: dict[str, UUID | None] = {}

    async def read(self) -> Arrivals:
        self._stores = await self._known_stores()
        found = Arrivals()
        for index, given in enumerate(self._input.events):
            if index % AT_ONCE == 0:
                await asyncio.sleep(0)
            try:
                found.accepted.append(self._read(given))
            except Rejected as refused:
                found.rejected.append(RejectedEvent(index=index, message=str(refused)))
        return found

    async def _known_stores(self) -> dict[str, UUID | None]:
        """The stores that the events name, by the ids as they were given; None for ids of no store that the sender can see."""
        given = {id for id in (self._input.store_id, *(event.store_id for event in self._input.events)) if id}
        keys = {id: key for id in given if (key := _key(id, "Store")) is not None}
        rows = await self._context.repositories.stores.find_by_ids(list(keys.values())) if keys else []
        return {id: row.id if row else None for id, row in zip(keys, rows, strict=True)}

    def _read(self, given: UserEventInput) -> tuple[UUID, UserEventCreate]:
        try:
            event = UserEventCreate(**self._values(given))
        except ValidationError as error:
            raise Rejected(explained(error)) from error
        self._check_time(event.timestamp)
        return self._id(event), event

    def _values(self, given: UserEventInput) -> dict[str, Any]:
        viewer, request = self._context.viewer, self._context.request
        visit = given.session_id or self._input.session_id or (str(viewer.session_id) if viewer.session_id else None)
        return {
            "user_id": viewer.user_id,
            "session_id": visit,
            "store_id": self._store(given.store_id or self._input.store_id),
            "client_event_id": given.client_event_id,
            "event_type": given.event_type,
            "timestamp": given.timestamp or self._now,
            "metadata": given.metadata if given.metadata is not None else {},
            "page_url": given.page_url,
            "user_agent": given.user_agent or request.user_agent,
            "ip_address": request.ip_address,
            "is_error": given.is_error,
            "error_msg": given.error_msg,
        }

    def _store(self, id: str | None) -> UUID | None:
        if not id:
            return None
        found = self._stores.get(id)
        if found is None:
            raise Rejected("storeId: is the id of no store")
        return found

    def _check_time(self, happened: datetime) -> None:
        if happened > self._now + AHEAD:
            raise Rejected(f"timestamp: is {_shown(happened - self._now)} ahead of our clock; at most {_shown(AHEAD)} are taken")
        if happened < self._now - OLDEST:
            raise Rejected(f"timestamp: is {_shown(self._now - happened)} ago; at most {_shown(OLDEST)} are taken")

    def _id(self, event: UserEventCreate) -> UUID:
        if event.client_event_id is None:
            return uuid7()
        sender = (event.user_id, event.session_id) if event.user_id or event.session_id else (event.ip_address, event.user_agent)
        return uuid5(NAMESPACE, repr((*map(str, sender), event.client_event_id)))


def explained(error: ValidationError) -> str:
    """The first thing that is wrong with an event."""
    first = error.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(camel_case(str(part)) for part in first["loc"])
    return f"{place}: {first['msg'].removeprefix('Value error, ')}"


def cart_of(event: UserEventCreate) -> UUID | None:
    """The cart that the event's metadata names (specification, analytics integration): a global id, or the key inside one."""
    named = event.metadata.get("cartId")
    if not isinstance(named, str):
        return None
    return key_of(named, "Cart")


def latest_by_cart(events: Sequence[UserEventCreate]) -> dict[UUID, UserEventCreate]:
    """For each cart that is named, the event about it that happened last."""
    found: dict[UUID, UserEventCreate] = {}
    for event in sorted(events, key=lambda event: event.timestamp):
        if (cart := cart_of(event)) is not None:
            found[cart] = event
    return found


def key_of(named: str, type_name: str) -> UUID | None:
    """The key of what an event names: by its global id, or by the key inside one; None where it is neither."""
    return _key(named, type_name) or _uuid(named)


def _key(id: str, type_name: str) -> UUID | None:
    try:
        return decode_id(id, type_name)
    except BadInput:
        return None


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _shown(span: timedelta) -> str:
    seconds = round(span.total_seconds())
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} seconds"
