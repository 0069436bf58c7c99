"""Vouchers, and the orders that hold them.

Whoever redeems a voucher locks its row first, so of those who race for its last uses as many get one as there are, and nobody holds one
twice that is for one purchase of each. Stock is locked after it, never before.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, ClassVar
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, func, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from app.carts.models import Voucher, VoucherCreate, VoucherRedemption, VoucherUpdate
from app.core.errors import ErrorCode, NotFound, UserError
from app.core.money import InvalidAmount, exact
from app.core.repository import Repository, as_values, transactional
from app.core.scope import store_rows
from app.core.security import ViewerKind
from app.stores.repository import StoreSettingsRepository

REDEMPTIONS = VoucherRedemption.__table__  # type: ignore[attr-defined]
AMOUNTS = ("amount", "minimum_amount")


class VoucherRepository(Repository[Voucher]):
    """Vouchers are for the staff of their store."""

    model = Voucher
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {
        "uq_vouchers_store_id_code": (ErrorCode.TAKEN, "code", "the store has another voucher with this code"),
        "fk_vouchers_store_id_stores": (ErrorCode.NOT_FOUND, "storeId", "a store with this id does not exist"),
        "ck_vouchers_percent_or_amount": (ErrorCode.INVALID, "percent", "give either percent or amount, and only one of them"),
        "ck_vouchers_uses": (ErrorCode.INVALID, "maxUses", "the voucher has been used more often than that"),
        "ck_vouchers_dates": (ErrorCode.INVALID, "endsAt", "must be after startsAt"),
    }

    def scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "vouchers")

    def write_scope(self, table: Any, viewer: ViewerKind) -> ColumnElement[bool]:
        return store_rows(table, viewer, "vouchers", "write")

    # --- For staff

    @transactional
    async def create_within(self, voucher: VoucherCreate) -> Voucher:
        """A new voucher, in its store's currency.

        Raises `UserError`: not a store that the viewer works for, another currency, an amount with too many decimals, a code that is taken.
        """
        store_id = voucher.store_id
        if not self.viewer.may("vouchers:write", store_id):
            raise UserError(ErrorCode.NOT_FOUND, "you work for no store with this id", "storeId")
        settings = await self.repositories.unscoped.of(StoreSettingsRepository).find_first({"store_id": store_id})
        currency = voucher.currency or (settings.currency if settings else "USD")
        if settings is not None and currency != settings.currency:
            raise UserError(ErrorCode.CURRENCY_MISMATCH, f"the store sells in {settings.currency}", "currency")
        values = {**as_values(voucher), "currency": currency}
        _check_amounts(values, currency)
        return await self.create(values)

    @transactional
    async def update_voucher(self, id: UUID, change: VoucherUpdate) -> Voucher:
        """Change a voucher; carts that have it show so when they change. Raises `NotFound`; `UserError` as creating one does."""
        current = await self.lock_by_id(id)
        if current is None:
            raise NotFound("no Voucher has this id")
        values = as_values(change)
        _check_amounts(values, current.currency)
        return await self.update_by_id(id, values) if values else current

    # --- For shoppers

    async def find_by_code(self, store_id: UUID | None, code: str) -> Voucher | None:
        """The store's voucher with a code, in either case."""
        return None if store_id is None else await self.find_first({"store_id": store_id, "code": code.strip().upper()})

    async def is_held(self, id: UUID, user_id: UUID) -> bool:
        """Whether an order of the shopper's holds the voucher."""
        statement = self.statement("is_held", self._holding)
        return bool(await self.value(statement, voucher_id=id, user_id=user_id))

    # --- For orders

    async def redeem(self, id: UUID, order_id: UUID, user_id: UUID) -> None:
        """Have an order hold a voucher, which the caller has locked and found to be good."""
        await self.rows(self.statement("redeem", self._redeeming), id=id, order_id=order_id, user_id=user_id)

    async def release(self, order_id: UUID) -> None:
        """Let go of the voucher that an order holds, if it does: somebody else may use it."""
        await self.rows(self.statement("release", self._releasing), order_id=order_id, now=self.repositories.now())

    # --- Statements

    def _holding(self) -> Any:
        columns = REDEMPTIONS.c
        held = (columns.voucher_id == bindparam("voucher_id"), columns.user_id == bindparam("user_id"), columns.released_at.is_(None))
        return select(func.count()).select_from(REDEMPTIONS).where(*held)

    def _redeeming(self) -> Any:
        columns = REDEMPTIONS.c
        counted = self._counting(+1).where(self.table.c.id == bindparam("id")).returning(self.table.c.id).cte("counted")
        names = ("order_id", "user_id")
        given = select(counted.c.id, *(bindparam(name, type_=columns[name].type) for name in names))
        row = upsert(REDEMPTIONS).from_select(["voucher_id", *names], given)
        again = {"voucher_id": row.excluded.voucher_id, "released_at": None, "updated_at": func.now()}
        return row.on_conflict_do_update(index_elements=["order_id"], set_=again).returning(columns.id)

    def _releasing(self) -> Any:
        columns = REDEMPTIONS.c
        held = (columns.order_id == bindparam("order_id"), columns.released_at.is_(None))
        now = bindparam("now", type_=columns.released_at.type)
        released = update(REDEMPTIONS).where(*held).values(released_at=now, updated_at=now).returning(columns.voucher_id).cte("released")
        return self._counting(-1).where(self.table.c.id == released.c.voucher_id).returning(self.table.c.id)

    def _counting(self, step: int) -> Any:
        return update(self.table).values(uses=self.table.c.uses + step, updated_at=func.now())


def _check_amounts(values: Mapping[str, Any], currency: str) -> None:
    for name in AMOUNTS:
        amount: Decimal | None = values.get(name)
        try:
            exact(amount or Decimal(0), currency)
        except InvalidAmount as error:
            raise UserError(ErrorCode.INVALID, str(error), name) from error
