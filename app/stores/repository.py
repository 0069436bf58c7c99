"""Stores, their settings, reports and the platform's configuration: every statement on them."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from pydantic import BaseModel
from sqlalchemy import ColumnElement, bindparam, cast, false, func, or_
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.batch import many_through, one_by
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.leases import FileRepository
from app.core.model import TEXT
from app.core.money import InvalidAmount, exact
from app.core.repository import Repository, as_values, transactional
from app.core.scope import store_rows
from app.core.security import ViewerKind
from app.stores.models import Config, Report, ReportRequest, Store, StoreCreate, StoreSettings, StoreStatus

REPORT_JOB = "stores.report"


class StoreRepository(Repository[Store]):
    """The public sees active stores; staff also theirs, whatever its status. Its staff and its owner change a store, as far as they may."""

    model = Store
    tagged = frozenset({"stores"})
    cached_for = frozenset({ViewerKind.ANONYMOUS})
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_stores_domain": (ErrorCode.TAKEN, "domain", "another store has this domain"),
    }

    find_by_product_ids = many_through("product_stores", "product_id", "store_id")
    find_known_by_ids = one_by("id", scoped=False)
    """Stores of rows that the viewer may see, such as where an order was placed."""

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        active: ColumnElement[bool] = table.c.status == StoreStatus.ACTIVE.value
        if viewer is ViewerKind.ANONYMOUS:
            return active
        return or_(active, self.write_scope(table, viewer))

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        if viewer is ViewerKind.ANONYMOUS:
            return false()
        owned: ColumnElement[bool] = table.c.owner_id == bindparam("viewer_id")
        return or_(owned, table.c.id == bindparam("viewer_store_id")) if viewer is ViewerKind.STAFF else owned

    @transactional
    async def create_with_settings(self, store: StoreCreate) -> Store:
        """A new store and its settings, both or neither. Raises `UserError` where an amount does not suit the currency."""
        values = as_values(store)
        del values["settings"]
        settings = as_values(store.settings)
        _check_amounts({"currency": "USD", **settings}, "settings")
        row = await self.create(values)
        await self.repositories.of(StoreSettingsRepository).create({**settings, "store_id": row.id})
        return row

    async def find_by_domain(self, domain: str) -> Store | None:
        return await self.find_first({"domain": domain.lower()})

    @transactional
    async def update_settings(self, store_id: UUID, settings: BaseModel | Mapping[str, Any]) -> StoreSettings:
        """Merge the given settings into the present ones.

        Raises `NotFound`, also for a store that the viewer may not change; `UserError` where an amount does not suit the currency.
        """
        if await self.lock_by_id(store_id) is None:
            raise NotFound("no Store has this id")
        rows = self.repositories.unscoped.of(StoreSettingsRepository)
        present = await rows.find_first({"store_id": store_id})
        if present is None:
            raise NotFound("the Store has no settings")
        values = as_values(settings)
        if "config" in values:
            values["config"] = {**present.config, **values["config"]}
        _check_amounts({**dict(present), **values})
        return await rows.update_by_id(present.id, values) if values else present

    async def get_store_stats(self) -> dict[str, int]:
        """How many stores there are, and how many of each status."""
        found = await self.count_by_status(StoreStatus, deleted=True)
        return {"total": sum(found.values()), **found}


class StoreSettingsRepository(Repository[StoreSettings]):
    """Settings are as public as their store, through which they are read; on their own they are for its staff."""

    model = StoreSettings
    tagged = frozenset({"store_settings"})

    find_by_store_ids = one_by("store_id", scoped=False)

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return table.c.store_id == bindparam("viewer_store_id") if viewer is ViewerKind.STAFF else false()


class ReportRepository(FileRepository[Report]):
    """Reports are read by the staff of their store, and each is made by one process at a time."""

    model = Report

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "reports")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "reports", "write")

    @transactional
    async def request(self, request: ReportRequest) -> Report:
        """A new report, with the job that makes it. Raises `UserError` where the store is not one that the viewer writes reports of."""
        if not await self.is_writable(request.store_id):
            raise UserError(ErrorCode.NOT_FOUND, "you make no reports of a store with this id", "store_id")
        report = await self.create(as_values(request))
        await self.repositories.enqueue(REPORT_JOB, report=report.id)
        return report

    async def is_writable(self, store_id: UUID) -> bool:
        """Whether there is such a store, and the viewer may have reports made of it."""
        if not await self.repositories.unscoped.of(StoreRepository).exists({"id": store_id}):
            return False
        return self.viewer.may("reports:write", store_id)


class ConfigRepository(Repository[Config]):
    """The platform's own configuration, by key; for the system and administrators."""

    model = Config

    async def find_by_key(self, key: str) -> Config | None:
        return await self.find_first({"key": key})

    async def get_value(self, key: str, default: Any = None) -> Any:
        found = await self.find_by_key(key)
        return default if found is None else found.value

    async def put(self, key: str, value: Any, description: str) -> None:
        """Write a value, whatever is there."""
        statement = self.statement("put", lambda: self._writing(rising=False))
        await self.rows(statement, key=key, value=value, description=description)

    async def raise_value(self, key: str, value: str, description: str) -> None:
        """Write a text, unless a later one in the order of its bytes is there: whoever is behind others changes nothing."""
        statement = self.statement("raise_value", lambda: self._writing(rising=True))
        await self.rows(statement, key=key, value=value, description=description)

    def _writing(self, *, rising: bool) -> Any:
        given = {name: bindparam(name, type_=self.columns[name].type) for name in ("key", "value", "description")}
        inserted = upsert(self.table).values(given)
        present, new = cast(self.table.c.value, TEXT), cast(inserted.excluded["value"], TEXT)
        return inserted.on_conflict_do_update(
            index_elements=["key"],
            set_={"value": inserted.excluded["value"], "updated_at": func.now()},
            where=present.collate("C") < new.collate("C") if rising else None,
        ).returning(self.table.c.id)


def _check_amounts(settings: Mapping[str, Any], *path: str) -> None:
    for name in ("shipping_price", "free_shipping_from"):
        try:
            exact(settings.get(name) or Decimal(0), settings["currency"])
        except InvalidAmount as error:
            raise UserError(ErrorCode.INVALID, str(error), (*path, name)) from error
