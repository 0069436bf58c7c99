"""Carts whose features are to be computed: an outbox that the carts' own transactions write, a row for each cart that has changed."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import FeatureRequest
from app.core.batch import KEY
from app.core.repository import Repository

SETTLES_SECONDS = 5
"""A cart that changes again and again is left alone for so long, but not longer than `WAITS_SECONDS` in all."""

WAITS_SECONDS = 60
CLAIM_SECONDS = 60
"""After which another worker takes over."""


class FeatureRequestRepository(Repository[FeatureRequest]):
    """For the system alone."""

    model = FeatureRequest

    async def add(self, cart_ids: Sequence[UUID]) -> None:
        """Have the features of carts computed if the open transaction commits."""
        await self.rows(self.statement("add", self._adding), cart_ids=list(cart_ids))

    async def claim(self, limit: int) -> list[FeatureRequest]:
        """Carts that have settled, up to `limit`, each for one caller until it says `done`, or for a minute."""
        return await self.rows(self.statement("claim", self._claiming), row_limit=limit)

    async def done(self, request: FeatureRequest) -> None:
        """Forget a request, unless the cart has changed since it was claimed: then it is computed again."""
        await self.rows(self.statement("done", self._ending), id=request.id, requested_at=request.requested_at)
        await self.update_many({"id": request.id}, {"claimed_until": None})

    def _adding(self) -> Any:
        ids = func.unnest(bindparam("cart_ids", type_=ARRAY(KEY))).table_valued("cart_id", name="given").render_derived()
        rows = upsert(self.table).from_select(["cart_id"], select(ids.c.cart_id).order_by(ids.c.cart_id))
        again = rows.on_conflict_do_update(index_elements=["cart_id"], set_={"requested_at": func.clock_timestamp()})
        return again.returning(self.table.c.id)

    def _claiming(self) -> Any:
        columns = self.table.c
        free = or_(columns.claimed_until.is_(None), columns.claimed_until < func.now())
        settled = or_(columns.requested_at <= _ago(SETTLES_SECONDS), columns.created_at <= _ago(WAITS_SECONDS))
        due = select(columns.id).where(free, settled).order_by(columns.requested_at).limit(bindparam("row_limit"))
        claimed = due.with_for_update(skip_locked=True).scalar_subquery()
        until = func.now() + func.make_interval(0, 0, 0, 0, 0, 0, CLAIM_SECONDS)
        return update(self.table).where(columns.id.in_(claimed)).values(claimed_until=until).returning(*columns)

    def _ending(self) -> Any:
        columns = self.table.c
        same = columns.requested_at == bindparam("requested_at", type_=columns.requested_at.type)
        return delete(self.table).where(columns.id == bindparam("id"), same).returning(columns.id)


def _ago(seconds: int) -> ColumnElement[Any]:
    moment: ColumnElement[Any] = func.now() - func.make_interval(0, 0, 0, 0, 0, 0, seconds)
    return moment
