"""What checks are asked for: their parameters by type, and what the tables are that may be checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AwareDatetime, ConfigDict, Field, TypeAdapter, model_validator
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

from app.core.inputs import AnyCase, Input, Passage
from app.orders.models.mirror import MIRROR
from app.quality.models.checks import QualityCheckType
from app.quality.models.values import Identifier

TABLES: Final = frozenset(
    {
        "stores",
        "store_settings",
        "users",
        "roles",
        "role_permissions",
        "products",
        "inventory",
        "inventory_movements",
        "vouchers",
        "voucher_redemptions",
        "carts",
        "cart_items",
        "recovery_events",
        "orders",
        "order_items",
        "order_events",
        "payments",
        "refunds",
        "features",
        "notifications",
        "webhooks",
        "webhook_deliveries",
        "reports",
    }
)
"""The tables of PostgreSQL that may be checked: the shop's, not those of credentials and of the gateway's own bookkeeping."""

CLICKHOUSE_TABLES: Final = frozenset({"user_events", MIRROR})
SECRETS: Final = ("hash", "secret", "token", "password", "key")
"""A column whose name holds one of these words may not be looked at: a pattern could be guessed from how many rows fit it."""


def is_secret(column: str) -> bool:
    return not set(column.split("_")).isdisjoint(SECRETS)


class ColumnKind(StrEnum):
    """What can be asked of a column."""

    NUMBER = "number"
    MOMENT = "moment"
    TEXT = "text"
    ID = "id"
    FLAG = "flag"
    OTHER = "other"


@dataclass(frozen=True)
class CheckedTable:
    """A table as its database's catalog describes it, without secret columns."""

    name: str
    columns: Mapping[str, ColumnKind]
    in_clickhouse: bool = False


class Format(StrEnum):
    """Formats by name; their patterns are read alike by PostgreSQL and ClickHouse."""

    EMAIL = "EMAIL"
    URL = "URL"
    UUID = "UUID"
    CURRENCY = "CURRENCY"
    SLUG = "SLUG"

    @property
    def pattern(self) -> str:
        return PATTERNS[self]


PATTERNS: Final[Mapping[Format, str]] = {
    Format.EMAIL: r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
    Format.URL: r"^https?://[^\s]+$",
    Format.UUID: "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$",
    Format.CURRENCY: "^[A-Z]{3}$",
    Format.SLUG: "^[a-z0-9]+(-[a-z0-9]+)*$",
}


class Operator(StrEnum):
    EQ = "EQ"
    LT = "LT"
    LTE = "LTE"
    GT = "GT"
    GTE = "GTE"


class Rule(StrEnum):
    """Rules of the shop over more than one table."""

    LINES_TOTAL = "LINES_TOTAL"
    PAID = "PAID"


RULES: Final[Mapping[Rule, frozenset[str]]] = {Rule.LINES_TOTAL: frozenset({"carts", "orders"}), Rule.PAID: frozenset({"orders"})}
"""Of which tables each rule is: that the products' amount is the sum of the lines, and that a completed order has a payment."""


class Parameters(Input):
    """Base of the parameters of one type of check, named as GraphQL names them."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class NullParameters(Parameters):
    """Nothing: rows without a value are wrong."""


class DuplicateParameters(Parameters):
    """Rows that share the values of the column, and of these others, are wrong."""

    columns: Annotated[list[Identifier], Field(max_length=4)] = Field(default_factory=list)


Bound = Annotated[int | float | str, Field(union_mode="left_to_right")]
_MOMENT: Final[TypeAdapter[datetime]] = TypeAdapter(AwareDatetime)


class RangeParameters(Parameters):
    """Values beyond these bounds, which belong to the range, are wrong."""

    min: Bound | None = None
    max: Bound | None = None

    @model_validator(mode="after")
    def _has_a_bound(self) -> Self:
        if self.min is None and self.max is None:
            raise PydanticCustomError("no_bound", "give min, max or both")
        return self


class FormatParameters(Parameters):
    """Texts that do not fit a regular expression, or a format by its name, are wrong."""

    pattern: Annotated[str, Passage(500)] | None = None
    format: Annotated[Format, AnyCase] | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.pattern is None) == (self.format is None):
            raise PydanticCustomError("no_pattern", "give either pattern or format")
        return self

    @property
    def expression(self) -> str:
        return self.format.pattern if self.format is not None else self.pattern or ""


class ReferenceParameters(Parameters):
    """Values that no row of a table has in a column are wrong."""

    table: Identifier
    column: Identifier = "id"


class ConsistencyParameters(Parameters):
    """Rows that break a rule, or where the column does not compare so to another one, are wrong."""

    rule: Annotated[Rule, AnyCase] | None = None
    operator: Annotated[Operator, AnyCase] | None = None
    column: Identifier | None = None

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.rule is None) == (self.operator is None) or (self.operator is None) != (self.column is None):
            raise PydanticCustomError("no_rule", "give either rule, or operator and column")
        return self


class FreshnessParameters(Parameters):
    """The newest row must not be older."""

    max_age_seconds: Annotated[int, Field(gt=0, le=366 * 86_400)]


PARAMETERS: Final[Mapping[QualityCheckType, type[Parameters]]] = {
    QualityCheckType.NULL_CHECK: NullParameters,
    QualityCheckType.DUPLICATE_CHECK: DuplicateParameters,
    QualityCheckType.RANGE_CHECK: RangeParameters,
    QualityCheckType.FORMAT_CHECK: FormatParameters,
    QualityCheckType.REFERENCE_CHECK: ReferenceParameters,
    QualityCheckType.CONSISTENCY_CHECK: ConsistencyParameters,
    QualityCheckType.FRESHNESS_CHECK: FreshnessParameters,
}


def bound_of(kind: ColumnKind, value: int | float | str) -> Decimal | datetime:
    """A bound as the column's own kind of value. Raises ValueError."""
    if kind is ColumnKind.MOMENT:
        return _MOMENT.validate_python(value if isinstance(value, str) else "")
    try:
        number = Decimal(str(value))
    except ArithmeticError as error:
        raise ValueError("no number") from error
    if not number.is_finite() or abs(number) >= 10**28:
        raise ValueError("no such number")
    return number


@dataclass(frozen=True)
class Check:
    """A check of which everything is known to exist."""

    type: QualityCheckType
    table: CheckedTable
    parameters: Any
    column: str | None = None
    parent: CheckedTable | None = None

    @property
    def name(self) -> str:
        """As the specification composes it."""
        return f"{self.table.name}_{self.type}"

    @property
    def given(self) -> dict[str, Any]:
        """Its parameters as they are written down."""
        found: dict[str, Any] = self.parameters.model_dump(mode="json", by_alias=True, exclude_none=True)
        return found

    @property
    def kind(self) -> ColumnKind:
        return ColumnKind.OTHER if self.column is None else self.table.columns[self.column]

    @property
    def columns(self) -> list[str]:
        """The columns whose values together must be there once."""
        return [name for name in (self.column, *self.parameters.columns) if name is not None]

    @property
    def bounds(self) -> dict[str, Decimal | datetime]:
        given = {"min": self.parameters.min, "max": self.parameters.max}
        return {name: bound_of(self.kind, value) for name, value in given.items() if value is not None}


@dataclass(frozen=True)
class Finding:
    """What a check's statement found; `sample` are the keys of the first rows that are wrong."""

    total: int
    affected: int = 0
    sample: list[str] = field(default_factory=list)
    newest: datetime | None = None
