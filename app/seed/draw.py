"""Chance that repeats itself: the same seed gives the same shop, its times counted back from now."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any, TypeVar
from uuid import UUID

from uuid_utils.compat import uuid7

SEED = 20
Values = dict[str, Any]
"""A row to insert: its columns by name."""

T = TypeVar("T")


@dataclass(frozen=True)
class Draw:
    """Draws numbers, things and times in the past; `now` is when the data is made."""

    now: datetime
    random: Random = field(default_factory=lambda: Random(SEED))  # noqa: S311 - demo data, where to repeat is the point

    def ago(self, most: timedelta, least: timedelta) -> datetime:
        """A time between `most` and `least` before now."""
        return self.now - least - (most - least) * self.random.random()

    def after(self, start: datetime, least: timedelta, most: timedelta) -> datetime:
        """A time between `least` and `most` after another, but never in the future."""
        return min(start + least + (most - least) * self.random.random(), self.now)

    def number(self, least: int, most: int) -> int:
        return self.random.randint(least, most)

    def one(self, things: Sequence[T]) -> T:
        return self.random.choice(things)

    def some(self, things: Sequence[T], count: int) -> list[T]:
        """`count` different things."""
        return self.random.sample(things, count)

    def shuffled(self, things: Sequence[T]) -> list[T]:
        return self.random.sample(things, len(things))


def new_row(created_at: datetime, **values: Any) -> Values:
    """A row with its own UUIDv7 of the time when it was made; what has changed since says so in `updated_at`."""
    return {"id": id_at(created_at), "created_at": created_at, "updated_at": created_at, **values}


def id_at(moment: datetime) -> UUID:
    return uuid7(nanoseconds=int(moment.timestamp() * 1_000_000) * 1_000)
