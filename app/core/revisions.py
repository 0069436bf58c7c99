"""Tables whose rows are revisions: a row holds since its `created_at`, until the next one of the same subject. None is ever changed."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar, Final, cast
from uuid import UUID

from sqlalchemy import bindparam, delete, exists, func, select

from app.core.batch import KEY
from app.core.model import TIMESTAMP
from app.core.repository import M, Repository

LOOKED_AT_ONCE: Final = 1000
LEAST: Final = UUID(int=0)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class RevisionRepository(Repository[M]):
    """For the system alone."""

    revised: ClassVar[tuple[str, ...]]
    """The columns that say what a row is a revision of."""

    order: ClassVar[str] = "created_at"
    """The column by which a subject's revisions follow each other."""

    async def remove_superseded(self, before: datetime, at_once: int = LOOKED_AT_ONCE) -> int:
        """Remove the revisions that had given way to the next one before a time; gives how many.

        What held at any moment since then stays, and so does each subject's last one. It looks at `at_once` rows in a statement, in the
        order of their ids, which is that of time (UUIDv7), and at none that is younger.
        """
        statement = self.statement("remove_superseded", self._removing)
        values = {"before": before, "bound": first_id(before), "row_limit": at_once}
        total, last = 0, cast(UUID | None, LEAST)
        while last is not None:
            found: Any = await self.row(statement, after=last, **values)
            total, last = total + found.removed, found.last
        return total

    def _removing(self) -> Any:
        own, later = self.table.c, self.table.alias("later").c
        ids = (own.id > bindparam("after", type_=KEY), own.id < bindparam("bound", type_=KEY))
        looked = select(own.id).where(*ids).order_by(own.id).limit(bindparam("row_limit")).cte("looked")
        same = (later[name] == own[name] for name in self.revised)
        next_ones = exists().where(*same, later[self.order] > own[self.order], later.created_at <= bindparam("before", type_=TIMESTAMP))
        superseded = next_ones.correlate(self.table)
        removed = delete(self.table).where(own.id.in_(select(looked.c.id)), superseded).returning(own.id).cte("removed")
        last = select(looked.c.id).order_by(looked.c.id.desc()).limit(1).scalar_subquery()
        return select(last.label("last"), select(func.count()).select_from(removed).scalar_subquery().label("removed"))


def first_id(moment: datetime) -> UUID:
    """What no UUIDv7 (RFC 9562) of a moment's millisecond or later is below."""
    milliseconds = (moment - EPOCH) // timedelta(milliseconds=1)
    return UUID(int=milliseconds << 80)
