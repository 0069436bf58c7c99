"""What shoppers are told of their own doings, by a notification and a mail: an outbox in the queue of jobs, as `stores.events` is.

    await notify(self.repositories, Notice.PAYMENT_FAILED, order.user_id, Order=order.id)

The job is part of the transaction that makes it so, and carries ids alone; `engagement.notices` works it off.
"""

from enum import StrEnum
from typing import Final
from uuid import UUID

from uuid_utils.compat import uuid7

from app.core.factory import RepositoryFactory

NOTIFY_JOB: Final = "accounts.notify"


class Notice(StrEnum):
    """What there is to tell. An order whose money is set aside is confirmed then, and not once more when it is taken."""

    ORDER_CONFIRMED = "ORDER_CONFIRMED"
    PAYMENT_FAILED = "PAYMENT_FAILED"


async def notify(repositories: RepositoryFactory, notice: Notice, user_id: UUID, **subjects: UUID | None) -> None:
    """Tell a shopper if the open transaction commits. `subjects` are ids by the name of their GraphQL type."""
    await repositories.enqueue(NOTIFY_JOB, id=uuid7(), notice=notice.value, user_id=user_id, subjects=subjects)
