"""What holds for every HTTP answer: a request id, the metrics, safe headers, and no stack trace for anybody."""

import re
import time
from functools import partial
from typing import Any

import orjson
import structlog
from prometheus_client import Counter
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils import uuid7

from app.api.errors import INTERNAL_SERVER_ERROR
from app.api.request import Head, head_of
from app.api.whole import WHOLE
from app.core.metrics import Metrics

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,128}", re.ASCII)
KNOWN_PATHS = frozenset({"/graphql", "/healthz", "/readyz", "/metrics"})
KNOWN_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
OTHER = "other"
STREAMED_AFTER = "streamed_after"
"""Under which name the state of a request has when its answer began to stream: what comes then is no time that an answer took."""

HEADED = frozenset({"http.response.start", WHOLE})
"""Messages with the head of an answer."""

MOST_KINDS = 1000
"""Sets of header names that answers come with; there are a few dozen."""

log = structlog.get_logger(__name__)


class CannotStart(Exception):
    """Something that the gateway needs is missing or away; the text says what, for whoever runs it."""


class Requests:
    """Names, times and counts each request. A client's X-Request-ID is kept where it is harmless."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, strict_transport: bool) -> None:
        self.app = app
        self.metrics = metrics
        self.tally = metrics.tally
        self.headers = [
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"content-security-policy", b"frame-ancestors 'none'"),
        ]
        if strict_transport:
            self.headers.append((b"strict-transport-security", b"max-age=31536000; includeSubDomains"))
        self._log = log.bind()
        self._counters: dict[tuple[str, str, int], Counter] = {}
        self._missing: dict[tuple[bytes, ...], list[tuple[bytes, bytes]]] = {}
        self._timers = {path: metrics.request_seconds.labels(path) for path in (*KNOWN_PATHS, OTHER)}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, partial(_tell, send))
        elif scope["type"] != "http":
            await self.app(scope, receive, send)
        else:
            await Exchange(self, scope, send).run(receive)

    def missing(self, given: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The safe headers that an answer does not have already, with a value of its own."""
        names = tuple([name for name, _ in given])
        found = self._missing.get(names)
        if found is None:
            found = [header for header in self.headers if header[0] not in names]
            if len(self._missing) < MOST_KINDS:
                self._missing[names] = found
        return found

    def record(self, method: str, path: str, status: int, seconds: float) -> None:
        """Count and time an answer."""
        known = path if path in KNOWN_PATHS else OTHER
        method = method if method in KNOWN_METHODS else OTHER
        counter = self._counters.get((method, known, status))
        if counter is None:
            counter = self._counters[method, known, status] = self.metrics.requests.labels(method, known, status)
        self.tally.count(counter)
        self.tally.time(self._timers[known], seconds)
        self._log.debug("request", method=method, path=path, status=status, seconds=round(seconds, 4))


async def _tell(send: Send, message: Message) -> None:
    """Pass on what the lifespan says; of a start that failed for a reason to be expected, the reason without the stack."""
    if message["type"] == "lifespan.startup.failed":
        *_, last = message["message"].strip().splitlines()
        kind, _, reason = last.partition(": ")
        if kind == f"{__name__}.{CannotStart.__name__}":
            message = {**message, "message": reason}
    await send(message)


class Exchange:
    """One request and its answer."""

    def __init__(self, requests: Requests, scope: Scope, send: Send) -> None:
        self._requests = requests
        self._scope = scope
        self._send = send
        self._status = 0
        self._id = request_id(head_of(scope))

    async def run(self, receive: Receive) -> None:
        """The id is bound for the logs of the task that serves this request, and of no other."""
        self._scope["state"]["request_id"] = self._id
        structlog.contextvars.bind_contextvars(request_id=self._id)
        started = time.perf_counter()
        tally, in_flight = self._requests.tally, self._requests.metrics.in_flight
        tally.count(in_flight)
        try:
            await self._requests.app(self._scope, receive, self._respond)
        except Exception:
            log.exception("request_failed")
            if self._status:
                raise
            await self._apologise()
        finally:
            tally.count(in_flight, -1)
            seconds = self._scope["state"].get(STREAMED_AFTER, time.perf_counter()) - started
            self._requests.record(self._scope["method"], self._scope["path"], self._status, seconds)

    async def _respond(self, message: Message) -> None:
        if message["type"] in HEADED:
            self._status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._id.encode()), *self._requests.missing(message["headers"])]
        await self._send(message)

    async def _apologise(self) -> None:
        error: dict[str, Any] = {
            "message": f"an unexpected error occurred; please report request {self._id}",
            "extensions": {"code": INTERNAL_SERVER_ERROR, "requestId": self._id},
        }
        body = orjson.dumps({"errors": [error]})
        headers = [(b"content-type", b"application/json; charset=utf-8"), (b"content-length", str(len(body)).encode())]
        await self._respond({"type": "http.response.start", "status": 500, "headers": headers})
        await self._respond({"type": "http.response.body", "body": body})


def request_id(head: Head) -> str:
    """The client's own, where it is harmless, or a new one."""
    given: str | None = head.headers.get("x-request-id")
    return given if given is not None and REQUEST_ID.fullmatch(given) else str(uuid7())
