"""What the repositories of this domain have in common: their rows decide who a caller is."""

import functools
from typing import TypeVar
from uuid import UUID

from sqlmodel import SQLModel

from app.core.repository import Repository

M = TypeVar("M", bound=SQLModel)
VIEWERS = "viewers"
"""The cache key whose invalidation makes every process look up again whom its tokens stand for."""


class Standing(Repository[M]):
    """Rows that decide what a caller may do: once a change of them is committed, no process goes by the earlier ones."""

    async def _changed(self, *ids: UUID) -> None:
        await super()._changed(*ids)
        if ids:
            await self.repositories.after_commit(functools.partial(self.cache.invalidate, [VIEWERS]))
