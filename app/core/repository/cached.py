"""Rows that come from a shared cache."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from sqlmodel import SQLModel


class CachedRow:
    """A row read back from a shared cache: the same attributes and types as a `Row`."""

    def __init__(self, model: type[SQLModel], columns: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
        self.model = model
        self._fields = {name: _restored(columns[name], value) for name, value in fields.items()}

    def __getattr__(self, name: str) -> Any:
        try:
            return self._fields[name]
        except KeyError:
            raise AttributeError(name) from None

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]


def _restored(column: Any, value: Any) -> Any:
    kind = column.type.python_type
    if value is None or kind not in (UUID, Decimal, datetime):
        return value
    return datetime.fromisoformat(value) if kind is datetime else kind(value)
