"""Decides whose access tokens are valid: those of keys that a validator signed, as nodes published them.

Separate from the keyring, because a gateway trusts tokens and signs none. A node knows the validators from
its own chain, a gateway from the voters. The tokens of a node are void once it is no validator. A node that
knows no chain trusts only itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Container
from datetime import datetime
from typing import Protocol

from ccn import errors
from ccn.core.chain.rules import Rules
from ccn.core.identity import token_key
from ccn.core.ledger.signed import Check
from ccn.store.accounts import token_keys
from ccn.store.accounts.token_keys import PublishedKey
from ccn.store.connection.pool import Pool

_FRESH_S = 5.0  # how long the published keys are not read again

Voters = Callable[[], Awaitable[Rules | None]]
"""Loads the validators that this process knows; None while it knows no chain."""


class PublicKeys(Protocol):
    """The keys whose tokens are valid."""

    async def find_public_key(self, name: str) -> bytes:
        """Find the public key of this name, or raise CredentialInvalid."""


class TrustedKeys:
    """The published keys that this process trusts. `own` are the keys that it made itself."""

    def __init__(
        self,
        pool: Pool,
        check: Check,
        voters: Voters,
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
        own: Container[str] = frozenset(),
    ) -> None:
        self.keys: dict[str, PublishedKey] = {}
        self._pool, self._check, self._load_voters, self._own = pool, check, voters, own
        self._now, self._clock = now, clock
        self._read_at = float("-inf")
        self._reading_lock = asyncio.Lock()

    async def find_public_key(self, name: str) -> bytes:
        """Find the public key of this name, if its tokens are valid."""
        rules = await self.refresh_keys(_FRESH_S)
        published = self.keys.get(name) or await self._find_new_key(name, rules)
        if published is None or not published.is_valid(self._now()):
            raise errors.CredentialInvalid("the access token is signed with a key that is not valid")
        return published.key.public

    async def refresh_keys(self, fresh_s: float) -> Rules | None:
        """Read the published keys unless they were read within `fresh_s`, and return the voters."""
        rules = await self._load_voters()
        async with self._reading_lock:
            if (now := self._clock()) - self._read_at >= fresh_s:
                published = await token_keys.list_valid(self._pool)
                self.keys = {each.key.name: each for each in published if self._is_trusted(each, rules)}
                self._read_at = now
        return rules

    async def _find_new_key(self, name: str, rules: Rules | None) -> PublishedKey | None:
        """Look in the database for a key that another node may have published a moment ago.

        An invented name costs one query, like an invented API key.
        """
        published = await token_keys.find_key(self._pool, name)
        if published is None or not self._is_trusted(published, rules):
            return None
        self.keys[name] = published
        return published

    def _is_trusted(self, published: PublishedKey, rules: Rules | None) -> bool:
        if rules is None:
            return published.key.name in self._own
        return token_key.is_vouched(published.said, rules, self._check)
