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
from ccn.gateway.accounts.tokens import Pair
from ccn.node.rounds.voting import Identity
from ccn.store.accounts import token_keys
from ccn.store.accounts.token_keys import Published
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
        identity: Identity,
        voters: Voters,
        chosen: settings.Accounts,
        now: Callable[[], datetime],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool, self._identity, self._voters = pool, identity, voters
        self._tail = timedelta(minutes=chosen.access_minutes) + MARGIN
        self._now, self._clock = now, clock
        self._own: dict[str, Pair] = {}
        self._believed: dict[str, Published] = {}
        self._looked_at = float("-inf")
        self._renewing, self._looking = asyncio.Lock(), asyncio.Lock()

    async def signing(self) -> Pair:
        """The key to sign with now; Unavailable at a node whose tokens would count nowhere else."""
        async with self._renewing:
            rules = await self._look(0.0)
            node = self._identity.node
            if rules is not None and rules.key(node) != self._identity.public:
                raise errors.Unavailable(f"{node} has no vote, so nobody signs in there; ask another node")
            for name, pair in self._own.items():
                if name in self._believed and self._signs(self._believed[name]):
                    return pair
            return await self._renewed()

    async def public(self, name: str) -> bytes:
        """The key of this name, if a token that it signed counts."""
        rules = await self._look(_FRESH_S)
        found = self._believed.get(name) or await self._made_since(name, rules)
        if found is None or not found.counts(self._now()):
            raise errors.CredentialInvalid("the access token is signed with a key that does not count")
        return found.key.public

    async def _made_since(self, name: str, rules: Rules | None) -> Published | None:
        """Another node may have made it a moment ago. A made-up name costs what a made-up API key does."""
        found = await token_keys.find(self._pool, name)
        if found is None or not self._believes(found, rules):
            return None
        self._believed[name] = found
        return found

    def _signs(self, published: Published) -> bool:
        signed_s = self._now().timestamp() - published.key.since_s
        return published.ended_at is None and signed_s < SIGNS.total_seconds()

    async def _renewed(self) -> Pair:
        made, at = tokens.pair(), self._now()
        until = at + SIGNS + self._tail
        key = TokenKey(self._identity.node, made.public, int(at.timestamp()), int(until.timestamp()))
        self._own = {name: pair for name, pair in self._own.items() if name in self._believed}
        self._own[key.name] = made
        await token_keys.publish(self._pool, signed.sign(key, self._identity.sign))
        await self._look(0.0)
        return made

    async def _look(self, at_most_s: float) -> Rules | None:
        """Read again what was published, unless that was done a moment ago."""
        rules = await self._voters()
        async with self._looking:
            if (at := self._clock()) - self._looked_at >= at_most_s:
                published = await token_keys.standing(self._pool)
                self._believed = {each.key.name: each for each in published if self._believes(each, rules)}
                self._looked_at = at
        return rules

    def _believes(self, published: Published, rules: Rules | None) -> bool:
        if rules is None:
            return published.key.name in self._own
        return token_key.vouched(published.said, rules, self._identity.check)
