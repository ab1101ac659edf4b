"""Hashes and checks passwords with Argon2id, outside the event loop. Only this module knows pwdlib.

The parameters are OWASP's (19 MiB, two passes, one lane). A check takes about 50 ms, and two at once need
less memory than the node itself. For an unknown user a decoy is checked, so that a refusal takes equally
long.
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
    """Hash a password for the database. Blocks for about 50 ms."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise errors.InputInvalid(f"a password has {SHORTEST} to {LONGEST} characters")
    if common_passwords.is_common(password):
        raise errors.InputInvalid("that password is among the first that anybody tries: take several words")
    return _hashing.hash(password.encode("utf-8", "surrogatepass"))


def generate_password() -> str:
    """Make a random password of 120 bits."""
    return secrets.token_urlsafe(15)


@cache
def _hash_decoy() -> str:
    """Hash a secret that no password matches, once for the process."""
    return _hashing.hash(secrets.token_bytes(16))


class Passwords:
    """Checks passwords in threads of its own, and refuses when too many wait."""

    def __init__(self, at_once: int = _AT_ONCE, waiting: int = _WAITING) -> None:
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="passwords")
        self._limit = at_once + waiting
        self._running = 0
        self._decoy = _hash_decoy()

    async def match(self, password: str, stored_hash: str | None) -> bool:
        """Whether a password matches a stored hash. Takes equally long for None, which nothing matches."""
        return await self._run_in_thread(lambda: self._verify(password, stored_hash))

    def close(self) -> None:
        """Release the threads. A check under way finishes, and its result is dropped."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _run_in_thread(self, work: Callable[[], _T]) -> _T:
        if self._running >= self._limit:
            raise errors.Overloaded("too many are signing in at once")
        self._running += 1  # until the thread is done, also when its caller has gone
        check = asyncio.get_running_loop().run_in_executor(self._threads, work)
        check.add_done_callback(self._count_done)
        return await asyncio.shield(check)

    def _count_done(self, check: asyncio.Future[_T]) -> None:
        self._running -= 1
        if not check.cancelled():
            check.exception()  # read it here, or asyncio logs it when the caller has gone

    def _verify(self, password: str, stored_hash: str | None) -> bool:
        data = password[:LONGEST].encode("utf-8", "surrogatepass")
        try:
            return _hashing.verify(data, stored_hash or self._decoy) and stored_hash is not None
        except UnknownHashError:
            return False  # the stored text is no hash, so no password matches it
