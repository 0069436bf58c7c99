"""Changing stores: for staff."""

from datetime import datetime
from decimal import Decimal

import strawberry
from strawberry import UNSET
from strawberry.scalars import JSON

from app.api.context import Info
from app.api.inputs import IdInput
from app.api.mutations import given, mutation, validated
from app.api.permissions import requires
from app.api.rate_limit import Rate
from app.api.scalars import decode_id
from app.stores.models import ReportFormat, ReportRequest, ReportType, StoreCreate, StoreSettingsUpdate, StoreStatus, StoreUpdate
from app.stores.types import ReportDownloadPayload, ReportPayload, StorePayload, StoreSettingsPayload

WRITE = requires("stores:write")
WRITE_REPORTS = requires("reports:write")


@strawberry.input
class StoreSettingsInput:
    currency: str | None = UNSET
    timezone: str | None = UNSET
    language: str | None = UNSET
    shipping_price: Decimal | None = strawberry.field(default=UNSET, description="In the store's currency.")
    free_shipping_from: Decimal | None = strawberry.field(default=UNSET, description="In the store's currency; null: never.")
    tax_rate: Decimal | None = strawberry.field(default=UNSET, description="In percent: 19 for 19 %.")
    prices_include_tax: bool | None = UNSET
    config: JSON | None = UNSET
    low_stock_threshold: int | None = strawberry.field(
        default=UNSET, description="Free pieces of a product at which the store is told `inventory.low`; null: never."
    )
    cart_idle_minutes: int | None = strawberry.field(
        default=UNSET, description="Minutes after which a cart that nobody changes is ABANDONED, and its shopper reminded; null: never."
    )
    recovery_days: int | None = strawberry.field(
        default=UNSET, description="Days in which one shopper is reminded once, and an order of an abandoned cart counts as recovered."
    )


@strawberry.input
class CreateStoreInput:
    name: str
    domain: str
    url: str | None = UNSET
    settings: StoreSettingsInput | None = UNSET


@strawberry.input(description="What is left out stays as it is.")
class UpdateStoreInput:
    id: strawberry.ID
    name: str | None = UNSET
    domain: str | None = UNSET
    url: str | None = UNSET
    status: StoreStatus | None = UNSET


@strawberry.input(description="Merged into the present settings.")
class UpdateStoreSettingsInput(StoreSettingsInput):
    store_id: strawberry.ID


@strawberry.input
class RequestReportInput:
    store_id: strawberry.ID
    type: ReportType
    from_: datetime = strawberry.field(name="from", description="What happened from then on.")
    to: datetime = strawberry.field(description="What happened before; at most 366 days later.")
    format: ReportFormat = ReportFormat.CSV
    parameters: JSON | None = strawberry.field(default=UNSET, description="`currency`: only amounts in this one.")


@strawberry.type
class StoreMutation:
    @mutation(
        access=WRITE_REPORTS,
        rate=Rate("50/hour"),
        description="Have a report made. It can be fetched once its status is READY (`createReportDownload`).",
    )
    async def request_report(self, info: Info, input: RequestReportInput) -> ReportPayload | None:
        store_id, context = decode_id(input.store_id, "Store", "storeId"), info.context
        values = {**given(input, without=("store_id", "from_")), "from": input.from_, "requested_by": context.viewer.user_id}
        request = ReportRequest.model_validate({**values, "store_id": store_id, "parameters": values.get("parameters") or {}})
        return ReportPayload(report=await context.repositories.reports.request(request))

    @mutation(access=requires("reports:read"), rate=Rate("600/hour"), description="A link to a report's file, which ends after a while.")
    async def create_report_download(self, info: Info, input: IdInput) -> ReportDownloadPayload | None:
        context = info.context
        report = await context.repositories.reports.get_by_id(decode_id(input.id, "Report", "id"))
        url, expires_at = context.services.report_links.link_to(report, context.repositories.now())
        return ReportDownloadPayload(url=url, expires_at=expires_at)

    @mutation(access=WRITE, description="A new store with its settings, owned by the caller.")
    async def create_store(self, info: Info, input: CreateStoreInput) -> StorePayload | None:
        values = {**given(input, without=("settings",)), "owner_id": info.context.viewer.user_id}
        if input.settings:
            values["settings"] = given(input.settings)
        return StorePayload(store=await info.context.repositories.stores.create_with_settings(StoreCreate.model_validate(values)))

    @mutation(access=WRITE)
    async def update_store(self, info: Info, input: UpdateStoreInput) -> StorePayload | None:
        change = validated(StoreUpdate, input, without=("id",))
        return StorePayload(store=await info.context.repositories.stores.update_by_id(decode_id(input.id, "Store", "id"), change))

    @mutation(access=WRITE, description="Change some of a store's settings.")
    async def update_store_settings(self, info: Info, input: UpdateStoreSettingsInput) -> StoreSettingsPayload | None:
        store_id = decode_id(input.store_id, "Store", "storeId")
        change = validated(StoreSettingsUpdate, input, without=("store_id",))
        stores = info.context.repositories.stores
        settings = await stores.update_settings(store_id, change)
        return StoreSettingsPayload(settings=settings, store=await stores.find_by_id(store_id))
