"""The log of what happened to the security of accounts."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Text, and_, bindparam, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from app.accounts.models import PROOFS, SecurityEvent, SecurityEventType, User
from app.core.repository import Repository
from app.core.scope import of_store, own_rows
from app.core.security import ViewerKind

USERS = User.__table__  # type: ignore[attr-defined]
FAMILIAR_DAYS = 90
MOST_PLACES = 100


class SecurityEventRepository(Repository[SecurityEvent]):
    """Everybody sees the events of the own account; staff with the permission those of their store's users."""

    model = SecurityEvent

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        own = own_rows(table, viewer)
        if viewer is not ViewerKind.STAFF:
            return own
        return or_(own, table.c.user_id.in_(select(USERS.c.id).where(of_store(USERS.c.store_id, "security"))))

    async def record(self, event: Mapping[str, Any]) -> None:
        """Write down an event; one whose id is there already was written by an earlier attempt at the same."""
        given = {name: value for name, value in event.items() if value is not None}
        statement = self.statement(
            ("record", tuple(given)),
            lambda: (
                insert(self.table)
                .values({name: self._parameter(name) for name in given})
                .on_conflict_do_nothing(index_elements=[self.table.c.id])
                .returning(self.table.c.id)
            ),
        )
        await self.row(statement, **{f"v_{name}": value for name, value in given.items()})

    async def record_failed_sign_in(self, email: str, ip_address: str | None, user_agent: str | None) -> None:
        """Write down a failure for the account of an address, if there is one: the same statement either way."""
        statement = self.statement("record_failed_sign_in", self._recording_failure)
        await self.row(statement, email=email, ip_address=ip_address, user_agent=user_agent)

    async def find_familiar_addresses(self, email: str) -> list[str]:
        """From where the account of an email was entered by its owner in the last `FAMILIAR_DAYS` days; nothing where there is none."""
        statement = self.statement("find_familiar_addresses", self._familiar)
        rows = await self.rows(statement, email=email, proofs=[kind.value for kind in PROOFS])
        return [row.ip_address for row in rows if row.ip_address]

    async def delete_before(self, moment: datetime) -> int:
        """Remove what is older; returns how many."""
        return await self.delete_many({"created_at": {"lt": moment}})

    def _recording_failure(self) -> Any:
        place = (cast(bindparam(name), self.table.c[name].type) for name in ("ip_address", "user_agent"))
        failure = literal(SecurityEventType.SIGN_IN_FAILED.value, Text)
        source = select(USERS.c.id, failure, *place).where(self._has_email())
        return insert(self.table).from_select(["user_id", "type", "ip_address", "user_agent"], source).returning(self.table.c.id)

    def _familiar(self) -> Any:
        columns = self.table.c
        last = func.max(columns.created_at)
        return (
            select(columns.ip_address)
            .join_from(self.table, USERS, USERS.c.id == columns.user_id)
            .where(self._has_email(), columns.type == func.any(bindparam("proofs", type_=ARRAY(Text))))
            .where(columns.created_at > func.now() - timedelta(days=FAMILIAR_DAYS))
            .group_by(columns.ip_address)
            .order_by(last.desc())
            .limit(MOST_PLACES)
        )

    def _has_email(self) -> ColumnElement[bool]:
        return and_(func.lower(USERS.c.email) == func.lower(bindparam("email")), ~USERS.c.is_deleted)
