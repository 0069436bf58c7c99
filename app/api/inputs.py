"""Inputs that several mutations share, and one for many at once."""

from typing import Any, TypeVar

import strawberry
from strawberry.types import get_object_definition

from app.api.errors import camel_case

I = TypeVar("I")  # noqa: E741 - an input type


@strawberry.input(description="Names one object.")
class IdInput:
    id: strawberry.ID


def of_scalars(cls: type[I]) -> type[I]:
    """Decorates an input whose fields are scalars with defaults or required: made of coerced values as they are.

    Strawberry would look up each field's type for each value, which costs more than all else where a request has hundreds of them.
    """
    definition = get_object_definition(cls, strict=True)
    names = {field.graphql_name or camel_case(field.python_name): field.python_name for field in definition.fields}

    def made(kind: Any, given: Any, _context: Any) -> Any:
        return kind(**{names[name]: value for name, value in given.items()})

    definition.from_input = made
    return cls
