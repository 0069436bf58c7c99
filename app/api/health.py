"""Is the process alive, and can it serve? For load balancers and schedulers."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping

import structlog
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from app.core.metrics import CONTENT_TYPE, Metrics

CHECK_SECONDS = 5.0

Check = Callable[[], Awaitable[None]]
log = structlog.get_logger(__name__)


class Health:
    """`checks` by dependency: each returns when it is well and raises when it is not. The process serves without those in `spared`."""

    def __init__(self, checks: Mapping[str, Check], metrics: Metrics, spared: Collection[str] = ()) -> None:
        self.checks = dict(checks)
        self._spared = frozenset(spared)
        self._metrics = metrics

    async def alive(self, _request: Request) -> Response:
        return JSONResponse({"status": "ok"})

    async def ready(self, _request: Request) -> Response:
        """200 when every dependency that is needed answers within 5 seconds, else 503; the body tells each one's state."""
        results = await asyncio.gather(*(_passes(name, check) for name, check in self.checks.items()))
        away = {name for name, well in zip(self.checks, results, strict=True) if not well}
        serves = away <= self._spared
        body = {
            "status": ("degraded" if away else "ok") if serves else "unavailable",
            "checks": {name: "unavailable" if name in away else "ok" for name in self.checks},
        }
        return JSONResponse(body, status_code=200 if serves else 503, headers={"Cache-Control": "no-store"})

    async def metrics(self, _request: Request) -> Response:
        return Response(self._metrics.render(), media_type=CONTENT_TYPE)


async def _passes(name: str, check: Check) -> bool:
    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await check()
    except Exception as error:
        log.warning("dependency_unavailable", dependency=name, error=type(error).__name__)
        return False
    return True
