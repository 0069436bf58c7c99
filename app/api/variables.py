"""What variables may not hold, whatever their types: NUL, which no text column of PostgreSQL can store, nesting without end, and more
values than an answer in time can look at: each costs up to 20 us to be converted.
"""

from collections.abc import Iterable
from typing import Any

MAX_DEPTH = 64
"""Levels of objects and lists; each costs stack frames wherever values are converted. The deepest JSON that can be stored has half."""

MAX_VALUES = 10_000
SHOWN_LEVELS = 5
"""How much of the path to a flaw is told."""


class Flaw(Exception):
    """A value that is refused; `path` leads to it from the outermost value."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.path: list[str] = []

    def __str__(self) -> str:
        return f"{'.'.join(('variables', *reversed(self.path)))} {self.message}."


def check(variables: dict[str, Any]) -> None:
    """Raises `Flaw`, which names the place."""
    Inspection().object(variables, 1)


class Inspection:
    """One walk over the variables of a request."""

    def __init__(self) -> None:
        self._values = 0

    def object(self, value: dict[str, Any], depth: int) -> None:
        for key in value:
            _check_text(key)
        self._parts(value.items(), len(value), depth)

    def _parts(self, parts: Iterable[tuple[Any, Any]], count: int, depth: int) -> None:
        self._values += count
        if self._values > MAX_VALUES:
            raise Flaw(f"has too many values; at most {MAX_VALUES} are allowed in one request")
        if depth > MAX_DEPTH:
            raise Flaw(f"is nested deeper than {MAX_DEPTH} levels")
        for key, part in parts:
            try:
                self._part(part, depth)
            except Flaw as flaw:
                if depth <= SHOWN_LEVELS:
                    flaw.path.append(str(key))
                raise

    def _part(self, value: Any, depth: int) -> None:
        if isinstance(value, str):
            _check_text(value)
        elif isinstance(value, dict):
            self.object(value, depth + 1)
        elif isinstance(value, list):
            self._parts(enumerate(value), len(value), depth + 1)


def _check_text(text: str) -> None:
    if "\0" in text:
        raise Flaw("contains the NUL character, which no text may")
