"""Stores as GraphQL shows them."""

from datetime import datetime
from decimal import Decimal
from enum import StrEnum

import strawberry
from strawberry.scalars import JSON

from app.api.cache_control import cached
from app.api.connection import OrderDirection
from app.api.filters import Comparison, DateTimeFilter, IdFilter, StringFilter, filter_input, id_filter
from app.api.money import money
from app.api.mutations import Payload
from app.api.node import Node
from app.api.permissions import guarded, published, requires
from app.api.relations import to_one
from app.stores import models

strawberry.enum(models.StoreStatus, description="Whether a store sells.")
strawberry.enum(models.ReportStatus, description="How far a report is.")
strawberry.enum(
    models.ReportType,
    description="Orders, carts, what was sold of each product, attempts to win back carts, or features as they were at the time's end.",
)
strawberry.enum(models.ReportFormat, description="The form of a report's file.")


@strawberry.type(description="How a store counts money, tells time and speaks.", directives=[cached(300)])
class StoreSettings(Node):
    model = models.StoreSettings
    access = published("stores:read")

    currency: str = strawberry.field(description="ISO 4217 code of the store's prices.")
    timezone: str = strawberry.field(description="IANA time zone.")
    language: str = strawberry.field(description="BCP 47 tag.")
    shipping_price: Decimal = money("shipping_price", description="What an order pays for being sent.")
    free_shipping_from: Decimal | None = money(
        "free_shipping_from", description="From so much on, after the discount, an order is sent for nothing."
    )
    tax_rate: Decimal = strawberry.field(description="In percent of what the products cost after the discount.")
    prices_include_tax: bool = strawberry.field(description="Whether the tax is part of the prices, or comes on top of them.")
    config: JSON
    low_stock_threshold: int | None = guarded(
        requires("stores:read"), "Free pieces of a product at which the store is told `inventory.low`; null: never."
    )
    cart_idle_minutes: int | None = guarded(
        requires("stores:read"), "Minutes after which a cart that nobody changes is ABANDONED, and its shopper reminded; null: never."
    )
    recovery_days: int | None = guarded(
        requires("stores:read"), "Days in which one shopper is reminded once, and an order of an abandoned cart counts as recovered."
    )
    created_at: datetime
    updated_at: datetime


@strawberry.type(description="A shop.", directives=[cached(300)])
class Store(Node):
    model = models.Store
    access = published("stores:read")

    name: str
    domain: str
    url: str | None
    status: models.StoreStatus
    created_at: datetime
    updated_at: datetime
    settings: StoreSettings | None = to_one("store_settings", "find_by_store_ids", key="id")


@filter_input
class StoreFilter:
    id: IdFilter | None = id_filter("Store")
    name: StringFilter | None
    domain: StringFilter | None
    status: Comparison[models.StoreStatus] | None
    created_at: DateTimeFilter | None


@strawberry.enum(description="What stores can be sorted by.")
class StoreOrderField(StrEnum):
    CREATED_AT = "created_at"
    NAME = "name"
    DOMAIN = "domain"


@strawberry.input
class StoreOrder:
    field: StoreOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type(description="A file about one store over a time, made in the background.")
class Report(Node):
    model = models.Report
    access = requires("reports:read")

    type: str = strawberry.field(description="SALES, CARTS, PRODUCTS or RECOVERY.")
    format: models.ReportFormat
    status: models.ReportStatus
    starts_at: datetime | None = strawberry.field(description="The `from` that was asked for.")
    ends_at: datetime | None = strawberry.field(description="The `to` that was asked for.")
    parameters: JSON
    row_count: int | None
    generated_at: datetime | None
    expires_at: datetime | None = strawberry.field(description="When its file is removed.")
    error: str | None = strawberry.field(description="Why there is none.")
    created_at: datetime
    updated_at: datetime
    store: Store | None = to_one("stores", "find_known_by_ids", key="store_id")


@filter_input
class ReportFilter:
    type: StringFilter | None
    format: Comparison[models.ReportFormat] | None
    status: Comparison[models.ReportStatus] | None
    created_at: DateTimeFilter | None


@strawberry.enum(description="What reports can be sorted by.")
class ReportOrderField(StrEnum):
    CREATED_AT = "created_at"


@strawberry.input
class ReportOrder:
    field: ReportOrderField
    direction: OrderDirection = OrderDirection.ASC


@strawberry.type
class ReportPayload(Payload):
    report: Report | None = None


@strawberry.type
class ReportDownloadPayload(Payload):
    url: str | None = strawberry.field(default=None, description="Where the file is, for whoever has this link, until it expires.")
    expires_at: datetime | None = None


@strawberry.type
class StorePayload(Payload):
    store: Store | None = None


@strawberry.type
class StoreSettingsPayload(Payload):
    settings: StoreSettings | None = None
    store: Store | None = None
