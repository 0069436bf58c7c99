"""The gateway: routes, middleware, and the lifespan that opens and closes every resource."""

import asyncio
import gc
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from app.accounts.api_keys import ApiKeys
from app.accounts.authentication import Authenticator
from app.accounts.credentials import Credentials
from app.accounts.passwords import PasswordHasher
from app.accounts.sessions import Sessions
from app.accounts.sign_in import SignIn
from app.accounts.sign_up import SignUp
from app.accounts.usage import KeyUsage
from app.accounts.viewers import usual_viewers
from app.analytics.replay import replaying
from app.analytics.tracking import EventWriter, TrackingOptions
from app.api.cache_control import CachePolicies
from app.api.client import CSRF_HEADERS, Clients
from app.api.context import Context, RequestInfo
from app.api.declared import declarations
from app.api.documents import Documents
from app.api.endpoint import Edge, EndpointOptions, GraphQLEndpoint
from app.api.graphiql import GraphiQLPage
from app.api.health import Check, Health
from app.api.limits import Limits
from app.api.middleware import CannotStart, Requests
from app.api.rate_limit import RateLimiter
from app.api.request import FastRequest
from app.api.response_cache import ResponseCache
from app.api.trusted_documents import TrustedDocuments, read_manifest
from app.api.warming import Warming
from app.core.answers import MemoryAnswers, SharedAnswers
from app.core.cache import Cache
from app.core.embedded import EmbeddedPostgresError
from app.core.errors import RepositoryError
from app.core.factory import RepositoryFactory
from app.core.logging import configure
from app.core.metrics import Metrics
from app.core.migrations import MigrationError
from app.core.quotas import Quotas
from app.execution.runtime import CompiledExecution
from app.orders.payments import Payments
from app.resources import Resources, make_provider, open_resources
from app.schema import create_schema
from app.seed import seed_demo
from app.settings import ExecutionMode, ResponseCacheMode, Settings, read_settings
from app.worker import make_worker

EXPECTED_AT_START = (EmbeddedPostgresError, MigrationError, RepositoryError, OSError)
GRAPHQL = "/graphql"
WARM_SECONDS = 10.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Services:
    """What acts for the domains outside the database; resolvers find it as `info.context.services`."""

    passwords: PasswordHasher
    authenticator: Authenticator
    sessions: Sessions
    sign_up: SignUp
    sign_in: SignIn
    credentials: Credentials
    api_keys: ApiKeys
    key_usage: KeyUsage
    payments: Payments
    rate_limiter: RateLimiter
    events: EventWriter


