"""Runs the operations of open connections by the rules of single requests: the same documents, limits, quotas and errors.

A subscription is executed anew for every event, each time in a context of its own: what a loader has read for one event is not shown with
the next.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Protocol, cast

import structlog
from graphql import (
    ExecutionResult,
    Executor,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    create_source_event_stream,
    execute,
    execute_subscription_event,
)

from app.api.context import Context, RequestInfo
from app.api.documents import Document, Documents
from app.api.errors import UNAVAILABLE, RateLimited, formatted
from app.api.live.connections import Connection, Connections
from app.api.live.endings import INTERRUPTED, Ended, RequestErrors
from app.api.rate_limit import RateLimiter
from app.api.request import GraphQLRequest
from app.api.trusted_documents import TrustedDocuments
from app.core.changes import Fallen, Reason
from app.core.errors import RepositoryError, Unavailable
from app.core.factory import RepositoryFactory
from app.core.metrics import Metrics

TOO_SLOW = "TOO_SLOW"

Payload = dict[str, Any]
log = structlog.get_logger(__name__)


class Authenticates(Protocol):
    """Finds out who sends an operation, and counts it; raises `AccessDenied` and `RateLimited`."""

    async def __call__(self, info: RequestInfo) -> RepositoryFactory: ...


class EventSource(Protocol):
    """Events until it is closed: what the resolver of a subscription field gives. Of changed rows it is `updates.ChangedRows`; what tells
    of something else, such as figures that are looked at every few seconds, is any iterator that can be closed."""

    def __aiter__(self) -> AsyncIterator[Any]: ...

    async def aclose(self) -> None: ...


@dataclass(frozen=True)
class Rules:
    """What every operation goes by. `timeout` in seconds, of a query, a mutation, or one event."""

    documents: Documents
    trusted: TrustedDocuments
    limiter: RateLimiter
    authenticate: Authenticates
    timeout: float
    hide_suggestions: bool


@dataclass(frozen=True)
class Prepared:
    """An operation that may run."""

    document: Document
    operation: OperationDefinitionNode
    request: GraphQLRequest
    context: Context

    @property
    def kind(self) -> OperationType:
        return self.operation.operation


class Operations:
    """Prepares and runs operations."""

    def __init__(self, schema: GraphQLSchema, rules: Rules, connections: Connections, services: Any, metrics: Metrics) -> None:
        self._schema = schema
        self._rules = rules
        self._connections = connections
        self._services = services
        self._metrics = metrics

    async def admit(self, asked: GraphQLRequest, info: RequestInfo) -> Prepared:
        """As `prepare`, for an operation that is a message of its connection: it counts for its address as a request does."""
        await self._rules.limiter.admit_address(info)
        return await self.prepare(asked, info)

    async def prepare(self, asked: GraphQLRequest, info: RequestInfo) -> Prepared:
        """The operation that a request asks for, read, checked and counted. Raises `RequestErrors`, `AccessDenied` and `RateLimited`."""
        rules = self._rules
        try:
            repositories = await rules.authenticate(info)
            request = await rules.trusted.find(asked)
            document = rules.documents.read(request.query)
            operation = document.operation(request.operation_name)
            errors = rules.documents.check(document, request.operation_name, request.variables)
        except GraphQLError as error:
            errors = [error]
        except Unavailable:
            raise _unavailable() from None
        if errors:
            raise self._refusal("none", errors, info)
        await rules.trusted.keep(request)
        return Prepared(document, operation, request, Context(repositories, info, self._services))

    async def answer(self, prepared: Prepared) -> Payload:
        """The response of a query or a mutation. Raises `RequestErrors`."""
        return self._shown(await self._in_time(self._executed(prepared)), prepared)

    async def results(self, prepared: Prepared, connection: Connection) -> AsyncGenerator[Payload, None]:
        """The responses of an operation on a connection: one, or of a subscription one for each event.

        Raises `RequestErrors` where it does not run any further, and `Ended` where the connection cannot go on.
        """
        if prepared.kind is not OperationType.SUBSCRIPTION:
            yield await self.answer(prepared)
            return
        executor = self._executor(prepared)
        source = await self._source(executor, prepared)
        async with aclosing(source), aclosing(_events(source)) as events:
            with self._metrics.live_subscriptions.track_inprogress():
                async for event in events:
                    await self._connections.verify(connection)
                    yield self._shown(await self._in_time(self._event(executor, event)), prepared)

    def _executor(self, prepared: Prepared) -> Executor[Any]:
        built = Executor.build(
            self._schema,
            prepared.document.node,
            context_value=prepared.context,
            raw_variable_values=prepared.request.variables,
            operation_name=prepared.request.operation_name,
            hide_suggestions=self._rules.hide_suggestions,
        )
        if isinstance(built, list):
            raise self._refusal("subscription", built, prepared.context.request)
        return built

    async def _source(self, executor: Executor[Any], prepared: Prepared) -> EventSource:
        created = create_source_event_stream(executor)
        found = await self._in_time(created) if isinstance(created, Awaitable) else created
        if isinstance(found, ExecutionResult):
            raise self._refusal("subscription", found.errors or [], prepared.context.request)
        return cast(EventSource, found)

    async def _event(self, executor: Executor[Any], event: Any) -> ExecutionResult:
        """One event, executed in a context of its own."""
        context: Context = executor.context_value
        own = executor.build_per_event_executor(event)
        own.context_value = Context(context.repositories, context.request, context.services)
        result = execute_subscription_event(own)
        return result if isinstance(result, ExecutionResult) else await result

    async def _executed(self, prepared: Prepared) -> ExecutionResult:
        result = execute(
            self._schema,
            prepared.document.node,
            context_value=prepared.context,
            variable_values=prepared.request.variables,
            operation_name=prepared.request.operation_name,
            hide_suggestions=self._rules.hide_suggestions,
        )
        return result if isinstance(result, ExecutionResult) else await result

    async def _in_time(self, awaited: Awaitable[Any]) -> Any:
        try:
            async with asyncio.timeout(self._rules.timeout):
                return await awaited
        except TimeoutError:
            raise _unavailable(f"the operation took longer than {self._rules.timeout:g} s and was stopped") from None

    def _shown(self, result: ExecutionResult, prepared: Prepared) -> Payload:
        """A response. Without data because of its variables, it is one of an operation that did not run."""
        kind, errors = prepared.kind.value, result.errors or []
        if result.data is None and errors and all(error.path is None for error in errors):
            raise self._refusal(kind, errors, prepared.context.request)
        self._metrics.operations.labels(kind, "error" if errors else "success").inc()
        body: Payload = {"data": result.data}
        if errors:
            body["errors"] = [formatted(error, prepared.context.request.id) for error in errors]
        return body

    def _refusal(self, kind: str, errors: list[GraphQLError], info: RequestInfo) -> RequestErrors:
        self._metrics.operations.labels(kind, "error").inc()
        return RequestErrors([formatted(error, info.id) for error in errors])


async def _events(source: EventSource) -> AsyncGenerator[Any, None]:
    """The events of a source, as long as none is left out."""
    try:
        async for event in source:
            yield event
    except Fallen as fallen:
        if fallen.reason is Reason.BEHIND:
            raise RequestErrors.of(TOO_SLOW, "too many changes wait to be sent; subscribe to fewer, and read anew") from None
        raise Ended(INTERRUPTED) from None
    except RepositoryError as error:
        log.warning("event_not_read", error=type(error).__name__)
        raise Ended(INTERRUPTED) from None


def limited(error: RateLimited) -> RequestErrors:
    """What a client is told that asks too often."""
    return RequestErrors.of(error.code, str(error), retryAfter=error.retry_after)


def _unavailable(message: str = "the service cannot answer right now; try again shortly") -> RequestErrors:
    return RequestErrors.of(UNAVAILABLE, message)
