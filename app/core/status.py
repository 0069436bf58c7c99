"""Rows whose status changes only along declared ways.

The way is guarded in the UPDATE itself: of two callers that race, the second finds no row to change and is told the status that won.
"""

from collections.abc import Set as AbstractSet
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import any_, bindparam, update
from sqlalchemy.dialects.postgresql import ARRAY
from sqlmodel import SQLModel

from app.core.errors import ErrorCode, NotFound, UserError
from app.core.repository import Repository

M = TypeVar("M", bound=SQLModel)


def invalid_transition(kind: str, current: str, wanted: StrEnum, field: str | None = None) -> UserError:
    """The refusal of a change of status, naming both."""
    return UserError(ErrorCode.INVALID_TRANSITION, f"the {kind} is {current} and cannot become {wanted.value}", field)


class StatusRepository(Repository[M]):
    """A repository of rows with a guarded status."""

    async def _become(self, id: UUID, status: StrEnum, sources: AbstractSet[StrEnum], **values: Any) -> M:
        """Change a row's status, with other values, if its present status is one of `sources`.

        Raises `NotFound`; `UserError` INVALID_TRANSITION naming both statuses.
        """
        given = {"status": status.value, **values}
        statement = self.statement(("become", tuple(given)), lambda: self._becoming(given))
        bound = {f"v_{name}": value for name, value in given.items()}
        row = await self.row(statement, id=id, sources=[source.value for source in sources], **bound)
        if row is not None:
            return row
        current = await self._find_by_id(id)
        if current is None:
            raise NotFound(f"no {self.model.__name__} has this id")
        raise invalid_transition(self.model.__name__.lower(), current.status, status)  # type: ignore[attr-defined]

    def _becoming(self, given: dict[str, Any]) -> Any:
        table = self.table
        sources = bindparam("sources", type_=ARRAY(table.c.status.type))
        return (
            update(table)
            .where(table.c.id == bindparam("id"), self.visible(table, writing=True), table.c.status == any_(sources))
            .values(self._assignments(given))
            .returning(*table.c)
        )
