"""Rows by their ids, from the cache where their model allows it."""

from collections.abc import Iterable, Sequence
from typing import Any, cast
from uuid import UUID

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY

from app.core.batch import KEY, Batch, one_by
from app.core.database import Row
from app.core.errors import NotFound
from app.core.repository.cached import CachedRow
from app.core.repository.listing import Listing
from app.core.repository.scoped import M, Where


class Reading(Listing[M]):
    """Reads single rows, and batches of them."""

    find_by_ids = one_by("id")

    async def find_by_id(self, id: UUID) -> M | None:
        """The row, or None when there is none inside the viewer's scope."""
        variant = self._cache_variant()
        if variant is not None and self.session.current_transaction is None:
            return await self._find_cached(f"{self.entity}:{id}:{variant}", id)
        return await self._find_by_id(id)

    async def get_by_id(self, id: UUID) -> M:
        """The row; raises `NotFound`."""
        row = await self.find_by_id(id)
        if row is None:
            raise NotFound(f"no {self.model.__name__} has this id")
        return row

    async def lock_by_id(self, id: UUID) -> M | None:
        """The row, locked against other writers until the transaction ends; None where there is none that the viewer may change."""
        statement = self.statement(
            "lock_by_id",
            lambda: (
                select(self.table)
                .where(self.table.c.id == bindparam("id"), self.visible(self.table, writing=True))
                .with_for_update(of=self.table)
            ),
        )
        return await self.row(statement, id=id)

    async def exists(self, where: Where) -> bool:
        return await self.find_first(where) is not None

    async def changeable_ids(self, ids: Iterable[UUID]) -> set[UUID]:
        """Which of the rows the viewer may change."""
        statement = self.statement(
            "changeable_ids",
            lambda: select(self.table.c.id).where(
                self.table.c.id == any_(bindparam("ids", type_=ARRAY(KEY))), self.visible(self.table, writing=True)
            ),
        )
        return {row.id for row in await self.rows(statement, ids=list(ids))}  # type: ignore[attr-defined]

    async def get_changeable(self, id: UUID) -> M:
        """A row that the viewer may change; raises `NotFound`, also where the viewer may only see it."""
        if id not in await self.changeable_ids([id]):
            raise NotFound(f"no {self.model.__name__} has this id")
        return await self.get_by_id(id)

    async def load_batch(self, batch: Batch, keys: Sequence[UUID]) -> list[Any]:
        """The rows of a declared batch method, in the order of the keys."""
        statement = self.statement(
            ("batch", batch.name),
            lambda: batch.statement(self.base(scoped=batch.scoped), self.table, self.model.metadata.tables.__getitem__),
        )
        return batch.arranged(keys, await self.rows(statement, keys=list(dict.fromkeys(keys))))

    # --- Cache

    def _cache_variant(self) -> str | None:
        if not self.cached_for:
            return None
        if self.viewer.sees_everything:
            return "all"
        return "public" if self.viewer.kind in self.cached_for else None

    async def _find_cached(self, key: str, id: UUID) -> M | None:
        generation = self.cache.generation(key)
        found = await self.cache.get(key)
        if found is not None:
            return cast(M, self._from_cache(found))
        row = await self._find_by_id(id)
        if row is not None:
            await self.cache.set(key, row if self.cache.shares_objects else dict(row), generation)
        return row

    def _from_cache(self, found: Any) -> Any:
        return found if isinstance(found, Row) else CachedRow(self.model, self.columns, found)
