"""Time, count and log every repository operation under its name, and say in each failure which operation of which entity it was.

`Instrumented` wraps the public coroutine methods of its subclasses when the class is made, so no method repeats any of this.
"""

import functools
import inspect
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, ClassVar, Concatenate, ParamSpec, TypeVar, cast

import structlog

from app.core.errors import ConstraintViolation, ErrorCode, RepositoryError, UserError
from app.core.metrics import Metrics

P = ParamSpec("P")
T = TypeVar("T")
SLOW_SECONDS = 0.5
STATEMENTS = frozenset({"rows", "row", "value"})
"""Methods that run one statement for an operation; the operation is what counts."""

log = structlog.get_logger(__name__)


class Instrumented:
    """Base of repositories: its subclasses' public coroutine methods are operations."""

    entity: ClassVar[str] = ""
    constraints: ClassVar[dict[str, tuple[ErrorCode, str, str]]] = {}
    """What a constraint's violation means to a user: code, field, message. Unlisted constraints are internal errors."""

    metrics: Metrics

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name, member in list(vars(cls).items()):
            if not name.startswith("_") and name not in STATEMENTS and inspect.iscoroutinefunction(member):
                setattr(cls, name, instrumented(member))


def instrumented(method: Callable[Concatenate[Any, P], Awaitable[T]]) -> Callable[Concatenate[Any, P], Coroutine[Any, Any, T]]:
    operation = method.__name__

    @functools.wraps(method)
    async def run(self: Any, *args: P.args, **kwargs: P.kwargs) -> T:
        started = time.perf_counter()
        result = "error"
        try:
            answer = await method(self, *args, **kwargs)
            result = "success"
            return answer
        except UserError:
            result = "refused"
            raise
        except RepositoryError as error:
            explained = _explained(self, operation, error)
            if explained is error:
                # Its cause says whether a transaction is worth another try.
                raise
            raise explained from error
        finally:
            record(self.metrics, self.entity, operation, result, time.perf_counter() - started)

    return cast(Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], run)


def _explained(repository: Instrumented, operation: str, error: RepositoryError) -> Exception:
    """The user's error that a constraint stands for, else the same error with its place."""
    if isinstance(error, ConstraintViolation) and error.constraint in repository.constraints:
        code, field, message = repository.constraints[error.constraint]
        return UserError(code, message, field)
    return error.located(operation, repository.entity)


def record(metrics: Metrics, entity: str, operation: str, result: str, seconds: float) -> None:
    """Time and count what was done with an entity, and log it where it took long."""
    metrics.tally.time(metrics.operation_timer(entity, operation, result), seconds)
    if seconds > SLOW_SECONDS:
        log.warning("slow_operation", entity=entity, operation=operation, result=result, seconds=round(seconds, 3))
