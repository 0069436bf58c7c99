"""The mirror of orders in ClickHouse: what is read of orders for it, and what is written there."""

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import orjson
from sqlalchemy import any_, bindparam, func, select, tuple_
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.batch import KEY
from app.core.model import TIMESTAMP
from app.core.repository import Repository
from app.orders.models import Order
from app.orders.models.mirror import MIRROR, MIRROR_COLUMNS, MIRRORED

COUNT: Final = f"SELECT count() FROM {MIRROR}"  # noqa: S608 - a name of ours


class OrderMirrorRepository(Repository[Order]):
    """For the system alone. `synced_at` is when a statement began: of two that read an order, the one that saw more wins."""

    model = Order

    async def changed_since(self, moment: datetime, id: UUID, limit: int) -> list[Any]:
        """Orders that changed after a time, or at it and behind an id; the earliest first."""
        return await self.rows(self.statement("changed_since", self._changed_since), moment=moment, after=id, row_limit=limit)

    async def by_ids(self, ids: Sequence[UUID]) -> list[Any]:
        return await self.rows(self.statement("mirrored_by_ids", self._by_ids), ids=list(ids))

    async def is_empty(self) -> bool:
        """Whether nothing has ever been shipped, or all is lost. Raises `Unavailable`."""
        return int(await self.repositories.analytical.fetch_value(COUNT)) == 0

    async def ship(self, rows: Sequence[Any], token: str, gone: Iterable[UUID] = ()) -> None:
        """Write orders into the mirror, and hide those that are gone: all or none, and once per token. Raises `Unavailable`."""
        # A page takes a tenth of a second, in which the event loop would answer nobody.
        lines = await asyncio.to_thread(_lines, rows)
        lines += [orjson.dumps({"id": id, "synced_at": self.repositories.now(), "is_deleted": 1}) for id in gone]
        if lines:
            await self.repositories.analytical.insert(MIRROR, MIRROR_COLUMNS, b"\n".join(lines), token)

    def _mirrored(self) -> Any:
        return select(*(self.table.c[name] for name in MIRRORED), func.statement_timestamp().label("synced_at"))

    def _by_ids(self) -> Any:
        return self._mirrored().where(self.table.c.id == any_(bindparam("ids", type_=ARRAY(KEY))))

    def _changed_since(self) -> Any:
        position = tuple_(self.table.c.updated_at, self.table.c.id)
        after = tuple_(bindparam("moment", type_=TIMESTAMP), bindparam("after", type_=KEY))
        return self._mirrored().where(position > after).order_by(self.table.c.updated_at, self.table.c.id).limit(bindparam("row_limit"))


def _lines(rows: Sequence[Any]) -> list[bytes]:
    """Orders as JSONEachRow takes them."""
    return [orjson.dumps({**dict(row), "is_deleted": 0}, default=str) for row in rows]
