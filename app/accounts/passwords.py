"""Password hashes: argon2id (RFC 9106), computed in threads so that the event loop goes on serving.

Threads and the queue before them are bounded: a flood of sign-ins waits here, and beyond that is refused, instead of eating the memory.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

from app.core.errors import Unavailable
from app.settings import Settings

T = TypeVar("T")
MAX_WAITING = 100


class PasswordHasher:
    """Hashes and verifies passwords. `threads` hashes run at the same time, at most `MAX_WAITING` wait for their turn."""

    def __init__(self, argon2: Argon2, threads: int = 2) -> None:
        self._argon2 = argon2
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="argon2")
        self._places = threads + MAX_WAITING
        self._taken = 0
        self._dummy = argon2.hash("a password that nobody has")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        argon2 = Argon2(settings.argon2_time_cost, settings.argon2_memory_kib, settings.argon2_parallelism)
        return cls(argon2, settings.hash_threads)

    async def hash(self, password: str) -> str:
        """A salted hash with its parameters, as it is stored. Raises `Unavailable` when too many wait already."""
        return await self._in_thread(lambda: self._argon2.hash(password))

    async def verify(self, password: str, stored: str | None) -> bool:
        """Whether the password made the stored hash. Takes as long for an account that does not exist (None)."""
        matches = await self._in_thread(lambda: self._matches(stored or self._dummy, password))
        return matches and stored is not None

    def needs_rehash(self, stored: str) -> bool:
        """Whether the parameters have changed since the hash was made."""
        return self._argon2.check_needs_rehash(stored)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _matches(self, stored: str, password: str) -> bool:
        try:
            return self._argon2.verify(stored, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _in_thread(self, work: Callable[[], T]) -> T:
        if self._taken >= self._places:
            raise Unavailable("too many sign-ins at once")
        self._taken += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._taken -= 1
