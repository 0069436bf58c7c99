"""The process's Prometheus metrics, in a registry of their own so that several gateways can live in one test process."""

import os
from functools import lru_cache

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.multiprocess import MultiProcessCollector

from app.core.tally import Tally

WORK_BUCKETS = (0.01, 0.05, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800, 7200)
"""Of work in the background, which may take hours."""

BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
CONTENT_TYPE = CONTENT_TYPE_LATEST
SHARED_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
"""Variable of the environment, the library's own: where the processes of one gateway keep their metrics, so that each can tell all."""


class Metrics:
    """Everything that is counted and timed; durations in seconds."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.tally = Tally()
        self.registry.register(self.tally)
        self.repository_operations = Histogram(
            "repository_operation_seconds",
            "Time per repository operation",
            ("entity", "operation", "result"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.operation_timer = lru_cache(maxsize=5000)(self.repository_operations.labels)
        self.database_seconds = Counter(
            "database_seconds",
            "Time spent waiting for PostgreSQL: a statement, or a free connection",
            ("wait",),
            registry=self.registry,
        )
        self.clickhouse_operations = Histogram(
            "clickhouse_operation_seconds",
            "Time per ClickHouse statement",
            ("operation", "result"),
            buckets=BUCKETS,
            registry=self.registry,
        )
        self.events = Counter(
            "events", "Events of users: stored, spooled while ClickHouse is away, replayed, rejected", ("way",), registry=self.registry
        )
        self.events_waiting = Gauge(
            "events_waiting", "Events that wait in PostgreSQL for ClickHouse", registry=self.registry, multiprocess_mode="mostrecent"
        )
        self.cart_features = Counter(
            "cart_features",
            "Carts by what became of their features: computed, outdated (asked for anew, since their version is new)",
            ("way",),
            registry=self.registry,
        )
        self.requests = Counter("http_requests", "HTTP requests", ("method", "path", "status"), registry=self.registry)
        self.request_seconds = Histogram(
            "http_request_seconds", "Time per HTTP request", ("path",), buckets=BUCKETS, registry=self.registry
        )
        self.operations = Counter("graphql_operations", "GraphQL operations", ("kind", "result"), registry=self.registry)
        self.executions = Counter(
            "graphql_executions",
            "Queries by how they were executed: compiled, filled (compiled, with fields worked out in Python) or standard, and why so",
            ("mode", "reason"),
            registry=self.registry,
        )
        self.rate_limited = Counter("rate_limited", "Refusals for asking too often", ("quota",), registry=self.registry)
        self.quota_failures = Counter("quota_store_failures", "Times that quotas fell back to this process", registry=self.registry)
        self.in_flight = Gauge(
            "http_requests_in_flight", "HTTP requests being answered", registry=self.registry, multiprocess_mode="livesum"
        )
        self.cache = Counter("cache_lookups", "Cache look-ups", ("result",), registry=self.registry)
        self.changes = Counter("row_changes_announced", "Changed rows told to all processes", ("entity",), registry=self.registry)
        self.lost_changes = Counter("row_changes_lost", "Times that row changes may have gone untold", registry=self.registry)
        self.live_connections = Gauge(
            "live_connections", "Open connections of subscribers", ("transport",), registry=self.registry, multiprocess_mode="livesum"
        )
        self.live_subscriptions = Gauge(
            "live_subscriptions", "Subscriptions under way", registry=self.registry, multiprocess_mode="livesum"
        )
        self.live_messages = Counter("live_messages", "Messages sent to subscribers", ("transport", "type"), registry=self.registry)
        self.live_drops = Counter(
            "live_drops", "Connections and subscriptions refused or ended by the gateway", ("transport", "reason"), registry=self.registry
        )
        self.api_keys = Counter("api_key_validations", "API keys looked up", ("result",), registry=self.registry)
        self.lost_key_uses = Counter("api_key_uses_lost", "Uses of API keys that could not be counted", registry=self.registry)
        self.response_cache = Counter(
            "response_cache_lookups",
            "Look-ups of kept answers: hit, miss, or joined (the answer was being made for somebody else)",
            ("result",),
            registry=self.registry,
        )
        self.work = Histogram(
            "background_work_seconds",
            "Time per run in the background: a report, an export, a quality check, a reconciliation; by kind and outcome",
            ("work", "kind", "outcome"),
            buckets=WORK_BUCKETS,
            registry=self.registry,
        )
        self.logins = Counter("user_logins", "Sign-ins", ("result",), registry=self.registry)
        self.authentication_seconds = Histogram("user_authentication_seconds", "Time per sign-in", buckets=BUCKETS, registry=self.registry)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format; those of all processes where several serve together."""
        if not (folder := os.environ.get(SHARED_FOLDER)):
            return generate_latest(self.registry)
        self.tally.tell()
        registry = CollectorRegistry()
        MultiProcessCollector(registry, folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry)
