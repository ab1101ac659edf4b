"""The keys of access tokens: the one this node signs with, and those of others that it believes.

A node makes its key when it first lets somebody in, and another one every day or when an operator ended the
last. The secret half stays in this process. The public half is shown in the database under a signature of
the key that the node votes with, and every node checks that against the validators it knows from its own
chain. A node that is no validator any more loses what it signed; one that knows no chain believes itself.
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
"""How long a key signs."""
MARGIN = timedelta(minutes=1)
"""Beyond the life of the last token that a key signed: clocks differ, and nodes look by turns."""

_FRESH_S = 5.0

Voters = Callable[[], Awaitable[Rules | None]]
"""Who votes, as this node has verified it; None while it knows no chain."""


class Keyring:
    """What one node signs tokens with, and whose tokens it believes."""

    def __init__(
        self,
        pool: Pool,
        identity: NodeIdentity,
        voters: Voters,
        chosen: settings.AccountsSettings,
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._identity, self._voters = pool, identity, voters
        self._tail = timedelta(minutes=chosen.access_minutes) + MARGIN
        self._now, self._clock = now, clock
        self._own: dict[str, KeyPair] = {}
        self._believed: dict[str, PublishedKey] = {}
        self._looked_at = float("-inf")
        self._renewing, self._looking = asyncio.Lock(), asyncio.Lock()

    async def signing_key(self) -> KeyPair:
        """The key to sign with now; Unavailable at a node whose tokens would count nowhere else."""
        async with self._renewing:
            rules = await self._refresh_keys(0.0)
            node = self._identity.node
            if rules is not None and rules.key_of(node) != self._identity.public:
                raise errors.Unavailable(f"{node} has no vote, so nobody signs in there; ask another node")
            for name, pair in self._own.items():
                if name in self._believed and self._still_signs(self._believed[name]):
                    return pair
            return await self._make_key()

    async def find_public_key(self, name: str) -> bytes:
        """The key of this name, if a token that it signed counts."""
        rules = await self._refresh_keys(_FRESH_S)
        found = self._believed.get(name) or await self._find_new_key(name, rules)
        if found is None or not found.is_valid(self._now()):
            raise errors.CredentialInvalid("the access token is signed with a key that does not count")
        return found.key.public

    async def _find_new_key(self, name: str, rules: Rules | None) -> PublishedKey | None:
        """Another node may have made it a moment ago. A made-up name costs what a made-up API key does."""
        found = await token_keys.find_key(self._pool, name)
        if found is None or not self._is_believed(found, rules):
            return None
        self._believed[name] = found
        return found

    def _still_signs(self, published: PublishedKey) -> bool:
        signed_s = self._now().timestamp() - published.key.since_s
        return published.ended_at is None and signed_s < SIGNS.total_seconds()

    async def _make_key(self) -> KeyPair:
        made, at = tokens.new_pair(), self._now()
        until = at + SIGNS + self._tail
        key = TokenKey(self._identity.node, made.public, int(at.timestamp()), int(until.timestamp()))
        self._own = {name: pair for name, pair in self._own.items() if name in self._believed}
        self._own[key.name] = made
        await token_keys.publish_key(self._pool, signed.sign_statement(key, self._identity.sign))
        await self._refresh_keys(0.0)
        return made

    async def _refresh_keys(self, at_most_s: float) -> Rules | None:
        """Read again what was published, unless that was done a moment ago."""
        rules = await self._voters()
        async with self._looking:
            if (at := self._clock()) - self._looked_at >= at_most_s:
                published = await token_keys.list_valid(self._pool)
                self._believed = {
                    each.key.name: each for each in published if self._is_believed(each, rules)
                }
                self._looked_at = at
        return rules

    def _is_believed(self, published: PublishedKey, rules: Rules | None) -> bool:
        if rules is None:
            return published.key.name in self._own
        return token_key.is_vouched(published.said, rules, self._identity.check)
