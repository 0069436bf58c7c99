"""How often a caller may ask, in whole requests and for single fields.

A request counts for its address before anything of it is read, and for its account or API key once that is known; beyond the limit it is
refused with 429. A field counts wherever it resolves, so asking for it under many aliases in one document counts many times:

    @mutation(access=public, rate=Rate("5/minute", per=Per.ADDRESS))
    async def sign_in(...): ...

The header fields are those of draft-ietf-httpapi-ratelimit-headers-10.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from typing import Any, Self

import strawberry
from limits import RateLimitItem, RateLimitItemPerHour, RateLimitItemPerMinute, parse
from strawberry.extensions import FieldExtension
from strawberry.schema_directive import Location
from strawberry.types.field import StrawberryField

from app.api.context import Reply, RequestInfo
from app.api.errors import RateLimited, camel_case
from app.api.permissions import show_directive
from app.core.metrics import Metrics
from app.core.quotas import Quotas
from app.core.security import Viewer

IPV6_PREFIX = 64
"""What a provider gives to one customer (RFC 6177); a single address of it would be no limit at all."""


class Per(StrEnum):
    """Whom a field's quota belongs to."""

    CALLER = "caller"
    """The account, or the address of a caller without one."""
    ADDRESS = "address"
    """The address, whoever calls: for what is worth trying under many accounts."""


@dataclass(frozen=True)
class Quota:
    """A number of units per window, under a name of its own."""

    name: str
    item: RateLimitItem
    policy: str

    @classmethod
    def of(cls, name: str, item: RateLimitItem) -> Self:
        item.namespace = name
        return cls(name, item, f'"{name}";q={item.amount};w={item.get_expiry()}')


class RateLimiter:
    """Counts requests against the quotas of their callers. Every method raises `RateLimited` for one too many."""

    def __init__(self, quotas: Quotas, metrics: Metrics, *, per_address: int, per_user: int, enabled: bool = True) -> None:
        """`per_address` and `per_user` are per minute."""
        self._quotas = quotas
        self._metrics = metrics
        self._enabled = enabled
        self._address = Quota.of("address", RateLimitItemPerMinute(per_address))
        self._user = Quota.of("user", RateLimitItemPerMinute(per_user))

    async def admit_address(self, request: RequestInfo) -> None:
        """A request, before anything is known but where it comes from."""
        if request.ip_address:
            await self._take(self._address, network(request.ip_address), request.reply)

    async def admit_viewer(self, request: RequestInfo, viewer: Viewer) -> None:
        """A request of an account, or with an API key, which has an hourly limit of its own in place of its owner's."""
        if viewer.key is not None:
            await self._take(_key_quota(viewer.key.rate_limit), viewer.key.id.hex, request.reply)
        elif viewer.user_id is not None:
            await self._take(self._user, viewer.user_id.hex, request.reply)

    async def admit_field(self, request: RequestInfo, viewer: Viewer, quota: Quota, per: Per) -> None:
        """A field of a request, once for every time that it resolves."""
        if per is Per.CALLER and viewer.user_id is not None:
            await self._take(quota, viewer.user_id.hex, request.reply)
        elif request.ip_address:
            await self._take(quota, network(request.ip_address), request.reply)

    async def is_within(self, quota: Quota, request: RequestInfo) -> bool:
        """Whether an address stays below what is met with more care rather than refused; counts once more. Nobody is told how it stands."""
        if not self._enabled or not request.ip_address:
            return True
        return (await self._quotas.take(quota.item, network(request.ip_address))).granted

    async def _take(self, quota: Quota, who: str, reply: Reply) -> None:
        if not self._enabled:
            return
        own = self._quotas.own
        standing = own.take(quota.item, who) if own is not None else await self._quotas.take(quota.item, who)
        reply.quotas[quota.name] = quota.policy, standing
        if standing.granted:
            return
        self._metrics.rate_limited.labels(quota.name).inc()
        message = f"too many requests: {quota.item.amount} per {_window(quota.item)} are allowed here; try again in {standing.resets} s"
        raise RateLimited(message, standing.resets)


def rate_headers(reply: Reply) -> list[tuple[bytes, bytes]]:
    """How the caller stands with each quota that the request counted for, as headers."""
    if not reply.quotas:
        return []
    standings = ", ".join([f'"{name}";r={standing.remaining};t={standing.resets}' for name, (_, standing) in reply.quotas.items()])
    return [(b"ratelimit-policy", _policies(*[policy for policy, _ in reply.quotas.values()])), (b"ratelimit", standings.encode())]


@lru_cache(maxsize=256)
def _policies(*policies: str) -> bytes:
    return ", ".join(policies).encode()


@lru_cache(maxsize=4096)
def network(address: str) -> str:
    """Whom an address stands for: itself, or in IPv6 the network that one customer has. What is no IP address stands for itself."""
    try:
        parsed = ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, IPv6Address) and parsed.ipv4_mapped:
        parsed = parsed.ipv4_mapped
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    host_bits = parsed.max_prefixlen - IPV6_PREFIX
    return f"{IPv6Address(int(parsed) >> host_bits << host_bits)}/{IPV6_PREFIX}"


@lru_cache(maxsize=1024)
def _key_quota(per_hour: int) -> Quota:
    return Quota.of("key", RateLimitItemPerHour(per_hour))


def _window(item: RateLimitItem) -> str:
    return item.GRANULARITY.name if item.multiples == 1 else f"{item.multiples} {item.GRANULARITY.name}s"


@strawberry.schema_directive(locations=[Location.FIELD_DEFINITION], description="How often one caller or address may ask for this.")
class RateLimit:
    limit: str
    per: str


@dataclass(frozen=True)
class Rate:
    """A field's own quota: `limit` as `5/minute` or `50/5 minutes`. Raises ValueError for anything else."""

    limit: str
    per: Per = Per.CALLER

    def __post_init__(self) -> None:
        self.item()

    def item(self) -> RateLimitItem:
        return parse(self.limit)


class Throttle(FieldExtension):
    """Counts each resolution of a field against the field's quota."""

    def __init__(self, rate: Rate) -> None:
        self._rate = rate
        self._quota: Quota | None = None

    def apply(self, field: StrawberryField) -> None:
        self._quota = Quota.of(field.graphql_name or camel_case(field.python_name), self._rate.item())
        show_directive(field, RateLimit(limit=self._rate.limit, per=self._rate.per.value))

    async def resolve_async(self, next_: Callable[..., Awaitable[Any]], source: Any, info: strawberry.Info, **kwargs: Any) -> Any:
        assert self._quota is not None
        context = info.context
        await context.services.rate_limiter.admit_field(context.request, context.viewer, self._quota, self._rate.per)
        return await next_(source, info, **kwargs)