class Application(Starlette):
    """Starlette's application, but /graphql goes straight to its endpoint: matching routes and two layers of error handling that would do
    nothing for it cost as much CPU as half of a small query."""

    def __init__(self, graphql: ASGIApp, layers: Sequence[Middleware], **options: Any) -> None:
        super().__init__(**options)
        for layer in reversed(layers):
            graphql = layer.cls(graphql, *layer.args, **layer.kwargs)
        self._graphql = graphql

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] == GRAPHQL:
            scope["app"] = self
            await self._graphql(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


class Gateway:
    """One gateway process: its routes, and between start and shutdown its resources."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        schema = create_schema()
        self._schema = schema._schema  # noqa: SLF001 - the graphql-core schema, which Strawberry keeps for itself
        self._graphiql = GraphiQLPage() if settings.graphiql else None
        self._metrics = Metrics()
        compiles = settings.execution is ExecutionMode.COMPILED
        self._compiled = CompiledExecution(self._schema, declarations(schema), self._metrics) if compiles else None
        self._manifest = read_manifest(settings)
        self._documents = Documents(
            self._schema,
            Limits(settings.max_depth, settings.max_cost, settings.max_aliases, settings.max_root_fields, settings.max_visits),
            max_tokens=settings.max_tokens,
            introspection=settings.introspection,
        )
        self._endpoint: GraphQLEndpoint | None = None
        self._health = Health({}, self._metrics, spared={"clickhouse"})

    def app(self) -> Starlette:
        routes = [
            Route("/", self._home),
            *(self._graphiql.routes() if self._graphiql else ()),
            Route(GRAPHQL, self._graphql, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            Route("/healthz", self._health.alive),
            Route("/readyz", self._health.ready),
            Route("/metrics", self._health.metrics),
        ]
        middleware = self._middleware()
        return Application(self._answer, middleware, routes=routes, middleware=middleware, lifespan=self._lifespan)

    def _middleware(self) -> list[Middleware]:
        stack = [Middleware(Requests, metrics=self._metrics, strict_transport=self._settings.is_production)]
        if self._settings.cors_origins:
            stack.append(
                Middleware(
                    CORSMiddleware,
                    allow_origins=list(self._settings.cors_origins),
                    allow_methods=["GET", "POST"],
                    allow_headers=["Authorization", "Content-Type", "X-Request-ID", *CSRF_HEADERS],
                    expose_headers=["X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"],
                    allow_credentials=True,
                )
            )
        return stack

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except EXPECTED_AT_START as error:
                cause = f" ({error.__cause__})" if error.__cause__ else ""
                raise CannotStart(f"the gateway cannot start: {error}{cause}") from error
            # What is there now stays: a full garbage collection, which stops every request, need not look at it.
            gc.collect()
            gc.freeze()
            stack.callback(gc.unfreeze)
            log.info("gateway_ready", url=f"http://{self._settings.host}:{self._settings.port}/graphql")
            yield
            log.info("gateway_stopping")

    async def _open(self, stack: AsyncExitStack) -> None:
        settings = self._settings
        migrate = not settings.is_production or settings.database_url is None
        resources = await stack.enter_async_context(open_resources(settings, migrate=migrate, metrics=self._metrics))
        services = self._services(resources, await stack.enter_async_context(self._quotas()))
        stack.callback(services.passwords.close)
        await stack.enter_async_context(services.key_usage.running())
        await stack.enter_async_context(replaying(resources.repositories))
        await stack.enter_async_context(services.events.running())
        self._endpoint = self._make_endpoint(resources, services)
        self._health.checks.update(checks(resources))
        if settings.demo_data:
            await seed_demo(resources.repositories, services.passwords.hash)
        if settings.jobs_run_here:
            await stack.enter_async_context(make_worker(resources).running())
        await self._warm(resources, services)

    async def _warm(self, resources: Resources, services: Services) -> None:
        """Make ready what the manifest says will be asked. What cannot be ready in time is made when it is asked."""
        repositories, texts = resources.repositories, self._manifest.values()
        try:
            async with asyncio.timeout(WARM_SECONDS):
                viewers = await usual_viewers(repositories) if texts else ()
                contexts = [Context(repositories.scoped(viewer), RequestInfo(id="warm"), services) for viewer in viewers]
                count = await Warming(self._schema, self._documents, self._compiled).warm(texts, contexts, resources.database)
            log.info("gateway_warm", documents=len(texts), statements=count)
        except (RepositoryError, TimeoutError) as error:
            log.warning("gateway_not_warm", error=str(error))

    @asynccontextmanager
    async def _quotas(self) -> AsyncIterator[Quotas]:
        redis = self._settings.redis_url
        quotas = Quotas(redis.get_secret_value() if redis else None, self._metrics.quota_failures.inc)
        yield quotas
        await quotas.close()

    def _services(self, resources: Resources, quotas: Quotas) -> Services:
        settings = self._settings
        passwords = PasswordHasher.from_settings(settings)
        limiter = RateLimiter(
            quotas,
            self._metrics,
            per_address=settings.rate_limit_per_address,
            per_user=settings.rate_limit_per_user,
            enabled=settings.rate_limits,
        )
        api_keys, sessions = ApiKeys.from_settings(settings), Sessions.from_settings(settings)
        authenticator = Authenticator.from_settings(settings, api_keys)
        return Services(
            passwords=passwords,
            authenticator=authenticator,
            sessions=sessions,
            sign_up=SignUp.from_settings(settings, passwords, sessions, authenticator, limiter),
            sign_in=SignIn(passwords, sessions, authenticator),
            credentials=Credentials(passwords),
            api_keys=api_keys,
            key_usage=KeyUsage(resources.repositories.api_keys.batch_increment_usage_count, self._metrics),
            payments=Payments(make_provider(resources.repositories)),
            rate_limiter=limiter,
            events=EventWriter(resources.repositories, TrackingOptions.from_settings(settings)),
        )

    def _edge(self, resources: Resources, services: Services) -> Edge:
        settings = self._settings
        clients = Clients(secure=settings.is_production, origins=settings.cors_origins, proxies=settings.trusted_proxies)
        shared = resources.cache if settings.redis_url else None
        documents = TrustedDocuments(self._manifest, settings.trusted_documents, shared)
        return Edge(clients, services.rate_limiter, documents, self._response_cache(resources.cache))

    def _response_cache(self, cache: Cache) -> ResponseCache | None:
        settings = self._settings
        if settings.response_cache is ResponseCacheMode.OFF:
            return None
        shared = settings.response_cache is ResponseCacheMode.REDIS
        answers = SharedAnswers(cache) if shared else MemoryAnswers(cache, settings.response_cache_bytes)
        return ResponseCache(CachePolicies(self._schema), answers, self._metrics)

    def _make_endpoint(self, resources: Resources, services: Services) -> GraphQLEndpoint:
        settings = self._settings
        scoped = lru_cache(maxsize=1000)(resources.repositories.scoped)

        async def authenticate(info: RequestInfo) -> RepositoryFactory:
            viewer = await services.authenticator.authenticate(resources.repositories, info.token)
            await services.rate_limiter.admit_viewer(info, viewer)
            if viewer.key is not None:
                services.key_usage.count(viewer.key.id)
            return scoped(viewer)

        options = EndpointOptions(
            settings.request_timeout,
            settings.request_max_bytes,
            hide_suggestions=not settings.introspection,
            show_cost=not settings.is_production,
            explains=not settings.is_production and self._compiled is not None,
        )
        edge = self._edge(resources, services)
        return GraphQLEndpoint(self._schema, self._documents, edge, authenticate, services, self._metrics, options, self._compiled)

    async def _graphql(self, request: Request) -> Response:
        if self._graphiql and wants_page(request):
            return await self._graphiql.page(request)
        if self._endpoint is None:
            raise RuntimeError("requests are served only while the lifespan runs")
        return await self._endpoint.answer(request)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._graphql(FastRequest(scope, receive))
        await response(scope, receive, send)

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse("/graphql")


def wants_page(request: Request) -> bool:
    """Whether a browser opens /graphql to look at it, rather than a client to query it."""
    if request.method not in ("GET", "HEAD") or "text/html" not in request.headers.get("accept", ""):
        return False
    return not any(name in request.query_params for name in ("query", "documentId", "id", "extensions"))


def checks(resources: Resources) -> dict[str, Check]:
    """What /readyz asks."""
    found: dict[str, Check] = {"postgresql": resources.database.ping, "clickhouse": resources.clickhouse.ping}
    if resources.settings.redis_url is not None:
        found["redis"] = resources.cache.ping
    return found


def create_app(settings: Settings | None = None) -> Starlette:
    """The ASGI application. Resources open when its lifespan starts."""
    settings = settings or read_settings()
    configure(settings.log_level, settings.log_format)
    return Gateway(settings).app()
