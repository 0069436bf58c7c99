"""Addresses that want no reminders."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import any_, bindparam, select
from sqlalchemy.dialects.postgresql import ARRAY, insert

from app.accounts.models import MailOptOut
from app.core.repository import Repository


class MailOptOutRepository(Repository[MailOptOut]):
    """For the system: nobody sees who wants no mails."""

    model = MailOptOut

    async def among(self, hashes: Sequence[str]) -> set[str]:
        """Those of the addresses that want no reminders."""
        statement = self.statement("among", self._among)
        return {row.address_hash for row in await self.rows(statement, hashes=list(hashes))}

    async def add(self, address_hash: str) -> None:
        """Let an address get no more reminders; twice is once."""
        await self.row(self.statement("add", self._adding), address_hash=address_hash)

    async def remove(self, address_hash: str) -> None:
        await self.delete_many({"address_hash": address_hash})

    def _among(self) -> Any:
        column = self.table.c.address_hash
        return select(column).where(column == any_(bindparam("hashes", type_=ARRAY(column.type))))

    def _adding(self) -> Any:
        column = self.table.c.address_hash
        row = insert(self.table).values(address_hash=bindparam("address_hash", type_=column.type))
        return row.on_conflict_do_nothing().returning(column)
