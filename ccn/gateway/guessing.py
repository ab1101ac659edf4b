"""Who guesses passwords: what was refused of one name from everywhere, and from one address for all names.

The limit of attempts as one user from one address does not hold back whoever has many addresses or tries
many names. So refusals are counted for an hour, and at their limit the name, or the address, waits until
the oldest is an hour old. That locks no user out: from where it signed in lately, it may do so again.
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
from ccn.gateway.request_windows import KEYS

HOUR_S = 3_600
_KNOWN_S = 30 * 86_400.0
_KEY = secrets.token_bytes(32)

CountRefusal = Callable[[RateLimitItem, str], Awaitable[float]]
"""Counts one; for how many seconds there is no room for another, 0 while there is."""


class Guesses:
    """The refusals that this node has seen, and those that all nodes have where they count together."""

    def __init__(
        self, chosen: settings.LimitsSettings, full: CountRefusal, clock: Callable[[], float] = time.time
    ) -> None:
        self._of_name = RateLimitItemPerSecond(chosen.name_refusals, HOUR_S, "refusals of a name")
        self._of_address = RateLimitItemPerSecond(chosen.address_refusals, HOUR_S, "refusals of an address")
        self._full, self._clock = full, clock
        self._until = Recent[str, float](KEYS)
        """When whoever is at a limit may try again, and until when a network is known for a name."""

    def check_sign_in(self, name: str, address: str) -> None:
        """TooManyRequests for whoever has to wait."""
        named, now = _name_key(name), self._clock()
        if self._until.get(_known_key(named, address), 0.0) > now:
            return
        left_s = max(self._until.get(key, 0.0) for key in (named, address)) - now
        if left_s > 0:
            wait_s = math.ceil(left_s)
            raise errors.TooManyRequests(f"too many sign-ins were refused; wait for {wait_s} s", wait_s)

    async def count_refusal(self, name: str, address: str) -> None:
        """It was wrong: the name and the address are nearer to their limits."""
        named = _name_key(name)
        if self._until.get(_known_key(named, address), 0.0) > self._clock():
            return  # its owner, most likely, whom the limit of attempts holds back
        for item, key in ((self._of_name, named), (self._of_address, address)):
            if (left_s := await self._full(item, key)) > 0:
                self._set_until(key, left_s)

    def remember_success(self, name: str, address: str) -> None:
        """From there this user is known from now on."""
        self._set_until(_known_key(_name_key(name), address), _KNOWN_S)

    def _set_until(self, key: str, lasts_s: float) -> None:
        self._until[key] = self._clock() + lasts_s


def hide_name(name: str) -> str:
    """What a log calls a name that was typed, which may be a password in the wrong field."""
    typed = name.strip().lower().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(typed, key=_KEY, digest_size=6).hexdigest()


def mask_address(address: str) -> str:
    """The neighbourhood of an address, which is enough to see a pattern: /24, of IPv6 /64."""
    try:
        return str(ip_network(f"{address}/{64 if ':' in address else 24}", strict=False))
    except ValueError:
        return "unknown"


def _name_key(name: str) -> str:
    return f"name/{hide_name(name)}"


def _known_key(named: str, address: str) -> str:
    return f"{named}/{address}"
