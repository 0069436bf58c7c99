"""What holds for every HTTP answer: a request id, the metrics, safe headers, and no stack trace for anybody."""

import re
import time
from functools import partial
from typing import Any

import orjson
import structlog
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uuid_utils.compat import uuid7

from app.api.errors import INTERNAL_SERVER_ERROR
from app.core.metrics import Metrics

REQUEST_ID = re.compile(r"[A-Za-z0-9_.-]{8,128}", re.ASCII)
KNOWN_PATHS = frozenset({"/graphql", "/healthz", "/readyz", "/metrics"})

log = structlog.get_logger(__name__)


class CannotStart(Exception):
    """Something that the gateway needs is missing or away; the text says what, for whoever runs it."""


class Requests:
    """Names, times and counts each request. A client's X-Request-ID is kept where it is harmless."""

    def __init__(self, app: ASGIApp, metrics: Metrics, *, strict_transport: bool) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer"}
        if strict_transport:
            self._headers["Strict-Transport-Security"] = "max-age=31536000; includeSubDomains"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._app(scope, receive, partial(_tell, send))
        elif scope["type"] != "http":
            await self._app(scope, receive, send)
        else:
            await Exchange(self._app, self._metrics, self._headers, scope, send).run(receive)


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

    def __init__(self, app: ASGIApp, metrics: Metrics, headers: dict[str, str], scope: Scope, send: Send) -> None:
        self._app = app
        self._metrics = metrics
        self._headers = headers
        self._scope = scope
        self._send = send
        self._status = 0
        self._id = _request_id(scope)

    async def run(self, receive: Receive) -> None:
        self._scope.setdefault("state", {})["request_id"] = self._id
        started = time.perf_counter()
        with structlog.contextvars.bound_contextvars(request_id=self._id), self._metrics.in_flight.track_inprogress():
            try:
                await self._app(self._scope, receive, self._respond)
            except Exception:
                log.exception("request_failed")
                if self._status:
                    raise
                await self._apologise()
            finally:
                self._record(time.perf_counter() - started)

    async def _respond(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(raw=message["headers"])
            headers["X-Request-ID"] = self._id
            for name, value in self._headers.items():
                headers.setdefault(name, value)
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

    def _record(self, seconds: float) -> None:
        path = self._scope["path"] if self._scope["path"] in KNOWN_PATHS else "other"
        self._metrics.requests.labels(self._scope["method"], path, self._status).inc()
        self._metrics.request_seconds.labels(path).observe(seconds)
        log.debug("request", method=self._scope["method"], path=self._scope["path"], status=self._status, seconds=round(seconds, 4))


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            text: str = value.decode("latin-1")
            return text if REQUEST_ID.fullmatch(text) else str(uuid7())
    return str(uuid7())
