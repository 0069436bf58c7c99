"""Carts of those who have not signed in: taken over by an account, or removed when they are old."""

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, bindparam, delete, or_, select

from app.carts.merging import merged
from app.carts.models import OPEN_STATUSES, Cart, CartStatus
from app.carts.repository.carts import CartRepository
from app.carts.repository.items import CartItemRepository
from app.carts.repository.recovery import RecoveryEventRepository
from app.core.repository import Repository, transactional

REMOVED_AT_ONCE = 1000
"""So many carts go in one statement, which holds its locks only for a moment."""


class GuestCartRepository(Repository[Cart]):
    """For the system: nobody's row scope shows carts here."""

    model = Cart

    async def is_known(self, token_hash: str) -> bool:
        """Whether a guest with this token has a cart to go on with."""
        return await self.exists({"cart_token_hash": token_hash, "status": list(OPEN_STATUSES)})

    @transactional
    async def give_to(self, user_id: UUID, token_hash: str) -> list[Cart]:
        """Put what a guest has into the carts of an account, store by store; gives those. The token opens nothing afterwards.

        Guests' carts are locked before the account's, each in the order of stores: sign-ins that race wait for each other, and the second
        finds nothing left.
        """
        guests = await self.rows(self.statement("lock_guests", self._guests), token_hash=token_hash)
        return [await self.take_over(guest, user_id) for guest in guests]

    async def take_over(self, guest: Cart, user_id: UUID) -> Cart:
        """Put what is in a guest's cart, which is locked, into the account's; gives that."""
        cart = await self._merge(guest, user_id)
        await self.repositories.of(RecoveryEventRepository).follow(guest.id, cart.id)
        gone = {"user_id": user_id, "cart_token_hash": None, "email": None, "status": CartStatus.EXPIRED.value}
        await self.update_by_id(guest.id, {**self._deletion(), **gone})
        return cart

    async def remove_old(self, before: datetime) -> int:
        """Remove the carts of guests that have not changed since; gives how many. Nothing hangs on them: a guest has no orders."""
        total = 0
        while True:
            gone = await self.rows(self.statement("remove_old", self._old), before=before, row_limit=REMOVED_AT_ONCE)
            total += len(gone)
            if len(gone) < REMOVED_AT_ONCE:
                return total

    async def _merge(self, guest: Cart, user_id: UUID) -> Cart:
        carts, items = self.repositories.of(CartRepository), self.repositories.of(CartItemRepository)
        cart = await carts.obtain_active(user_id, guest.store_id)
        own = await items.find_by_cart_id(cart.id)
        if not own and cart.currency != guest.currency:
            cart = await carts.update_by_id(cart.id, {"currency": guest.currency})
        brought = await items.find_offers([item.id for item in await items.find_by_cart_id(guest.id)])
        lines = merged(own, [offer for offer in brought if offer is not None], cart.currency)
        if not lines:
            return cart
        await items.put(cart.id, lines)
        if cart.voucher_id is None and guest.voucher_id is not None:
            await carts.update_by_id(cart.id, {"voucher_id": guest.voucher_id, "voucher_code": guest.voucher_code})
        return await carts.recalculate_total(cart.id)

    def _guests(self) -> Any:
        columns = self.table.c
        own = (columns.cart_token_hash == bindparam("token_hash"), self._is_open(), ~columns.is_deleted)
        return select(self.table).where(*own).order_by(columns.store_id, columns.id).with_for_update()

    def _is_open(self) -> ColumnElement[bool]:
        return or_(*(self.table.c.status == status.value for status in OPEN_STATUSES))

    def _old(self) -> Any:
        columns = self.table.c
        old = (columns.cart_token_hash.is_not(None), columns.user_id.is_(None), columns.updated_at < bindparam("before"))
        chosen = select(columns.id).where(*old, self._is_open()).limit(bindparam("row_limit")).with_for_update(skip_locked=True)
        return delete(self.table).where(columns.id.in_(chosen.scalar_subquery())).returning(columns.id)
