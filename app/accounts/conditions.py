"""When a role's permission is held: the conditions that it may have.

Whose rows a permission is for is no condition. The row scopes of repositories decide that in every statement: one's own rows, the rows of
the store that one works for, or all. What is left is time, so conditions are windows, and the permission is held while one of them is open:

    [{"days": ["MON", "TUE", "WED", "THU", "FRI"], "opens": "08:00", "closes": "18:00", "timezone": "Europe/Berlin"},
     {"not_before": "2026-12-01T00:00:00Z", "not_after": "2026-12-24T00:00:00Z"}]

Of a window, everything that it names must hold. What this vocabulary does not know is refused when a permission is written; where it
stands in the database all the same, it grants nothing.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self
from zoneinfo import ZoneInfo

import structlog
from pydantic import AwareDatetime, BeforeValidator, Field, TypeAdapter, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from app.core.inputs import Input
from app.stores.models import Timezone

MOST_WINDOWS = 10

log = structlog.get_logger(__name__)


class Weekday(StrEnum):
    """The days, in the order of `datetime.weekday`."""

    MON = "MON"
    TUE = "TUE"
    WED = "WED"
    THU = "THU"
    FRI = "FRI"
    SAT = "SAT"
    SUN = "SUN"


WEEKDAYS = tuple(Weekday)


class Window(Input):
    """A time in which a permission is held: from `opens` until before `closes` on each of `days`, between two instants."""

    not_before: AwareDatetime | None = None
    not_after: AwareDatetime | None = None
    days: Annotated[frozenset[Weekday], Field(min_length=1)] | None = None
    opens: time = time.min
    closes: time | None = None
    timezone: Timezone = "UTC"

    @model_validator(mode="after")
    def _is_a_window(self) -> Self:
        if not self.model_fields_set - {"timezone"}:
            raise PydanticCustomError("window", "must name a time: not_before, not_after, days, opens or closes")
        if self.opens.tzinfo or (self.closes and self.closes.tzinfo):
            raise PydanticCustomError("window", "must have opens and closes without an offset; timezone says where they hold")
        if self.closes and self.closes <= self.opens:
            raise PydanticCustomError("window", "must close after it opens; over midnight, use two windows")
        if self.not_before and self.not_after and self.not_after <= self.not_before:
            raise PydanticCustomError("window", "must have not_after later than not_before")
        return self

    def is_open(self, now: datetime) -> bool:
        if (self.not_before and now < self.not_before) or (self.not_after and now >= self.not_after):
            return False
        local = now.astimezone(ZoneInfo(self.timezone))
        if self.days and WEEKDAYS[local.weekday()] not in self.days:
            return False
        return self.opens <= local.time() and (self.closes is None or local.time() < self.closes)

    def next_turn(self, now: datetime) -> datetime:
        """The next instant at which it may open or close: within a day."""
        zone = ZoneInfo(self.timezone)
        today = now.astimezone(zone).date()
        dates = (today, today + timedelta(days=1), today + timedelta(days=2))
        clocks = {time.min, self.opens, self.closes or time.min}
        turns = [datetime.combine(date, clock, zone) for date in dates for clock in clocks]
        return min(turn for turn in (*turns, self.not_before, self.not_after) if turn is not None and turn > now)


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, dict) else value


Conditions = Annotated[list[Window], BeforeValidator(_listed), Field(min_length=1, max_length=MOST_WINDOWS)]
"""One window, or a list of them."""

_CONDITIONS: TypeAdapter[list[Window]] = TypeAdapter(Conditions)


def as_json(conditions: list[Window]) -> Any:
    """Conditions as they are stored."""
    return _CONDITIONS.dump_python(conditions, mode="json", exclude_unset=True)


@dataclass(frozen=True)
class Held:
    """The permissions that are held now, and until when that is sure; None where nothing about it depends on time."""

    permissions: frozenset[str]
    until: datetime | None = None


def held(always: Iterable[str], conditional: Iterable[tuple[str, Any]], now: datetime) -> Held:
    """What is held of permissions without conditions, and of those with them."""
    permissions, turns = set(always), []
    for permission, stored in conditional:
        windows = _read(permission, stored)
        turns += [window.next_turn(now) for window in windows]
        if any(window.is_open(now) for window in windows):
            permissions.add(permission)
    return Held(frozenset(permissions), min(turns, default=None))


def _read(permission: str, stored: Any) -> list[Window]:
    try:
        return _CONDITIONS.validate_python(stored)
    except ValidationError:
        log.warning("permission_conditions_unknown", permission=permission)
        return []
