"""From exceptions to GraphQL errors: a code that a client can act upon, a message that tells no internals, a log line per surprise."""

from typing import Any

import structlog
from graphql import GraphQLError

from app.core.errors import BadInput, Conflict, InvalidValue, NotFound, RepositoryError, TooLarge, Unavailable, UserError

UNAUTHENTICATED = "UNAUTHENTICATED"
FORBIDDEN = "FORBIDDEN"
BAD_USER_INPUT = "BAD_USER_INPUT"
NOT_FOUND = "NOT_FOUND"
CONFLICT = "CONFLICT"
UNAVAILABLE = "UNAVAILABLE"
RATE_LIMITED = "RATE_LIMITED"
TOO_COMPLEX = "TOO_COMPLEX"
INTERNAL_SERVER_ERROR = "INTERNAL_SERVER_ERROR"
PARSE_FAILED = "GRAPHQL_PARSE_FAILED"
VALIDATION_FAILED = "GRAPHQL_VALIDATION_FAILED"

log = structlog.get_logger(__name__)


class AccessDenied(Exception):
    """The viewer may not do this: `UNAUTHENTICATED` when signing in could help, else `FORBIDDEN`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class RateLimited(Exception):
    """Somebody asks too often. `retry_after` in seconds; trying earlier is in vain."""

    code = RATE_LIMITED

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = retry_after


def camel_case(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(part.title() for part in tail)


def formatted(error: GraphQLError, request_id: str) -> dict[str, Any]:
    """One error of a response, its cause masked unless it was made for callers."""
    known = _explained(error)
    if known is None:
        return _masked(error, request_id)
    code, message, details = known
    shown: dict[str, Any] = {"message": message, "extensions": {"code": code, **details}}
    if error.locations:
        shown["locations"] = [location.formatted for location in error.locations]
    if error.path:
        shown["path"] = error.path
    return shown


def _explained(error: GraphQLError) -> tuple[str, str, dict[str, Any]] | None:
    cause = error.original_error
    if cause is None or isinstance(cause, GraphQLError):
        extensions = dict(error.extensions or {})
        return extensions.pop("code", BAD_USER_INPUT), error.message, extensions
    if isinstance(cause, BadInput):
        argument = ".".join(camel_case(part) for part in cause.argument.split("."))
        return BAD_USER_INPUT, f"{argument}: {str(cause).partition(': ')[2]}", {"argument": argument}
    if isinstance(cause, AccessDenied):
        return cause.code, str(cause), {}
    if isinstance(cause, RateLimited):
        return cause.code, str(cause), {"retryAfter": cause.retry_after}
    if isinstance(cause, UserError):
        field = [camel_case(part) for part in cause.field] if cause.field else None
        return (NOT_FOUND if cause.code == "NOT_FOUND" else BAD_USER_INPUT), cause.message, {"reason": cause.code, "field": field}
    return _of_repository(cause) if isinstance(cause, RepositoryError) else None


def _of_repository(cause: RepositoryError) -> tuple[str, str, dict[str, Any]] | None:
    if isinstance(cause, NotFound):
        return NOT_FOUND, cause.message, {}
    if isinstance(cause, Conflict):
        return CONFLICT, cause.message, {}
    if isinstance(cause, Unavailable):
        log.warning("database_unavailable", operation=cause.operation, entity=cause.entity)
        return UNAVAILABLE, "the service cannot answer right now; try again shortly", {}
    if isinstance(cause, InvalidValue):
        return BAD_USER_INPUT, cause.message, {}
    if isinstance(cause, TooLarge):
        return TOO_COMPLEX, cause.message, {}
    return None


def _masked(error: GraphQLError, request_id: str) -> dict[str, Any]:
    log.error("unexpected_error", path=error.path, exc_info=error.original_error)
    shown: dict[str, Any] = {
        "message": f"an unexpected error occurred; please report request {request_id}",
        "extensions": {"code": INTERNAL_SERVER_ERROR, "requestId": request_id},
    }
    if error.path:
        shown["path"] = error.path
    return shown
