"""What the values of settings may be: names to choose from, URLs of servers, lists that stand in one variable."""

from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from email_validator import EmailNotValidError, validate_email
from pydantic import AfterValidator, BeforeValidator, Field, SecretStr
from pydantic_settings import NoDecode

SHORTEST_KEY = 32
STORAGE_OPTIONS = ("endpoint", "region", "virtual_hosted_style_request")


class Environment(StrEnum):
    """Where the gateway runs; it decides the defaults of what only developers should see."""

    DEVELOPMENT = "development"
    PRODUCTION = "production"


class LogLevel(StrEnum):
    """The least severe kind of event that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class LogFormat(StrEnum):
    """Lines for people or objects for machines."""

    CONSOLE = "console"
    JSON = "json"


class TrustedDocumentsMode(StrEnum):
    """Whether clients may send texts of their own."""

    OFF = "off"
    PREFER = "prefer"
    ONLY = "only"


class ExecutionMode(StrEnum):
    """How queries are executed."""

    COMPILED = "compiled"
    STANDARD = "standard"


class ResponseCacheMode(StrEnum):
    """Where answers to public queries are kept."""

    OFF = "off"
    MEMORY = "memory"
    REDIS = "redis"


class PaymentProviderName(StrEnum):
    """Who takes the money."""

    TEST = "test"
    STRIPE = "stripe"


def lower_case(value: object) -> object:
    return value.lower() if isinstance(value, str) else value


def _comma_separated(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _split_url(text: str, schemes: tuple[str, ...], example: str) -> SplitResult:
    try:
        url = urlsplit(text)
        well_formed = url.scheme in schemes and (url.port is None or url.port > 0)
    except ValueError:
        well_formed = False
    if not well_formed:
        raise ValueError(f"must be a URL like {example}")
    return url


def _postgresql_url(value: SecretStr) -> SecretStr:
    example = "postgresql://user:password@host:5432/database"
    if not _split_url(value.get_secret_value(), ("postgresql", "postgres"), example).path.strip("/"):
        raise ValueError(f"must name a database, like {example}")
    return value


def _redis_url(value: SecretStr) -> SecretStr:
    example = "redis://user:password@host:6379/0"
    url = _split_url(value.get_secret_value(), ("redis", "rediss", "unix"), example)
    if url.scheme != "unix" and not url.hostname:
        raise ValueError(f"must name a host, like {example}")
    return value


def _clickhouse_url(value: SecretStr) -> SecretStr:
    example = "http://user:password@host:8123"
    url = _split_url(value.get_secret_value(), ("http", "https"), example)
    if not url.hostname or url.path.strip("/"):
        raise ValueError(f"must name a host and no database, like {example}")
    return value


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    example = "https://shop.example, without a path"
    for origin in value:
        url = _split_url(origin, ("http", "https"), example)
        if not url.hostname or origin != f"{url.scheme}://{url.netloc}" or "@" in url.netloc:
            raise ValueError(f"must be origins like {example}")
    return value


def _networks(value: tuple[str, ...]) -> tuple[IPv4Network | IPv6Network, ...]:
    try:
        return tuple(ip_network(part) for part in value)
    except ValueError:
        raise ValueError("must be addresses or networks like 10.0.0.0/8, without host bits") from None


def _mail_url(value: SecretStr) -> SecretStr:
    example = "smtp://user:password@host:587"
    url = _split_url(value.get_secret_value(), ("smtp", "smtps"), example)
    if not url.hostname or url.path.strip("/"):
        raise ValueError(f"must name a host and no path, like {example}")
    if url.query not in ("", "starttls=never"):
        raise ValueError("may have no other option than ?starttls=never")
    return value


def _secret_keys(value: SecretStr) -> SecretStr:
    if any(len(key) < SHORTEST_KEY for key in value.get_secret_value().split(",")):
        raise ValueError(f"must be keys of at least {SHORTEST_KEY} characters, separated by commas")
    return value


def _sender(value: str) -> str:
    try:
        validate_email(value, check_deliverability=False, allow_display_name=True)
    except EmailNotValidError:
        raise ValueError("must be an address like Shop <no-reply@shop.example>") from None
    return value


def _base_url(value: str) -> str:
    example = "https://shop.example"
    url = _split_url(value, ("http", "https"), example)
    if not url.hostname or url.query or url.fragment or "@" in url.netloc:
        raise ValueError(f"must be a URL like {example}, without a query")
    return value.rstrip("/")


def _storage_url(value: str) -> str:
    example = "s3://bucket/folder?endpoint=https://minio.example.com&region=eu-central-1"
    url = _split_url(value, ("s3",), example)
    if url.hostname is None or url.netloc.lower() != url.hostname:
        raise ValueError(f"must name a bucket, and no keys or port, like {example}")
    if not parse_qs(url.query, keep_blank_values=True).keys() <= {*STORAGE_OPTIONS}:
        raise ValueError(f"may have no other options than {', '.join(STORAGE_OPTIONS)}")
    return value


PostgresqlUrl = Annotated[SecretStr, AfterValidator(_postgresql_url)]
RedisUrl = Annotated[SecretStr, AfterValidator(_redis_url)]
MailUrl = Annotated[SecretStr, AfterValidator(_mail_url)]
SecretKeys = Annotated[SecretStr, AfterValidator(_secret_keys)]
Sender = Annotated[str, AfterValidator(_sender)]
StorageUrl = Annotated[str, AfterValidator(_storage_url)]
BaseUrl = Annotated[str, AfterValidator(_base_url)]
ClickHouseUrl = Annotated[SecretStr, AfterValidator(_clickhouse_url)]
Identifier = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,62}$")]
Networks = Annotated[tuple[Any, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_networks)]
Origins = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_comma_separated), AfterValidator(_origins)]
