"""The settings themselves, with their defaults and what they mean."""

import secrets
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from app.settings.kinds import (
    BaseUrl,
    ClickHouseUrl,
    Environment,
    ExecutionMode,
    Identifier,
    LogFormat,
    LogLevel,
    MailUrl,
    Networks,
    Origins,
    PaymentProviderName,
    PostgresqlUrl,
    RedisUrl,
    ResponseCacheMode,
    SecretKeys,
    Sender,
    StorageUrl,
    TrustedDocumentsMode,
    lower_case,
)

# OWASP, Password Storage Cheat Sheet: the least that argon2id should be given.
ARGON2_LEAST_MEMORY_KIB = 19 * 1024
ARGON2_LEAST_TIME_COST = 2
_KEY_OF_THIS_PROCESS = secrets.token_urlsafe()


def _in_development(data: dict[str, Any]) -> bool:
    return data["environment"] is Environment.DEVELOPMENT


def _log_format_of(data: dict[str, Any]) -> LogFormat:
    return LogFormat.CONSOLE if _in_development(data) else LogFormat.JSON


def _sign_ups_at_once_of(data: dict[str, Any]) -> int:
    return 1_000 if _in_development(data) else 30


class Settings(BaseSettings):
    """The settings of one process. Raises pydantic's ValidationError; `read_settings` turns that into a SettingsError."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        env_file=".env",
        env_ignore_empty=True,
        hide_input_in_errors=True,
        validate_default=True,
    )

    environment: Annotated[Environment, BeforeValidator(lower_case)] = Field(
        default=Environment.DEVELOPMENT,
        description="`development` or `production`. Production shows nothing that only developers should see.",
    )
    host: str = Field(default="127.0.0.1", min_length=1, description="Address to listen on.")
    port: int = Field(default=8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    workers: int = Field(
        default=1, ge=1, le=256, description="Processes that serve requests; more than one needs `DATABASE_URL` and `CLICKHOUSE_URL`."
    )
    data_dir: Annotated[Path, AfterValidator(Path.expanduser)] = Field(
        default=Path(".data"), description="Folder of the embedded servers' data."
    )

    database_url: PostgresqlUrl | None = Field(
        default=None, description="PostgreSQL, as `postgresql://user:password@host:5432/database`. Not set: the embedded server."
    )
    database_pool_min: int = Field(default=2, ge=0, le=1000, description="Connections kept open per process.")
    database_pool_max: int = Field(default=10, ge=1, le=1000, description="Most connections per process.")
    database_statement_timeout_ms: int = Field(
        default=10_000, ge=1, le=3_600_000, description="Milliseconds after which PostgreSQL ends a statement."
    )
    database_lock_timeout_ms: int = Field(
        default=3_000, ge=1, le=3_600_000, description="Milliseconds after which a statement gives up waiting for a lock."
    )
    database_connect_timeout: float = Field(default=5, gt=0, le=300, description="Seconds to wait for a connection.")
    redis_url: RedisUrl | None = Field(
        default=None,
        description="Redis or Valkey, as `redis://host:6379/0`, for cache, quotas and messages between processes. "
        "Not set: memory and PostgreSQL.",
    )

    payment_provider: Annotated[PaymentProviderName, BeforeValidator(lower_case)] = Field(
        default=PaymentProviderName.TEST,
        description="Who takes the money: `stripe`, or `test`, which moves none and takes tokens such as `tok_success`.",
    )
    stripe_api_key: SecretStr | None = Field(default=None, description="Stripe's secret key; needed for `stripe`.")
    stripe_webhook_secret: SecretStr | None = Field(
        default=None, description="What Stripe signs its events with at `/webhooks/payments/stripe`; needed for `stripe`."
    )
    stripe_api_url: BaseUrl | None = Field(default=None, description="Where Stripe's API is, or what speaks as it does. Not set: Stripe.")
    payment_patience: float = Field(
        default=60,
        ge=1,
        le=86_400,
        description="Seconds after which a payment that nobody has settled is asked after at its provider; longer than a request may take.",
    )
    idempotency_key_lifetime: int = Field(
        default=86_400, ge=60, le=31_536_000, description="Seconds that the answer to a request with an `idempotencyKey` is kept."
    )
    order_patience: int = Field(
        default=3_600, ge=1, le=31_536_000, description="Seconds that an order waits for its payment and keeps its stock reserved."
    )

    run_jobs: bool | None = Field(
        default=None,
        description="Do background work, such as sending mail, in the gateway itself. Not set: only what needs an embedded server, "
        "which no worker reaches.",
    )
    mail_url: MailUrl | None = Field(
        default=None,
        description="SMTP server, as `smtp://user:password@host:587` (STARTTLS; without it to a server on this host, or with "
        "`?starttls=never`) or `smtps://user:password@host:465`. Not set: mails are printed while developing, dropped in production.",
    )
    mail_from: Sender = Field(default="Neurotracker <no-reply@shop.example>", description="Sender of mails.")
    mail_timeout: float = Field(default=10, gt=0, le=50, description="Seconds that each step of handing over a mail may take.")
    public_url: BaseUrl = Field(
        default="http://127.0.0.1:8000",
        description="Where the storefront is. Links in mails lead to its pages `/verify-email`, `/reset-password`, `/sign-up` and "
        "`/restore-cart`, with the token behind `#token=`.",
    )
    gateway_url: BaseUrl | None = Field(
        default=None,
        description="Where this gateway is reached from outside: links that end reminders (`/unsubscribe/...`) lead there. Not set: "
        "`PUBLIC_URL`.",
    )
    secret_key: SecretKeys | None = Field(
        default=None,
        description="What links in reminders are signed with: at least 32 characters, or several such keys, separated by commas, the "
        "newest first. Not set: a random one, and links end with the process.",
    )
    webhook_timeout: float = Field(default=10, gt=0, le=50, description="Seconds that a store's own system gets to take a webhook message.")
    webhook_failures: int = Field(
        default=10, ge=1, le=1_000, description="Deliveries that fail in a row, each tried for a day, until their webhook becomes inactive."
    )
    webhook_secret_overlap: int = Field(
        default=86_400, ge=0, le=2_592_000, description="Seconds that messages are signed with the former secret as well after a rotation."
    )
    webhook_loopback: bool = Field(
        default=False, description="Deliver webhooks to this host, and without TLS, to try them; never in production."
    )
    clickhouse_url: ClickHouseUrl | None = Field(
        default=None, description="ClickHouse, as `http://user:password@host:8123`. Not set: the embedded engine, for one process."
    )
    clickhouse_database: Identifier = Field(
        default="neurotracker", description="ClickHouse's database for events; made where it is missing."
    )
    clickhouse_cluster: Identifier | None = Field(default=None, description="Cluster on whose hosts ClickHouse's tables are replicated.")
    clickhouse_sharded: bool = Field(
        default=False, description="Spread ClickHouse's tables over the shards of `CLICKHOUSE_CLUSTER`, each row on one of them."
    )
    clickhouse_timeout: float = Field(default=10, gt=0, le=3_600, description="Seconds after which ClickHouse ends a statement.")

    events_batch: int = Field(default=10_000, ge=1, le=100_000, description="Events that are stored together at most.")
    events_linger_ms: int = Field(default=50, ge=0, le=10_000, description="Milliseconds that an event waits for others to be stored with.")
    events_buffer_bytes: int = Field(
        default=33_554_432, ge=2_000_000, le=4_294_967_296, description="Bytes of events that may wait in a process; more are refused."
    )
    events_spool: int = Field(
        default=10_000_000,
        ge=0,
        le=10_000_000_000,
        description="Events that may wait in PostgreSQL while ClickHouse is away.",
    )

    storage_url: StorageUrl | None = Field(
        default=None,
        description="S3, or what speaks as it, for reports and archives, as `s3://bucket/folder?endpoint=https://host&region=name`. "
        "Not set: `DATA_DIR`, which processes on several hosts must share.",
    )
    storage_access_key_id: str | None = Field(default=None, description="Key of the storage; not set: as the machine's own role.")
    storage_secret_access_key: SecretStr | None = Field(default=None, description="The secret of that key.")
    report_lifetime: int = Field(default=604_800, ge=3_600, le=31_536_000, description="Seconds that the file of a report is kept.")
    report_link_lifetime: int = Field(default=900, ge=10, le=86_400, description="Seconds that a link to a report or an archive is good.")
    report_max_rows: int = Field(default=1_000_000, ge=1, le=100_000_000, description="Rows that a report may have.")
    report_max_bytes: int = Field(
        default=1_073_741_824, ge=1_000, le=100_000_000_000, description="Bytes that the file of a report may have."
    )

    export_lifetime: int = Field(default=86_400, ge=3_600, le=2_592_000, description="Seconds that an archive of `exportMyData` is kept.")
    export_max_bytes: int = Field(default=1_073_741_824, ge=1_000, le=100_000_000_000, description="Bytes that such an archive may have.")

    request_timeout: float = Field(default=15, gt=0, le=600, description="Seconds that one request may take.")
    request_max_bytes: int = Field(default=1_000_000, ge=1_000, le=100_000_000, description="Largest request body in bytes.")
    shutdown_grace: float = Field(default=20, ge=0, le=600, description="Seconds that requests in flight get to finish at shutdown.")
    cors_origins: Origins = Field(
        default=(), description="Origins that browsers may call from, separated by commas, as `https://shop.example`."
    )

    trusted_proxies: Networks = Field(
        default=(), description="Proxies whose `X-Forwarded-For` is believed, separated by commas, as `10.0.0.0/8`."
    )
    rate_limits: bool = Field(default=True, description="Refuse callers that ask too often.")
    rate_limit_per_address: int = Field(default=1_000, ge=1, le=1_000_000_000, description="Requests per minute of one address.")
    rate_limit_per_user: int = Field(default=500, ge=1, le=1_000_000_000, description="Requests per minute of one account.")
    live_connections: int = Field(
        default=5_000, ge=0, le=1_000_000, description="Connections of subscribers that one process holds; 0 lets nobody subscribe."
    )
    live_connections_per_address: int = Field(
        default=200, ge=1, le=1_000_000, description="Connections of subscribers from one address, in one process."
    )
    live_connections_per_user: int = Field(
        default=20, ge=1, le=1_000_000, description="Connections of subscribers of one account, in one process."
    )
    live_operations: int = Field(default=50, ge=1, le=10_000, description="Operations that one WebSocket may have under way at a time.")
    live_init_timeout: float = Field(
        default=10, gt=0, le=600, description="Seconds that a WebSocket gets to say who it is (`connection_init`)."
    )
    trusted_documents: Annotated[TrustedDocumentsMode, BeforeValidator(lower_case)] = Field(
        default=TrustedDocumentsMode.OFF,
        description="`only` runs nothing but the documents of the manifest, `prefer` these and others, `off` knows no manifest.",
    )
    trusted_documents_file: Path | None = Field(
        default=None, description="The manifest, a JSON object of documents by hash, as GraphQL Code Generator's client preset writes it."
    )

    demo_data: bool = Field(default_factory=_in_development, description="Fill an empty database with a demo shop at start.")
    graphiql: bool = Field(default_factory=_in_development, description="Serve GraphiQL at `GET /graphql` to browsers.")
    introspection: bool = Field(
        default_factory=_in_development, description="Answer introspection queries, and tell which names of a document are wrong."
    )
    log_level: Annotated[LogLevel, BeforeValidator(lower_case)] = Field(
        default=LogLevel.INFO, description="`debug`, `info`, `warning` or `error`."
    )
    log_format: Annotated[LogFormat, BeforeValidator(lower_case)] = Field(
        default_factory=_log_format_of, description="`console` for people, `json` for machines."
    )

    session_lifetime: int = Field(default=86_400, ge=60, le=31_536_000, description="Seconds after which a session ends whatever happens.")
    session_idle_timeout: int = Field(
        default=14_400, ge=60, le=31_536_000, description="Seconds without a request after which a session ends."
    )
    api_key_max_lifetime: int = Field(
        default=315_360_000,
        ge=60,
        le=315_360_000,
        description="Seconds that an API key may live at most. Where its maker does not say, it lives for a year, or this if that is less.",
    )
    api_keys_per_user: int = Field(
        default=20, ge=0, le=10_000, description="Live API keys that one account may have; 0 lets nobody make one."
    )
    sessions_per_user: int = Field(
        default=100, ge=1, le=10_000, description="Live sessions of one account; of more, those end that were not used for longest."
    )
    sign_ups_at_once: int = Field(
        default_factory=_sign_ups_at_once_of,
        ge=0,
        le=1_000_000,
        description="Sign-ups per hour of one address that give a session at once; those beyond must answer a mail first, so that nobody "
        "finds out who has an account. 0: all of them.",
    )
    guest_cart_lifetime: int = Field(
        default=30 * 24 * 3600, ge=3600, le=366 * 24 * 3600, description="Seconds until a guest's cart that has not changed is removed."
    )
    guest_carts_per_hour: int = Field(
        default=120, ge=1, le=1_000_000, description="Carts that guests behind one address may begin per hour."
    )
    feature_history_lifetime: int = Field(
        default=400 * 24 * 3600,
        ge=0,
        le=100 * 366 * 24 * 3600,
        description="Seconds that values of features which were replaced can still be read (`asOf`); 0 keeps them for good.",
    )
    email_verification_lifetime: int = Field(
        default=86_400, ge=60, le=2_592_000, description="Seconds that the link to prove an email address is good."
    )
    password_reset_lifetime: int = Field(default=3_600, ge=60, le=86_400, description="Seconds that the link to a new password is good.")
    argon2_time_cost: int = Field(
        default=3, ge=1, le=100, description="Passes of argon2id over its memory (RFC 9106, second recommendation)."
    )
    argon2_memory_kib: int = Field(default=65_536, ge=8, le=4_194_304, description="Memory of one password hash in KiB.")
    argon2_parallelism: int = Field(default=4, ge=1, le=64, description="Lanes of one password hash.")
    hash_threads: int = Field(
        default=1, ge=1, le=64, description="Password hashes computed at the same time; each keeps as many cores busy as it has lanes."
    )

    execution: Annotated[ExecutionMode, BeforeValidator(lower_case)] = Field(
        default=ExecutionMode.COMPILED,
        description="`compiled` answers a query by one statement per root field where it can; `standard` always calls resolvers.",
    )
    max_depth: int = Field(default=12, ge=1, le=100, description="Deepest nesting of a GraphQL operation.")
    max_cost: int = Field(default=35_000, ge=1, le=10_000_000, description="Highest cost of a GraphQL operation; list sizes multiply.")
    max_aliases: int = Field(default=30, ge=0, le=10_000, description="Most aliases in a GraphQL operation.")
    max_tokens: int = Field(default=5_000, ge=10, le=1_000_000, description="Most tokens in a GraphQL document.")
    max_root_fields: int = Field(default=20, ge=1, le=1_000, description="Most root fields in a GraphQL operation.")
    max_visits: int = Field(
        default=2,
        ge=1,
        le=100,
        description="Most objects of one type on a path of a GraphQL operation, such as the order of an order's cart.",
    )
    response_cache: Annotated[ResponseCacheMode, BeforeValidator(lower_case)] = Field(
        default=ResponseCacheMode.MEMORY,
        description="Where answers to public queries are kept as `@cacheControl` says: `memory` of each process, `redis`, or `off`.",
    )
    response_cache_bytes: int = Field(
        default=33_554_432, ge=100_000, le=100_000_000_000, description="Most bytes of answers that one process keeps in its memory."
    )
    cache_ttl: int = Field(default=60, ge=0, le=86_400, description="Seconds that a row may stay in the cache; 0 turns the cache off.")

    @property
    def link_keys(self) -> list[str]:
        """What links are signed with, the newest key first."""
        return self.secret_key.get_secret_value().split(",") if self.secret_key else [_KEY_OF_THIS_PROCESS]

    @property
    def jobs_run_here(self) -> bool:
        """Whether the gateway does the background work itself."""
        return self.database_url is None if self.run_jobs is None else self.run_jobs

    @property
    def analyses_here(self) -> bool:
        """Whether the gateway does what needs ClickHouse, since no worker reaches the embedded one."""
        return self.jobs_run_here or (self.run_jobs is None and self.clickhouse_url is None)

    @property
    def is_production(self) -> bool:
        """Whether customers are served, so that nothing meant for developers may be shown."""
        return self.environment is Environment.PRODUCTION

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Reads the arguments, then the environment, then `.env`, which a production environment leaves unread."""
        given = env_settings() | init_settings()
        if str(given.get("environment", "")).lower() == Environment.PRODUCTION:
            return init_settings, env_settings
        return init_settings, env_settings, dotenv_settings

    @model_validator(mode="after")
    def _orders_hold(self) -> Self:
        self._require_order("database_pool_min", "database_pool_max")
        self._require_order("session_idle_timeout", "session_lifetime")
        return self

    @model_validator(mode="after")
    def _manifest_is_there(self) -> Self:
        if self.trusted_documents is not TrustedDocumentsMode.OFF and self.trusted_documents_file is None:
            raise ValueError(f"TRUSTED_DOCUMENTS_FILE must name the manifest when TRUSTED_DOCUMENTS is {self.trusted_documents.value}")
        return self

    @model_validator(mode="after")
    def _storage_keys_are_whole(self) -> Self:
        if (self.storage_access_key_id is None) != (self.storage_secret_access_key is None):
            raise ValueError("STORAGE_ACCESS_KEY_ID and STORAGE_SECRET_ACCESS_KEY go together")
        return self

    @model_validator(mode="after")
    def _stripe_is_known(self) -> Self:
        missing = [name for name in ("stripe_api_key", "stripe_webhook_secret") if getattr(self, name) is None]
        if self.payment_provider is PaymentProviderName.STRIPE and missing:
            raise ValueError(f"{missing[0].upper()} must be set when PAYMENT_PROVIDER is stripe")
        return self

    @model_validator(mode="after")
    def _mails_lead_somewhere(self) -> Self:
        missing = [name for name in ("mail_from", "public_url", "secret_key") if name not in self.model_fields_set]
        if self.is_production and self.mail_url is not None and missing:
            raise ValueError(f"{missing[0].upper()} must be set in production when MAIL_URL is")
        return self

    @model_validator(mode="after")
    def _webhooks_leave_this_host(self) -> Self:
        if self.is_production and self.webhook_loopback:
            raise ValueError("WEBHOOK_LOOPBACK must not be set in production")
        return self

    @model_validator(mode="after")
    def _answers_have_a_place(self) -> Self:
        if self.response_cache is ResponseCacheMode.REDIS and self.redis_url is None:
            raise ValueError("REDIS_URL must say where answers are kept when RESPONSE_CACHE is redis")
        return self

    @model_validator(mode="after")
    def _cluster_is_reached(self) -> Self:
        if self.clickhouse_sharded and self.clickhouse_cluster is None:
            raise ValueError("CLICKHOUSE_CLUSTER must name the cluster when CLICKHOUSE_SHARDED is true")
        if self.clickhouse_cluster is not None and self.clickhouse_url is None:
            raise ValueError("CLICKHOUSE_URL must say where the cluster is when CLICKHOUSE_CLUSTER names one")
        return self

    @model_validator(mode="after")
    def _hashes_are_strong(self) -> Self:
        if self.argon2_memory_kib < 8 * self.argon2_parallelism:
            raise ValueError(f"ARGON2_MEMORY_KIB must be at least 8 times ARGON2_PARALLELISM, {8 * self.argon2_parallelism}")
        if self.is_production and self.argon2_memory_kib < ARGON2_LEAST_MEMORY_KIB:
            raise ValueError(f"ARGON2_MEMORY_KIB must be at least {ARGON2_LEAST_MEMORY_KIB} in production (OWASP)")
        if self.is_production and self.argon2_time_cost < ARGON2_LEAST_TIME_COST:
            raise ValueError(f"ARGON2_TIME_COST must be at least {ARGON2_LEAST_TIME_COST} in production (OWASP)")
        return self

    def _require_order(self, lower: str, upper: str) -> None:
        if getattr(self, lower) > getattr(self, upper):
            raise ValueError(f"{lower.upper()} ({getattr(self, lower)}) must not exceed {upper.upper()} ({getattr(self, upper)})")
