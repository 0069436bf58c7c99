"""Webhooks, and the log of what was delivered to them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, exists, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.core.errors import ErrorCode, NotFound, UserError
from app.core.repository import Repository, transactional
from app.core.scope import store_rows
from app.core.security import ViewerKind
from app.engagement.models import DeliveryStatus, Webhook, WebhookCreate, WebhookDelivery
from app.stores.events import StoreEvent

WEBHOOKS = Webhook.__table__  # type: ignore[attr-defined]
MAX_WEBHOOKS = 50
"""Most webhooks of a store."""


class WebhookRepository(Repository[Webhook]):
    """Webhooks are for the staff of their store. Their secrets never leave the process."""

    model = Webhook
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "fk_webhooks_store_id_stores": (ErrorCode.NOT_FOUND, "storeId", "a store with this id does not exist"),
    }

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "webhooks")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "webhooks", "write")

    @transactional
    async def create_within(self, webhook: WebhookCreate) -> Webhook:
        """A new webhook. Raises `UserError`: not a store that the viewer works for, or too many of them."""
        if not self.viewer.may("webhooks:write", webhook.store_id):
            raise UserError(ErrorCode.NOT_FOUND, "you work for no store with this id", "storeId")
        row = await self.create(webhook)
        if await self.count({"store_id": webhook.store_id}) > MAX_WEBHOOKS:
            raise UserError(ErrorCode.LIMIT_EXCEEDED, f"a store has at most {MAX_WEBHOOKS} webhooks; delete one first", "storeId")
        return row

    async def find_active(self, store_id: UUID, event_type: StoreEvent) -> list[Webhook]:
        """The store's webhooks that want to hear of an event."""
        return await self.find_many({"store_id": store_id, "event_type": event_type.value, "is_active": True})

    async def update_last_triggered(self, id: UUID, at: datetime) -> Webhook:
        return await self.update_by_id(id, {"last_triggered_at": at})

    async def rotate(self, id: UUID, secret: str, previous_until: datetime) -> Webhook:
        """Take a new secret; the present one is good until a time. Raises `NotFound`."""
        row = await self.row(self.statement("rotate", self._rotating), id=id, secret=secret, previous_until=previous_until)
        if row is None:
            raise NotFound("no Webhook has this id")
        return row

    async def count_failure(self, id: UUID, most: int) -> Webhook | None:
        """Count a delivery that failed; the one after which there are `most` in a row makes the webhook inactive."""
        return await self.row(self.statement("count_failure", self._failing), id=id, most=most)

    def _rotating(self) -> Any:
        columns = self.table.c
        changed = {
            "secret": bindparam("secret", type_=columns.secret.type),
            "previous_secret": columns.secret,
            "previous_secret_expires_at": bindparam("previous_until", type_=columns.previous_secret_expires_at.type),
        }
        found = (columns.id == bindparam("id"), self.visible(self.table, writing=True))
        return update(self.table).where(*found).values(**changed, updated_at=func.now()).returning(*columns)

    def _failing(self) -> Any:
        columns = self.table.c
        count = columns.failure_count + 1
        still = columns.is_active & (count < bindparam("most", type_=columns.failure_count.type))
        changed = update(self.table).where(columns.id == bindparam("id")).values(failure_count=count, is_active=still)
        return changed.values(updated_at=func.now()).returning(*columns)


@dataclass(frozen=True)
class Attempted:
    """What an attempt came to. Without a time for the next one, a failure is final."""

    succeeded: bool
    at: datetime
    next_at: datetime | None = None
    response_status: int | None = None
    duration_ms: int | None = None
    error: str | None = None

    @property
    def status(self) -> DeliveryStatus:
        if self.succeeded:
            return DeliveryStatus.DELIVERED
        return DeliveryStatus.FAILED if self.next_at is None else DeliveryStatus.PENDING


class WebhookDeliveryRepository(Repository[WebhookDelivery]):
    """Deliveries are seen with their webhook."""

    model = WebhookDelivery

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return exists().where(WEBHOOKS.c.id == table.c.webhook_id, store_rows(WEBHOOKS, viewer, "webhooks"))

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return exists().where(WEBHOOKS.c.id == table.c.webhook_id, store_rows(WEBHOOKS, viewer, "webhooks", "write"))

    async def open_for(self, store_id: UUID, event: StoreEvent, event_id: UUID, payload: Mapping[str, Any]) -> list[UUID]:
        """A delivery for each active webhook of the store that wants the event; those that are there already are not opened again."""
        values = {"store_id": store_id, "event_type": event.value, "event_id": event_id, "payload": dict(payload)}
        return [row.id for row in await self.rows(self.statement("open_for", self._opening), **values)]

    async def find_waiting(self, id: UUID, attempts: int) -> WebhookDelivery | None:
        """A delivery that waits for the attempt after so many."""
        return await self.find_first({"id": id, "status": DeliveryStatus.PENDING.value, "attempts": attempts})

    async def settle(self, delivery: WebhookDelivery, attempted: Attempted) -> bool:
        """Write down an attempt, unless somebody else has made the same one; whether it was written."""
        where = {"id": delivery.id, "status": DeliveryStatus.PENDING.value, "attempts": delivery.attempts}
        values = {
            "status": attempted.status.value,
            "attempts": delivery.attempts + 1,
            "next_attempt_at": attempted.next_at,
            "response_status": attempted.response_status,
            "duration_ms": attempted.duration_ms,
            "error": attempted.error,
            "delivered_at": attempted.at if attempted.succeeded else None,
        }
        return await self.update_many(where, values) == 1

    @transactional
    async def reopen(self, id: UUID, now: datetime) -> WebhookDelivery:
        """Have an ended delivery tried again from the start. Raises `UserError`: none such, still under way, its webhook inactive."""
        delivery = await self.lock_by_id(id)
        if delivery is None:
            raise UserError(ErrorCode.NOT_FOUND, "no delivery has this id", "id")
        if delivery.status == DeliveryStatus.PENDING:
            raise UserError(ErrorCode.CONFLICT, "the delivery is still tried; wait until it has ended", "id")
        webhook = await self.repositories.of(WebhookRepository).get_by_id(delivery.webhook_id)
        if not webhook.is_active:
            raise UserError(ErrorCode.CONFLICT, "the webhook is inactive; activate it first", "id")
        again = {"status": DeliveryStatus.PENDING.value, "attempts": 0, "next_attempt_at": now, "delivered_at": None, "error": None}
        return await self.update_by_id(id, {**again, "response_status": None, "duration_ms": None})

    async def find_overdue(self, before: datetime) -> list[WebhookDelivery]:
        """Deliveries whose next attempt should have been before a time, at most 1000."""
        return await self.find_many({"status": DeliveryStatus.PENDING.value, "next_attempt_at": {"lt": before}})

    async def delete_before(self, moment: datetime) -> int:
        """Remove what is older; returns how many."""
        return await self.delete_many({"created_at": {"lt": moment}})

    def _opening(self) -> Any:
        columns, webhooks = self.table.c, WEBHOOKS.c
        values = {name: bindparam(name, type_=columns[name].type) for name in ("event_id", "event_type", "payload")}
        wanted = select(webhooks.id, *values.values(), func.now()).where(
            webhooks.store_id == bindparam("store_id"), webhooks.event_type == values["event_type"], webhooks.is_active
        )
        rows = upsert(self.table).from_select(["webhook_id", *values, "next_attempt_at"], wanted)
        return rows.on_conflict_do_nothing(index_elements=["webhook_id", "event_id"]).returning(columns.id)
