"""Reading a GraphQL request and choosing the media type of its answer, as the GraphQL-over-HTTP draft says.

What is not a well-formed request is refused with a 4xx status before any GraphQL happens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import ClientDisconnect, Request

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"


class RequestRefused(Exception):
    """The HTTP request cannot be answered; `status` is the response's, `headers` go with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class GraphQLRequest:
    """The parameters of one request."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None
    extensions: dict[str, Any]


def media_type_for(accept: str | None) -> str:
    """The media type that the client likes best of our two. Raises 406 when it accepts neither.

    A client that names none, or anything, gets application/json, which every client understands.
    """
    if not accept:
        return JSON
    best: tuple[float, str] | None = None
    for part in accept.split(","):
        offered, quality = _preference(part)
        if offered and quality > 0 and (best is None or quality > best[0]):
            best = (quality, offered)
    if best is None:
        raise RequestRefused(406, f"Accept must include {RESPONSE_JSON} or {JSON}.")
    return best[1]


def _preference(part: str) -> tuple[str | None, float]:
    name, *parameters = (piece.strip() for piece in part.lower().split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "charset" and value.strip('"') not in ("utf-8", "utf8"):
            return None, 0
        if key == "q":
            quality = _quality(value)
    if name == RESPONSE_JSON:
        return RESPONSE_JSON, quality
    return (JSON, quality) if name in (JSON, "application/*", "*/*") else (None, 0)


def _quality(text: str) -> float:
    try:
        return min(max(float(text), 0.0), 1.0)
    except ValueError:
        return 0.0


async def read_request(request: Request, max_bytes: int) -> GraphQLRequest:
    """The request's parameters from a JSON body or the query string. Raises `RequestRefused` and names what is wrong."""
    if request.method == "POST":
        return _parameters(await _json_body(request, max_bytes))
    if request.method == "GET":
        return _parameters(_from_query_string(request))
    raise RequestRefused(405, "GraphQL needs GET or POST.", {"Allow": "GET, POST"})


async def _json_body(request: Request, max_bytes: int) -> Any:
    content_type, *parameters = (part.strip().lower() for part in request.headers.get("content-type", "").split(";"))
    if content_type != JSON:
        raise RequestRefused(415, f"Content-Type must be {JSON}.", {"Accept-Post": JSON})
    if any(part.startswith("charset=") and part.removeprefix("charset=").strip('"') not in ("utf-8", "utf8") for part in parameters):
        raise RequestRefused(415, "The charset must be UTF-8.")
    body = await _bounded_body(request, max_bytes)
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(400, f"The body is not valid JSON: {str(error)[:200]}.") from error


async def _bounded_body(request: Request, max_bytes: int) -> bytes:
    too_large = RequestRefused(413, f"The body is larger than {max_bytes} bytes.", {"Connection": "close"})
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise too_large
    chunks: list[bytes] = []
    size = 0
    try:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise too_large
            chunks.append(chunk)
    except ClientDisconnect as error:
        raise RequestRefused(400, "The body was cut off.") from error
    return b"".join(chunks)


def _from_query_string(request: Request) -> dict[str, Any]:
    parameters: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if parameters.get(name):
            try:
                parameters[name] = orjson.loads(parameters[name])
            except orjson.JSONDecodeError as error:
                raise RequestRefused(400, f"{name} is not valid JSON.") from error
        else:
            parameters.pop(name, None)
    return parameters


def _parameters(body: Any) -> GraphQLRequest:
    if isinstance(body, list):
        raise RequestRefused(400, "Batches of operations are not accepted; send one operation per request.")
    if not isinstance(body, dict):
        raise RequestRefused(400, "The request must be a JSON object with a query.")
    query = body.get("query")
    if not isinstance(query, str) or not query.strip():
        raise RequestRefused(400, "query must be a string with a GraphQL document.")
    operation_name = body.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise RequestRefused(400, "operationName must be a string.")
    variables = _map(body, "variables")
    if place := nul_in(variables, "variables"):
        raise RequestRefused(400, f"{place} contains the NUL character, which no text may.")
    return GraphQLRequest(query, variables, operation_name or None, _map(body, "extensions"))


def nul_in(value: Any, place: str) -> str | None:
    """Where in a JSON value a text holds NUL, which no text column of PostgreSQL can; None where nowhere."""
    if isinstance(value, str):
        return place if "\0" in value else None
    if isinstance(value, dict):
        if any("\0" in key for key in value):
            return place
        parts = ((inner, f"{place}.{key}") for key, inner in value.items())
    elif isinstance(value, list):
        parts = ((inner, f"{place}.{n}") for n, inner in enumerate(value))
    else:
        return None
    return next((found for inner, where in parts if (found := nul_in(inner, where))), None)


def _map(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestRefused(400, f"{name} must be a JSON object.")
    return value
