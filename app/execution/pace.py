"""Whether root fields of one query are worth several connections, by how long their statements have taken.

What counts is the quickest of late: a statement that waited for a connection or a processor only looks slow, and then there is nothing
to run it on.
"""

from collections.abc import Sequence

MOST_LANES = 4
"""Connections that one query may use at the same time."""

WORTHWHILE = 0.002
"""Seconds that running side by side must save; below, the tasks cost more than waiting does."""

FORGETTING = 1.05
"""By how much what a statement is thought to take grows with each run, so that one quick run is not remembered for ever."""


class Pace:
    """How long a statement takes, in seconds; 0 before its first run."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        self.seconds = min(seconds, self.seconds * FORGETTING) if self.seconds else seconds


def lanes(seconds: Sequence[float]) -> list[list[int]]:
    """The numbers of root fields that take so long, by the connections that are worth using: each longest one to the least busy."""
    if len(seconds) < 2 or sum(seconds) - max(seconds) < WORTHWHILE:
        return [list(range(len(seconds)))]
    found: list[list[int]] = [[] for _ in range(min(MOST_LANES, len(seconds)))]
    busy = [0.0] * len(found)
    for number in sorted(range(len(seconds)), key=seconds.__getitem__, reverse=True):
        lane = busy.index(min(busy))
        found[lane].append(number)
        busy[lane] += seconds[number]
    return [lane for lane in found if lane]
