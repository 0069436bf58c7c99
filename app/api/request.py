"""Reading a GraphQL request and choosing the media type of its answer, as the GraphQL-over-HTTP draft says.

What is not a well-formed request is refused with a 4xx status before any GraphQL happens.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import orjson
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import Receive, Scope

from app.api.variables import Flaw
from app.api.variables import check as check_variables

JSON = "application/json"
RESPONSE_JSON = "application/graphql-response+json"
EVENT_STREAM = "text/event-stream"
SHA_256_PREFIX = "sha256:"
UTF_8 = ("utf-8", "utf8")
DOCUMENT_ID = re.compile(r"(sha256:|x-[\w.~-]+:)?[\w.~-]{1,200}", re.ASCII)
QUALITY = re.compile(r"0(\.\d{0,3})?|1(\.0{0,3})?", re.ASCII)


class RequestRefused(Exception):
    """The HTTP request cannot be answered; `status` is the response's, `headers` go with it."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


@dataclass(slots=True)
class GraphQLRequest:
    """The parameters of one request: the document's text, its id, or both."""

    query: str
    variables: dict[str, Any]
    operation_name: str | None
    extensions: dict[str, Any]
    document_id: str | None = None


@lru_cache(maxsize=256)
def media_type_for(accept: str | None) -> str:
    """The one of our media types that the client likes best (RFC 9110, 12.5.1). Raises 406 when it accepts none.

    A client that names none, or likes both forms of JSON as well, gets application/json, which every client understands. Server-sent
    events are for clients that name them, and like nothing else as well: many name them with each request.
    """
    if not accept:
        return JSON
    ranges = [_media_range(part) for part in accept.split(",")]
    best = max((_preference(media_type, ranges), media_type) for media_type in (RESPONSE_JSON, JSON))
    if max((quality for name, quality in ranges if name == EVENT_STREAM), default=0) > best[0]:
        return EVENT_STREAM
    if best[0] <= 0:
        raise RequestRefused(406, f"Accept must include {RESPONSE_JSON}, {JSON} or {EVENT_STREAM}.")
    return best[1]


def _preference(media_type: str, ranges: list[tuple[str, float]]) -> float:
    """How much the client likes a media type: what the most specific of its ranges says."""
    for wanted in (media_type, "application/*", "*/*"):
        qualities = [quality for name, quality in ranges if name == wanted]
        if qualities:
            return max(qualities)
    return 0


def _media_range(part: str) -> tuple[str, float]:
    """A range of Accept and its quality; one in another charset than ours is none."""
    name, *parameters = (piece.strip() for piece in part.lower().split(";"))
    quality = 1.0
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key == "charset" and value.strip('"') not in UTF_8:
            return "", 0
        if key == "q":
            quality = _quality(value)
    return name, quality


def _quality(text: str) -> float:
    return float(text) if QUALITY.fullmatch(text) else 0.0


class Head:
    """The headers of a request, and what was made of them. Clients repeat them with each request of a connection, byte by byte."""

    __slots__ = ("given", "headers", "known")

    def __init__(self, scope: Scope) -> None:
        self.given = scope["headers"]
        self.headers = IndexedHeaders(scope=scope)
        self.known: dict[str, Any] = {}
        """What depends on the headers and on who holds the connection alone, by a name of its maker's."""


HEADS = "heads"
"""Under which name the state of a request has the last head of its connection, in a list of one, where the server keeps it."""


HEAD = "head"
"""Under which name the state of a request has its own head, once anybody has asked for it."""


def head_of(scope: Scope) -> Head:
    """The head of a request: the one of the request before, where it said the same."""
    state = scope.setdefault("state", {})
    found: Head | None = state.get(HEAD)
    if found is None:
        kept: list[Head] = state.setdefault(HEADS, [])
        if not kept or kept[0].given != scope["headers"]:
            kept[:] = [Head(scope)]
        found = state[HEAD] = kept[0]
    return found


class FastRequest(Request):
    """A request whose headers are found by hash: Starlette's own look through all of them each time, and a request asks a dozen times."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        super().__init__(scope, receive)
        self._headers: Headers = head_of(scope).headers

    @property
    def headers(self) -> Headers:
        return self._headers


class IndexedHeaders(Headers):
    """Headers with an index; of several with one name the first counts, as in Starlette's."""

    def __init__(self, scope: Scope) -> None:
        super().__init__(scope=scope)
        self._index = {name.decode("latin-1"): value.decode("latin-1") for name, value in reversed(self._list)}

    def __getitem__(self, key: str) -> str:
        return self._index[key.lower()]

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and key.lower() in self._index

    def get(self, key: str, default: Any = None) -> Any:
        return self._index.get(key.lower(), default)


