"""Spans of time and their buckets: hours, days, weeks and months by the clocks and calendar of a place, changes of clocks included."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final
from uuid import UUID
from zoneinfo import ZoneInfo

from app.core.errors import BadInput
from app.stores.models import timezones

LONGEST: Final = timedelta(days=400)
"""What events are kept for, and so what can be asked about at once."""

MOST_BUCKETS: Final = 1_000


class AnalyticsInterval(StrEnum):
    """How long a bucket is; weeks begin on Mondays (ISO 8601)."""

    HOUR = "HOUR"
    DAY = "DAY"
    WEEK = "WEEK"
    MONTH = "MONTH"


@dataclass(frozen=True)
class Period:
    """The events from `start` until before `end`, of one store or of all that the viewer may see."""

    start: datetime
    end: datetime
    store_id: UUID | None = None

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise BadInput("from", "must be before `to`")
        if self.end - self.start > LONGEST:
            raise BadInput("from", f"must be at most {LONGEST.days} days before `to`")

    def edges(self, interval: AnalyticsInterval, time_zone: str, most: int = MOST_BUCKETS) -> list[datetime]:
        """When each bucket begins, in UTC, the first one perhaps before the period. Raises `BadInput` for an unknown zone or too many."""
        if time_zone not in timezones():
            raise BadInput("timeZone", "must be the name of an IANA time zone, such as Europe/Berlin")
        found: list[datetime] = []
        for edge in _edges(self.start, interval, ZoneInfo(time_zone)):
            if edge >= self.end:
                return found
            if len(found) == most:
                raise BadInput("interval", f"gives more than {most} buckets; take a longer one or a shorter period")
            found.append(edge)
        raise AssertionError


def _edges(start: datetime, interval: AnalyticsInterval, zone: ZoneInfo) -> Iterator[datetime]:
    if interval is AnalyticsInterval.HOUR:
        edge = _hour(start, zone)
        while True:
            yield edge
            edge = _hour(edge + timedelta(hours=1), zone)
    day = start.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None, fold=0)
    if interval is AnalyticsInterval.WEEK:
        day -= timedelta(days=day.weekday())
    elif interval is AnalyticsInterval.MONTH:
        day = day.replace(day=1)
    while True:
        yield day.replace(tzinfo=zone).astimezone(UTC)
        day = _next(day, interval)


def _hour(moment: datetime, zone: ZoneInfo) -> datetime:
    """The full hour before a moment; one that the clocks go through twice counts twice."""
    local = moment.astimezone(zone)
    return moment.astimezone(UTC) - timedelta(minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


def _next(day: datetime, interval: AnalyticsInterval) -> datetime:
    if interval is AnalyticsInterval.MONTH:
        return (day + timedelta(days=32)).replace(day=1)
    return day + timedelta(days=7 if interval is AnalyticsInterval.WEEK else 1)
