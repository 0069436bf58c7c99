"""HTTP's side of keeping answers: Cache-Control, Vary, entity tags and conditional requests (RFC 9110, 8.8.3 and 13; RFC 9111)."""

from hashlib import blake2b

from starlette.requests import Request
from starlette.responses import Response

from app.api.cache_control import Policy

REPLACED = frozenset({b"cache-control", b"vary"})
VARY = b"Accept, Authorization, Cookie, Origin"
"""What else than the address decides on an answer: its media type, who asks, and which origin may read it."""


def mirrored(response: Response, request: Request, policy: Policy) -> Response:
    """An answer that says for how long it may be kept; to a client that has it already, only that it is still good."""
    own = [(b"cache-control", policy.header.encode()), (b"vary", VARY)]
    if request.method in ("GET", "HEAD"):
        etag = entity_tag(response)
        own.append((b"etag", etag.encode()))
        if is_known(etag, request.headers.get("if-none-match", "")):
            response = Response(status_code=304)
            response.raw_headers = own
            return response
    response.raw_headers = [header for header in response.raw_headers if header[0] not in REPLACED] + own
    return response


def entity_tag(response: Response) -> str:
    """A strong tag: other media types of the same answer have others."""
    kinds = [value for name, value in response.raw_headers if name == b"content-type"]
    return f'"{blake2b(b"".join([*kinds, bytes(response.body)]), digest_size=16).hexdigest()}"'


def is_known(etag: str, given: str) -> bool:
    """Whether a tag is among those of If-None-Match, which compares them weakly."""
    return given.strip() == "*" or etag in {part.strip().removeprefix("W/") for part in given.split(",")}
