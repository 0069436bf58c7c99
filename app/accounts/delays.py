"""Delays after failed sign-ins, for each account and each network, the same on every process.

What is tried on an account that does not exist is counted as on one that does, so that a delay tells nothing. Only failures that were
looked at count: trying while a delay holds neither helps nor makes it longer, and a success makes an account's failures forgotten.

Nobody can lock a stranger out for long. The failures of a network are held against an account from that network alone where the account
was entered from there in the last 90 days: whoever fails elsewhere does not delay the owner at home. Only on networks that are new to the
account, an attacker who never stops can make its owner wait, `ACCOUNT.longest` seconds for each try; a new password by mail ends that,
since the network of whoever set it is known from then on. Attempts that run side by side are refused as well, even with the right
password, once the others' failures have begun a delay.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.accounts.models import Patience
from app.api.context import RequestInfo
from app.api.errors import RateLimited
from app.api.rate_limit import network

ACCOUNT = Patience(free=5, longest=900, memory=timedelta(days=1))
"""About a hundred guesses a day (NIST SP 800-63B, 5.2.2, allows a hundred in a row)."""

NETWORK = Patience(free=50, longest=60, memory=timedelta(hours=1))
"""For guesses at many accounts from one place, where many people may be."""


@dataclass(frozen=True)
class Attempt:
    """The keys under which a sign-in is counted."""

    account: str
    network: str | None

    @property
    def keys(self) -> list[str]:
        return [key for key in (self.account, self.network) if key]

    @classmethod
    async def of(cls, repositories: Any, email: str, request: RequestInfo) -> "Attempt":
        """An attempt at the account of an email, from where the request came."""
        here = network(request.ip_address) if request.ip_address else ""
        familiar = {network(address) for address in await repositories.security_events.find_familiar_addresses(email)}
        account = _key("account", email.lower(), here if here in familiar else "")
        return cls(account, _key("network", here) if here else None)

    async def check(self, repositories: Any) -> None:
        """Raises `RateLimited` while a delay holds."""
        seconds = math.ceil(await repositories.sign_in_delays.find_wait(self.keys))
        if seconds > 0:
            raise RateLimited(f"too many sign-ins have failed; try again in {seconds} s", seconds)

    async def fail(self, repositories: Any, email: str, request: RequestInfo) -> None:
        """Count a failure, and note it for the account's owner. The keys are in one order for all, so that no two wait for each other."""
        limits = {self.account: ACCOUNT, **({self.network: NETWORK} if self.network else {})}
        async with repositories.transaction() as tx:
            for key in sorted(limits):
                await tx.sign_in_delays.count_failure(key, limits[key])
            await tx.security_events.record_failed_sign_in(email, request.ip_address, request.user_agent)

    async def succeed(self, repositories: Any) -> None:
        """Forget the account's failures, not those of the network: there whoever has an account could erase those with others."""
        await repositories.sign_in_delays.clear([self.account])


def traces(email: str, addresses: Iterable[str]) -> list[str]:
    """The keys under which failures with an account are counted, from unknown networks and from those of the addresses."""
    return [_key("account", email.lower(), place) for place in sorted({"", *map(network, addresses)})]


async def forgive(repositories: Any, email: str) -> None:
    """Forget all failures from unknown networks with an account, whose owner has proved to be it by mail."""
    await repositories.sign_in_delays.clear([_key("account", email.lower(), "")])


def _key(*parts: str) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()
