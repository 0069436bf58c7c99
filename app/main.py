"""The gateway: routes, middleware, and the lifespan that opens and closes every resource."""

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache, partial
from typing import Any, TypeVar

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from app.accounts.api_keys import ApiKeys
from app.accounts.authentication import Authenticator
from app.accounts.credentials import Credentials
from app.accounts.passwords import PasswordHasher
from app.accounts.repository import VIEWERS
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
from app.api.downloads import Downloads, FileLinks
from app.api.endpoint import Edge, EndpointOptions, GraphQLEndpoint
from app.api.graphiql import GraphiQLPage, InsightPage, insight_documents
from app.api.health import Check, Health
from app.api.limits import Limits
from app.api.live.connections import Connections, Room
from app.api.live.event_stream import EventStreams
from app.api.live.operations import Operations, Rules
from app.api.live.websocket import SocketOptions, WebSockets
from app.api.middleware import CannotStart, Requests
from app.api.rate_limit import RateLimiter
from app.api.request import FastRequest
from app.api.response_cache import ResponseCache
from app.api.trusted_documents import TrustedDocuments, read_manifest
from app.api.warming import Warming
from app.api.whole import CrossOrigin
from app.carts.guests import GuestCarts
from app.core.answers import MemoryAnswers, SharedAnswers
from app.core.cache import Cache
from app.core.changes import Changes
from app.core.embedded import EmbeddedPostgresError
from app.core.errors import RepositoryError
from app.core.factory import RepositoryFactory
from app.core.logging import configure
from app.core.metrics import Metrics
from app.core.migrations import MigrationError
from app.core.quotas import Quotas
from app.core.security import guest
from app.core.signing import Seals
from app.engagement.unsubscribing import Unsubscribing
from app.engagement.webhooks import Webhooks
from app.execution.runtime import CompiledExecution
from app.orders.incoming import IncomingPayments
from app.orders.payments import Payments
from app.privacy.erasing import Erasing
from app.privacy.exporting import EXPORTS
from app.protocol import STOPPING
from app.reporting.work import REPORTS
from app.repositories import Repositories
from app.resources import Resources, open_resources
from app.schema import create_schema
from app.seed import seed_demo
from app.settings import ExecutionMode, ResponseCacheMode, Settings, read_settings
from app.worker import make_analytical_worker, make_worker

EXPECTED_AT_START = (EmbeddedPostgresError, MigrationError, RepositoryError, OSError)
GRAPHQL = "/graphql"
FILES = (REPORTS, EXPORTS)
WARM_SECONDS = 10.0

P = TypeVar("P")
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
    webhooks: Webhooks
    rate_limiter: RateLimiter
    guest_carts: GuestCarts
    events: EventWriter
    changes: Changes
    seals: Seals
    erasing: Erasing
    report_links: FileLinks
    export_links: FileLinks


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


class Callers:
    """Finds out who calls; gives the repositories that are scoped to them. Raises `AccessDenied` for a token that is not good."""

    def __init__(self, repositories: Repositories, services: Services) -> None:
        self._repositories = repositories
        self._services = services
        self._scoped = lru_cache(maxsize=1000)(repositories.scoped)

    async def recognise(self, info: RequestInfo) -> RepositoryFactory:
        """Whoever holds the token now."""
        viewer = await self._services.authenticator.authenticate(self._repositories, info.token)
        if info.cart_token is not None and not viewer.is_authenticated:
            viewer = guest(info.cart_token)
        return self._scoped(viewer)

    async def authenticate(self, info: RequestInfo) -> RepositoryFactory:
        """Whoever sends a request, which counts against quotas. Raises `RateLimited`."""
        viewer = await self._services.authenticator.authenticate(self._repositories, info.token)
        if info.cart_token is not None and not viewer.is_authenticated:
            viewer = guest(info.cart_token)
        await self._services.rate_limiter.admit_viewer(info, viewer)
        if viewer.key is not None:
            self._services.key_usage.count(viewer.key.id)
        return self._scoped(viewer)


