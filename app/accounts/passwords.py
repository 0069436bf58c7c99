"""Password hashes: argon2id (RFC 9106), computed in threads so that the event loop goes on serving.

Threads and the queue before them are bounded: a flood of sign-ins waits here, and beyond that is refused, instead of eating the memory.
The threads also give way: argon2 starts one per lane, and as many as that would leave the one that answers everybody else a small part of
its core. They are not last in line either, or nobody could sign in to a busy gateway.
"""

import asyncio
import os
import sys
import threading
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Self, TypeVar

from argon2 import PasswordHasher as Argon2
from argon2.exceptions import InvalidHashError, VerificationError

from app.accounts.strength import weakness
from app.core.errors import ErrorCode, Unavailable, UserError
from app.settings import Settings

T = TypeVar("T")
MAX_WAITING = 100
THREADS = "argon2"
NICENESS = 10
"""Added to that of the process (nice(2)): a thread with 10 more gets about a tenth of what one beside it gets."""


def normalized(password: str) -> str:
    """One form of what looks the same on different keyboards (NIST SP 800-63B, 5.1.1.2: NFKC or NFKD)."""
    return unicodedata.normalize("NFKC", password)


class PasswordHasher:
    """Hashes and verifies passwords. `threads` hashes run at the same time, at most `MAX_WAITING` wait for their turn."""

    def __init__(self, argon2: Argon2, threads: int = 1) -> None:
        self._argon2 = argon2
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=THREADS, initializer=_give_way)
        self._places = threads + MAX_WAITING
        self._taken = 0
        self._dummy = argon2.hash("a password that nobody has")

    @classmethod
    def from_settings(cls, settings: Settings) -> Self:
        argon2 = Argon2(settings.argon2_time_cost, settings.argon2_memory_kib, settings.argon2_parallelism)
        return cls(argon2, settings.hash_threads)

    async def hash_new(self, password: str, *personal: str | None) -> str:
        """The hash of a password that somebody chooses; `personal` is what others know of its owner, such as email and name.

        Raises `UserError` naming the field `password` where it is too easy to guess; `Unavailable`.
        """
        weak = await self._in_thread(lambda: weakness(password, personal))
        if weak is not None:
            raise UserError(ErrorCode.INVALID, weak, "password")
        return await self.hash(password)

    async def hash(self, password: str) -> str:
        """A salted hash with its parameters, as it is stored. Raises `Unavailable` when too many wait already."""
        return await self._in_thread(lambda: self._argon2.hash(normalized(password)))

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
            return self._argon2.verify(stored, normalized(password))
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


def _give_way() -> None:
    """Lower the priority of this thread, and so of those that argon2 starts in it. Only Linux has a priority per thread."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        os.setpriority(os.PRIO_PROCESS, thread, os.getpriority(os.PRIO_PROCESS, thread) + NICENESS)
