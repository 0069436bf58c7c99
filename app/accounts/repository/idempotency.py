"""Requests that are sent again: done once, answered as before."""

from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.dialects.postgresql import insert

from app.accounts.models.idempotency import IdempotencyKey
from app.core.claims import Claim
from app.core.errors import ErrorCode, UserError
from app.core.repository import Repository

LEASE: Final = timedelta(seconds=60)
"""How long a request may be under way: longer than any lasts."""

OTHER_INPUT = "this idempotency key was used with another input; use a new key for each request"
UNDER_WAY = "a request with this idempotency key is under way; ask again with the same key in some seconds to get its answer"


class IdempotencyRepository(Repository[IdempotencyKey]):
    """Keys are the system's: nobody sees any."""

    model = IdempotencyKey

    async def claim(self, claim: Claim) -> dict[str, Any] | None:
        """The answer that the request got before; None where the caller is to do it.

        Raises `UserError` CONFLICT: another input under this key, or the request is under way.
        """
        now = self.repositories.now()
        statement = self.statement("claim", self._claiming)
        values = {**claim.values, "input_hash": claim.input_hash, "leased_until": now + LEASE, "now": now}
        if await self.value(statement, **values) is not None:
            return None
        found = await self.find_first(claim.values)
        if found is None or (found.input_hash == claim.input_hash and found.answer is None):
            raise UserError(ErrorCode.CONFLICT, UNDER_WAY, "idempotency_key")
        if found.input_hash != claim.input_hash:
            raise UserError(ErrorCode.CONFLICT, OTHER_INPUT, "idempotency_key")
        return found.answer

    async def claim_inside(self, claim: Claim) -> dict[str, Any] | None:
        """As `claim`, in the transaction of the effect: whoever else has the key in a transaction is not waited for."""
        lock = self.statement("lock", lambda: select(func.pg_try_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0))))
        name = f"{claim.user_id}/{claim.operation}/{claim.key}"
        if not await self.value(lock, name=name):
            raise UserError(ErrorCode.CONFLICT, UNDER_WAY, "idempotency_key")
        return await self.claim(claim)

    async def answer(self, claim: Claim, answer: dict[str, Any]) -> None:
        """Keep what the request was answered."""
        await self.update_many(claim.values, {"answer": answer})

    async def release(self, claim: Claim) -> None:
        """Let the request be made anew: it came to nothing, or its end is not known yet."""
        await self.delete_many({**claim.values, "answer": None})

    async def delete_older(self, before: datetime) -> int:
        """Forget what was answered before a time."""
        return await self.delete_many({"created_at": {"lt": before}, "leased_until": {"lt": self.repositories.now()}})

    def _claiming(self) -> Any:
        """Takes the key where it is new, or where whoever took it has died."""
        columns = self.table.c
        names = ("user_id", "operation", "key", "input_hash", "leased_until")
        row = insert(self.table).values({name: bindparam(name, type_=columns[name].type) for name in names})
        died = columns.leased_until < bindparam("now", type_=columns.leased_until.type)
        same = columns.input_hash == row.excluded.input_hash
        return row.on_conflict_do_update(
            constraint="uq_idempotency_keys_user_id_operation_key",
            set_={"leased_until": row.excluded.leased_until},
            where=and_(columns.answer.is_(None), died, same),
        ).returning(columns.id)
