"""Write methods of several statements."""

import functools
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from app.core.database import Database, Transaction
from app.core.repository.scoped import Scoped

P = ParamSpec("P")
T = TypeVar("T")


def transactional(method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    """A write method of several statements: joins the open transaction with a savepoint, or runs in one of its own, with retries."""

    @functools.wraps(method)
    async def run(self: Scoped[Any], *args: P.args, **kwargs: P.kwargs) -> T:
        transaction = self.session.current_transaction
        if transaction is not None:
            async with transaction.savepoint():
                return await method(self, *args, **kwargs)

        async def work(own: Transaction) -> T:
            return await method(self.repositories.bound_to(own).like(self), *args, **kwargs)

        return await cast(Database, self.session).retry(work)

    return cast(Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], run)
