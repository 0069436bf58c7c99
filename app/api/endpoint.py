"""GraphQL over HTTP: authenticate, read, check, execute, answer.

One instance serves /graphql. Authentication and repositories come from outside (`Gateway`), so this file knows no domain.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Protocol

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationDefinitionNode, OperationType, execute
from starlette.requests import Request
from starlette.responses import Response

from app.api.cache_control import NEVER, Policy
from app.api.client import Clients
from app.api.context import Context, RequestInfo, SessionCookie
from app.api.documents import Document, Documents
from app.api.errors import UNAVAILABLE, AccessDenied, RateLimited, formatted
from app.api.http_cache import mirrored
from app.api.live.event_stream import EventStreams
from app.api.rate_limit import RateLimiter, rate_headers
from app.api.repeated import BYTES_PER_BYTE, ENTRY_BYTES, ReadyQuery, RepeatedQueries
from app.api.request import (
    EVENT_STREAM,
    JSON,
    RESPONSE_JSON,
    GraphQLRequest,
    RequestRefused,
    late_body,
    media_type_for,
    read_body,
    read_parameters,
)
from app.api.response_cache import ResponseCache, place_of
from app.api.trusted_documents import TrustedDocuments
from app.api.whole import WholeResponse
from app.core.deadline import TimeLimit
from app.core.errors import Unavailable
from app.core.factory import RepositoryFactory
from app.core.metrics import Metrics
from app.execution.explain import explain
from app.execution.runtime import CompiledExecution

log = structlog.get_logger(__name__)


class Authenticates(Protocol):
    """Finds out who sends a request; raises `AccessDenied` for a credential that is no longer good."""

    async def __call__(self, info: RequestInfo) -> RepositoryFactory: ...


@dataclass(frozen=True)
class EndpointOptions:
    """`timeout` in seconds, `max_bytes` of a request's body; `show_cost` tells callers what their operations cost.

    `explains`: the header X-Explain: 1 asks how a query is executed, as `extensions.explain`.
    """

    timeout: float = 15
    max_bytes: int = 1_000_000
    hide_suggestions: bool = False
    show_cost: bool = False
    explains: bool = False


@dataclass(frozen=True)
class Edge:
    """What a request passes before anything runs: who sends it, how often, which document it names, and whether its answer is there."""

    clients: Clients
    limiter: RateLimiter
    trusted: TrustedDocuments
    streams: EventStreams
    cache: ResponseCache | None = None


class GraphQLEndpoint:
    """Answers GraphQL requests over HTTP."""

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: Documents,
        edge: Edge,
        authenticate: Authenticates,
        services: Any,
        metrics: Metrics,
        options: EndpointOptions,
        compiled: CompiledExecution | None = None,
    ) -> None:
        """Queries that `compiled` cannot answer exactly, and all of them where there is none, are executed by resolvers."""
        self._schema = schema
        self._compiled = compiled
        self._documents = documents
        self._edge = edge
        self._authenticate = authenticate
        self._services = services
        self._counted = lru_cache(maxsize=None)(metrics.operations.labels)
        self._tally = metrics.tally
        self._options = options
        self._repeated = RepeatedQueries()
        self._time_limit = TimeLimit(options.timeout)

    async def answer(self, request: Request) -> Response:
        media_type = "application/json"
        info: RequestInfo | None = None
        try:
            media_type = media_type_for(request.headers.get("accept"))
            info = self._edge.clients.info(request)
            response = await self._answer(request, info, media_type)
        except RequestRefused as refused:
            response = _response({"errors": [{"message": refused.message}]}, media_type, refused.status, refused.headers)
        if info is not None:
            response.raw_headers += rate_headers(info.reply)
            self._edge.clients.write_cookies(request, info, response)
        return response

    async def _answer(self, request: Request, info: RequestInfo, media_type: str) -> Response:
        timeout, body = self._options.timeout, None
        try:
            await self._edge.limiter.admit_address(info)
            with self._time_limit.block():
                body = await read_body(request, self._options.max_bytes)
                if media_type == EVENT_STREAM:
                    return await self._edge.streams.answer(request, body, info)
                result = await self._run(request, body, info)
        except TimeoutError:
            if body is None:
                raise late_body(timeout) from None
            log.warning("request_timed_out", seconds=timeout)
            result = Outcome.failure(UNAVAILABLE, f"the request took longer than {timeout:g} s and was stopped", 503)
        except Unavailable:
            result = Outcome.failure(UNAVAILABLE, "the service cannot answer right now; try again shortly", 503)
        except AccessDenied as denied:
            result = Outcome.failure(denied.code, str(denied), 401)
        except RateLimited as limited:
            result = Outcome.limited(limited)
        self._tally.count(self._counted(result.kind, "error" if "errors" in result.body else "success"))
        response = Composed(result.composed, media_type) if result.composed is not None else result.response(media_type)
        return mirrored(response, request, result.policy) if result.policy.max_age and info.reply.session is None else response

    async def _run(self, request: Request, body: bytes, info: RequestInfo) -> "Outcome":
        repositories = await self._viewed(info)
        explains = self._options.explains and request.headers.get("x-explain") == "1"
        repeated = None if explains else self._repeated.find(body, repositories.viewer)
        if repeated is not None and (answer := await repeated.answer(repositories)) is not None:
            return Outcome.answered(answer, repeated.policy)
        asked = read_parameters(request, body)
        try:
            parameters = await self._edge.trusted.find(asked)
            document = self._documents.read(parameters.query)
            operation = document.operation(parameters.operation_name)
        except GraphQLError as error:
            return Outcome.request_errors([error], info)
        if request.method == "GET" and operation.operation is not OperationType.QUERY:
            raise RequestRefused(405, "Mutations and subscriptions need POST.", {"Allow": "POST"})
        errors = self._documents.check(document, parameters.operation_name, parameters.variables)
        if errors:
            return self._priced(Outcome.request_errors(errors, info), document, parameters)
        if operation.operation is OperationType.SUBSCRIPTION:
            raise RequestRefused(400, f"Subscriptions need Accept: {EVENT_STREAM}, or a WebSocket with graphql-transport-ws.")
        if operation.operation is OperationType.MUTATION:
            self._edge.clients.check_intent(request, info)
        await self._edge.trusted.keep(parameters)
        context = Context(repositories=repositories, request=info, services=self._services)
        if explains and operation.operation is OperationType.QUERY:
            return await self._explained(document, operation, parameters, context)
        ready = self._ready(document, operation, parameters, context, len(body))
        if ready is not None and (answer := await ready.answer(repositories)) is not None:
            # A text that came with its hash must be registered each time: the shared cache may have forgotten it.
            if body and not (asked.query and asked.document_id):
                self._repeated.keep(body, repositories.viewer, ready)
            return Outcome.answered(answer, ready.policy)
        result = await self._execute(document, parameters, context)
        policy = self._policy(document, operation, context) if result.errors is None else NEVER
        return self._priced(Outcome.executed(result, info, operation.operation.value, policy), document, parameters)

    async def _viewed(self, info: RequestInfo) -> RepositoryFactory:
        """The caller's repositories. A browser whose session has ended goes on as nobody, or it could not even sign in again."""
        try:
            return await self._authenticate(info)
        except AccessDenied:
            if not info.by_cookie:
                raise
        info.reply.session = SessionCookie()
        return await self._authenticate(replace(info, token=None, by_cookie=False))

    def _priced(self, outcome: "Outcome", document: Document, parameters: GraphQLRequest) -> "Outcome":
        """The outcome, telling what its operation cost where callers are to know."""
        if self._options.show_cost:
            outcome.body["extensions"] = self._extensions(document, parameters)
        return outcome

    def _extensions(self, document: Document, parameters: GraphQLRequest) -> dict[str, Any]:
        return {"cost": self._documents.cost(document, parameters.operation_name, parameters.variables)}

    def _ready(
        self, document: Document, operation: OperationDefinitionNode, parameters: GraphQLRequest, context: Context, size: int
    ) -> ReadyQuery | None:
        """The query, ready for PostgreSQL to compose its answer; None where resolvers must give it."""
        if self._compiled is None or operation.operation is not OperationType.QUERY:
            return None
        bound = self._compiled.prepare(document.text, document.node, operation, parameters.variables, context)
        if bound is None:
            return None
        end = b',"extensions":%b}' % orjson.dumps(self._extensions(document, parameters)) if self._options.show_cost else b"}"
        policy = self._policy(document, operation, context)
        place = place_of(bound, policy, document.text, parameters.operation_name, parameters.variables)
        return ReadyQuery(self._compiled, bound, end, ENTRY_BYTES + BYTES_PER_BYTE * size, policy, place, self._edge.cache)

    def _policy(self, document: Document, operation: OperationDefinitionNode, context: Context) -> Policy:
        return self._edge.cache.policy(document, operation, context.viewer) if self._edge.cache else NEVER

    async def _explained(
        self, document: Document, operation: OperationDefinitionNode, parameters: GraphQLRequest, context: Context
    ) -> "Outcome":
        """A query's answer, with how it is executed beside it."""
        assert self._compiled is not None
        shown = await explain(self._compiled, document.text, document.node, operation, parameters.variables, context)
        outcome = Outcome.executed(await self._execute(document, parameters, context), context.request, "query")
        self._priced(outcome, document, parameters).body.setdefault("extensions", {})["explain"] = shown
        return outcome

    async def _execute(self, document: Document, parameters: GraphQLRequest, context: Context) -> ExecutionResult:
        result = execute(
            self._schema,
            document.node,
            context_value=context,
            variable_values=parameters.variables,
            operation_name=parameters.operation_name,
            hide_suggestions=self._options.hide_suggestions,
        )
        return result if isinstance(result, ExecutionResult) else await result


