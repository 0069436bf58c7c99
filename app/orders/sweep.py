"""What nobody came back for: payments whose end is not known, and orders that were never paid.

A process that died between charging and settling, a lost answer, a bank that took its time: the provider is asked for the truth. A charge
that it has not made by then never will be made, so that the order can be given up and its stock sold to others.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final
from uuid import UUID

import structlog

from app.core.errors import RepositoryError
from app.core.factory import RepositoryFactory
from app.orders.models import Payment
from app.orders.payments import UNANSWERED, OtherProvider, answer, request_of
from app.orders.provider import Charge, ChargeState, PaymentProvider
from app.orders.refunds import ask
from app.orders.repository import PaymentRepository, RefundingRepository, RefundRepository, SettlementRepository

AT_ONCE: Final = 8
"""Questions to the provider at a time."""

PER_TURN: Final = 200
AUTHORIZED_EVERY: Final = timedelta(hours=1)
"""How often money that is set aside is asked after: it lapses when nobody captures it."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Sweep:
    """Settles payments that have been PENDING for `payment_patience`, and gives up orders that have waited for one for `order_patience`."""

    repositories: RepositoryFactory
    provider: PaymentProvider
    payment_patience: timedelta
    order_patience: timedelta

    async def run(self) -> None:
        """One turn. What cannot be settled now is looked at again after as long."""
        await self.settle_payments()
        await self.settle_refunds()
        await self.expire_orders()

    async def settle_payments(self) -> None:
        now = self.repositories.now()
        payments = self.repositories.of(PaymentRepository)
        waiting = await payments.take_unsettled(now - self.payment_patience, now - AUTHORIZED_EVERY, PER_TURN)
        room = asyncio.Semaphore(AT_ONCE)

        async def settle(payment: Payment) -> None:
            async with room:
                await self._settle(payment)

        await asyncio.gather(*(settle(payment) for payment in waiting))

    async def settle_refunds(self) -> None:
        refunds = self.repositories.of(RefundRepository)
        for refund in await refunds.take_unsettled(self.repositories.now() - self.payment_patience, PER_TURN):
            payment = await self.repositories.of(PaymentRepository).get_by_id(refund.payment_id)
            try:
                repayment = await ask(self.provider, request_of(payment, self.provider), refund)
                await self.repositories.of(RefundingRepository).settle_refund(refund, repayment)
            except (*UNANSWERED, OtherProvider, RepositoryError) as error:
                log.warning("refund_not_settled", refund=str(refund.id), error=type(error).__name__)

    async def expire_orders(self) -> None:
        orders = self.repositories.of(SettlementRepository)
        before = self.repositories.now() - self.order_patience
        expired = await self._expire(await orders.find_expired(before, PER_TURN))
        if expired:
            log.info("orders_expired", orders=expired)

    async def _settle(self, payment: Payment) -> None:
        """Ask and settle; nothing that happens to one payment keeps the others waiting."""
        try:
            charge = await self._truth(payment)
            await self.repositories.of(SettlementRepository).settle_payment(payment, charge)
        except (*UNANSWERED, OtherProvider, RepositoryError) as error:
            log.warning("payment_not_settled", payment=str(payment.id), error=type(error).__name__)
        else:
            log.info("payment_swept", payment=str(payment.id), state=charge.state)

    async def _truth(self, payment: Payment) -> Charge:
        """How the charge stands; one that was not made, or whose money is let go of, is cancelled."""
        request = request_of(payment, self.provider)
        found = await answer(self.provider, self.provider.find(request))
        unwanted = found.state == ChargeState.OPEN or payment.voiding_at is not None
        return await answer(self.provider, self.provider.cancel(request)) if unwanted else found

    async def _expire(self, ids: Iterable[UUID]) -> int:
        orders, before = self.repositories.of(SettlementRepository), self.repositories.now() - self.order_patience
        expired = 0
        for id in ids:
            try:
                expired += await orders.expire(id, before)
            except RepositoryError as error:
                log.warning("order_not_expired", order=str(id), error=type(error).__name__)
        return expired
