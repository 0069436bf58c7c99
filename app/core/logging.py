"""Structured logs: one event per line, with the request's id, and never a secret."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any

import structlog

HIDDEN = "[hidden]"
QUIET = ("urllib3", "clickhouse_connect")
"""Libraries whose warnings come back to their callers as errors."""

SECRET_NAMES = frozenset(
    {"password", "token", "secret", "authorization", "cookie", "key_secret", "payment_token", "access_token", "dsn", "database_url"}
)

Event = MutableMapping[str, Any]


def hide_secrets(_: Any, __: str, event: Event) -> Event:
    """Replace the values of names that hold credentials, whatever their depth."""
    for name, value in event.items():
        event[name] = _hidden(name, value)
    return event


def _hidden(name: str, value: Any) -> Any:
    lowered = name.lower()
    if any(secret in lowered for secret in SECRET_NAMES) and value is not None:
        return HIDDEN
    if isinstance(value, dict):
        return {key: _hidden(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_hidden(name, inner) for inner in value]
    return value


def configure(level: str, log_format: str) -> None:
    """Send every log of the process through structlog to standard error: lines for people (`console`) or objects (`json`)."""
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        hide_secrets,
    ]
    renderer: Any = (
        structlog.processors.JSONRenderer() if log_format == "json" else structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
    )
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    remove_meta = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared, processors=[remove_meta, structlog.processors.format_exc_info, renderer]
        )
    )
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.ERROR)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
