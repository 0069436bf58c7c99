"""Stores: the shops of the platform, their settings, their reports, and the platform's own configuration."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from functools import cache
from typing import Annotated, Any, ClassVar
from uuid import UUID
from zoneinfo import available_timezones

from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field, StringConstraints, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError
from sqlalchemy import CheckConstraint, Index, text

from app.core import model
from app.core.inputs import Amount, AnyCase, CurrencyCode, Input, JsonObject, JsonValue, Line, Passage, Update, Url
from app.core.model import BIG_INTEGER, JSON, TEXT, SoftDeletable, Timestamped

LOW_STOCK = 5
"""The threshold of a store that has not said another."""

LEAST_IDLE, MOST_IDLE, MOST_RECOVERY_DAYS = 5, 43_200, 30
CART_CHECKS = (
    CheckConstraint(f"cart_idle_minutes between {LEAST_IDLE} and {MOST_IDLE}", name="cart_idle_minutes"),
    CheckConstraint(f"recovery_days between 1 and {MOST_RECOVERY_DAYS}", name="recovery_days"),
)


class StoreStatus(StrEnum):
    ACTIVE = "ACTIVE"
    SUSPENDED = "SUSPENDED"
    DELETED = "DELETED"


class ReportStatus(StrEnum):
    """A report waits, is being computed, and is then ready or failed."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    READY = "READY"
    FAILED = "FAILED"


class ReportType(StrEnum):
    """What a report lists: orders, carts, what was sold of each product, attempts to win back carts, features of carts and products."""

    SALES = "SALES"
    CARTS = "CARTS"
    PRODUCTS = "PRODUCTS"
    RECOVERY = "RECOVERY"
    FEATURES = "FEATURES"


class ReportFormat(StrEnum):
    """The form of a report's file."""

    CSV = "CSV"
    JSON = "JSON"
    PARQUET = "PARQUET"


class Store(SoftDeletable, table=True):
    """A shop. Its domain is its public name, in lower case, unique among the shops that exist."""

    __tablename__ = "stores"
    __table_args__ = (
        model.one_of("status", StoreStatus),
        model.deletion_is_dated(),
        model.deleted_status(),
        CheckConstraint("domain = lower(domain)", name="domain_lower_case"),
        Index("uq_stores_domain", "domain", unique=True, postgresql_where=text("not is_deleted")),
        model.newest_first("stores"),
        model.newest_first("stores", "status"),
        model.sparse_index("stores", "owner_id"),
    )

    name: str = model.column(max_length=255)
    domain: str = model.column(max_length=253)
    url: str | None = model.column(None, max_length=2048)
    owner_id: UUID | None = model.reference("users.id", "RESTRICT", None, circular=True)
    status: StoreStatus = model.choice(StoreStatus.ACTIVE)


class StoreSettings(Timestamped, table=True):
    """How one shop counts money, tells time and speaks; `config` holds what has no column.

    An order pays `shipping_price`, or nothing from `free_shipping_from` on. `tax_rate` is in percent, of what the products cost:
    `prices_include_tax` says whether it is part of their prices or comes on top.

    Free pieces of a product that fall to `low_stock_threshold` are told to the store (`inventory.low`); none where it is null. A cart that
    nobody has changed for `cart_idle_minutes` is ABANDONED, and an order that is made of it within `recovery_days` counts as recovered;
    without `cart_idle_minutes`, carts are left alone.
    """

    __tablename__ = "store_settings"
    __table_args__ = (
        model.is_currency(),
        *model.is_object("config"),
        *model.not_negative("low_stock_threshold", "shipping_price", "free_shipping_from"),
        *CART_CHECKS,
        CheckConstraint("tax_rate between 0 and 100", name="tax_rate"),
    )

    store_id: UUID = model.reference("stores.id", "CASCADE", unique=True)
    currency: str = model.currency_code()
    timezone: str = model.column("UTC", max_length=64)
    language: str = model.column("en", max_length=35)
    config: dict[str, Any] = model.column({}, sa_type=JSON)
    low_stock_threshold: int | None = model.column(LOW_STOCK)
    shipping_price: Decimal = model.amount(0)
    free_shipping_from: Decimal | None = model.column(None, sa_type=model.MONEY)
    tax_rate: Decimal = model.column(0, sa_type=model.PERCENT)
    prices_include_tax: bool = model.column(False)
    cart_idle_minutes: int | None = model.column(60)
    recovery_days: int = model.column(7)


class Report(Timestamped, table=True):
    """A report of one shop over a time, `starts_at` included and `ends_at` not, made in the background into a file.

    `url` is the file's name until `expires_at`, when it is removed. Whoever makes it has a lease until `leased_until`.
    """

    __tablename__ = "reports"
    __table_args__ = (
        model.one_of("status", ReportStatus),
        model.stamped("generated_at", "status = 'READY'"),
        CheckConstraint("error is null or status = 'FAILED'", name="error_of_failed"),
        *model.is_object("parameters"),
        model.one_of("format", ReportFormat),
        CheckConstraint("starts_at < ends_at", name="period"),
        *model.not_negative("row_count", "size_bytes", "attempts"),
        model.newest_first("reports"),
        model.newest_first("reports", "store_id"),
        model.newest_first("reports", where="status in ('PENDING', 'PROCESSING')", name="ix_reports_unfinished"),
        model.sparse_index("reports", "requested_by"),
    )

    store_id: UUID = model.reference("stores.id", "CASCADE")
    requested_by: UUID | None = model.reference("users.id", "SET NULL", None)
    type: str = model.column(max_length=64)
    parameters: dict[str, Any] = model.column({}, sa_type=JSON)
    status: ReportStatus = model.choice(ReportStatus.PENDING)
    data: Any | None = model.column(None, sa_type=JSON)
    url: str | None = model.column(None, max_length=2048)
    generated_at: datetime | None = model.moment()
    error: str | None = model.column(None, max_length=1000)
    format: ReportFormat = model.choice(ReportFormat.CSV)
    starts_at: datetime | None = model.moment()
    ends_at: datetime | None = model.moment()
    row_count: int | None = model.column(None)
    size_bytes: int | None = model.column(None, sa_type=BIG_INTEGER)
    attempts: int = model.column(0)
    leased_until: datetime | None = model.moment()
    expires_at: datetime | None = model.moment()