@contextmanager
def frozen_objects() -> Iterator[None]:
    """What is there by now stays: a full garbage collection, which stops every request, need not look at it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


class Gateway:
    """One gateway: its routes, and between start and shutdown its resources. One that `owns_process` also tunes garbage collection."""

    def __init__(self, settings: Settings, *, owns_process: bool = False) -> None:
        self._settings = settings
        self._owns_process = owns_process
        schema = create_schema()
        self._schema = schema._schema  # noqa: SLF001 - the graphql-core schema, which Strawberry keeps for itself
        self._graphiql = GraphiQLPage() if settings.graphiql else None
        self._insight = InsightPage(graphiql=settings.graphiql)
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
        self._incoming: IncomingPayments | None = None
        self._unsubscribing: Unsubscribing | None = None
        self._downloads: dict[str, Downloads] = {}
        self._sockets: WebSockets | None = None
        self._stop: Callable[[], None] = lambda: None
        self._health = Health({}, self._metrics, spared={"clickhouse"})

    def app(self) -> Starlette:
        routes = [
            Route("/", self._home),
            *(self._graphiql.routes() if self._graphiql else ()),
            Route(GRAPHQL, self._graphql, methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
            WebSocketRoute(GRAPHQL, self._socket),
            *self._insight.routes(),
            Route("/webhooks/payments/{provider}", self._payment_event, methods=["POST"]),
            *(Route(f"/{kind.place}/{{token}}", partial(self._download, kind.place), methods=["GET"]) for kind in FILES),
            Route("/unsubscribe/{token}", self._unsubscribe, methods=["GET", "POST"]),
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
                    CrossOrigin,
                    allow_origins=list(self._settings.cors_origins),
                    allow_methods=["GET", "POST"],
                    allow_headers=["Authorization", "Content-Type", "X-Request-ID", "X-Cart-Token", *CSRF_HEADERS],
                    expose_headers=["X-Request-ID", "RateLimit", "RateLimit-Policy", "Retry-After"],
                    allow_credentials=True,
                )
            )
        return stack

    @asynccontextmanager
    async def _lifespan(self, _app: Starlette) -> AsyncIterator[dict[str, Any]]:
        async with AsyncExitStack() as stack:
            try:
                await self._open(stack)
            except EXPECTED_AT_START as error:
                cause = f" ({error.__cause__})" if error.__cause__ else ""
                raise CannotStart(f"the gateway cannot start: {error}{cause}") from error
            if self._owns_process:
                stack.enter_context(frozen_objects())
            log.info("gateway_ready", url=f"http://{self._settings.host}:{self._settings.port}/graphql")
            # A server of ours calls this as soon as it is told to stop, while it still serves.
            yield {STOPPING: self._stop}
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
        await self._serve(stack, resources, services)
        self._health.checks.update(checks(resources))
        if settings.demo_data:
            await seed_demo(resources.repositories, services.passwords.hash)
        if settings.jobs_run_here:
            await stack.enter_async_context(make_worker(resources).running())
        elif settings.analyses_here:
            await stack.enter_async_context(make_analytical_worker(resources).running())
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
        passwords, seals = PasswordHasher.from_settings(settings), Seals(settings.link_keys)
        limiter = RateLimiter(
            quotas,
            self._metrics,
            per_address=settings.rate_limit_per_address,
            per_user=settings.rate_limit_per_user,
            enabled=settings.rate_limits,
        )
        api_keys, sessions = ApiKeys.from_settings(settings), Sessions.from_settings(settings)
        authenticator = Authenticator.from_settings(settings, api_keys)
        base, link_lifetime = settings.gateway_url or settings.public_url, timedelta(seconds=settings.report_link_lifetime)
        return Services(
            passwords=passwords,
            authenticator=authenticator,
            sessions=sessions,
            sign_up=SignUp.from_settings(settings, passwords, sessions, authenticator, limiter),
            sign_in=SignIn(passwords, sessions, authenticator),
            credentials=Credentials(passwords),
            api_keys=api_keys,
            key_usage=KeyUsage(resources.repositories.api_keys.batch_increment_usage_count, self._metrics),
            payments=Payments(resources.payments),
            webhooks=Webhooks.from_settings(settings),
            rate_limiter=limiter,
            guest_carts=GuestCarts.from_settings(settings, limiter),
            events=EventWriter(resources.repositories, TrackingOptions.from_settings(settings)),
            changes=resources.changes,
            erasing=Erasing(passwords),
            seals=seals,
            report_links=FileLinks(REPORTS, seals, base, link_lifetime),
            export_links=FileLinks(EXPORTS, seals, base, link_lifetime),
        )

    async def _serve(self, stack: AsyncExitStack, resources: Resources, services: Services) -> None:
        """Make what answers requests and holds connections."""
        settings, repositories, cache = self._settings, resources.repositories, resources.cache
        callers = Callers(repositories, services)
        room = Room(settings.live_connections, settings.live_connections_per_address, settings.live_connections_per_user)
        connections = Connections(callers.recognise, lambda: cache.generation(VIEWERS), self._metrics, room)
        clients = Clients(secure=settings.is_production, origins=settings.cors_origins, proxies=settings.trusted_proxies)
        known = {**insight_documents(), **self._manifest}
        trusted = TrustedDocuments(known, settings.trusted_documents, cache if settings.redis_url else None)
        rules = Rules(
            self._documents, trusted, services.rate_limiter, callers.authenticate, settings.request_timeout, not settings.introspection
        )
        operations = Operations(self._schema, rules, connections, services, self._metrics)
        edge = Edge(
            clients,
            services.rate_limiter,
            trusted,
            EventStreams(clients, connections, operations, self._metrics),
            self._response_cache(cache),
        )
        self._incoming = IncomingPayments(resources.repositories, resources.payments)
        self._downloads = {kind.place: Downloads(kind, repositories, services.seals, resources.storage) for kind in FILES}
        self._unsubscribing = Unsubscribing(resources.repositories, services.seals)
        self._endpoint = self._make_endpoint(services, edge, callers)
        self._sockets = self._make_sockets(edge, connections, operations)
        self._stop = connections.stop
        await stack.enter_async_context(connections.watched())

    def _response_cache(self, cache: Cache) -> ResponseCache | None:
        settings = self._settings
        if settings.response_cache is ResponseCacheMode.OFF:
            return None
        shared = settings.response_cache is ResponseCacheMode.REDIS
        answers = SharedAnswers(cache) if shared else MemoryAnswers(cache, settings.response_cache_bytes)
        return ResponseCache(CachePolicies(self._schema), answers, self._metrics)

    def _make_endpoint(self, services: Services, edge: Edge, callers: "Callers") -> GraphQLEndpoint:
        settings = self._settings
        options = EndpointOptions(
            settings.request_timeout,
            settings.request_max_bytes,
            hide_suggestions=not settings.introspection,
            show_cost=not settings.is_production,
            explains=not settings.is_production and self._compiled is not None,
        )
        authenticate = callers.authenticate
        return GraphQLEndpoint(self._schema, self._documents, edge, authenticate, services, self._metrics, options, self._compiled)

    def _make_sockets(self, edge: Edge, connections: Connections, operations: Operations) -> WebSockets:
        options = SocketOptions(self._settings.live_init_timeout, self._settings.live_operations)
        return WebSockets(edge.clients, edge.limiter, connections, operations, self._metrics, options)

    async def _graphql(self, request: Request) -> Response:
        if self._graphiql and wants_page(request):
            return await self._graphiql.page(request)
        return await serving(self._endpoint).answer(request)

    async def _socket(self, socket: WebSocket) -> None:
        await serving(self._sockets).serve(socket)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        response = await self._graphql(FastRequest(scope, receive))
        await response(scope, receive, send)

    async def _payment_event(self, request: Request) -> Response:
        return await serving(self._incoming).receive(request)

    async def _download(self, place: str, request: Request) -> Response:
        return await serving(self._downloads.get(place)).answer(request)

    async def _unsubscribe(self, request: Request) -> Response:
        return await serving(self._unsubscribing).answer(request)

    async def _home(self, _request: Request) -> Response:
        return RedirectResponse("/graphql")


def serving(part: P | None) -> P:
    """A part of the gateway that is there while the lifespan runs, without which no server may hand anything to it."""
    if part is None:
        raise RuntimeError("nothing is served but while the lifespan runs")
    return part


def wants_page(request: Request) -> bool:
    """Whether a browser opens /graphql to look at it, rather than a client to query it.

    A link that carries a query opens it in the page and runs nothing; one to a persisted document is for clients.
    """
    accepted = request.headers.get("accept", "")
    if request.method not in ("GET", "HEAD") or "text/html" not in accepted:
        return False
    for_clients = ("documentId", "id", "extensions", *(("query",) if "json" in accepted else ()))
    return not any(name in request.query_params for name in for_clients)


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
    return Gateway(settings, owns_process=True).app()
