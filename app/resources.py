"""Opens and closes everything that a process holds: PostgreSQL (embedded or not), the cache, and what speaks for the domains.

The gateway, the worker and the commands all live inside `open_resources`.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog
from aiocache.base import BaseCache
from pydantic import SecretStr

from app.core import clickhouse_migrations, jobs, migrations
from app.core.cache import Cache, memory_backend, redis_backend
from app.core.changes import Changes
from app.core.clickhouse import ClickHouse, ClickHouseOptions, Engine
from app.core.database import Database, DatabaseOptions
from app.core.embedded import EmbeddedPostgres
from app.core.errors import Unavailable
from app.core.mail import ConsoleMailer, Mailer, NoMailer, SmtpMailer, SmtpServer
from app.core.metrics import Metrics
from app.core.pubsub import PostgresPubSub, PubSub, RedisPubSub
from app.core.s3 import S3Storage
from app.core.storage import LocalStorage, Storage
from app.orders.provider import PaymentProvider
from app.orders.stripe_provider import StripeProvider
from app.orders.test_provider import TestPaymentProvider
from app.repositories import Repositories, create_repository_factory
from app.settings import PaymentProviderName, Settings

INVALIDATIONS = "cache_invalidations"
CHANGES = "row_changes"

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Resources:
    """What a process works with."""

    settings: Settings
    database: Database
    cache: Cache
    metrics: Metrics
    clickhouse: ClickHouse
    changes: Changes
    repositories: Repositories
    payments: PaymentProvider
    storage: Storage


@asynccontextmanager
async def database_dsn(settings: Settings) -> AsyncIterator[str]:
    """Where PostgreSQL is; without DATABASE_URL, an embedded server that lives as long as the block."""
    if settings.database_url is not None:
        yield settings.database_url.get_secret_value()
        return
    async with EmbeddedPostgres(settings.data_dir) as embedded:
        yield embedded.dsn


async def migrate_all(dsn: str) -> None:
    """Bring our tables and the job queue's up to date."""
    await migrations.upgrade(dsn)
    await jobs.install(dsn)


@asynccontextmanager
async def open_resources(settings: Settings, *, migrate: bool = False, metrics: Metrics | None = None) -> AsyncIterator[Resources]:
    """Open what a process needs, in order, and close it in reverse. With `migrate`, the schema is brought up to date first."""
    metrics = metrics or Metrics()
    async with AsyncExitStack() as stack:
        dsn = await stack.enter_async_context(database_dsn(settings))
        database = Database(dsn, _options(settings), metrics)
        await database.open()
        stack.push_async_callback(database.close)
        if migrate:
            await database.ping()
            await migrate_all(dsn)
        cache = Cache(_cache_backend(settings), metrics, settings.cache_ttl, _pubsub(settings, dsn, INVALIDATIONS))
        await cache.open()
        stack.push_async_callback(cache.close)
        clickhouse = open_clickhouse(settings, metrics, migrate=migrate or settings.clickhouse_url is None)
        stack.push_async_callback(clickhouse.close)
        logger = structlog.get_logger("app.repositories")
        changes = Changes(_pubsub(settings, dsn, CHANGES), metrics)
        repositories = create_repository_factory(database, cache, metrics, logger, clickhouse=clickhouse, changes=changes)
        await changes.open(repositories.find_changed)
        stack.push_async_callback(changes.close)
        provider = make_provider(settings, repositories)
        stack.push_async_callback(provider.close)
        yield Resources(settings, database, cache, metrics, clickhouse, changes, repositories, provider, open_storage(settings))


def open_clickhouse(settings: Settings, metrics: Metrics, *, migrate: bool) -> ClickHouse:
    """ClickHouse as the settings say, reached when first asked. With `migrate`, its tables are then brought up to date."""
    place = settings.clickhouse_database, settings.clickhouse_cluster, settings.clickhouse_sharded
    options = ClickHouseOptions(*place, settings.clickhouse_timeout)
    return ClickHouse(_plain(settings.clickhouse_url), settings.data_dir / "clickhouse", metrics, options, _migrated if migrate else None)


@asynccontextmanager
async def closing_clickhouse(settings: Settings) -> AsyncIterator[ClickHouse]:
    """ClickHouse by itself, its tables as they are, for as long as the block."""
    clickhouse = open_clickhouse(settings, Metrics(), migrate=False)
    try:
        yield clickhouse
    finally:
        await clickhouse.close()


def _migrated(engine: Engine) -> None:
    """A gateway serves without ClickHouse, and so it does with one that is of another version than its code."""
    try:
        clickhouse_migrations.apply(engine)
    except migrations.MigrationError as error:
        log.error("clickhouse_not_migrated", reason=str(error))
        raise Unavailable("ClickHouse's tables are not those of this version") from error


def open_storage(settings: Settings) -> Storage:
    """Where files are kept that were made; a bucket is reached when first asked."""
    if settings.storage_url is None:
        return LocalStorage(settings.data_dir)
    unfinished, secret = settings.data_dir / "unfinished", _plain(settings.storage_secret_access_key)
    return S3Storage(settings.storage_url, unfinished, settings.storage_access_key_id, secret)


def make_mailer(settings: Settings) -> Mailer:
    """How this installation sends mail."""
    url = _plain(settings.mail_url)
    if url is not None:
        return SmtpMailer(SmtpServer.from_url(url), settings.mail_from, settings.mail_timeout)
    if not settings.is_production:
        return ConsoleMailer()
    log.warning("mail_not_configured", consequence="no address can be proved and no lost password set anew", remedy="set MAIL_URL")
    return NoMailer()


def make_provider(settings: Settings, repositories: Repositories) -> PaymentProvider:
    """Who takes the money."""
    api_key, secret = _plain(settings.stripe_api_key), _plain(settings.stripe_webhook_secret)
    if settings.payment_provider is PaymentProviderName.STRIPE and api_key and secret:
        return StripeProvider(api_key, secret, settings.stripe_api_url)
    if settings.is_production:
        log.warning("payments_are_pretended", hint="PAYMENT_PROVIDER is test: whoever knows its tokens buys for nothing")
    return TestPaymentProvider(repositories)


def _options(settings: Settings) -> DatabaseOptions:
    return DatabaseOptions(
        pool_min=settings.database_pool_min,
        pool_max=settings.database_pool_max,
        statement_timeout_ms=settings.database_statement_timeout_ms,
        lock_timeout_ms=settings.database_lock_timeout_ms,
        connect_timeout=settings.database_connect_timeout,
    )


def _plain(secret: SecretStr | None) -> str | None:
    return secret.get_secret_value() if secret else None


def _cache_backend(settings: Settings) -> BaseCache:
    url = _plain(settings.redis_url)
    return redis_backend(url) if url else memory_backend()


def _pubsub(settings: Settings, dsn: str, channel: str) -> PubSub:
    url = _plain(settings.redis_url)
    return RedisPubSub(url, channel) if url else PostgresPubSub(dsn, channel)