class Config(Timestamped, table=True):
    """One named setting of the platform that administrators change while it runs."""

    __tablename__ = "config"

    key: str = model.column(max_length=128, unique=True)
    value: Any = model.column(sa_type=JSON, nullable=False)
    description: str | None = model.column(None, sa_type=TEXT)


@cache
def timezones() -> frozenset[str]:
    """The names of the IANA time zones that this machine knows, without the machine's own."""
    return frozenset(available_timezones() - {"localtime", "Factory"})


def _known_timezone(value: str) -> str:
    if value not in timezones():
        raise PydanticCustomError("timezone", "must be the name of an IANA time zone, such as Europe/Berlin")
    return value


_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(?:\.{_LABEL})+")


def _domain(value: str) -> str:
    if not _DOMAIN.fullmatch(value):
        raise PydanticCustomError("domain", "must be a host name, such as shop.example.com")
    return value


Timezone = Annotated[str, AfterValidator(_known_timezone)]
Language = Annotated[str, StringConstraints(pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*$", max_length=35)]
"""A language tag in the form of BCP 47, such as en or pt-BR."""

Domain = Annotated[str, StringConstraints(strip_whitespace=True, to_lower=True, min_length=1, max_length=253), AfterValidator(_domain)]
"""A host name (RFC 1123) with at least one dot, in lower case."""

StoreName = Annotated[str, Line(255)]


TaxRate = Annotated[Decimal, Field(ge=0, le=100, max_digits=7, decimal_places=4)]
"""In percent: 19 for 19 %."""


class StoreSettingsUpdate(Update):
    """Settings to change; `config`, when given, is merged by key over the present one.

    Amounts are in the store's currency: `core.money.exact` says whether they suit one that is not given.
    """

    nullable: ClassVar[frozenset[str]] = frozenset({"free_shipping_from", "low_stock_threshold", "cart_idle_minutes"})

    currency: CurrencyCode | None = None
    shipping_price: Amount | None = None
    free_shipping_from: Amount | None = None
    tax_rate: TaxRate | None = None
    prices_include_tax: bool | None = None
    timezone: Timezone | None = None
    language: Language | None = None
    config: JsonObject | None = None
    low_stock_threshold: Annotated[int, Field(ge=0, le=1_000_000)] | None = None
    cart_idle_minutes: Annotated[int, Field(ge=LEAST_IDLE, le=MOST_IDLE)] | None = None
    recovery_days: Annotated[int, Field(ge=1, le=MOST_RECOVERY_DAYS)] | None = None


class StoreCreate(Input):
    """A new shop; without settings it gets the defaults (USD, UTC, en)."""

    name: StoreName
    domain: Domain
    url: Url | None = None
    owner_id: UUID | None = None
    status: StoreStatus = StoreStatus.ACTIVE
    settings: StoreSettingsUpdate = StoreSettingsUpdate()


class StoreUpdate(Update):
    """What may change about a shop; deleting and restoring have their own methods."""

    nullable: ClassVar[frozenset[str]] = frozenset({"url"})

    name: StoreName | None = None
    domain: Domain | None = None
    url: Url | None = None
    owner_id: UUID | None = None
    status: StoreStatus | None = None


class ReportCreate(Input):
    """A report to compute."""

    store_id: UUID
    requested_by: UUID | None = None
    type: Annotated[str, Line(64)]
    parameters: JsonObject = Field(default_factory=dict)


LONGEST_REPORT = timedelta(days=366)


class ReportRequest(Input):
    """A report that somebody asks for: at most a year and a day, `from` included and `to` not."""

    model_config = ConfigDict(populate_by_name=True)

    store_id: UUID
    requested_by: UUID | None = None
    type: Annotated[ReportType, AnyCase]
    format: Annotated[ReportFormat, AnyCase] = ReportFormat.CSV
    starts_at: AwareDatetime = Field(alias="from")
    ends_at: AwareDatetime = Field(alias="to")
    parameters: JsonObject = Field(default_factory=dict)

    @field_validator("ends_at")
    @classmethod
    def _is_a_period(cls, value: datetime, info: ValidationInfo) -> datetime:
        starts_at = info.data.get("starts_at")
        if starts_at is not None and not starts_at < value <= starts_at + LONGEST_REPORT:
            raise PydanticCustomError("period", "must be later than `from`, and at most 366 days later")
        return value

    @field_validator("parameters")
    @classmethod
    def _is_known(cls, value: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(value.keys() - {"currency"})
        if unknown or not isinstance(value.get("currency", ""), str):
            raise PydanticCustomError("parameters", "may have nothing but `currency`, the code of one")
        return value


class ConfigSet(Input):
    """A platform setting to write, new or not."""

    key: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9_.-]*$", max_length=128)]
    value: JsonValue
    description: Annotated[str, Passage(500)] | None = None
