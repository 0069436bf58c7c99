"""What makes repositories: a session, a viewer, and what they share (cache, metrics, clock).

The application's own factory (`app.repositories`) adds an attribute per repository; a repository reaches its siblings, on the same
transaction, with `self.repositories.of(ProductRepository)`.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Self, TypeVar

import structlog

from app.core import jobs
from app.core.cache import Cache
from app.core.changes import Changes
from app.core.clickhouse import ClickHouse
from app.core.clock import Clock, system_clock
from app.core.database import Database, Session, Transaction
from app.core.errors import Unavailable
from app.core.metrics import Metrics
from app.core.security import SYSTEM, Viewer

R = TypeVar("R")


@dataclass(frozen=True)
class RepositoryFactory:
    """Repositories for one viewer on one session. Cheap to copy: `scoped` and `transaction` give copies."""

    database: Database
    cache: Cache
    metrics: Metrics
    session: Session
    viewer: Viewer = SYSTEM
    now: Clock = system_clock
    clickhouse: ClickHouse | None = None
    changes: Changes | None = None
    logger: Any = field(default_factory=structlog.get_logger, repr=False)

    def of(self, repository: type[R]) -> R:
        """A repository of this class on this session, for this viewer."""
        return repository(self.session, self, self.viewer)  # type: ignore[call-arg]

    def like(self, repository: R) -> R:
        """A repository of the same class on this session, for the same viewer."""
        viewer: Viewer = repository.viewer  # type: ignore[attr-defined]
        return self.scoped(viewer).of(type(repository))

    def scoped(self, viewer: Viewer) -> Self:
        """The same repositories, each statement carrying this viewer's row scope."""
        return replace(self, viewer=viewer)

    @property
    def unscoped(self) -> Self:
        """The same repositories for the system itself: for rules that must see more than the viewer may."""
        return self.scoped(SYSTEM)

    @property
    def analytical(self) -> ClickHouse:
        """ClickHouse; raises `Unavailable` where this process has none."""
        if self.clickhouse is None:
            raise Unavailable("this process has no ClickHouse")
        return self.clickhouse

    def bound_to(self, transaction: Transaction) -> Self:
        return replace(self, session=transaction)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Self]:
        """The same repositories on one transaction; inside another one, on a savepoint of it."""
        current = self.session.current_transaction
        if current is not None:
            async with current.savepoint():
                yield self
        else:
            async with self.database.transaction() as own:
                yield self.bound_to(own)

    async def after_commit(self, callback: Callable[[], Awaitable[Any]]) -> None:
        """Run a callback once the open transaction has committed; at once where none is open, since the statement has."""
        transaction = self.session.current_transaction
        if transaction is not None:
            transaction.after_commit(callback)
        else:
            await callback()

    async def enqueue(self, job: str, **arguments: object) -> None:
        """Have a job done if the open transaction commits; where none is open, for sure. The arguments can be read in the database."""
        await self.enqueue_later(None, job, **arguments)

    async def enqueue_later(self, delay: timedelta | None, job: str, **arguments: object) -> None:
        """As `enqueue`, but not before a delay."""
        transaction = self.session.current_transaction
        if transaction is not None:
            await jobs.enqueue(transaction, job, arguments, delay)
        else:
            async with self.database.transaction() as own:
                await jobs.enqueue(own, job, arguments, delay)