@dataclass(slots=True)
class Outcome:
    """What is answered: the response's body, and the status that it has as application/graphql-response+json.

    `composed` is a body that is JSON already; it has no errors.
    """

    body: dict[str, Any]
    response_status: int
    kind: str = "none"
    always_status: bool = False
    retry_after: int | None = None
    composed: bytes | None = None
    policy: Policy = NEVER

    @property
    def headers(self) -> dict[str, str]:
        if self.retry_after is not None:
            return {"Retry-After": str(self.retry_after)}
        return {"WWW-Authenticate": "Bearer"} if self.response_status == 401 else {}

    def status(self, media_type: str) -> int:
        """Clients of application/json expect 200 for every well-formed request; what stopped before GraphQL has its own status."""
        return self.response_status if media_type == RESPONSE_JSON or self.always_status else 200

    def response(self, media_type: str) -> Response:
        return _response(self.body, media_type, self.status(media_type), self.headers)

    @classmethod
    def answered(cls, composed: bytes, policy: Policy) -> "Outcome":
        """A query's answer that is JSON already, and has no errors."""
        return cls({}, 200, "query", composed=composed, policy=policy)

    @classmethod
    def request_errors(cls, errors: list[GraphQLError], info: RequestInfo) -> "Outcome":
        return cls({"errors": [formatted(error, info.id) for error in errors]}, 400)

    @classmethod
    def failure(cls, code: str, message: str, status: int) -> "Outcome":
        return cls({"errors": [{"message": message, "extensions": {"code": code}}]}, status, always_status=True)

    @classmethod
    def limited(cls, error: RateLimited) -> "Outcome":
        extensions = {"code": error.code, "retryAfter": error.retry_after}
        shown = {"message": str(error), "extensions": extensions}
        return cls({"errors": [shown]}, 429, always_status=True, retry_after=error.retry_after)

    @classmethod
    def executed(cls, result: ExecutionResult, info: RequestInfo, kind: str, policy: Policy = NEVER) -> "Outcome":
        """A result without data comes from variables that do not fit: a request error."""
        body: dict[str, Any] = {}
        if result.errors:
            body["errors"] = [formatted(error, info.id) for error in result.errors]
        if result.data is None and result.errors and all(error.path is None for error in result.errors):
            return cls(body, 400, kind)
        body["data"] = result.data
        return cls(body, 200, kind, policy=policy)


def _response(body: dict[str, Any], media_type: str, status: int, headers: Mapping[str, str]) -> Response:
    if media_type == EVENT_STREAM:
        media_type = RESPONSE_JSON
    encoded = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    return WholeResponse(
        encoded, status, {**headers, "Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store", "Vary": "Accept"}
    )


class Composed(WholeResponse):
    """A response of JSON that is there already, with its headers as they go over the wire."""

    def __init__(self, body: bytes, media_type: str) -> None:
        self.status_code = 200
        self.background = None
        self.body = body
        self.raw_headers = [
            (b"content-length", b"%d" % len(body)),
            (b"content-type", _CONTENT_TYPES[media_type]),
            (b"cache-control", b"no-store"),
            (b"vary", b"Accept"),
        ]


_CONTENT_TYPES = {media_type: f"{media_type}; charset=utf-8".encode() for media_type in (JSON, RESPONSE_JSON)}
