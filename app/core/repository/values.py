"""What goes into a row, from inputs or mappings."""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, SecretStr

from app.core.inputs import Update


def as_values(values: BaseModel | Mapping[str, Any]) -> dict[str, Any]:
    """The columns that an input sets: of a Pydantic input only what was given."""
    given = values.model_dump(exclude_unset=isinstance(values, Update)) if isinstance(values, BaseModel) else values
    return {name: value.get_secret_value() if isinstance(value, SecretStr) else value for name, value in given.items()}


def prefixed(values: Mapping[str, Any]) -> dict[str, Any]:
    return {f"v_{name}": value for name, value in values.items()}
