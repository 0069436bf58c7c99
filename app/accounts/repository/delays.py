"""Failed sign-ins, counted in the database that all processes share."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Double, Integer, Interval, Text, bindparam, case, cast, func, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from app.accounts.models import Patience, SignInDelay
from app.core.repository import Repository

KEPT = timedelta(days=1)
MOST_DOUBLINGS = 30


class SignInDelayRepository(Repository[SignInDelay]):
    """Delays are for the system alone."""

    model = SignInDelay

    async def find_wait(self, keys: Sequence[str]) -> float:
        """Seconds until the last of these delays is over; 0 where none holds."""
        return float(await self.value(self.statement("find_wait", self._waiting), keys=list(keys)))

    async def count_failure(self, key: str, patience: Patience) -> None:
        """Count a failure. Each beyond the free ones doubles the delay, from a second to the longest; after a quiet time none counts."""
        statement = self.statement("count_failure", self._counting)
        await self.row(statement, key=key, free=patience.free, longest=patience.longest, memory=patience.memory)

    async def clear(self, keys: Sequence[str]) -> int:
        """Forget the failures under these keys; returns under how many there were some."""
        return await self.delete_many({"key": {"in": list(keys)}})

    async def delete_old(self) -> int:
        """Remove what no longer counts; returns how many."""
        return await self.delete_many({"updated_at": {"lt": self.repositories.now() - KEPT}})

    def _waiting(self) -> Any:
        left = func.extract("epoch", self.table.c.blocked_until - func.now())
        some_of = func.any(bindparam("keys", type_=ARRAY(Text)))
        return select(cast(func.coalesce(func.max(left), 0), Double)).where(self.table.c.key == some_of, left > 0)

    def _counting(self) -> Any:
        columns = self.table.c
        forgotten = columns.updated_at < func.now() - bindparam("memory", type_=Interval)
        failures = case((forgotten, 1), else_=columns.failures + 1)
        made = insert(self.table).values(key=bindparam("key"), failures=1, blocked_until=func.now() + self._delay(1))
        return made.on_conflict_do_update(
            index_elements=[columns.key],
            set_={"failures": failures, "blocked_until": func.now() + self._delay(failures), "updated_at": func.now()},
        ).returning(columns.id)

    def _delay(self, failures: Any) -> ColumnElement[Any]:
        beyond = failures - bindparam("free", type_=Integer)
        doublings = func.least(beyond - 1, MOST_DOUBLINGS)
        seconds = func.least(func.power(2, doublings), bindparam("longest", type_=Integer))
        return func.make_interval(0, 0, 0, 0, 0, 0, case((beyond > 0, seconds), else_=0))
