"""Typed filter inputs. A model's filter is an input whose fields are these comparisons, named as the model's columns.

@filter_input
class ProductFilter:
    id: IdFilter | None = id_filter("Product")
    price: DecimalFilter | None
    status: Comparison[ProductStatus] | None
"""

from datetime import datetime
from decimal import Decimal
from enum import Enum
from typing import Any, Generic, TypeVar, dataclass_transform

import strawberry
from strawberry import UNSET
from strawberry.types import get_object_definition

from app.api.scalars import decode_id

E = TypeVar("E")
I = TypeVar("I")  # noqa: E741 - an input type


@strawberry.input(description="Compares an id.")
class IdFilter:
    eq: strawberry.ID | None = UNSET
    in_: list[strawberry.ID] | None = strawberry.field(name="in", default=UNSET)
    is_null: bool | None = UNSET


@strawberry.input(description="Compares text; `contains` and `startsWith` ignore case.")
class StringFilter:
    eq: str | None = UNSET
    in_: list[str] | None = strawberry.field(name="in", default=UNSET)
    gt: str | None = UNSET
    gte: str | None = UNSET
    lt: str | None = UNSET
    lte: str | None = UNSET
    contains: str | None = UNSET
    starts_with: str | None = UNSET
    is_null: bool | None = UNSET


@strawberry.input(description="Compares whole numbers.")
class IntFilter:
    eq: int | None = UNSET
    in_: list[int] | None = strawberry.field(name="in", default=UNSET)
    gt: int | None = UNSET
    gte: int | None = UNSET
    lt: int | None = UNSET
    lte: int | None = UNSET
    is_null: bool | None = UNSET


@strawberry.input(description="Compares exact decimals, such as amounts in major units.")
class DecimalFilter:
    eq: Decimal | None = UNSET
    in_: list[Decimal] | None = strawberry.field(name="in", default=UNSET)
    gt: Decimal | None = UNSET
    gte: Decimal | None = UNSET
    lt: Decimal | None = UNSET
    lte: Decimal | None = UNSET
    is_null: bool | None = UNSET


@strawberry.input(description="Compares instants.")
class DateTimeFilter:
    eq: datetime | None = UNSET
    gt: datetime | None = UNSET
    gte: datetime | None = UNSET
    lt: datetime | None = UNSET
    lte: datetime | None = UNSET
    is_null: bool | None = UNSET


@strawberry.input(description="Compares true and false.")
class BooleanFilter:
    eq: bool | None = UNSET
    is_null: bool | None = UNSET


@strawberry.input(description="Compares values of an enum.")
class Comparison(Generic[E]):
    eq: E | None = UNSET
    in_: list[E] | None = strawberry.field(name="in", default=UNSET)
    is_null: bool | None = UNSET


def id_filter(type_name: str) -> Any:
    """A filter on a column that holds ids of one type; ids of another are refused by name."""
    return strawberry.field(default=UNSET, metadata={"id_of": type_name})


@dataclass_transform(kw_only_default=True)
def filter_input(cls: type[I]) -> type[I]:
    """An input of comparisons, all of which must hold, joined further by `and`, `or` and `not`."""
    own = cls.__name__
    cls.__annotations__ |= {"and_": f"list[{own}] | None", "or_": f"list[{own}] | None", "not_": f"{own} | None"}
    for name in ("and", "or", "not"):
        setattr(cls, f"{name}_", strawberry.field(name=name, default=UNSET))
    for name in cls.__annotations__:
        if name not in vars(cls):
            setattr(cls, name, UNSET)
    return strawberry.input(cls)


def to_where(given: Any, argument: str = "filter") -> dict[str, Any]:
    """A filter input as the plain data that repositories read; raises `BadInput` for an id of another kind."""
    if given is None or given is UNSET:
        return {}
    where: dict[str, Any] = {}
    for field in get_object_definition(given, strict=True).fields:
        value = getattr(given, field.python_name)
        if value is UNSET or (value is None and field.python_name in ("and_", "or_", "not_")):
            continue
        name = field.python_name.rstrip("_")
        place = f"{argument}.{name}"
        if name in ("and", "or"):
            where[name] = [to_where(part, place) for part in value]
        elif name == "not":
            where[name] = to_where(value, place)
        elif value is not None:
            where[name] = _comparison(value, field.metadata.get("id_of"), place)
    return where


def _comparison(value: Any, id_of: str | None, place: str) -> dict[str, Any]:
    found = {}
    for field in get_object_definition(value, strict=True).fields:
        operand = getattr(value, field.python_name)
        if operand is UNSET:
            continue
        operator = field.python_name.rstrip("_")
        found[operator] = _operand(operand, id_of if operator in ("eq", "in") else None, f"{place}.{operator}")
    return found


def _operand(operand: Any, id_of: str | None, place: str) -> Any:
    if isinstance(operand, list):
        return [_operand(part, id_of, place) for part in operand]
    if id_of and operand is not None:
        return decode_id(operand, id_of, place)
    if isinstance(operand, Enum):
        return operand.value
    return operand
