"""Keeps the keys of access tokens: the key this node signs with, and the keys of others that it trusts.

A node makes a key when it first signs somebody in, and a new one every day or when an operator ended the
last. The secret half stays in this process. The public half is published in the database, signed with the
key that the node votes with. Every node checks that signature against the validators in its own chain. The
tokens of a node are void once it is no validator. A node that knows no chain trusts only itself.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta

from ccn import errors, settings
from ccn.core.chain.rules import Rules
from ccn.core.identity import token_key
from ccn.core.identity.token_key import TokenKey
from ccn.core.ledger import signed
from ccn.gateway.accounts import tokens
from ccn.gateway.accounts.tokens import KeyPair
from ccn.node.rounds.voting import NodeIdentity
from ccn.store.accounts import token_keys
from ccn.store.accounts.token_keys import PublishedKey
from ccn.store.connection.pool import Pool

SIGNS = timedelta(days=1)
"""How long a key signs new tokens."""
MARGIN = timedelta(minutes=1)
"""How long a key stays valid after its last token: clocks differ, and so do the times of reading keys."""

_FRESH_S = 5.0  # how long the published keys are not read again

Voters = Callable[[], Awaitable[Rules | None]]
"""Loads the validators that this node has verified; None while it knows no chain."""


class Keyring:
    """The keys of one node, and the published keys that it trusts."""

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
        self._pool, self._identity, self._load_voters = pool, identity, voters
        self._tail = timedelta(minutes=account_settings.access_minutes) + MARGIN
        self._now, self._clock = now, clock
        self._own: dict[str, KeyPair] = {}
        self._trusted: dict[str, PublishedKey] = {}
        self._read_at = float("-inf")
        self._signing_lock, self._reading_lock = asyncio.Lock(), asyncio.Lock()

    async def signing_key(self) -> KeyPair:
        """Get the key to sign with now. Raises Unavailable if other nodes would not accept the tokens."""
        async with self._signing_lock:
            rules = await self._refresh_keys(0.0)
            node = self._identity.node
            if rules is not None and rules.key_of(node) != self._identity.public:
                raise errors.Unavailable(f"{node} has no vote, so nobody signs in there; ask another node")
            for name, pair in self._own.items():
                if name in self._trusted and self._still_signs(self._trusted[name]):
                    return pair
            return await self._make_key()

    async def find_public_key(self, name: str) -> bytes:
        """Find the public key of this name, if its tokens are valid."""
        rules = await self._refresh_keys(_FRESH_S)
        published = self._trusted.get(name) or await self._find_new_key(name, rules)
        if published is None or not published.is_valid(self._now()):
            raise errors.CredentialInvalid("the access token is signed with a key that is not valid")
        return published.key.public

    async def _find_new_key(self, name: str, rules: Rules | None) -> PublishedKey | None:
        """Look in the database for a key that another node may have published a moment ago.

        An invented name costs one query, like an invented API key.
        """
        published = await token_keys.find_key(self._pool, name)
        if published is None or not self._is_trusted(published, rules):
            return None
        self._trusted[name] = published
        return published

    def _still_signs(self, published: PublishedKey) -> bool:
        signed_s = self._now().timestamp() - published.key.since_s
        return published.ended_at is None and signed_s < SIGNS.total_seconds()

    async def _make_key(self) -> KeyPair:
        pair, now = tokens.new_pair(), self._now()
        until = now + SIGNS + self._tail
        key = TokenKey(self._identity.node, pair.public, int(now.timestamp()), int(until.timestamp()))
        self._own = {name: own for name, own in self._own.items() if name in self._trusted}
        self._own[key.name] = pair
        await token_keys.publish_key(self._pool, signed.sign_statement(key, self._identity.sign))
        await self._refresh_keys(0.0)
        return pair

    async def _refresh_keys(self, fresh_s: float) -> Rules | None:
        """Read the published keys unless they were read within `fresh_s`, and return the voters."""
        rules = await self._load_voters()
        async with self._reading_lock:
            if (now := self._clock()) - self._read_at >= fresh_s:
                published = await token_keys.list_valid(self._pool)
                self._trusted = {each.key.name: each for each in published if self._is_trusted(each, rules)}
                self._read_at = now
        return rules

    def _is_trusted(self, published: PublishedKey, rules: Rules | None) -> bool:
        if rules is None:
            return published.key.name in self._own
        return token_key.is_vouched(published.said, rules, self._identity.check)
