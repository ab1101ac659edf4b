"""Passwords: Argon2id, away from the event loop, a few at once. The only module that knows pwdlib.

The parameters are OWASP's (19 MiB, two passes, one lane): some 50 ms, and two at once cost less memory than
the node itself. An unknown user takes as long as a wrong password, because a decoy is matched instead.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from ccn import errors
from ccn.gateway.accounts import common_passwords

_T = TypeVar("_T")

SHORTEST, LONGEST = 10, 1_024
_AT_ONCE = 2
_WAITING = 32

_hashing = PasswordHash((Argon2Hasher(time_cost=2, memory_cost=19_456, parallelism=1),))


def hash_password(password: str) -> str:
    """What is kept of a password; blocks for some 50 ms."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise errors.InputInvalid(f"a password has {SHORTEST} to {LONGEST} characters")
    if common_passwords.is_common(password):
        raise errors.InputInvalid("that password is among the first that anybody tries: take several words")
    return _hashing.hash(password.encode("utf-8", "surrogatepass"))


def generate_password() -> str:
    """A password nobody has to think of: 120 random bits."""
    return secrets.token_urlsafe(15)


@cache
def _hash_decoy() -> str:
    """What nobody's password matches; one does for a process."""
    return _hashing.hash(secrets.token_bytes(16))


class Passwords:
    """Matches passwords in threads of its own; too many at once are refused."""

    def __init__(self, at_once: int = _AT_ONCE, waiting: int = _WAITING) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._limit = at_once + waiting
        self._running = 0
        self._decoy = _hash_decoy()

    async def match(self, password: str, kept: str | None) -> bool:
        """Whether a password is the one that was kept; as slow for None."""
        return await self._run_in_thread(lambda: self._verify(password, kept))

    def close(self) -> None:
        """Let the threads go; what they are at is finished and thrown away."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run_in_thread(self, work: Callable[[], _T]) -> _T:
        if self._running >= self._limit:
            raise errors.Overloaded("too many are signing in at once")
        self._running += 1  # until the thread is done, even if nobody waits for it any more
        running = asyncio.get_running_loop().run_in_executor(self._threads, work)
        running.add_done_callback(self._count_done)
        return await asyncio.shield(running)

    def _count_done(self, running: asyncio.Future[_T]) -> None:
        self._running -= 1
        if not running.cancelled():
            running.exception()  # seen, should the caller have gone

    def _verify(self, password: str, kept: str | None) -> bool:
        given = password[:LONGEST].encode("utf-8", "surrogatepass")
        try:
            return _hashing.verify(given, kept or self._decoy) and kept is not None
        except UnknownHashError:
            return False  # whatever is kept there, nobody knows a password for it
