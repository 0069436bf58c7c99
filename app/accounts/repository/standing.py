"""What the repositories of this domain have in common: rows that decide who a caller is, and rows that are one user's own."""

import functools
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, false
from sqlmodel import SQLModel

from app.core.repository import Repository
from app.core.security import ViewerKind

M = TypeVar("M", bound=SQLModel)
VIEWERS = "viewers"
"""The cache key whose invalidation makes every process look up again whom its tokens stand for."""


def own_rows(table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
    """The rows whose `user_id` is the viewer."""
    return false() if viewer is ViewerKind.ANONYMOUS else table.c.user_id == bindparam("viewer_id")


class Standing(Repository[M]):
    """Rows that decide what a caller may do: once a change of them is committed, no process goes by the earlier ones."""

    async def _changed(self, *ids: UUID) -> None:
        await super()._changed(*ids)
        if ids:
            await self.repositories.after_commit(functools.partial(self.cache.invalidate, [VIEWERS]))
