"""From a bearer token, a session's or an API key, to a viewer.

What a token stands for is remembered for a few seconds, so that a busy session costs no statement per request. The repositories make every
process forget it at once when a session ends or a key is revoked, or an account, a role or a permission changes.
"""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Self

from app.accounts.api_keys import ApiKeys, is_api_key
from app.accounts.repository import VIEWERS
from app.accounts.sessions import Opened
from app.accounts.viewers import Known, known
from app.api.errors import UNAUTHENTICATED, AccessDenied
from app.core.security import ANONYMOUS, Viewer, token_hash
from app.settings import Settings

MAX_REMEMBERED = 20_000


@dataclass(frozen=True)
class SignedIn:
    """A new session, and whom it stands for."""

    session: Opened
    viewer: Viewer


class Authenticator:
    """Finds the viewer behind a token. `idle` is how many seconds a session lives without a request."""

    def __init__(self, api_keys: ApiKeys, *, idle: int) -> None:
        self._api_keys = api_keys
        self._idle = timedelta(seconds=idle)
        self._known: dict[str, Known] = {}
        """By token: the requests that are being answered hold theirs in memory as well."""

    @classmethod
    def from_settings(cls, settings: Settings, api_keys: ApiKeys) -> Self:
        return cls(api_keys, idle=settings.session_idle_timeout)

    async def authenticate(self, repositories: Any, token: str | None) -> Viewer:
        """The viewer of a request. Raises `AccessDenied` for a token that is not, or no longer, good."""
        if token is None:
            return ANONYMOUS
        generation = repositories.cache.generation(VIEWERS)
        found = self._known.get(token)
        if found is None or found.generation != generation or found.good_until <= repositories.now():
            self._known.pop(token, None)
            found = _unchanged(found, await self._find(repositories, token, generation))
            self._remember(token, found)
        return found.viewer

    def _remember(self, token: str, known: Known) -> None:
        """Those looked up longest ago are forgotten first."""
        if len(self._known) >= MAX_REMEMBERED:
            del self._known[next(iter(self._known))]
        self._known[token] = known

    async def admit(self, repositories: Any, opened: Opened) -> SignedIn:
        """Whom a session that has just begun stands for."""
        return SignedIn(opened, await self.authenticate(repositories, opened.token))

    async def _find(self, repositories: Any, token: str, generation: int) -> Known:
        if is_api_key(token):
            return await self._api_keys.find(repositories, token, generation)
        holder = await repositories.user_sessions.find_holder(token_hash(token), self._idle)
        if holder is None:
            raise AccessDenied(UNAUTHENTICATED, "the session has ended or never was; sign in again")
        if holder.untouched:
            await repositories.user_sessions.update_last_activity(holder.id)
        return known(holder, repositories.now(), generation, session_id=holder.id)


def _unchanged(before: Known | None, now: Known) -> Known:
    """What is known now, of the same viewer where nothing about it has changed: what is kept by viewer is found by identity then."""
    return replace(now, viewer=before.viewer) if before is not None and before.viewer == now.viewer else now
