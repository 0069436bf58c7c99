"""What PostgreSQL holds of a person, as the policy says: page by page in the order of ids, without secrets and without others."""

from collections.abc import AsyncIterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Select, Uuid, bindparam, case, or_, select

from app.core.database import Session
from app.core.statement import Statement, compile_statement
from app.privacy.policy import POLICIES, By, Match
from app.privacy.repository.erasing import VALUES, owned, table_of

PAGE: Final = 1_000
LEAST: Final = UUID(int=0)
ACCOUNTS: Final = "users.id"


def handed_out(name: str) -> tuple[str, ...]:
    """The columns of a table that go out: no secrets, and no references to other accounts."""
    policy = POLICIES[name]
    mine = policy.own.column if isinstance(policy.own, Match) else None
    return tuple(column.name for column in table_of(name).c if column.name not in policy.secret and not _is_foreign(column, mine))


def _is_foreign(column: Any, mine: str | None) -> bool:
    return column.name != mine and any(key.target_fullname == ACCOUNTS for key in column.foreign_keys)


async def pages(session: Session, name: str, person: Mapping[str, Any], size: int = PAGE) -> AsyncIterator[Sequence[Any]]:
    """Pages of a person's rows in a table; `person` are the values of `VALUES`."""
    after = LEAST
    while True:
        rows = await session.fetch(_statement(name), {**person, "after": after, "size": size})
        if rows:
            yield rows
        if len(rows) < size:
            return
        after = rows[-1]["id"]


@lru_cache(maxsize=200)
def _statement(name: str) -> Statement:
    return compile_statement(_own_rows(name))


def _own_rows(name: str) -> Select[Any]:
    table, policy = table_of(name), POLICIES[name]
    assert policy.own is not None, f"{name} is nobody's"
    columns = [_unless_of_others(table, column) if column in policy.others else table.c[column] for column in handed_out(name)]
    rows = select(*columns).where(owned(table, policy.own), table.c.id > bindparam("after", type_=Uuid))
    return rows.order_by(table.c.id).limit(bindparam("size"))


def _unless_of_others(table: Any, column: str) -> Any:
    doer = table.c.performed_by
    by_the_person = or_(doer.is_(None), doer == bindparam(VALUES[By.USER], type_=Uuid))
    return case((by_the_person, table.c[column])).label(column)