async def read_body(request: Request, max_bytes: int) -> bytes:
    """The body of a POST, which must be said to be JSON and have at most `max_bytes`; of a GET, nothing. Raises `RequestRefused`."""
    if request.method == "GET":
        return b""
    if request.method != "POST":
        raise RequestRefused(405, "GraphQL needs GET or POST.", {"Allow": "GET, POST"})
    known = head_of(request.scope).known
    if "says_json" not in known:
        _check_content_type(request)
        known["says_json"] = True
    return await _bounded_body(request, max_bytes)


def read_parameters(request: Request, body: bytes) -> GraphQLRequest:
    """The request's parameters from its body or its query string; raises `RequestRefused`, naming the flaw."""
    return parameters(_from_query_string(request) if request.method == "GET" else _json(body))


def late_body(timeout: float) -> RequestRefused:
    """The refusal of a body that takes longer than `timeout` seconds to arrive."""
    return RequestRefused(408, f"The body did not arrive within {timeout:g} s.", {"Connection": "close"})


def _json(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestRefused(400, f"The body is not valid JSON: {str(error)[:200]}.") from error


def _check_content_type(request: Request) -> None:
    _check_media_type(request.headers.get("content-type", ""))
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise RequestRefused(415, "The body must be sent without Content-Encoding.", {"Accept-Encoding": "identity"})


def _check_media_type(given: str) -> None:
    if given == JSON:
        return
    content_type, *parameters = (part.strip().lower() for part in given.split(";"))
    if content_type != JSON:
        raise RequestRefused(415, f"Content-Type must be {JSON}.", {"Accept-Post": JSON})
    if any(part.startswith("charset=") and part.removeprefix("charset=").strip('"') not in UTF_8 for part in parameters):
        raise RequestRefused(415, "The charset must be UTF-8.")


async def _bounded_body(request: Request, max_bytes: int) -> bytes:
    # The connection stays open, and the server drops what still comes: closing it would lose the answer to a client that is writing.
    declared = request.headers.get("content-length", "")
    if declared.isdigit() and int(declared) > max_bytes:
        raise _too_large(max_bytes)
    chunks: list[bytes] = []
    size, more = 0, True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise RequestRefused(400, "The body was cut off.")
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > max_bytes:
            raise _too_large(max_bytes)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


def _too_large(max_bytes: int) -> RequestRefused:
    return RequestRefused(413, f"The body is larger than {max_bytes} bytes.")


def _from_query_string(request: Request) -> dict[str, Any]:
    given: dict[str, Any] = dict(request.query_params)
    for name in ("variables", "extensions"):
        if given.get(name):
            try:
                given[name] = orjson.loads(given[name])
            except orjson.JSONDecodeError as error:
                raise RequestRefused(400, f"{name} is not valid JSON.") from error
        else:
            given.pop(name, None)
    return given


def parameters(body: Any) -> GraphQLRequest:
    """The parameters that a JSON object gives; raises `RequestRefused`, naming the flaw."""
    if isinstance(body, list):
        raise RequestRefused(400, "Batches of operations are not accepted; send one operation per request.")
    if not isinstance(body, dict):
        raise RequestRefused(400, "The request must be a JSON object with a query.")
    extensions = _map(body, "extensions")
    document_id = _document_id(body, extensions)
    query = body.get("query", None if document_id is None else "")
    if not isinstance(query, str) or not (query.strip() or document_id):
        raise RequestRefused(400, "query must be a string with a GraphQL document.")
    operation_name = body.get("operationName")
    if operation_name is not None and not isinstance(operation_name, str):
        raise RequestRefused(400, "operationName must be a string.")
    return GraphQLRequest(query, _variables(body), operation_name or None, extensions, document_id)


def _document_id(body: dict[str, Any], extensions: dict[str, Any]) -> str | None:
    """The document's name, by Appendix A of the draft (`documentId`), as Relay says it (`id`), or by Apollo's extension."""
    persisted = extensions.get("persistedQuery")
    if persisted is not None:
        if not isinstance(persisted, dict) or persisted.get("version") != 1:
            raise RequestRefused(400, "extensions.persistedQuery must be an object of version 1.")
        found, name = persisted.get("sha256Hash"), "extensions.persistedQuery.sha256Hash"
    else:
        name = "documentId" if body.get("documentId") is not None else "id"
        found = body.get(name)
        if found is None:
            return None
    if not isinstance(found, str) or not DOCUMENT_ID.fullmatch(found):
        raise RequestRefused(400, f"{name} must be the id of a document: letters, digits and -._~ after an optional prefix.")
    return found.removeprefix(SHA_256_PREFIX)


def _variables(body: dict[str, Any]) -> dict[str, Any]:
    variables = _map(body, "variables")
    if not variables:
        return variables
    try:
        check_variables(variables)
    except Flaw as flaw:
        raise RequestRefused(400, str(flaw)) from None
    return variables


def _map(body: dict[str, Any], name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise RequestRefused(400, f"{name} must be a JSON object.")
    return value
