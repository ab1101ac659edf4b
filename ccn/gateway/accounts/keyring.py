"""Keeps the key with which this node signs access tokens.

A node makes a key when it first signs somebody in, and a new one every day or when an operator ended the
last. The secret half stays in this process. The public half is published in the database, signed with the
key that the node votes with. `trusted_keys` decides who trusts it. A gateway has no key.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from ccn import errors, settings
from ccn.core.identity.token_key import TokenKey
from ccn.core.ledger import signed
from ccn.gateway.accounts import tokens
from ccn.gateway.accounts.tokens import KeyPair
from ccn.gateway.accounts.trusted_keys import TrustedKeys, Voters
from ccn.node.rounds.voting import NodeIdentity
from ccn.store.accounts import token_keys
from ccn.store.accounts.token_keys import PublishedKey
from ccn.store.connection.pool import Pool

SIGNS = timedelta(days=1)
"""How long a key signs new tokens."""
MARGIN = timedelta(minutes=1)
"""How long a key stays valid after its last token: clocks differ, and so do the times of reading keys."""


class Keyring:
    """The keys of one node."""

    def __init__(
        self,
        pool: Pool,
        identity: NodeIdentity,
        voters: Voters,
        account_settings: settings.AccountsSettings,
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._identity, self._now = pool, identity, now
        self._tail = timedelta(minutes=account_settings.access_minutes) + MARGIN
        self._own: dict[str, KeyPair] = {}
        self._trusted = TrustedKeys(pool, identity.check, voters, now, clock=clock, own=self._own)
        self._signing_lock = asyncio.Lock()

    async def signing_key(self) -> KeyPair:
        """Get the key to sign with now. Raises Unavailable if other nodes would not accept the tokens."""
        async with self._signing_lock:
            rules = await self._trusted.refresh_keys(0.0)
            node = self._identity.node
            if rules is not None and rules.key_of(node) != self._identity.public:
                raise errors.Unavailable(f"{node} has no vote, so nobody signs in there; ask another node")
            for name, pair in self._own.items():
                published = self._trusted.keys.get(name)
                if published is not None and self._still_signs(published):
                    return pair
            return await self._make_key()

    async def find_public_key(self, name: str) -> bytes:
        """Find the public key of this name, if its tokens are valid."""
        return await self._trusted.find_public_key(name)

    def _still_signs(self, published: PublishedKey) -> bool:
        signed_s = self._now().timestamp() - published.key.since_s
        return published.ended_at is None and signed_s < SIGNS.total_seconds()

    async def _make_key(self) -> KeyPair:
        pair, now = tokens.new_pair(), self._now()
        until = now + SIGNS + self._tail
        key = TokenKey(self._identity.node, pair.public, int(now.timestamp()), int(until.timestamp()))
        for name in self._own.keys() - self._trusted.keys.keys():
            del self._own[name]
        self._own[key.name] = pair
        await token_keys.publish_key(self._pool, signed.sign_statement(key, self._identity.sign))
        await self._trusted.refresh_keys(0.0)
        return pair
