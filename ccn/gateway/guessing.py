"""Slows down who guesses passwords: counts refused sign-ins by name and by address.

Another limit counts attempts for one name from one address. It does not stop a guesser who has many
addresses or tries many names. So refusals are counted for an hour. At its limit, a name or an address has
to wait until its oldest refusal is an hour old. No user is locked out: a network where the user signed in
lately may go on.
"""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from ipaddress import ip_network

from limits import RateLimitItem, RateLimitItemPerSecond

from ccn import errors, settings
from ccn.core.bounded import Recent
from ccn.gateway.request_windows import KEY_LIMIT

HOUR_S = 3_600
_KNOWN_S = 30 * 86_400.0  # how long a network is known for a name
_KEY = secrets.token_bytes(32)

CountRefusal = Callable[[RateLimitItem, str], Awaitable[float]]
"""Counts a refusal. Returns the seconds until there is room for another one: 0 if there is room now."""


class Guesses:
    """The refused sign-ins that this node has seen; those of all nodes if the nodes share Redis."""

    def __init__(
        self,
        limits: settings.LimitsSettings,
        count_one: CountRefusal,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._of_name = RateLimitItemPerSecond(limits.name_refusals, HOUR_S, "refusals of a name")
        self._of_address = RateLimitItemPerSecond(limits.address_refusals, HOUR_S, "refusals of an address")
        self._count_one, self._clock = count_one, clock
        self._until = Recent[str, float](KEY_LIMIT)
        """When a name or an address may try again, and until when an address is known for a name."""

    def check_sign_in(self, name: str, address: str) -> None:
        """Raise TooManyRequests if this name or address has to wait."""
        name_key, now = _name_key(name), self._clock()
        if self._until.get(_known_key(name_key, address), 0.0) > now:
            return
        remaining_s = max(self._until.get(key, 0.0) for key in (name_key, address)) - now
        if remaining_s > 0:
            wait_s = math.ceil(remaining_s)
            raise errors.TooManyRequests(f"too many sign-ins were refused; wait for {wait_s} s", wait_s)

    async def count_refusal(self, name: str, address: str) -> None:
        """Count a refused sign-in for its name and its address."""
        name_key = _name_key(name)
        if self._until.get(_known_key(name_key, address), 0.0) > self._clock():
            return  # most likely the owner of the name, whom the limit of attempts slows down enough
        for item, key in ((self._of_name, name_key), (self._of_address, address)):
            if (wait_s := await self._count_one(item, key)) > 0:
                self._set_until(key, wait_s)

    def remember_success(self, name: str, address: str) -> None:
        """Remember that this user signed in from this address."""
        self._set_until(_known_key(_name_key(name), address), _KNOWN_S)

    def _set_until(self, key: str, duration_s: float) -> None:
        self._until[key] = self._clock() + duration_s


def hide_name(name: str) -> str:
    """Hash a typed name for the log: it may be a password in the wrong field."""
    typed = name.strip().lower().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(typed, key=_KEY, digest_size=6).hexdigest()


def mask_address(address: str) -> str:
    """The network of an address, which is enough to see a pattern: /24, or /64 for IPv6."""
    try:
        return str(ip_network(f"{address}/{64 if ':' in address else 24}", strict=False))
    except ValueError:
        return "unknown"


def _name_key(name: str) -> str:
    return f"name/{hide_name(name)}"


def _known_key(name_key: str, address: str) -> str:
    return f"{name_key}/{address}"
