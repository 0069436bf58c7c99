"""Attempts to win back the carts that were left.

The ways from status to status (`RecoveryStatus.sources`) are guarded in each UPDATE, so that of two who race the second changes nothing.
"""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, any_, bindparam, case, exists, func, literal, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import MAX_RECOVERY_ATTEMPTS, OPEN_RECOVERIES, RecoveryEvent, RecoveryEventCreate, RecoveryStatus
from app.core.paging import NEWEST_FIRST
from app.core.repository import as_values, transactional
from app.core.scope import store_rows
from app.core.security import ViewerKind
from app.core.status import StatusRepository

ORDERED_BEFORE = "the cart was ordered before anybody was reminded"
WON_BY_ANOTHER = "another reminder won the cart back"
STAMPS = {RecoveryStatus.SENT: "sent_at", RecoveryStatus.OPENED: "opened_at"}


class RecoveryEventRepository(StatusRepository[RecoveryEvent]):
    """Attempts to win back carts are for the staff of the cart's store."""

    model = RecoveryEvent

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "recovery")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "recovery", "write")

    async def find_by_cart_id(self, cart_id: UUID) -> list[RecoveryEvent]:
        return await self.find_many({"cart_id": cart_id}, NEWEST_FIRST)

    async def find_by_status(self, status: RecoveryStatus) -> list[RecoveryEvent]:
        return await self.find_many({"status": status.value}, NEWEST_FIRST)

    async def update_status(self, id: UUID, status: RecoveryStatus, outcome: str | None = None) -> RecoveryEvent:
        """Say how an attempt goes on, and stamp the time; RECOVERED has a method of its own.

        Raises `UserError` INVALID_TRANSITION naming both statuses, `NotFound`.
        """
        stamp = {STAMPS[status]: self.repositories.now()} if status in STAMPS else {}
        return await self._become(id, status, status.sources, **stamp, **({"outcome": outcome} if outcome else {}))

    async def open(self, event: RecoveryEventCreate, since: datetime) -> RecoveryEvent | None:
        """A new attempt; None where its shopper was, or is about to be, reminded by the store since a time."""
        values = {**as_values(event), "status": RecoveryStatus.PENDING.value}
        statement = self.statement(("open", tuple(values)), lambda: self._opening(values))
        return await self.row(statement, **{f"v_{name}": value for name, value in values.items()}, since=since)

    async def claim(self, id: UUID, attempts: int) -> RecoveryEvent | None:
        """A PENDING attempt for the mail after so many, for one caller to send it: whoever else wants to finds none."""
        return await self.row(self.statement("claim", self._claiming), id=id, attempts=attempts)

    @transactional
    async def recover(self, cart_id: UUID, order_id: UUID, amount: Any, currency: str) -> RecoveryEvent | None:
        """Tell that a cart has become an order: gives the attempt that won it back, if one did.

        Where several did, of carts that have become one, it is the one whose link was followed, or else the last. One that nobody has
        heard of is SUPPRESSED.
        """
        now = self.repositories.now()
        attempts = await self.rows(self.statement("lock_open", self._open_of_cart), cart_id=cart_id, now=now)
        heard = [attempt for attempt in attempts if attempt.status != RecoveryStatus.PENDING]
        won = max(heard, key=lambda attempt: (attempt.status == RecoveryStatus.OPENED, attempt.opened_at or attempt.sent_at), default=None)
        for attempt in attempts:
            if attempt.status == RecoveryStatus.PENDING:
                await self.update_status(attempt.id, RecoveryStatus.SUPPRESSED, ORDERED_BEFORE)
            elif attempt is not won:
                await self.update_status(attempt.id, RecoveryStatus.EXPIRED, WON_BY_ANOTHER)
        if won is None:
            return None
        values = {"recovered_at": now, "order_id": order_id, "recovered_amount": amount, "currency": currency}
        return await self._become(won.id, RecoveryStatus.RECOVERED, RecoveryStatus.RECOVERED.sources, **values)

    async def follow(self, source: UUID, target: UUID) -> None:
        """Let an open attempt go with what was in its cart into another one."""
        await self.update_many({"cart_id": source, "status": [RecoveryStatus.SENT.value, RecoveryStatus.OPENED.value]}, {"cart_id": target})

    async def expire(self) -> int:
        """End the attempts whose time is over; gives how many there were."""
        late = {"status": [status.value for status in OPEN_RECOVERIES], "expires_at": {"lte": self.repositories.now()}}
        return await self.update_many(late, {"status": RecoveryStatus.EXPIRED.value})

    async def take_up_lost(self, before: datetime) -> list[RecoveryEvent]:
        """PENDING attempts that nobody has looked at since a time, for one caller; those with too many mails behind them are FAILED."""
        values = {"before": before, "now": self.repositories.now(), "most": MAX_RECOVERY_ATTEMPTS}
        rows = await self.rows(self.statement("take_up_lost", self._taking_up), **values)
        return [row for row in rows if row.status == RecoveryStatus.PENDING]

    def _bind(self, name: str, column: str | None = None) -> Any:
        return bindparam(name, type_=self.table.c[column or name].type)

    def _opening(self, values: dict[str, Any]) -> Any:
        columns = self.table.c
        same = (
            columns.store_id == self._bind("v_store_id", "store_id"),
            columns.recipient_hash == self._bind("v_recipient_hash", "recipient_hash"),
        )
        reminded = or_(columns.status == RecoveryStatus.PENDING.value, columns.sent_at > self._bind("since", "sent_at"))
        wanted = select(*(self._parameter(name) for name in values)).where(~exists().where(*same, reminded))
        row = upsert(self.table).from_select(list(values), wanted)
        return row.on_conflict_do_nothing().returning(*columns)

    def _claiming(self) -> Any:
        columns = self.table.c
        waiting = (columns.id == bindparam("id"), columns.status == RecoveryStatus.PENDING.value, columns.attempts == bindparam("attempts"))
        return update(self.table).where(*waiting).values(attempts=columns.attempts + 1, updated_at=func.now()).returning(*columns)

    def _open_of_cart(self) -> Any:
        """The attempts that may still win a cart back, kept from going on."""
        columns = self.table.c
        open_ = columns.status == any_(literal([status.value for status in sorted(OPEN_RECOVERIES)], ARRAY(columns.status.type)))
        mine = (columns.cart_id == bindparam("cart_id"), open_, columns.expires_at > self._bind("now", "expires_at"))
        return select(self.table).where(*mine).order_by(columns.id).with_for_update()

    def _taking_up(self) -> Any:
        columns = self.table.c
        lost = (columns.status == RecoveryStatus.PENDING.value, columns.updated_at < self._bind("before", "updated_at"))
        tried = columns.attempts >= bindparam("most", type_=columns.attempts.type)
        status = case((tried, RecoveryStatus.FAILED.value), else_=columns.status)
        return update(self.table).where(*lost).values(status=status, updated_at=self._bind("now", "updated_at")).returning(*columns)
