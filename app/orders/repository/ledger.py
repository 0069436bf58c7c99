"""The test provider's book: one line per idempotency key, whoever races."""

import hashlib
from decimal import Decimal
from typing import Any

from sqlalchemy import bindparam, update
from sqlalchemy.dialects.postgresql import insert

from app.core.repository import Repository, transactional
from app.orders.models.ledger import TestCharge, TestRefund
from app.orders.provider import ChargeRequest, ChargeState, RepaymentRequest


class TestRefunds(Repository[TestRefund]):
    """Knows every refund of the test provider."""

    __test__ = False
    model = TestRefund


class TestLedger(Repository[TestCharge]):
    """Knows every charge of the test provider."""

    __test__ = False
    model = TestCharge

    async def enter(self, request: ChargeRequest, state: ChargeState, **failure: str) -> tuple[TestCharge, bool]:
        """The line of a request's key, and whether it was written just now."""
        captured = request.amount if state is ChargeState.SUCCEEDED else Decimal(0)
        name = f"test_{hashlib.sha256(request.idempotency_key.encode()).hexdigest()[:32]}"
        values = {"key": request.idempotency_key, "transaction_id": name, "amount": request.amount, "currency": request.currency}
        outcome = {"captured": captured, "state": state, "failure_code": None, "failure_message": None, **failure}
        statement = self.statement("enter", self._entering)
        made = await self.row(statement, **values, **outcome)
        return made or await self.get_by_key(request.idempotency_key), made is not None

    async def find_by_key(self, key: str) -> TestCharge | None:
        return await self.find_first({"key": key})

    async def get_by_key(self, key: str) -> TestCharge:
        found = await self.find_by_key(key)
        assert found is not None, "lines are never removed"
        return found

    async def settle(self, key: str, source: ChargeState, state: ChargeState, **failure: str) -> TestCharge:
        """Let a charge that stands at `source` go on; others stay as they are."""
        given = {"state": state, "failure_code": None, "failure_message": None, **failure}
        statement = self.statement(("settle", state), lambda: self._settling(state))
        moved = await self.row(statement, key=key, source=source, now=self.repositories.now(), **given)
        return moved or await self.get_by_key(key)

    async def capture(self, key: str, amount: Decimal) -> TestCharge:
        """Take of what is set aside; a charge of which nothing is stays as it is."""
        statement = self.statement("capture", self._capturing)
        taken = await self.row(statement, key=key, captured=amount, now=self.repositories.now())
        return taken or await self.get_by_key(key)

    @transactional
    async def give_back(self, request: RepaymentRequest) -> str | None:
        """The name of a refund; None where more would be given back than was taken."""
        refunds = self.repositories.of(TestRefunds)
        found = await self.find_by_key(request.charge.idempotency_key)
        charge = await self.lock_by_id(found.id) if found else None
        known = await refunds.find_first({"key": request.idempotency_key})
        if known is not None:
            return f"test_{known.id.hex}"
        if charge is None or charge.refunded + request.amount > charge.captured:
            return None
        await self.update_by_id(charge.id, {"refunded": charge.refunded + request.amount})
        line = {"key": request.idempotency_key, "charge_id": charge.id, "amount": request.amount, "currency": charge.currency}
        return f"test_{(await refunds.create(line)).id.hex}"

    def _capturing(self) -> Any:
        columns = self.table.c
        amount = bindparam("captured", type_=columns.captured.type)
        open_ = (columns.key == bindparam("key"), columns.state == ChargeState.AUTHORIZED.value, columns.amount >= amount)
        values = {"state": ChargeState.SUCCEEDED.value, "captured": amount, "updated_at": bindparam("now", type_=columns.updated_at.type)}
        return update(self.table).where(*open_).values(values).returning(*columns)

    def _entering(self) -> Any:
        names = ("key", "transaction_id", "amount", "currency", "captured", "state", "failure_code", "failure_message")
        values = {name: bindparam(name, type_=self.columns[name].type) for name in names}
        # No index is named: of two that race, one may also meet the other's transaction id, which is made of the key.
        return insert(self.table).values(values).on_conflict_do_nothing().returning(*self.table.c)

    def _settling(self, state: ChargeState) -> Any:
        columns = self.table.c
        values = {name: bindparam(name, type_=columns[name].type) for name in ("state", "failure_code", "failure_message")}
        captured = {"captured": columns.amount} if state is ChargeState.SUCCEEDED else {}
        return (
            update(self.table)
            .where(columns.key == bindparam("key"), columns.state == bindparam("source"))
            .values(**values, **captured, updated_at=bindparam("now", type_=columns.updated_at.type))
            .returning(*columns)
        )
