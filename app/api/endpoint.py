"""GraphQL over HTTP: authenticate, read, check, execute, answer.

One instance serves /graphql. Authentication and repositories come from outside (`Gateway`), so this file knows no domain.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import orjson
import structlog
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationType, execute
from starlette.requests import Request
from starlette.responses import Response

from app.api.context import Context, RequestInfo
from app.api.documents import Document, Documents
from app.api.errors import UNAVAILABLE, AccessDenied, formatted
from app.api.request import RESPONSE_JSON, GraphQLRequest, RequestRefused, media_type_for, read_request
from app.core.errors import Unavailable
from app.core.factory import RepositoryFactory
from app.core.metrics import Metrics

log = structlog.get_logger(__name__)


class Authenticates(Protocol):
    """Finds out who sends a request; raises `AccessDenied` for a credential that is no longer good."""

    async def __call__(self, info: RequestInfo) -> RepositoryFactory: ...


@dataclass(frozen=True)
class EndpointOptions:
    """`timeout` in seconds, `max_bytes` of a request's body."""

    timeout: float = 15
    max_bytes: int = 1_000_000
    hide_suggestions: bool = False


class GraphQLEndpoint:
    """Answers GraphQL requests over HTTP."""

    def __init__(
        self,
        schema: GraphQLSchema,
        documents: Documents,
        authenticate: Authenticates,
        services: Any,
        metrics: Metrics,
        options: EndpointOptions,
    ) -> None:
        self._schema = schema
        self._documents = documents
        self._authenticate = authenticate
        self._services = services
        self._metrics = metrics
        self._options = options

    async def answer(self, request: Request) -> Response:
        media_type = "application/json"
        try:
            media_type = media_type_for(request.headers.get("accept"))
            parameters = await read_request(request, self._options.max_bytes)
            return await self._answer(request, parameters, media_type)
        except RequestRefused as refused:
            return _response({"errors": [{"message": refused.message}]}, media_type, refused.status, refused.headers)

    async def _answer(self, request: Request, parameters: GraphQLRequest, media_type: str) -> Response:
        info = request_info(request)
        try:
            async with asyncio.timeout(self._options.timeout):
                result = await self._run(request, parameters, info)
        except TimeoutError:
            log.warning("request_timed_out", seconds=self._options.timeout)
            result = Outcome.failure(UNAVAILABLE, f"the request took longer than {self._options.timeout:g} s and was stopped", 503)
        except Unavailable:
            result = Outcome.failure(UNAVAILABLE, "the service cannot answer right now; try again shortly", 503)
        except AccessDenied as denied:
            result = Outcome.failure(denied.code, str(denied), 401)
        self._metrics.operations.labels(result.kind, "error" if "errors" in result.body else "success").inc()
        return _response(result.body, media_type, result.status(media_type), result.headers)

    async def _run(self, request: Request, parameters: GraphQLRequest, info: RequestInfo) -> "Outcome":
        try:
            document = self._documents.read(parameters.query)
            operation = document.operation(parameters.operation_name)
        except GraphQLError as error:
            return Outcome.request_errors([error], info)
        if request.method == "GET" and operation.operation is not OperationType.QUERY:
            raise RequestRefused(405, "Mutations and subscriptions need POST.", {"Allow": "POST"})
        errors = self._documents.check(document, parameters.operation_name, parameters.variables)
        if errors:
            return Outcome.request_errors(errors, info)
        if operation.operation is OperationType.SUBSCRIPTION:
            raise RequestRefused(400, "Subscriptions are not served over this transport.")
        repositories = await self._authenticate(info)
        context = Context(repositories=repositories, request=info, services=self._services)
        result = await self._execute(document, parameters, context)
        return Outcome.executed(result, info, operation.operation.value)

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


@dataclass(frozen=True)
class Outcome:
    """What is answered: the response's body, and the status that it has as application/graphql-response+json."""

    body: dict[str, Any]
    response_status: int
    kind: str = "none"
    always_status: bool = False

    @property
    def headers(self) -> dict[str, str]:
        return {"WWW-Authenticate": "Bearer"} if self.response_status == 401 else {}

    def status(self, media_type: str) -> int:
        """Clients of application/json expect 200 for every well-formed request; what stopped before GraphQL has its own status."""
        return self.response_status if media_type == RESPONSE_JSON or self.always_status else 200

    @classmethod
    def request_errors(cls, errors: list[GraphQLError], info: RequestInfo) -> "Outcome":
        return cls({"errors": [formatted(error, info.id) for error in errors]}, 400)

    @classmethod
    def failure(cls, code: str, message: str, status: int) -> "Outcome":
        return cls({"errors": [{"message": message, "extensions": {"code": code}}]}, status, always_status=True)

    @classmethod
    def executed(cls, result: ExecutionResult, info: RequestInfo, kind: str) -> "Outcome":
        """A result without data comes from variables that do not fit: a request error."""
        body: dict[str, Any] = {}
        if result.errors:
            body["errors"] = [formatted(error, info.id) for error in result.errors]
        if result.data is None and result.errors and all(error.path is None for error in result.errors):
            return cls(body, 400, kind)
        body["data"] = result.data
        return cls(body, 200, kind)


def request_info(request: Request) -> RequestInfo:
    """Where the request came from; the bearer token is the only credential read here."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if token and scheme.lower() != "bearer":
        raise RequestRefused(401, "Authorization must be `Bearer <token>`.", {"WWW-Authenticate": "Bearer"})
    return RequestInfo(
        id=request.scope.get("state", {}).get("request_id", ""),
        ip_address=request.client.host if request.client else None,
        user_agent=request.headers.get("user-agent", "")[:500] or None,
        token=token.strip() or None,
    )


def _response(body: dict[str, Any], media_type: str, status: int, headers: Mapping[str, str]) -> Response:
    encoded = orjson.dumps(body, option=orjson.OPT_NON_STR_KEYS)
    return Response(
        encoded, status, {**headers, "Content-Type": f"{media_type}; charset=utf-8", "Cache-Control": "no-store", "Vary": "Accept"}
    )
